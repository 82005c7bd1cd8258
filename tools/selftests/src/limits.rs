// SPDX-License-Identifier: GPL-2.0

//! A device when the system provides no more resources.

use crate::{
    child::Child,
    ensure, ensure_eq,
    group::Group,
    guest::Memory,
    lifecycle::no_worker_left,
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
};

pub fn run(suite: &mut Suite, path: &str, c: bool) {
    suite.case("no more processes: no worker of the owner's", || {
        no_processes(path, 1)
    });
    suite.case("no more processes: a kernel thread is none of them", || {
        no_processes(path, 0)
    });
    suite.case("eventfds at their maximum", || full_eventfds(path));
    suite.case("no more file descriptors in the process", || no_files(path));
    suite.case("no more files in the system", || no_files_at_all(path));
    suite.case("no more memory in the control group", || no_memory(path));
    suite.case_c_fails(
        "memory tables are in the control group",
        "they are accounted to nobody",
        || crate::slots::accounted(path, c),
    );
    suite.case_c_fails(
        "a device that is idle gives its memory back",
        "what it keeps is accounted to nobody",
        || crate::spare::given_back(path),
    );
    suite.case_c_fails(
        "a device gives its memory back when it is asked for",
        "what it keeps is accounted to nobody",
        || crate::spare::asked_for(path),
    );
    crate::retries::run(suite, path);
    suite.case("no worker is left", no_worker_left);
}

/// Runs `body` in a child process and returns its result.
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

/// Only processes without privileges are limited.
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
            (1, Err(ENOMEM)) => {
                // The device is unchanged.
                (dev.base(TX) == Err(EPERM)).then_some(()).ok_or(3)
            }
            (_, result) => {
                println!("# SET_OWNER: {result:?}");
                Err(2)
            }
        }
    })?;
    if fork == 1 {
        // The child's failure must not affect other processes.
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
    // A fault also signals an eventfd that is full. The kernel's signal uses the last count.
    net.mistake(TX);
    std::thread::sleep(std::time::Duration::from_millis(100));
    for (events, err) in net.events.iter().zip([u64::MAX - 1, u64::MAX]) {
        ensure_eq!(events.call.take(), u64::MAX, "the call eventfd's count");
        ensure_eq!(events.err.take(), err, "the error eventfd's count");
    }
    net.restart();
    net.check_tx(50)?;
    ensure!(net.events[1].call.wait(10_000), "no interrupt");
    Ok(())
}

/// A device that is set up, in a process that has all its file descriptors in use: none can be
/// opened, and no request to this device needs one.
fn no_files(path: &str) -> Outcome {
    in_child(|| {
        if !limit(libc::RLIMIT_NOFILE, 64) {
            return Err(1);
        }
        let mem = Memory::new();
        let mut net = Net::prepare(Vhost::open(path), &mem, Options::new(F_VERSION_1), false);
        let mut kick = EventFd::new();
        let mut held = every_descriptor();
        full_table(path, &mut net, &mut kick).map_err(|what| {
            println!("# {what}");
            2
        })?;
        // With the last descriptor, a device can be opened.
        held.pop();
        Vhost::open_with(path, 0).map(drop).map_err(|_| 3)
    })
}

/// Opens all that are left.
fn every_descriptor() -> Vec<OwnedFd> {
    let mut held: Vec<OwnedFd> = Vec::new();
    loop {
        // SAFETY: No pointers.
        let fd = unsafe { libc::dup(0) };
        if fd < 0 {
            assert!(Errno::last() == EMFILE, "dup: {:?}", Errno::last());
            return held;
        }
        // SAFETY: Just created.
        held.push(unsafe { OwnedFd::from_raw_fd(fd) });
    }
}

