// SPDX-License-Identifier: GPL-2.0

//! The requests of 32-bit processes, whose structures are the same.

use super::UNKNOWN;
use crate::{
    ensure_eq,
    tap::{Outcome, Suite},
    vhost::*,
};
use std::{arch::asm, mem::size_of, os::fd::AsRawFd, path::Path, ptr::null_mut};

const PAGE: usize = 4096;

pub fn run(suite: &mut Suite, path: &str) {
    let name = "requests by 32-bit system calls";
    if has_such_calls() {
        suite.case(name, || requests(path));
    } else {
        suite.skip(name, "the kernel has no such system calls");
    }
}

/// Whether the kernel has 32-bit system calls: only then it has the setting of their vDSO. Without
/// them, one is an invalid access, which the kernel logs.
fn has_such_calls() -> bool {
    Path::new("/proc/sys/abi/vsyscall32").exists()
}

/// A page whose address has 32 bits.
struct Low(*mut u8);

impl Low {
    fn new() -> Self {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_32BIT;
        let prot = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: A new mapping.
        let at = unsafe { libc::mmap(null_mut(), PAGE, prot, flags, -1, 0) };
        assert!(at != libc::MAP_FAILED, "no page with such an address");
        Self(at.cast())
    }

    /// A request whose argument is this value, and the value that it leaves there.
    fn request<T: Copy>(&self, dev: &Vhost, cmd: u64, value: T) -> Result<T> {
        assert!(size_of::<T>() <= PAGE);
        let at = self.0.cast::<T>();
        // SAFETY: The page has room for the value, and its address is aligned.
        unsafe { at.write(value) };
        ioctl32(dev, cmd, self.0 as u32)?;
        // SAFETY: As above, and all bytes of the types in use are valid.
        Ok(unsafe { at.read() })
    }
}

impl Drop for Low {
    fn drop(&mut self) {
        // SAFETY: The mapping is ours.
        unsafe { libc::munmap(self.0.cast(), PAGE) };
    }
}

/// The system call `ioctl` as 32-bit processes make it.
fn ioctl32(dev: &Vhost, cmd: u64, arg: u32) -> Result {
    const IOCTL: u64 = 54;
    let fd = dev.as_raw_fd() as u64;
    let ret: u64;
    // SAFETY: The kernel preserves all registers but the result and those that are named here. The
    // compiler reserves `rbx`, which is restored.
    unsafe {
        asm!(
            "xchg rbx, {fd}",
            "int 0x80",
            "xchg rbx, {fd}",
            fd = inout(reg) fd => _,
            inlateout("rax") IOCTL => ret,
            in("rcx") cmd,
            in("rdx") u64::from(arg),
            out("r8") _,
            out("r9") _,
            out("r10") _,
            out("r11") _,
        );
    }
    match ret as i32 {
        0 => Ok(()),
        error => Err(Errno(-error)),
    }
}

fn requests(path: &str) -> Outcome {
    let dev = Vhost::open(path);
    let low = Low::new();
    let offered = dev.features();
    ensure_eq!(low.request(&dev, GET_FEATURES, 0u64), offered, "features");
    let array = low.request(&dev, GET_FEATURES_ARRAY, [1u64, 0, 7]);
    ensure_eq!(array, offered.map(|offered| [1, offered, 7]), "array");
    ensure_eq!(ioctl32(&dev, SET_OWNER, 0), Ok(()), "SET_OWNER");
    ensure_eq!(ioctl32(&dev, SET_OWNER, 0), Err(EBUSY), "SET_OWNER twice");
    let state = |index, num| VringState { index, num };
    let num = low.request(&dev, SET_VRING_NUM, state(TX, 64));
    ensure_eq!(num.map(|_| ()), Ok(()), "SET_VRING_NUM");
    let num = low.request(&dev, SET_VRING_NUM, state(2, 64));
    ensure_eq!(num.map(|_| ()), Err(ENOBUFS), "an index above 1");
    let base = low.request(&dev, SET_VRING_BASE, state(TX, 0x1234));
    ensure_eq!(base.map(|_| ()), Ok(()), "SET_VRING_BASE");
    let base = low.request(&dev, GET_VRING_BASE, state(TX, 0));
    ensure_eq!(base.map(|got| got.num), Ok(0x1234), "GET_VRING_BASE");
    let file = VringFile { index: RX, fd: -1 };
    let backend = low.request(&dev, NET_SET_BACKEND, file);
    ensure_eq!(backend.map(|_| ()), Err(EFAULT), "no memory table");
    // The address is of 32 bits, and so is one without a mapping.
    ensure_eq!(ioctl32(&dev, SET_FEATURES, 8), Err(EFAULT), "bad pointer");
    let unknown = low.request(&dev, UNKNOWN, state(RX, 0));
    ensure_eq!(unknown.map(|_| ()), Err(ENOTTY), "an unknown command");
    Ok(())
}
