// SPDX-License-Identifier: GPL-2.0

//! Asynchronous requests on a file: io_uring and aio.

use crate::vhost::{Errno, Result};
use std::{
    mem::zeroed,
    os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd},
    ptr::{from_mut, null_mut},
    sync::atomic::{AtomicU32, Ordering},
};

const IORING_OFF_SQES: i64 = 0x1000_0000;
const IORING_REGISTER_FILES: u32 = 2;
const IORING_OP_POLL_ADD: u8 = 6;
const IOCB_CMD_POLL: u16 = 5;
const PAGE: usize = 4096;

/// The parameters of `io_uring_setup`; zeroes request nothing special. The kernel returns the
/// offsets of the submission ring from the tenth word on, and those of the completion ring from
/// the twentieth on.
type Params = [u32; 30];
const SQ_TAIL: usize = 11;
const SQ_ARRAY: usize = 16;
const CQ_TAIL: usize = 21;
const CQ_CQES: usize = 25;

pub fn map(fd: RawFd, len: usize, offset: i64) -> *mut libc::c_void {
    let prot = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_SHARED | libc::MAP_POPULATE;
    // SAFETY: A fresh mapping.
    let at = unsafe { libc::mmap(null_mut(), len, prot, flags, fd, offset) };
    assert!(at != libc::MAP_FAILED, "mmap: {:?}", Errno::last());
    at
}

/// A mapped io_uring, of which only the first entry is ever used.
pub struct IoUring {
    ring: Option<OwnedFd>,
    at: *mut libc::c_void,
    params: Params,
}

impl Default for IoUring {
    fn default() -> Self {
        Self::new()
    }
}

impl IoUring {
    pub fn new() -> Self {
        let mut params = Params::default();
        // SAFETY: Parameters of their length.
        let fd = unsafe { libc::syscall(libc::SYS_io_uring_setup, 4, params.as_mut_ptr()) };
        assert!(fd >= 0, "io_uring_setup: {:?}", Errno::last());
        // SAFETY: Just made.
        let ring = unsafe { OwnedFd::from_raw_fd(fd as RawFd) };
        let at = map(ring.as_raw_fd(), PAGE, 0);
        Self {
            ring: Some(ring),
            at,
            params,
        }
    }

    fn fd(&self) -> RawFd {
        self.ring.as_ref().map_or(-1, AsRawFd::as_raw_fd)
    }

    /// Registers a file as a fixed file.
    pub fn register(&self, file: RawFd) {
        let register = libc::SYS_io_uring_register;
        // SAFETY: An array of one descriptor.
        let ret = unsafe { libc::syscall(register, self.fd(), IORING_REGISTER_FILES, &file, 1) };
        assert!(ret == 0, "io_uring_register: {:?}", Errno::last());
    }

    /// Closes its file; the mapping remains.
    pub fn close(&mut self) {
        self.ring = None;
    }

    fn word(&self, at: u32) -> &AtomicU32 {
        // SAFETY: An offset in the mapping that the kernel has told, aligned.
        unsafe { AtomicU32::from_ptr(self.at.byte_add(at as usize).cast()) }
    }

    /// Requests a poll for readability: `None` while it has not completed, or its result.
    pub fn poll(&self, file: RawFd) -> Option<i32> {
        let sqes = map(self.fd(), PAGE, IORING_OFF_SQES).cast::<u8>();
        // SAFETY: The first entry: operation, file, and which events.
        unsafe {
            sqes.write(IORING_OP_POLL_ADD);
            sqes.add(4).cast::<i32>().write(file);
            sqes.add(28).cast::<u32>().write(libc::POLLIN as u32);
            libc::munmap(sqes.cast(), PAGE);
        }
        let params = &self.params;
        self.word(params[SQ_ARRAY]).store(0, Ordering::Relaxed);
        self.word(params[SQ_TAIL]).store(1, Ordering::Release);
        let enter = libc::SYS_io_uring_enter;
        // SAFETY: No pointers.
        let ret = unsafe { libc::syscall(enter, self.fd(), 1, 0, 0, null_mut::<u8>(), 0) };
        assert!(ret == 1, "io_uring_enter: {:?}", Errno::last());
        if self.word(params[CQ_TAIL]).load(Ordering::Acquire) == 0 {
            return None;
        }
        // The result follows the user data.
        Some(self.word(params[CQ_CQES] + 8).load(Ordering::Relaxed) as i32)
    }
}

impl Drop for IoUring {
    fn drop(&mut self) {
        // SAFETY: Ours.
        unsafe { libc::munmap(self.at, PAGE) };
    }
}

/// An aio context, which is part of the address space.
pub struct Aio(usize);

impl Default for Aio {
    fn default() -> Self {
        Self::new()
    }
}

impl Aio {
    pub fn new() -> Self {
        let mut context = 0usize;
        // SAFETY: A word, as the call wants it.
        let ret = unsafe { libc::syscall(libc::SYS_io_setup, 4, from_mut(&mut context)) };
        assert!(ret == 0, "io_setup: {:?}", Errno::last());
        Self(context)
    }

    /// Requests a poll for readability.
    pub fn poll(&self, file: RawFd) -> Result {
        // SAFETY: All zero is a valid request.
        let mut request: libc::iocb = unsafe { zeroed() };
        request.aio_lio_opcode = IOCB_CMD_POLL;
        request.aio_fildes = file as u32;
        request.aio_buf = libc::POLLIN as u64;
        let list = [from_mut(&mut request)];
        // SAFETY: A list of one request, which is copied.
        match unsafe { libc::syscall(libc::SYS_io_submit, self.0, 1, list.as_ptr()) } {
            1 => Ok(()),
            _ => Err(Errno::last()),
        }
    }
}

impl Drop for Aio {
    fn drop(&mut self) {
        // SAFETY: Ours; what was asked for is cancelled.
        unsafe { libc::syscall(libc::SYS_io_destroy, self.0) };
    }
}
