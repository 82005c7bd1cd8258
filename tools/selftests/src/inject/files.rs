// SPDX-License-Identifier: GPL-2.0

//! File operations (open, SET_OWNER, read, write, poll and close) with each failure that they can
//! meet.

use super::{each, Checked};
use crate::{
    diag, ensure, ensure_eq,
    guest::Memory,
    lifecycle::{gone, no_worker_left},
    setup::{Net, Options},
    tap::{Outcome, Suite},
    vhost::*,
};
use std::os::fd::{AsRawFd, IntoRawFd};

pub fn run(suite: &mut Suite, path: &str) {
    suite.case("open", || open(path));
    suite.case("SET_FORK_FROM_OWNER", || set_fork_from_owner(path));
    suite.case("SET_OWNER, a task of the owner's", || set_owner(path, 1));
    suite.case("SET_OWNER, a kernel thread", || set_owner(path, 0));
    suite.case("read", || reading(path));
    suite.case("write", || {
        // A message that is too short, or one for the IOTLB, which does not exist.
        at_least(1, message(path, write, Err(EFAULT), &[EINVAL])?)
    });
    suite.case("poll", || {
        at_least(1, message(path, poll, Ok(0), &[EFAULT, ENOMEM])?)
    });
    suite.case("close", || close(path));
}

/// Checks the number of failures, which must not be lower.
pub(super) fn at_least(least: u32, count: u32) -> Outcome {
    diag!("{count} failures");
    ensure!(
        count >= least,
        "only {count} failures were met, expected {least}"
    );
    Ok(())
}

/// Checks the errno of a failed request: it must be one of these, and a failure must have been
/// injected.
pub(super) fn documented(e: Errno, met: bool, errnos: &[Errno]) -> Outcome {
    ensure!(met && errnos.contains(&e), "{e:?}");
    Ok(())
}

fn open(path: &str) -> Outcome {
    let count = each(
        |fail, n| {
            let path = path.to_string();
            fail.set(n);
            Vhost::open_with(&path, 0)
        },
        |dev, met| match dev {
            Ok(dev) => works(dev, 1),
            // The system call itself may fail to copy the path.
            Err(e) => documented(e, met, &[ENOMEM, EFAULT]),
        },
    )?;
    at_least(3, count)
}

/// Checks that a device without an owner works, and returns its kind of worker.
fn works(dev: Vhost, kind: u8) -> Outcome {
    ensure_eq!(dev.fork_from_owner(), Ok(kind), "kind of worker");
    ensure_eq!(dev.base(TX), Err(EPERM), "it has an owner");
    let mem = Memory::new();
    let mut net = Net::start_with(dev, &mem, Options::new(F_VERSION_1), false);
    net.check_tx(1)?;
    net.check_rx(2, 300)
}

fn set_fork_from_owner(path: &str) -> Outcome {
    let count = each(
        |fail, n| {
            let dev = Vhost::open(path);
            fail.set(n);
            let result = dev.set_fork_from_owner(0);
            (dev, result)
        },
        |(dev, result), met| match result {
            Ok(()) => works(dev, 0),
            Err(e) => {
                documented(e, met, &[EFAULT])?;
                works(dev, 1)
            }
        },
    )?;
    at_least(1, count)
}

fn set_owner(path: &str, fork: u8) -> Outcome {
    let count = each(
        |fail, n| {
            let dev = Vhost::open(path);
            dev.set_fork_from_owner(fork).expect("kind of worker");
            fail.set(n);
            let result = dev.set_owner();
            (dev, result)
        },
        |(dev, result), met| match result {
            // A failure that the kernel handled.
            Ok(()) => {
                ensure_eq!(dev.base(TX), Ok(0), "not owned after all");
                dev.reset_owner()
                    .map_err(|e| format!("RESET_OWNER: {e:?}"))?;
                works(dev, 1)
            }
            Err(e) => {
                documented(e, met, &[ENOMEM])?;
                works(dev, fork)
            }
        },
    )?;
    at_least(3, count)
}

/// The result of a system call.
fn returned(ret: isize) -> Result<isize> {
    if ret < 0 {
        Err(Errno::last())
    } else {
        Ok(ret)
    }
}

fn read(dev: &Vhost) -> Result<isize> {
    let mut buf = [0u64; 9];
    // SAFETY: A buffer of that length.
    returned(unsafe { libc::read(dev.as_raw_fd(), buf.as_mut_ptr().cast(), 72) })
}

/// An invalidation of the IOTLB, which does not exist.
fn write(dev: &Vhost) -> Result<isize> {
    let buf = [1u64, 0, 4096, 0, 3 << 8, 0, 0, 0, 0];
    // SAFETY: A buffer of that length.
    returned(unsafe { libc::write(dev.as_raw_fd(), buf.as_ptr().cast(), 72) })
}

fn poll(dev: &Vhost) -> Result<isize> {
    let mut poll = libc::pollfd {
        fd: dev.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: One entry.
    returned(unsafe { libc::poll(&mut poll, 1, 0) } as isize)
}

/// Runs `op` on a device that works and must keep working. Its normal result, and the result with
/// a failure.
fn message(
    path: &str,
    op: fn(&Vhost) -> Result<isize>,
    rule: Result<isize>,
    errnos: &[Errno],
) -> Checked<u32> {
    let mem = Memory::new();
    each(
        |fail, n| {
            let dev = Vhost::open_with(path, libc::O_NONBLOCK).expect("open");
            let net = Net::start_with(dev, &mem, Options::new(F_VERSION_1), false);
            fail.set(n);
            let result = op(&net.dev);
            (net, result)
        },
        |(mut net, result), met| {
            match result {
                result if result == rule => (),
                Err(e) => documented(e, met, errnos)?,
                Ok(_) => return Err(format!("{result:?}, expected {rule:?}")),
            }
            net.check_tx(1)?;
            net.check_rx(2, 300)
        },
    )
}

/// There is never a message, so nothing is copied and nothing can fail.
fn reading(path: &str) -> Outcome {
    let count = message(path, read, Err(EAGAIN), &[])?;
    ensure_eq!(count, 0, "failures");
    Ok(())
}

/// The last close of a device with the last reference to the file of its tap. It cannot fail, and
/// nothing may remain, whatever failure it meets.
fn close(path: &str) -> Outcome {
    let mem = Memory::new();
    let count = each(
        |fail, n| {
            let Net { dev, tap, wire, .. } = Net::start(path, &mem, Options::new(F_VERSION_1));
            let name = tap.name.clone();
            drop((tap, wire));
            let fd = dev.into_raw_fd();
            fail.set(n);
            // SAFETY: Ours, given up above.
            let result = returned(unsafe { libc::close(fd) } as isize);
            (name, result)
        },
        |(name, result), _| {
            ensure_eq!(result, Ok(0), "close");
            gone(|tap| tap == name)
        },
    )?;
    no_worker_left()?;
    at_least(3, count)
}
