// SPDX-License-Identifier: GPL-2.0

//! Workers that userspace starts, and moves queues between.

use crate::{
    child::Child,
    ensure, ensure_eq,
    guest::{Memory, DESC_WRITE},
    net::frame,
    setup::{endurance, is_worker, workers_among, Net, Options, BUFFERS},
    tap::{Outcome, Suite},
    vhost::*,
};
use std::{
    fs,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

const NONE: &str = "it has no workers for net";
const TASKS: &str = "/proc/self/task";
/// The most workers of a device.
const MOST: usize = 64;
/// An address without a mapping.
const BAD: usize = 8;

const REQUESTS: [u64; 4] = [
    NEW_WORKER,
    FREE_WORKER,
    ATTACH_VRING_WORKER,
    GET_VRING_WORKER,
];

/// The requests alone.
pub fn run_requests(suite: &mut Suite, path: &str) {
    suite.case_c_fails("workers: requests and their errors", NONE, || {
        requests(path)
    });
}

pub fn run(suite: &mut Suite, path: &str) {
    suite.case_c_fails("workers: threads tell which queue they serve", NONE, || {
        names(path)
    });
    suite.case_c_fails("workers: as many as processes may be", NONE, || {
        limited(path)
    });
    suite.case_c_fails("workers: queues move under traffic", NONE, || moving(path));
}

fn err(e: Errno) -> String {
    format!("{e:?}")
}

/// Whether each queue has a worker of its own by default.
pub fn per_queue() -> bool {
    let path = "/sys/module/vhost_net_rs/parameters/worker_per_queue";
    fs::read_to_string(path).is_ok_and(|told| told.trim() == "Y")
}

/// The number of workers, once it is this one: a thread that was stopped is seen for a while.
pub fn settled(count: usize) -> usize {
    let end = Instant::now() + Duration::from_secs(5);
    while workers_among(TASKS) != count && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(10));
    }
    workers_among(TASKS)
}

fn requests(path: &str) -> Outcome {
    let dev = Vhost::open(path);
    for cmd in REQUESTS {
        ensure_eq!(dev.raw(cmd, BAD), Err(EINVAL), "{cmd:#x} without owner");
    }
    ensure_eq!(dev.set_fork_from_owner(1), Ok(()), "tasks of the owner's");
    ensure_eq!(dev.set_owner(), Ok(()), "SET_OWNER");
    let other = Child::new(|| {
        let refused = |result: Result<u32>| result == Err(EPERM);
        i32::from(!(refused(dev.new_worker()) && refused(dev.worker(RX))))
    });
    ensure_eq!(other.wait().code(), Some(0), "another process");
    let first = u32::from(per_queue());
    ensure_eq!(dev.worker(RX), Ok(0), "worker of RX");
    ensure_eq!(dev.worker(TX), Ok(first), "worker of TX");
    let before = workers_among(TASKS);
    for cmd in REQUESTS {
        ensure_eq!(dev.raw(cmd, BAD), Err(EFAULT), "{cmd:#x}, bad pointer");
    }
    ensure_eq!(settled(before), before, "workers after that");
    let id = first + 1;
    ensure_eq!(dev.new_worker(), Ok(id), "NEW_WORKER");
    ensure_eq!(dev.new_worker(), Ok(id + 1), "NEW_WORKER again");
    ensure_eq!(settled(before + 2), before + 2, "workers");
    ensure_eq!(dev.free_worker(id + 2), Err(ENODEV), "free none");
    ensure_eq!(dev.free_worker(u32::MAX), Err(ENODEV), "free another none");
    ensure_eq!(dev.free_worker(0), Err(EBUSY), "free one that serves");
    ensure_eq!(dev.attach_worker(RX, id + 2), Err(ENODEV), "attach none");
    ensure_eq!(dev.attach_worker(2, id), Err(ENOBUFS), "attach to none");
    ensure_eq!(dev.worker(2), Err(ENOBUFS), "worker of none");
    ensure_eq!(dev.attach_worker(RX, id), Ok(()), "attach");
    ensure_eq!(dev.attach_worker(RX, id), Ok(()), "attach again");
    ensure_eq!(
        (dev.worker(RX), dev.worker(TX)),
        (Ok(id), Ok(first)),
        "then"
    );
    ensure_eq!(dev.free_worker(id), Err(EBUSY), "free one that serves RX");
    ensure_eq!(dev.attach_worker(TX, id), Ok(()), "attach TX as well");
    ensure_eq!(dev.free_worker(0), Ok(()), "free the first one");
    ensure_eq!(dev.free_worker(0), Err(ENODEV), "free it twice");
    ensure_eq!(dev.attach_worker(RX, 0), Err(ENODEV), "attach it");
    ensure_eq!(dev.new_worker(), Ok(0), "NEW_WORKER, in its place");
    let more = (0..1000).take_while(|_| dev.new_worker().is_ok()).count();
    ensure_eq!(settled(MOST), MOST, "workers after {more} more");
    ensure_eq!(dev.new_worker(), Err(ENOMEM), "one more");
    ensure_eq!(
        dev.free_worker(MOST as u32 - 1),
        Ok(()),
        "free the last one"
    );
    ensure_eq!(dev.new_worker(), Ok(MOST as u32 - 1), "NEW_WORKER then");
    ensure_eq!(dev.reset_owner(), Ok(()), "RESET_OWNER");
    ensure_eq!(settled(0), 0, "workers after RESET_OWNER");
    ensure_eq!(dev.set_fork_from_owner(0), Ok(()), "kernel threads");
    ensure_eq!(dev.set_owner(), Ok(()), "SET_OWNER");
    ensure_eq!(dev.new_worker(), Err(EFAULT), "NEW_WORKER, a kernel thread");
    ensure_eq!(dev.worker(TX), Ok(first), "worker of TX by default");
    Ok(())
}

