// SPDX-License-Identifier: GPL-2.0

//! Devices that are reachable from resources of their owner, or the reverse. Whatever the owner
//! does, and also when it dies, everything must be freed.

use crate::{
    aio::{map, Aio, IoUring},
    child::Child,
    ensure,
    guest::Memory,
    setup::{Net, Options, SLOW},
    tap::{Outcome, Suite},
    travel::send_fd,
    vhost::*,
};
use std::{
    fs,
    io::{Read, Write},
    mem::forget,
    os::{
        fd::{AsRawFd, FromRawFd, OwnedFd, RawFd},
        unix::net::{UnixDatagram, UnixStream},
    },
    sync::atomic::Ordering::Relaxed,
    time::{Duration, Instant},
};

/// What references the device's file besides the owner's descriptor.
#[derive(Clone, Copy)]
enum By {
    /// An io_uring with the file as a fixed file, of which only the mapping is left.
    IoUring,
    /// An aio request to poll it, which is part of the address space.
    Aio,
    /// A socket in flight to itself, and the device's file with it.
    Socket,
    /// An epoll file that waits for it, and another one that waits for the first.
    Epoll,
}

/// What the owner does at the end.
#[derive(Clone, Copy)]
enum End {
    /// It closes everything and lives.
    Closes,
    /// It is killed.
    Dies,
}

pub fn run(suite: &mut Suite, path: &str) {
    let kinds = [("a task", 1), ("a kthread", 0)];
    for (kind, fork) in kinds {
        for (name, by) in [
            ("io_uring", By::IoUring),
            ("aio", By::Aio),
            ("a socket", By::Socket),
            ("epoll", By::Epoll),
        ] {
            suite.case(
                &format!("known to {name}, the owner closes it, {kind}"),
                || ends(path, fork, by, End::Closes),
            );
        }
        for (name, by) in [("a socket", By::Socket), ("epoll", By::Epoll)] {
            suite.case(&format!("known to {name}, the owner dies, {kind}"), || {
                ends(path, fork, by, End::Dies)
            });
        }
        suite.case_c_fails(
            &format!("another has the file, the owner dies, {kind}"),
            "the device keeps the owner's memory",
            || survives(path, fork),
        );
    }
    // The C module leaks these for ever.
    for (kind, fork) in kinds {
        for (name, by) in [("io_uring", By::IoUring), ("aio", By::Aio)] {
            suite.case_c_fails(
                &format!("known to {name}, the owner dies, {kind}"),
                "the device keeps the owner's memory, and that the device",
                || ends(path, fork, by, End::Dies),
            );
        }
    }
}

/// A file that shows whether it is still mapped anywhere.
struct Tracer(OwnedFd);

impl Tracer {
    const LEN: usize = 32 << 20;

    fn new() -> Self {
        // SAFETY: A terminated name.
        let fd = unsafe { libc::memfd_create(c"vt".as_ptr(), libc::MFD_ALLOW_SEALING) };
        assert!(fd >= 0, "memfd: {:?}", Errno::last());
        // SAFETY: Just created, with length 0.
        unsafe {
            libc::ftruncate(fd, Self::LEN as i64);
            Self(OwnedFd::from_raw_fd(fd))
        }
    }

    /// Maps it into this address space and never unmaps it.
    fn map(&self) {
        map(self.0.as_raw_fd(), Self::LEN, 0);
    }

    /// A file with a writable mapping cannot be sealed against writes.
    fn is_mapped(&self) -> bool {
        // SAFETY: No pointers.
        let ret = unsafe { libc::fcntl(self.0.as_raw_fd(), libc::F_ADD_SEALS, libc::F_SEAL_WRITE) };
        ret != 0
    }
}

/// The references that must exist for as long as the device is reachable this way.
enum Known {
    Ring(#[allow(dead_code)] IoUring),
    Aio(#[allow(dead_code)] Aio),
    Elsewhere,
}

fn make_known(by: By, fd: RawFd) -> Known {
    match by {
        By::IoUring => {
            let mut ring = IoUring::new();
            ring.register(fd);
            ring.close();
            return Known::Ring(ring);
        }
        By::Aio => {
            let aio = Aio::new();
            aio.poll(fd).expect("poll by aio");
            return Known::Aio(aio);
        }
        By::Socket => {
            let (from, to) = UnixStream::pair().expect("socket pair");
            for fd in [from.as_raw_fd(), to.as_raw_fd(), fd] {
                assert!(send_fd(from.as_raw_fd(), fd), "SCM_RIGHTS");
                assert!(send_fd(to.as_raw_fd(), fd), "SCM_RIGHTS");
            }
        }
        By::Epoll => {
            // SAFETY: No pointers.
            let polls = [0; 2].map(|_| unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) });
            for (poll, fd) in [(polls[0], fd), (polls[1], polls[0])] {
                let mut event = libc::epoll_event {
                    events: libc::EPOLLIN as u32,
                    u64: 0,
                };
                // SAFETY: An event.
                let ret = unsafe { libc::epoll_ctl(poll, libc::EPOLL_CTL_ADD, fd, &mut event) };
                assert!(ret == 0, "epoll_ctl: {:?}", Errno::last());
            }
            // Only the outer epoll file references the one that waits for the device.
            // SAFETY: Ours.
            unsafe { libc::close(polls[0]) };
        }
    }
    Known::Elsewhere
}

