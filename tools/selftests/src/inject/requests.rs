// SPDX-License-Identifier: GPL-2.0

//! Every request, with each of the failures that it can meet: the documented errno, and the
//! device as it was.

use super::FailNth;
use crate::{
    diag, ensure, ensure_eq,
    guest::Memory,
    net::Tap,
    setup::{Net, Options},
    tap::{Outcome, Suite},
    vhost::*,
};
use std::os::fd::AsRawFd;

/// More failures than any request can meet.
const ENOUGH: u32 = 2000;

const ENOMEM: Errno = Errno(libc::ENOMEM);

/// A request on a device that is set up, and not attached.
struct Request {
    name: &'static str,
    /// What it does would be seen afterwards, by traffic or by asking.
    op: fn(&Net<'_>, &Spare) -> Result,
    errnos: &'static [Errno],
    /// How many failures it must at least be able to meet.
    at_least: u32,
}

/// What a request would put in place of what is there.
struct Spare {
    tap: Tap,
    event: EventFd,
}

const REQUESTS: [Request; 16] = [
    Request {
        name: "GET_FEATURES",
        op: |n, _| n.dev.features().map(drop),
        errnos: &[EFAULT],
        at_least: 1,
    },
    Request {
        name: "SET_FEATURES",
        op: |n, _| n.dev.set_features(0),
        errnos: &[EFAULT],
        at_least: 1,
    },
    Request {
        name: "GET_BACKEND_FEATURES",
        op: |n, _| n.dev.backend_features().map(drop),
        errnos: &[EFAULT],
        at_least: 1,
    },
    Request {
        name: "SET_BACKEND_FEATURES",
        op: |n, _| n.dev.set_backend_features(0),
        errnos: &[EFAULT],
        at_least: 1,
    },
    Request {
        name: "SET_MEM_TABLE",
        op: |n, _| n.dev.set_mem_table(&n.rings[0].mem.regions()[1..], 0),
        errnos: &[EFAULT, ENOMEM],
        at_least: 3,
    },
    Request {
        name: "SET_VRING_NUM",
        op: |n, _| n.dev.set_num(TX, 2),
        errnos: &[EFAULT, ENOMEM],
        at_least: 1,
    },
    Request {
        name: "SET_VRING_BASE",
        op: |n, _| n.dev.set_base(TX, 7),
        errnos: &[EFAULT],
        at_least: 1,
    },
    Request {
        name: "GET_VRING_BASE",
        op: |n, _| n.dev.base(TX).map(drop),
        errnos: &[EFAULT],
        at_least: 1,
    },
    Request {
        name: "SET_VRING_ADDR",
        op: |n, _| {
            let mut addr = n.rings[1].addr(TX);
            addr.used = n.rings[0].addr(RX).used;
            n.dev.set_addr(addr)
        },
        errnos: &[EFAULT, ENOMEM],
        at_least: 1,
    },
    Request {
        name: "SET_VRING_KICK",
        op: |n, s| n.dev.set_kick(TX, s.event.as_raw_fd()),
        errnos: &[EFAULT, ENOMEM],
        at_least: 1,
    },
    Request {
        name: "SET_VRING_CALL",
        op: |n, s| n.dev.set_call(TX, s.event.as_raw_fd()),
        errnos: &[EFAULT, ENOMEM],
        at_least: 1,
    },
    Request {
        name: "SET_VRING_ERR",
        op: |n, s| n.dev.set_err(TX, s.event.as_raw_fd()),
        errnos: &[EFAULT, ENOMEM],
        at_least: 1,
    },
    Request {
        name: "SET_FORK_FROM_OWNER",
        op: |n, _| n.dev.set_fork_from_owner(0),
        errnos: &[EBUSY, EFAULT],
        at_least: 0,
    },
    Request {
        name: "GET_FORK_FROM_OWNER",
        op: |n, _| n.dev.fork_from_owner().map(drop),
        errnos: &[EFAULT],
        at_least: 1,
    },
    Request {
        name: "NET_SET_BACKEND",
        op: |n, s| n.dev.set_backend(TX, s.tap.as_raw_fd()),
        errnos: &[EFAULT, ENOMEM],
        at_least: 2,
    },
    Request {
        name: "RESET_OWNER",
        op: |n, _| n.dev.reset_owner(),
        errnos: &[ENOMEM],
        at_least: 1,
    },
];

pub fn run(suite: &mut Suite, path: &str) {
    suite.case("open", || open(path));
    suite.case("SET_OWNER, a task of the owner's", || set_owner(path, 1));
    suite.case("SET_OWNER, a kernel thread", || set_owner(path, 0));
    for request in &REQUESTS {
        suite.case(request.name, || sweep(path, request));
    }
    suite.case("read, write and poll", || messages(path));
    suite.case("close", || close(path));
}

/// Runs `op` with the nth failure for each n until there are no more; `check` sees what it made
/// of each, and returns the errors that were met.
fn each<T>(
    mut op: impl FnMut(&FailNth, u32) -> T,
    mut check: impl FnMut(T, u32) -> Outcome,
) -> std::result::Result<u32, String> {
    let fail = FailNth::of_this_thread();
    for n in 1..ENOUGH {
        let out = op(&fail, n);
        let met = fail.met();
        fail.set(0);
        if !met {
            return Ok(n - 1);
        }
        check(out, n)?;
    }
    Err(format!("more than {ENOUGH} failures"))
}

fn open(path: &str) -> Outcome {
    let count = each(
        |fail, n| {
            let path = path.to_string();
            fail.set(n);
            Vhost::open_with(&path, 0)
        },
        |dev, n| match dev {
            Ok(dev) => dev
                .features()
                .map(drop)
                .map_err(|e| format!("failure {n}: {e:?}")),
            Err(e) => {
                ensure!(
                    [ENOMEM, EFAULT, Errno(libc::ENFILE)].contains(&e),
                    "failure {n}: {e:?}"
                );
                Ok(())
            }
        },
    )?;
    diag!("{count} failures");
    ensure!(count >= 3, "only {count} failures were met");
    Ok(())
}

fn set_owner(path: &str, fork: u8) -> Outcome {
    let mem = Memory::new();
    let count = each(
        |fail, n| {
            let dev = Vhost::open(path);
            dev.set_fork_from_owner(fork).expect("kind of worker");
            fail.set(n);
            let result = dev.set_owner();
            (dev, result)
        },
        |(dev, result), n| {
            match result {
                Ok(()) => dev
                    .reset_owner()
                    .map_err(|e| format!("RESET_OWNER: {e:?}"))?,
                Err(e) => {
                    ensure!(
                        [ENOMEM, Errno(libc::EAGAIN)].contains(&e),
                        "failure {n}: {e:?}"
                    );
                    ensure_eq!(dev.base(TX), Err(EPERM), "failure {n}: owned all the same");
                }
            }
            let mut net = Net::start_with(dev, &mem, Options::new(F_VERSION_1), false);
            net.check_tx(n)
        },
    )?;
    diag!("{count} failures");
    ensure!(count >= 3, "only {count} failures were met");
    Ok(())
}

fn sweep(path: &str, request: &Request) -> Outcome {
    let mem = Memory::new();
    let spare = Spare {
        tap: Tap::new(12),
        event: EventFd::new(),
    };
    let count = each(
        |fail, n| {
            let dev = Vhost::open(path);
            let net = Net::prepare(dev, &mem, Options::new(F_VERSION_1), false);
            fail.set(n);
            let result = (request.op)(&net, &spare);
            (net, result)
        },
        |(mut net, result), n| {
            // A failure that is made up for is none.
            let Err(e) = result else { return Ok(()) };
            ensure!(request.errnos.contains(&e), "failure {n}: {e:?}");
            ensure_eq!(net.dev.base(TX), Ok(0), "failure {n}: base");
            ensure_eq!(
                net.dev.fork_from_owner(),
                Ok(1),
                "failure {n}: kind of worker"
            );
            net.attach();
            net.check_tx(n)?;
            net.check_rx(n, 300)?;
            ensure!(net.events[1].call.wait(5000), "failure {n}: no interrupt");
            Ok(())
        },
    )?;
    diag!("{count} failures");
    let least = request.at_least;
    ensure!(
        count >= least,
        "only {count} failures were met, expected {least}"
    );
    Ok(())
}

fn messages(path: &str) -> Outcome {
    let mem = Memory::new();
    let count = each(
        |fail, n| {
            let net = Net::start(path, &mem, Options::new(F_VERSION_1));
            let fd = net.dev.as_raw_fd();
            let mut buf = [0u64; 16];
            let mut poll = libc::pollfd {
                fd,
                events: libc::POLLIN,
                revents: 0,
            };
            fail.set(n);
            // SAFETY: Buffers of those lengths.
            unsafe {
                libc::write(fd, buf.as_ptr().cast(), 128);
                libc::fcntl(fd, libc::F_SETFL, libc::O_NONBLOCK);
                libc::read(fd, buf.as_mut_ptr().cast(), 128);
                libc::poll(&mut poll, 1, 0);
            }
            net
        },
        |mut net, n| net.check_tx(n),
    )?;
    diag!("{count} failures");
    Ok(())
}

/// It has nothing to fail with; whatever it meets, nothing may be left.
fn close(path: &str) -> Outcome {
    let mem = Memory::new();
    let count = each(
        |fail, n| {
            let net = Net::start(path, &mem, Options::new(F_VERSION_1));
            fail.set(n);
            drop(net);
        },
        |(), _| Ok(()),
    )?;
    diag!("{count} failures");
    crate::lifecycle::no_worker_left()
}
