// SPDX-License-Identifier: GPL-2.0

//! The requests that set the log up.

use super::{Copy, Guest, Log};
use crate::{
    ensure, ensure_eq,
    guest::{Memory, Ring},
    ioctl::{owned, BAD},
    net::frame,
    setup::{Net, Options, BUFFERS, RING_AT},
    tap::{Outcome, Suite},
    vhost::*,
};
use std::{fs, os::fd::AsRawFd};

/// An address that is not in user space.
const KERNEL: u64 = 0xffff_8000_0000_0000;

pub fn run(suite: &mut Suite, path: &str) {
    suite.case("SET_LOG_BASE", || log_base(path));
    suite.case("SET_LOG_FD", || log_fd(path));
    suite.case("CVE-2015-6252: a log file kept", || kept(path));
    suite.case("SET_VRING_ADDR with a log", || ring_log(path));
    suite.case("logging asked for by the features", || features(path));
    suite.case("the log file is signalled", || signalled(path));
}

fn log_base(path: &str) -> Outcome {
    let dev = Vhost::open(path);
    ensure_eq!(dev.set_log_base(0), Err(EPERM), "without an owner");
    ensure_eq!(dev.raw(SET_LOG_BASE, BAD), Err(EPERM), "and a bad pointer");
    let dev = owned(path);
    ensure_eq!(dev.raw(SET_LOG_BASE, BAD), Err(EFAULT), "a bad pointer");
    for base in [0, 1, 0x1000, KERNEL, u64::MAX] {
        ensure_eq!(
            dev.set_log_base(base),
            Ok(()),
            "{base:#x}, without a backend"
        );
    }
    let mem = Memory::new();
    let mut net = Net::start(path, &mem, Options::new(F_VERSION_1));
    // Nothing is logged yet, so nothing of it is looked at.
    ensure_eq!(net.dev.set_log_base(KERNEL), Ok(()), "unused, live");
    let on = net.dev.set_features(F_VERSION_1 | F_LOG_ALL);
    ensure_eq!(on, Err(EFAULT), "logging to the kernel, live");
    let log = Log::new();
    ensure_eq!(net.dev.set_log_base(log.base()), Ok(()), "live");
    let on = net.dev.set_features(F_VERSION_1 | F_LOG_ALL);
    ensure_eq!(on, Ok(()), "logging, live");
    ensure_eq!(net.dev.set_log_base(KERNEL), Err(EFAULT), "used, live");
    net.check_rx(1, 300)?;
    net.check_tx(2)?;
    ensure!(!log.take().is_empty(), "the old log is still in use");
    Ok(())
}

fn log_fd(path: &str) -> Outcome {
    let dev = Vhost::open(path);
    let event = EventFd::new();
    let fd = event.as_raw_fd();
    ensure_eq!(dev.set_log_fd(fd), Err(EPERM), "without an owner");
    let dev = owned(path);
    ensure_eq!(dev.raw(SET_LOG_FD, BAD), Err(EFAULT), "a bad pointer");
    ensure_eq!(dev.set_log_fd(12345), Err(EBADF), "not open");
    ensure_eq!(dev.set_log_fd(-2), Err(EBADF), "-2");
    ensure_eq!(dev.set_log_fd(dev.as_raw_fd()), Err(EINVAL), "itself");
    for fd in [fd, fd, -1, -1, fd] {
        ensure_eq!(dev.set_log_fd(fd), Ok(()), "{fd}");
    }
    Ok(())
}

/// The number of open files of the system.
fn files() -> std::result::Result<u64, String> {
    let text = fs::read_to_string("/proc/sys/fs/file-nr").map_err(|e| e.to_string())?;
    let first = text.split_whitespace().next();
    first.and_then(|n| n.parse().ok()).ok_or("file-nr".into())
}

fn kept(path: &str) -> Outcome {
    let dev = owned(path);
    let before = files()?;
    for _ in 0..10_000 {
        let event = EventFd::new();
        ensure_eq!(dev.set_log_fd(event.as_raw_fd()), Ok(()), "SET_LOG_FD");
    }
    let after = files()?;
    ensure!(after < before + 1000, "{before} open files, then {after}");
    Ok(())
}

