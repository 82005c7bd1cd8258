// SPDX-License-Identifier: GPL-2.0

//! A worker that is blocked in the middle of a packet, by a page that userspace has not supplied
//! yet.

use crate::{
    ensure, ensure_eq,
    guest::Memory,
    net::Tap,
    setup::{Net, Options, BUFFERS},
    tap::{Outcome, Suite},
    vhost::{readable, Errno, F_VERSION_1, RX, TX},
};
use std::{
    os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd},
    time::Duration,
};

const UFFDIO_API: u64 = 0xc018_aa3f;
const UFFDIO_REGISTER: u64 = 0xc020_aa00;
const UFFDIO_ZEROPAGE: u64 = 0xc020_aa04;
const UFFD_API: u64 = 0xaa;
const MISSING: u64 = 1;
const PAGE: u64 = 4096;

pub fn run(suite: &mut Suite, path: &str) {
    suite.case("a backend is let go when no run reads it", || held_up(path));
}

/// Guest memory of which a page is missing: a reader of this page blocks until it is supplied.
pub struct Held {
    fd: OwnedFd,
    at: u64,
}

impl AsRawFd for Held {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

impl Held {
    pub fn new(at: *mut u8) -> Result<Self, Errno> {
        // A blocking userfaultfd reports an error to poll.
        let flags = libc::O_CLOEXEC | libc::O_NONBLOCK;
        // SAFETY: No pointers.
        let fd = unsafe { libc::syscall(libc::SYS_userfaultfd, flags) };
        if fd < 0 {
            return Err(Errno::last());
        }
        // SAFETY: Just opened.
        let fd = unsafe { OwnedFd::from_raw_fd(fd as i32) };
        let held = Self { fd, at: at as u64 };
        held.ask(UFFDIO_API, [UFFD_API, 0, 0, 0])?;
        // SAFETY: Our mapping; what was there is not needed.
        unsafe { libc::madvise(at.cast(), PAGE as usize, libc::MADV_DONTNEED) };
        held.ask(UFFDIO_REGISTER, [held.at, PAGE, MISSING, 0])?;
        Ok(held)
    }

    fn ask(&self, cmd: u64, mut words: [u64; 4]) -> Result<(), Errno> {
        // SAFETY: All its records have at most that many words.
        match unsafe { libc::ioctl(self.fd.as_raw_fd(), cmd as _, words.as_mut_ptr()) } {
            0 => Ok(()),
            _ => Err(Errno::last()),
        }
    }

    pub fn supply(&self) -> Result<(), Errno> {
        self.ask(UFFDIO_ZEROPAGE, [self.at, PAGE, 0, 0])
    }
}

/// The worker is in the middle of a packet to send. It also reads the backend of the other queue,
/// which must not be freed before this run has ended.
fn held_up(path: &str) -> Outcome {
    let mem = Memory::new();
    let mut net = Net::start(path, &mem, Options::new(F_VERSION_1));
    net.check_tx(1)?;
    let other = Tap::new(12);
    let held = Held::new(mem.at(BUFFERS)).map_err(|e| format!("userfaultfd: {e:?}"))?;
    let old = net.ring(TX).avail_idx();
    net.ring(TX).add(&[(BUFFERS, 212, 0)]);
    net.submit(TX, old);
    ensure!(readable(&held, 10_000), "the worker never read the packet");
    let (early, swapped, supplied) = std::thread::scope(|scope| {
        let (dev, fd) = (&net.dev, other.as_raw_fd());
        let swap = scope.spawn(move || dev.set_backend(RX, fd));
        std::thread::sleep(Duration::from_millis(400));
        let early = swap.is_finished();
        let supplied = held.supply();
        (early, swap.join().expect("the swapper"), supplied)
    });
    ensure_eq!(supplied, Ok(()), "the page");
    ensure_eq!(swapped, Ok(()), "the swap");
    ensure!(!early, "let go while the worker was in the middle of a run");
    net.ring(TX).wait_used().ok_or("no used entry")?;
    net.restart();
    while net.wire.recv(0).is_some() {}
    net.check_tx(2)?;
    net.check_rx(3, 300)
}
