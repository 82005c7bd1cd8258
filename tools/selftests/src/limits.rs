// SPDX-License-Identifier: GPL-2.0

//! What a device does where the system gives it nothing more.

use crate::{
    child::Child,
    ensure,
    guest::Memory,
    lifecycle::no_worker_left,
    net::Tap,
    setup::{Net, Options},
    tap::{Outcome, Suite},
    vhost::*,
};
use std::{
    fs,
    os::{
        fd::{AsRawFd, FromRawFd, OwnedFd},
        unix::process::ExitStatusExt,
    },
    path::{Path, PathBuf},
};

const ENOMEM: Errno = Errno(libc::ENOMEM);

pub fn run(suite: &mut Suite, path: &str) {
    suite.case("no more processes: no worker of the owner's", || {
        no_processes(path, 1)
    });
    suite.case("no more processes: a kernel thread is none of them", || {
        no_processes(path, 0)
    });
    suite.case("eventfds at their maximum", || full_eventfds(path));
    suite.case("no more file descriptors", || no_files(path));
    suite.case("no more memory in the control group", || no_memory(path));
    suite.case("no worker is left", no_worker_left);
}

/// Runs `body` in a child, which tells by its status.
fn in_child(body: impl FnOnce() -> std::result::Result<(), u8>) -> std::result::Result<(), String> {
    let status = Child::new(|| body().err().unwrap_or(0).into()).wait();
    ensure!(status.success(), "the child ended with {status}");
    Ok(())
}

fn limit(what: libc::__rlimit_resource_t, to: u64) -> bool {
    let limit = libc::rlimit {
        rlim_cur: to,
        rlim_max: to,
    };
    // SAFETY: A limit.
    unsafe { libc::setrlimit(what, &limit) == 0 }
}

/// Only those without privileges are limited.
fn no_processes(path: &str, fork: u8) -> Outcome {
    let dev = Vhost::open(path);
    dev.set_fork_from_owner(fork)
        .map_err(|e| format!("{e:?}"))?;
    in_child(|| {
        // SAFETY: No pointers.
        let changed = unsafe { libc::setgid(65534) == 0 && libc::setuid(65534) == 0 };
        if !changed || !limit(libc::RLIMIT_NPROC, 0) {
            return Err(1);
        }
        match (fork, dev.set_owner()) {
            (0, Ok(())) => Ok(()),
            (1, Err(e)) if e == EAGAIN || e == ENOMEM => {
                // As it was.
                (dev.base(TX) == Err(EPERM)).then_some(()).ok_or(3)
            }
            (_, result) => {
                println!("# SET_OWNER: {result:?}");
                Err(2)
            }
        }
    })?;
    if fork == 1 {
        // What failed for the child is not in the way of others.
        let mem = Memory::new();
        Net::start_with(dev, &mem, Options::new(F_VERSION_1), false).check_tx(1)?;
    }
    Ok(())
}

fn full_eventfds(path: &str) -> Outcome {
    let mem = Memory::new();
    let mut net = Net::start(path, &mem, Options::new(F_VERSION_1));
    net.check_tx(1)?;
    for events in &net.events {
        events.call.take();
        for event in [&events.call, &events.err] {
            ensure!(event.signal(u64::MAX - 1), "an eventfd cannot be filled");
        }
    }
    for seed in 2..50 {
        net.check_tx(seed)?;
        net.check_rx(seed, 200)?;
    }
    // A fault's signal meets a full one, too.
    let old = net.ring(TX).avail_idx();
    net.ring(TX).add(&[(8, 100, 0)]);
    net.submit(TX, old);
    std::thread::sleep(std::time::Duration::from_millis(100));
    for events in &net.events {
        events.call.take();
        events.err.take();
    }
    net.restart();
    net.check_tx(50)?;
    ensure!(net.events[1].call.wait(10_000), "no interrupt");
    Ok(())
}

fn no_files(path: &str) -> Outcome {
    let mem = Memory::new();
    let net = Net::start(path, &mem, Options::new(F_VERSION_1));
    let tap = Tap::new(12);
    in_child(|| {
        if !limit(libc::RLIMIT_NOFILE, 64) {
            return Err(1);
        }
        let mut held: Vec<OwnedFd> = Vec::new();
        loop {
            // SAFETY: No pointers.
            let fd = unsafe { libc::dup(net.tap.as_raw_fd()) };
            if fd < 0 {
                break;
            }
            // SAFETY: Just made.
            held.push(unsafe { OwnedFd::from_raw_fd(fd) });
        }
        match Vhost::open_with(path, 0) {
            Err(Errno(libc::EMFILE)) => (),
            _ => return Err(2),
        }
        held.pop();
        // With the last one a device can be had, and all that is set on it needs none.
        let Ok(dev) = Vhost::open_with(path, 0) else {
            return Err(3);
        };
        let mem = Memory::new();
        let ok = dev.set_owner().is_ok()
            && dev.set_mem_table(&mem.regions(), 0).is_ok()
            && dev.set_call(TX, net.events[1].call.as_raw_fd()).is_ok()
            && dev.set_backend(TX, tap.as_raw_fd()).is_err();
        ok.then_some(()).ok_or(4)
    })
}

/// A control group, removed when dropped.
struct Group(PathBuf);

impl Group {
    fn new(limit: &str) -> std::io::Result<Self> {
        let root = Path::new("/sys/fs/cgroup");
        fs::write(root.join("cgroup.subtree_control"), "+memory")?;
        let group = Self(root.join("vhost-selftests"));
        fs::create_dir(&group.0)?;
        fs::write(group.0.join("memory.max"), limit)?;
        Ok(group)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

/// Devices until there is no memory: each says so, or the kernel kills who asks.
fn no_memory(path: &str) -> Outcome {
    let group = Group::new("6M").map_err(|e| format!("no control group: {e}"))?;
    let status = Child::new(|| {
        let _ = fs::write(group.0.join("cgroup.procs"), "0");
        let mem = Memory::new();
        let mut held = Vec::new();
        loop {
            let Ok(dev) = Vhost::open_with(path, 0) else {
                return 0;
            };
            if dev.set_owner().is_err() {
                return 0;
            }
            let big = dev
                .set_num(TX, 32768)
                .and_then(|()| dev.set_num(RX, 32768))
                .and_then(|()| dev.set_mem_table(&mem.regions(), 0));
            if big.is_err() {
                return 0;
            }
            held.push(dev);
        }
    })
    .wait();
    ensure!(
        status.success() || status.signal() == Some(libc::SIGKILL),
        "the child ended with {status}"
    );
    no_worker_left()?;
    let mem = Memory::new();
    Net::start(path, &mem, Options::new(F_VERSION_1)).check_tx(1)
}
