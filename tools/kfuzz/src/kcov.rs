// SPDX-License-Identifier: GPL-2.0

//! The kernel's coverage, `Documentation/dev-tools/kcov.rst`.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::Write,
    os::fd::{AsRawFd, RawFd},
    sync::atomic::{AtomicU64, Ordering},
};

const INIT_TRACE: u64 = 0x8008_6301;
const ENABLE: u64 = 0x6364;
const REMOTE_ENABLE: u64 = 0x4018_6366;
const TRACE_PC: u32 = 0;

/// The entries of a buffer; the first is their number.
const ENTRIES: usize = 1 << 16;

/// Any number that nothing else uses.
const HANDLE: u64 = 1;

#[repr(C)]
struct RemoteArg {
    trace_mode: u32,
    area_size: u32,
    num_handles: u32,
    common_handle: u64,
}

/// A buffer that the kernel writes to.
pub struct Kcov {
    file: File,
    area: *const AtomicU64,
}

/// Enables coverage of a thread into a buffer.
pub struct Enabler(RawFd);

fn ioctl(fd: RawFd, cmd: u64, arg: usize) {
    // SAFETY: A number or a pointer to what the command takes.
    let ret = unsafe { libc::ioctl(fd, cmd as _, arg) };
    assert!(
        ret == 0,
        "KCOV {cmd:#x}: {}",
        std::io::Error::last_os_error()
    );
}

impl Kcov {
    pub fn open() -> Self {
        let path = "/sys/kernel/debug/kcov";
        let file = File::options().read(true).write(true).open(path);
        let file = file.unwrap_or_else(|e| panic!("{path}: {e}"));
        ioctl(file.as_raw_fd(), INIT_TRACE, ENTRIES);
        // SAFETY: A fresh mapping of what was just made.
        let area = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                ENTRIES * 8,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                file.as_raw_fd(),
                0,
            )
        };
        assert!(area != libc::MAP_FAILED, "KCOV buffer");
        Self {
            file,
            area: area.cast(),
        }
    }

    pub fn enabler(&self) -> Enabler {
        Enabler(self.file.as_raw_fd())
    }

    fn entry(&self, at: usize) -> &AtomicU64 {
        assert!(at < ENTRIES);
        // SAFETY: In the mapping, which lasts as long as the process.
        unsafe { &*self.area.add(at) }
    }

    pub fn clear(&self) {
        self.entry(0).store(0, Ordering::Relaxed);
    }

    pub fn read(&self) -> impl Iterator<Item = u64> + '_ {
        let count = self.entry(0).load(Ordering::Acquire) as usize;
        (1..ENTRIES.min(count + 1)).map(|at| self.entry(at).load(Ordering::Relaxed))
    }
}

impl Enabler {
    /// Coverage of the calling thread.
    pub fn own(&self) {
        ioctl(self.0, ENABLE, TRACE_PC as usize);
    }

    /// Coverage of other threads that work for the calling thread (remote coverage).
    pub fn remote(&self) {
        let arg = RemoteArg {
            trace_mode: TRACE_PC,
            area_size: ENTRIES as u32,
            num_handles: 0,
            common_handle: HANDLE,
        };
        ioctl(self.0, REMOTE_ENABLE, std::ptr::from_ref(&arg) as usize);
    }
}

/// All places in the module's text that were ever reached, kept in a file with the thread that was
/// first.
pub struct Reached {
    base: u64,
    all: BTreeSet<u32>,
    file: File,
}

impl Reached {
    pub fn new() -> Self {
        let module = std::env::var("VNR_MODULE_NAME").unwrap_or_else(|_| "vhost_net_rs".into());
        let path = format!("/sys/module/{module}/sections/.text");
        let base = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
        let base = base.trim().trim_start_matches("0x");
        let path = std::env::var("VNR_REACHED").unwrap_or_else(|_| "/tmp/kfuzz-reached".into());
        Self {
            base: u64::from_str_radix(base, 16).expect("an address"),
            all: BTreeSet::new(),
            file: File::create(&path).unwrap_or_else(|e| panic!("{path}: {e}")),
        }
    }

    /// The place of an address that `by` has reached; `None` outside the module.
    pub fn add(&mut self, pc: u64, by: &str) -> Option<u32> {
        let at = u32::try_from(pc.checked_sub(self.base)?).ok()?;
        if at >= 1 << 20 {
            return None;
        }
        if self.all.insert(at) {
            let _ = writeln!(self.file, "{at:#x} {by}");
        }
        Some(at)
    }
}