fn ring_log(path: &str) -> Outcome {
    let mem = Memory::new();
    let dev = owned(path);
    let ring = Ring::new(&mem, RING_AT[0], 256, false);
    let logged = |log| VringAddr {
        flags: VRING_F_LOG,
        log,
        ..ring.addr(RX)
    };
    ensure_eq!(dev.set_addr(logged(0)), Ok(()), "a log");
    ensure_eq!(dev.set_addr(logged(2)), Err(EINVAL), "not aligned");
    let other = VringAddr {
        flags: 3,
        ..logged(0)
    };
    ensure_eq!(dev.set_addr(other), Err(EOPNOTSUPP), "another flag");
    ensure_eq!(
        dev.set_addr(logged(!3)),
        Ok(()),
        "anywhere, without a backend"
    );
    let mut net = Net::start(path, &mem, Options::new(F_VERSION_1));
    let live = VringAddr {
        flags: VRING_F_LOG,
        log: net.rings[0].used(),
        ..net.rings[0].addr(RX)
    };
    let log = Log::new();
    let err = |e: Errno| format!("{e:?}");
    net.dev.set_log_base(log.base()).map_err(err)?;
    ensure_eq!(net.dev.set_addr(live), Ok(()), "a log, live");
    ensure_eq!(
        net.dev.set_log_base(KERNEL),
        Err(EFAULT),
        "in the kernel, live"
    );
    let far = VringAddr { log: !3, ..live };
    ensure_eq!(
        net.dev.set_addr(far),
        Err(EINVAL),
        "too far in the log, live"
    );
    let none = VringAddr { flags: 0, ..live };
    ensure_eq!(net.dev.set_addr(none), Ok(()), "no log, live");
    ensure_eq!(
        net.dev.set_log_base(KERNEL),
        Ok(()),
        "a log that nobody uses"
    );
    ensure_eq!(
        net.dev.set_addr(live),
        Err(EINVAL),
        "a log in the kernel, live"
    );
    net.check_rx(3, 100)
}

fn features(path: &str) -> Outcome {
    let mem = Memory::new();
    let log = Log::new();
    let mut guest = Guest::start(path, &mem, F_VERSION_1);
    let err = |e: Errno| format!("{e:?}");
    let dev = guest.net.dev.try_clone().map_err(err)?;
    dev.set_log_base(log.base()).map_err(err)?;
    let mut regions = mem.regions();
    // The log of such a region would be far above the log of the others.
    regions[1].gpa = u64::MAX - regions[1].size;
    dev.set_log_base(0x7fff_ffff_0000)
        .map_err(|_| "")
        .unwrap_or(());
    let high = dev.set_mem_table(&regions, 0);
    ensure_eq!(high, Err(EFAULT), "a region whose log is in the kernel");
    dev.set_log_base(log.base()).map_err(err)?;
    let used = guest.net.rings.each_ref().map(|ring| ring.used());
    let mut copy = Copy::new(&mem, &used);
    guest.log = log;
    guest.round(&mut copy, 1)?;
    copy.check(&mem, &guest.log)?;
    Ok(())
}

fn signalled(path: &str) -> Outcome {
    let mem = Memory::new();
    let mut guest = Guest::start(path, &mem, F_VERSION_1);
    let event = EventFd::new();
    let net = &mut guest.net;
    ensure_eq!(net.dev.set_log_fd(event.as_raw_fd()), Ok(()), "SET_LOG_FD");
    net.check_rx(1, 100)?;
    ensure!(event.wait(1000), "a packet was logged, and nobody told");
    net.check_tx(2)?;
    let quiet = net.dev.set_log_fd(-1);
    ensure_eq!(quiet, Ok(()), "SET_LOG_FD");
    event.take();
    net.tx(BUFFERS, &frame(3, 100));
    net.ring(TX).wait_used().ok_or("no used entry for TX")?;
    ensure_eq!(event.take(), 0, "signals after the file was removed");
    Ok(())
}