fn full_table(path: &str, net: &mut Net<'_>, kick: &mut EventFd) -> Outcome {
    ensure_eq!(Vhost::open_with(path, 0).err(), Some(EMFILE), "open");
    ensure_eq!(net.dev.reset_owner(), Ok(()), "RESET_OWNER");
    ensure_eq!(net.dev.set_owner(), Ok(()), "SET_OWNER");
    net.configure();
    let set = net.dev.set_kick(TX, kick.as_raw_fd());
    ensure_eq!(set, Ok(()), "SET_VRING_KICK");
    std::mem::swap(&mut net.events[1].kick, kick);
    for index in [RX, TX] {
        let set = net.dev.set_backend(index, net.tap.as_raw_fd());
        ensure_eq!(set, Ok(()), "NET_SET_BACKEND");
    }
    for seed in 1..4 {
        net.check_tx(seed)?;
        net.check_rx(seed, 300)?;
    }
    ensure!(net.events[1].call.wait(10_000), "no interrupt");
    Ok(())
}

/// The system's limit of open files; restored on drop.
struct FileMax(String);

impl FileMax {
    const PATH: &str = "/proc/sys/fs/file-max";

    fn set(to: &str) -> std::io::Result<Self> {
        let was = fs::read_to_string(Self::PATH)?;
        fs::write(Self::PATH, to)?;
        Ok(Self(was))
    }
}

impl Drop for FileMax {
    fn drop(&mut self) {
        fs::write(Self::PATH, self.0.trim()).expect("the limit that was");
    }
}

/// Drops the capability that exempts root from the limit of open files.
fn drop_sys_admin() -> bool {
    const VERSION_3: u32 = 0x2008_0522;
    const SYS_ADMIN: u32 = 21;
    let mut head = [VERSION_3, 0];
    let mut sets = [0u32; 6];
    // SAFETY: A header, and effective, permitted and inheritable in two halves.
    unsafe {
        if libc::syscall(libc::SYS_capget, head.as_mut_ptr(), sets.as_mut_ptr()) != 0 {
            return false;
        }
        sets[0] &= !(1 << SYS_ADMIN);
        libc::syscall(libc::SYS_capset, head.as_mut_ptr(), sets.as_ptr()) == 0
    }
}

/// A device that is open can be used, and another cannot be opened.
fn no_files_at_all(path: &str) -> Outcome {
    let mem = Memory::new();
    let mut net = Net::start(path, &mem, Options::new(F_VERSION_1));
    {
        // Privileged processes can still open files.
        let _max = FileMax::set("1").map_err(|e| format!("file-max: {e}"))?;
        in_child(|| {
            let dev = Vhost::open(path);
            if !drop_sys_admin() {
                return Err(1);
            }
            let opened = Vhost::open_with(path, 0).err();
            if opened != Some(ENFILE) {
                println!("# open: {opened:?}");
                return Err(2);
            }
            dev.set_owner().map_err(|_| 3)
        })?;
        net.check_tx(1)?;
        net.check_rx(2, 300)?;
    }
    Net::start(path, &mem, Options::new(F_VERSION_1)).check_tx(3)
}

/// More devices than there can be memory for.
const MANY: usize = 4000;

/// The errno with which a device was refused, after as many devices as possible.
fn devices(path: &str) -> Option<Errno> {
    let mem = Memory::new();
    let mut held = Vec::new();
    let more = || {
        let dev = Vhost::open_with(path, 0)?;
        dev.set_owner()?;
        dev.set_num(TX, 32768)?;
        dev.set_num(RX, 32768)?;
        dev.set_mem_table(&mem.regions(), 0)?;
        Ok(dev)
    };
    (0..MANY).find_map(|_| more().map(|dev| held.push(dev)).err())
}

/// Opens devices until there is no memory: each open fails, or the kernel kills the process.
fn no_memory(path: &str) -> Outcome {
    let group = Group::new("6M").map_err(|e| format!("no control group: {e}"))?;
    let status = Child::new(|| {
        group.join().expect("joining the control group");
        // No other limit is reached first.
        assert!(limit(libc::RLIMIT_NOFILE, 2 * MANY as u64), "RLIMIT_NOFILE");
        let refused = devices(path);
        println!("# refused: {refused:?}");
        i32::from(refused != Some(ENOMEM))
    })
    .wait();
    ensure!(
        status.success() || status.signal() == Some(libc::SIGKILL),
        "the child ended with {status}"
    );
    let reached = group.reached().map_err(|e| e.to_string())?;
    ensure!(reached > 0, "the group's limit was not reached");
    no_worker_left()?;
    let mem = Memory::new();
    Net::start(path, &mem, Options::new(F_VERSION_1)).check_tx(1)
}