/// The threads of this process that are workers, with their names.
fn threads() -> Vec<(u64, String)> {
    let tasks = fs::read_dir(TASKS).expect("tasks").flatten();
    let named = tasks.filter_map(|task| {
        let comm = fs::read_to_string(task.path().join("comm")).ok()?;
        let tid = task.file_name().to_str()?.parse().ok()?;
        Some((tid, comm.trim_end().to_owned()))
    });
    named.filter(|(_, comm)| is_worker(comm)).collect()
}

fn names(path: &str) -> Outcome {
    let mem = Memory::new();
    let mut net = Net::start(path, &mem, Options::new(F_VERSION_1));
    // SAFETY: No arguments.
    let base = format!("vhost-{}", unsafe { libc::gettid() });
    let cut = |suffix: &str| {
        let mut name = format!("{base}{suffix}");
        name.truncate(15);
        name
    };
    let id = net.dev.new_worker().map_err(err)?;
    net.dev.attach_worker(TX, id).map_err(err)?;
    net.dev.attach_worker(RX, 0).map_err(err)?;
    // Each of them has run once both queues have been served.
    net.check_rx(1, 100)?;
    net.check_tx(2)?;
    for (queue, prefix, suffix) in [(RX, "rx-worker", "-rx"), (TX, "tx-worker", "-tx")] {
        let tid = net.counter(prefix)?;
        let found = threads().into_iter().find(|(id, _)| *id == tid);
        ensure_eq!(found, Some((tid, cut(suffix))), "thread of queue {queue}");
    }
    net.dev.attach_worker(RX, id).map_err(err)?;
    net.check_rx(3, 100)?;
    let tids = (net.counter("rx-worker")?, net.counter("tx-worker")?);
    ensure_eq!(tids.0, tids.1, "thread of both queues");
    let found = threads().into_iter().find(|(id, _)| *id == tids.0);
    ensure_eq!(found.map(|(_, name)| name), Some(cut("")), "its name");
    Ok(())
}

/// Workers count as processes of the user's.
fn limited(path: &str) -> Outcome {
    const MORE: u32 = 5;
    let user = Child::new(|| {
        let dev = Vhost::open(path);
        let fits = || -> Outcome {
            // SAFETY: No pointers but to the limit. Root is not limited.
            unsafe {
                let limit = libc::rlimit {
                    rlim_cur: u64::from(MORE) + 2,
                    rlim_max: u64::from(MORE) + 2,
                };
                ensure_eq!(libc::setrlimit(libc::RLIMIT_NPROC, &limit), 0, "setrlimit");
                ensure_eq!(libc::setresuid(65_533, 65_533, 65_533), 0, "setresuid");
            }
            dev.set_owner().map_err(err)?;
            let started = (0..1000).take_while(|_| dev.new_worker().is_ok()).count();
            ensure!((1..10).contains(&started), "{started} workers");
            ensure_eq!(dev.new_worker(), Err(ENOMEM), "one more");
            let last = u32::try_from(started).map_err(|e| e.to_string())?;
            dev.free_worker(last).map_err(err)?;
            ensure_eq!(dev.new_worker(), Ok(last), "after one was stopped");
            Ok(())
        };
        match fits() {
            Ok(()) => 0,
            Err(what) => {
                println!("# {what}");
                1
            }
        }
    });
    ensure_eq!(user.wait().code(), Some(0), "the user's process");
    Ok(())
}

