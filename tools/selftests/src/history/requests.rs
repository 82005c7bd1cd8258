// SPDX-License-Identifier: GPL-2.0

//! Entries about requests to the device.

use super::err;
use crate::{
    child::Child,
    diag, ensure, ensure_eq,
    guest::Memory,
    lifecycle::no_worker_left,
    net::Tap,
    setup::{Net, Options},
    tap::Outcome,
    vhost::*,
};
use std::{
    os::{fd::AsRawFd, unix::process::ExitStatusExt},
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

/// Protocols that the kernel has without loading a module, which takes seconds for each. The debug
/// kernel has no IPv6.
const FAMILIES: [i32; 5] = [
    libc::AF_UNIX,
    libc::AF_INET,
    libc::AF_INET6,
    libc::AF_NETLINK,
    libc::AF_PACKET,
];

pub(super) fn every_family(path: &str) -> Outcome {
    let mem = Memory::new();
    let net = Net::start(path, &mem, Options::new(F_VERSION_1));
    let mut tried = 0;
    for family in FAMILIES {
        if family == libc::AF_INET6 && !Path::new("/proc/net/if_inet6").exists() {
            continue;
        }
        for kind in [
            libc::SOCK_STREAM,
            libc::SOCK_DGRAM,
            libc::SOCK_RAW,
            libc::SOCK_SEQPACKET,
        ] {
            let protocol = if kind == libc::SOCK_RAW {
                libc::IPPROTO_ICMP
            } else {
                0
            };
            // SAFETY: No pointers.
            let sock = unsafe { libc::socket(family, kind, protocol) };
            // Raw packet sockets are valid backends.
            if sock < 0 || (family == libc::AF_PACKET && kind == libc::SOCK_RAW) {
                continue;
            }
            tried += 1;
            let result = net.dev.set_backend(TX, sock);
            // SAFETY: Ours.
            unsafe { libc::close(sock) };
            ensure_eq!(result, Err(ENOTSOCK), "family {family}, kind {kind}");
        }
    }
    diag!("{tried} kinds of sockets");
    ensure!(tried >= 5, "only {tried} kinds of sockets could be made");
    Ok(())
}

pub(super) fn empty_region(path: &str) -> Outcome {
    let mem = Memory::new();
    let mut net = Net::start(path, &mem, Options::new(F_VERSION_1));
    // Its last byte is before its first one, or it covers the whole address space, which is not
    // user memory.
    for gpa in [0, 4096, u64::MAX] {
        let mut regions = mem.regions();
        regions.push(Region {
            gpa,
            size: 0,
            uaddr: 0,
            flags: 0,
        });
        let result = net.dev.set_mem_table(&regions, 0);
        ensure_eq!(result, Err(EFAULT), "a region of no size at {gpa:#x}");
    }
    // Nothing hangs, and the device still works.
    net.check_tx(1)?;
    net.check_rx(2, 200)
}

pub(super) fn changing_file(path: &str) -> Outcome {
    let mem = Memory::new();
    let mut net = Net::start(path, &mem, Options::new(F_VERSION_1));
    let other = Tap::new(12);
    let kick = EventFd::new();
    // SAFETY: Copies of ours.
    let changing = unsafe { libc::dup(other.as_raw_fd()) };
    let done = AtomicBool::new(false);
    let mut seen = [0u32; 3];
    std::thread::scope(|scope| {
        let (done, kick, other) = (&done, &kick, &other);
        scope.spawn(move || {
            while !done.load(Ordering::Acquire) {
                // SAFETY: Changes the file of descriptor `changing`, which nothing else uses.
                unsafe {
                    libc::dup2(kick.as_raw_fd(), changing);
                    libc::close(changing);
                    libc::dup2(other.as_raw_fd(), changing);
                }
            }
        });
        // As often as needed for both outcomes.
        let start = Instant::now();
        for round in 0.. {
            let enough = if round < 3000 { 4 } else { 0 };
            let both = seen[0] > 0 && seen[1] > 0;
            if start.elapsed() > Duration::from_secs(if both { enough } else { 10 }) {
                break;
            }
            match net.dev.set_backend(TX, changing) {
                Ok(()) => seen[0] += 1,
                Err(e) if e == ENOTSOCK => seen[1] += 1,
                Err(_) => seen[2] += 1,
            }
        }
        done.store(true, Ordering::Release);
    });
    diag!("{} taps, {} that are none", seen[0], seen[1]);
    ensure!(seen[0] > 0, "it never was the tap");
    ensure!(seen[1] > 0, "it never was anything else");
    ensure_eq!(seen[2], 0, "other errors");
    // SAFETY: Ours.
    unsafe { libc::close(changing) };
    net.dev.set_backend(TX, net.tap.as_raw_fd()).map_err(err)?;
    net.check_tx(1)
}

pub(super) fn kicked_and_killed(path: &str) -> Outcome {
    for _ in 0..5 {
        let kick = EventFd::new();
        // The device and what it waits for outlive the owner, and so the worker.
        let dev = Vhost::open(path);
        let owner = Child::new(|| {
            let mem = Memory::new();
            let copy = dev.try_clone().unwrap_or_else(|e| panic!("dup: {e:?}"));
            let net = Net::start_with(copy, &mem, Options::new(F_VERSION_1), false);
            let _ = net.dev.set_kick(TX, kick.as_raw_fd());
            std::thread::sleep(Duration::from_secs(10));
            0
        });
        let end = Instant::now() + Duration::from_millis(600);
        let mut killed = false;
        while Instant::now() < end {
            kick.signal(1);
            if !killed && end - Instant::now() < Duration::from_millis(200) {
                killed = true;
                owner.kill();
            }
        }
        let ended = owner.wait();
        ensure!(ended.signal().is_some(), "the owner ended by itself");
        // Long enough for the memory of its tasks to be reused.
        let end = Instant::now() + Duration::from_millis(400);
        while Instant::now() < end {
            kick.signal(1);
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    no_worker_left()
}

pub(super) fn ranges(path: &str) -> Outcome {
    const LIMIT: u64 = 0x7fff_ffff_f000;
    let mem = Memory::new();
    let mut net = Net::start(path, &mem, Options::new(F_VERSION_1));
    for (uaddr, size) in [
        (LIMIT, 4096),
        (LIMIT - 4096, 3 * 4096),
        (0xffff_8880_0000_0000, 4096),
        (u64::MAX - 4095, 4096),
        (4096, u64::MAX - 8192),
    ] {
        let region = Region {
            gpa: 0,
            size,
            uaddr,
            flags: 0,
        };
        let result = net.dev.set_mem_table(&[region], 0);
        ensure!(
            result.is_err(),
            "a region at {uaddr:#x} of {size:#x} was taken"
        );
    }
    for at in [LIMIT, 0xffff_8880_0000_0000, u64::MAX - 4095] {
        let mut addr = net.ring(TX).addr(TX);
        addr.desc = at;
        let result = net.dev.set_addr(addr);
        ensure!(result.is_err(), "a ring at {at:#x} was taken");
    }
    net.check_tx(1)
}