/// The number of open files of the module.
fn references() -> i64 {
    let read = |name| fs::read_to_string(format!("/sys/module/{name}/refcnt"));
    let text = read("vhost_net_rs").or_else(|_| read("vhost_net"));
    text.expect("the module").trim().parse().expect("a number")
}

/// What remains of the owner's device.
fn left(owner: &Child, tracer: Option<&Tracer>, before: i64) -> Option<String> {
    let taps = fs::read_dir("/sys/class/net")
        .expect("interfaces")
        .flatten();
    let tap = format!("vt{}-", owner.pid());
    let taps = taps.filter(|e| e.file_name().to_string_lossy().starts_with(&tap));
    if taps.count() > 0 {
        return Some("its tap".into());
    }
    if worker_of(owner.pid()) {
        return Some("its worker".into());
    }
    if references() > before {
        return Some("a reference to the module".into());
    }
    tracer?.is_mapped().then(|| "its memory".into())
}

/// Whether there is a worker that was created by the first thread of the process.
fn worker_of(pid: i32) -> bool {
    let name = format!("vhost-{pid}");
    fs::read_dir("/proc")
        .expect("/proc")
        .flatten()
        .any(|process| {
            let tasks = fs::read_dir(process.path().join("task"));
            tasks.into_iter().flatten().flatten().any(|task| {
                let comm = fs::read_to_string(task.path().join("comm"));
                comm.is_ok_and(|comm| comm.trim_end() == name)
            })
        })
}

/// The time limit for everything to be freed.
fn patience() -> Duration {
    Duration::from_secs(if SLOW.load(Relaxed) { 20 } else { 5 })
}

fn nothing_left(owner: &Child, tracer: Option<&Tracer>, before: i64) -> Outcome {
    let end = Instant::now() + patience();
    while let Some(what) = left(owner, tracer, before) {
        ensure!(Instant::now() < end, "{what} is left");
        // Closing a socket makes the kernel collect sockets that only reference themselves.
        drop(UnixDatagram::unbound());
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Starts a device with a worker of this kind and checks that it works.
fn start(dev: Vhost, mem: &Memory, fork: u8) -> std::result::Result<Net<'_>, String> {
    dev.set_fork_from_owner(fork).expect("kind of thread");
    let mut net = Net::start_with(dev, mem, Options::new(F_VERSION_1), false);
    net.check_tx(1)?;
    Ok(net)
}

fn ends(path: &str, fork: u8, by: By, end: End) -> Outcome {
    let before = references();
    let tracer = Tracer::new();
    let (mut hears, says) = UnixStream::pair().expect("socket pair");
    let owner = Child::new(|| {
        tracer.map();
        let mem = Memory::new();
        let net = start(Vhost::open(path), &mem, fork).expect("a device that works");
        let known = make_known(by, net.dev.as_raw_fd());
        match end {
            End::Closes => {
                drop(net);
                drop(known);
            }
            End::Dies => {
                let (dev, tap) = (net.dev.as_raw_fd(), net.tap.as_raw_fd());
                forget((net, known));
                // Only the reference under test remains of the device.
                // SAFETY: Ours.
                unsafe { (libc::close(dev), libc::close(tap)) };
            }
        }
        (&says).write_all(&[1]).expect("the parent");
        loop {
            std::thread::sleep(Duration::from_secs(1));
        }
    });
    drop(says);
    let mut word = [0];
    hears
        .read_exact(&mut word)
        .map_err(|e| format!("the owner: {e}"))?;
    match end {
        End::Closes => nothing_left(&owner, None, before),
        End::Dies => {
            owner.kill();
            let owner = owner.reaped();
            nothing_left(&owner, Some(&tracer), before)
        }
    }
}

/// The owner is a process other than the one that has opened the device and keeps it open.
fn survives(path: &str, fork: u8) -> Outcome {
    let before = references();
    let tracer = Tracer::new();
    let dev = Vhost::open(path);
    let kick = EventFd::new();
    let (mut hears, says) = UnixStream::pair().expect("socket pair");
    let owner = Child::new(|| {
        tracer.map();
        let mem = Memory::new();
        let dev = dev.try_clone().expect("the device");
        let net = start(dev, &mem, fork).expect("a device that works");
        net.dev.set_kick(TX, kick.as_raw_fd()).expect("kick");
        (&says).write_all(&[1]).expect("the parent");
        loop {
            std::thread::sleep(Duration::from_secs(1));
        }
    });
    drop(says);
    let mut word = [0];
    hears
        .read_exact(&mut word)
        .map_err(|e| format!("the owner: {e}"))?;
    owner.kill();
    let owner = owner.reaped();
    let end = Instant::now() + patience();
    while tracer.is_mapped() {
        // Requests in the meantime find no owner.
        kick.signal(1);
        ensure!(Instant::now() < end, "the owner's memory is left");
        std::thread::sleep(Duration::from_millis(20));
    }
    kick.signal(1);
    // Waits for the queued work.
    ensure!(
        dev.set_mem_table(&[], 0) == Err(EPERM),
        "the memory table was let be set by another process"
    );
    ensure!(dev.features().is_ok(), "it does not answer");
    drop(dev);
    nothing_left(&owner, None, before)
}