const BATCH: usize = 64;
const LEN: usize = 300;
const ROOM: u64 = 512;
const OUT: u64 = BUFFERS + 0x4_0000;

/// A batch of frames each way, which must arrive unchanged and in order.
fn both_ways(net: &mut Net<'_>, first: u32) -> Outcome {
    let frames: Vec<_> = (first..).take(BATCH).map(|n| frame(n, LEN)).collect();
    let places = || (0..BATCH as u64).map(|n| n * ROOM);
    for at in places() {
        net.ring(RX).add(&[(BUFFERS + at, ROOM as u32, DESC_WRITE)]);
    }
    net.kick(RX);
    let old = net.ring(TX).avail_idx();
    for (at, frame) in places().zip(&frames) {
        net.ring(TX)
            .mem
            .write(OUT + at, &[&[0; 12][..], frame].concat());
        net.ring(TX).add(&[(OUT + at, (12 + LEN) as u32, 0)]);
    }
    net.submit(TX, old);
    net.ring(RX).publish();
    net.kick(RX);
    for frame in &frames {
        net.wire.send(frame).map_err(err)?;
    }
    for (n, (at, frame)) in places().zip(&frames).enumerate() {
        net.ring(TX)
            .wait_used()
            .ok_or_else(|| format!("TX {n} did not come back"))?;
        let got = net.wire.recv(10_000);
        ensure!(
            got.as_ref() == Some(frame),
            "frame {n} of {first} was not sent"
        );
        let used = net
            .ring(RX)
            .wait_used()
            .ok_or_else(|| format!("RX {n} is missing"))?;
        ensure_eq!(used.1 as usize, 12 + LEN, "used length");
        let got = net.ring(RX).mem.read(BUFFERS + at + 12, LEN);
        ensure!(
            got == *frame,
            "frame {n} of {first} was not received in order"
        );
    }
    Ok(())
}

fn moving(path: &str) -> Outcome {
    let mem = Memory::new();
    let mut net = Net::start(path, &mem, Options::new(F_VERSION_1));
    let dev = net.dev.try_clone().map_err(err)?;
    let before = workers_among(TASKS);
    let done = AtomicBool::new(false);
    // Each queue is moved to a new worker in turn, and its old one is stopped if it serves no other
    // queue.
    let mover = |_| -> Outcome {
        for queue in [RX, TX] {
            let (old, new) = (
                dev.worker(queue).map_err(err)?,
                dev.new_worker().map_err(err)?,
            );
            dev.attach_worker(queue, new).map_err(err)?;
            if dev.worker(RX) != Ok(old) && dev.worker(TX) != Ok(old) {
                dev.free_worker(old).map_err(err)?;
            }
        }
        // Sometimes both are served by one.
        let (rx, tx) = (dev.worker(RX).map_err(err)?, dev.worker(TX).map_err(err)?);
        if rx != tx {
            dev.attach_worker(TX, rx).map_err(err)?;
            dev.free_worker(tx).map_err(err)?;
        }
        Ok(())
    };
    let mut moved = 0u32;
    let mut sent = 0;
    let result = std::thread::scope(|scope| {
        let mover = scope.spawn(|| {
            let result = endurance(3_400).inspect(|_| moved += 3).try_for_each(mover);
            done.store(true, Ordering::Release);
            result
        });
        let mut result = Ok(());
        while result.is_ok() && !done.load(Ordering::Acquire) {
            result = both_ways(&mut net, sent);
            sent += BATCH as u32;
        }
        result.and(mover.join().expect("the mover"))
    });
    result?;
    crate::diag!("{sent} frames each way during {moved} moves");
    ensure!(sent > 0 && moved > 6, "{moved} moves, {sent} frames");
    both_ways(&mut net, sent)?;
    ensure_eq!(settled(before), before, "workers in the end");
    ensure_eq!(net.events[1].err.take(), 0, "errors signalled");
    Ok(())
}
