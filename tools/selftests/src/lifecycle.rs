// SPDX-License-Identifier: GPL-2.0

//! Beginnings and ends: processes that die, files that travel, backends that come and go.

use crate::{
    ensure, ensure_eq,
    guest::Memory,
    net::{frame, Tap},
    setup::{endurance, is_worker, Net, Options, BUFFERS},
    tap::{Outcome, Suite},
    vhost::*,
};
use std::{
    fs,
    os::fd::AsRawFd,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

pub fn run(suite: &mut Suite, path: &str) {
    suite.case("the owner is killed under traffic", || killed(path, false));
    suite.case("the owner is killed, and a child keeps the file", || {
        killed(path, true)
    });
    suite.case("closing in every order", || closing(path));
    suite.case("swaps of the backend under traffic", || swaps(path));
    crate::waits::run(suite, path);
    suite.case_c_fails(
        "the tap is deleted while attached",
        "a batch that cannot be sent is never handed back",
        || deleted(path),
    );
    suite.case("the memory table is replaced under traffic", || {
        new_tables(path)
    });
    suite.case("a kick that was there before", || early_kick(path));
    suite.case("the call eventfd changes while it is signalled", || {
        new_calls(path)
    });
    suite.case("SET_OWNER and RESET_OWNER race", || race(path));
    suite.case("no worker is left", no_worker_left);
    suite.case("no tap is held on to", no_tap_left);
}

/// Threads of any process that are a vhost worker's.
fn workers() -> usize {
    let mut count = 0;
    for process in fs::read_dir("/proc").expect("/proc").flatten() {
        let tasks = process.path().join("task");
        for task in fs::read_dir(tasks).into_iter().flatten().flatten() {
            let comm = fs::read_to_string(task.path().join("comm")).unwrap_or_default();
            count += usize::from(is_worker(&comm));
        }
    }
    count
}

pub fn no_worker_left() -> Outcome {
    let end = Instant::now() + Duration::from_secs(10);
    while workers() > 0 {
        ensure!(Instant::now() < end, "{} workers are left", workers());
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// A tap is gone when nobody has its file any more, and all who had it are.
fn no_tap_left() -> Outcome {
    let taps = || -> Vec<String> {
        fs::read_dir("/sys/class/net")
            .expect("interfaces")
            .flatten()
            .map(|e| e.file_name().to_string_lossy().into_owned())
            .filter(|name| name.starts_with("vt"))
            .collect()
    };
    let end = Instant::now() + Duration::from_secs(10);
    while !taps().is_empty() {
        ensure!(Instant::now() < end, "left: {:?}", taps());
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// Keeps the transmit ring full for as long as `go` says, which is asked after each round.
pub fn flood(net: &mut Net<'_>, go: impl Fn() -> bool) -> u32 {
    let mut data = vec![0; net.options.hdr()];
    data.extend(frame(0, 60));
    net.rings[1].mem.write(BUFFERS, &data);
    let mut done = 0;
    while go() {
        let old = net.ring(TX).avail_idx();
        while net.ring(TX).free() > 0 {
            net.ring(TX).add(&[(BUFFERS, data.len() as u32, 0)]);
        }
        net.submit(TX, old);
        while net.ring(TX).pop_used().is_some() {
            done += 1;
        }
    }
    done
}

/// For [`flood`]: leaves the processors to whoever is to be done.
fn until(done: &AtomicBool) -> bool {
    std::thread::sleep(Duration::from_micros(200));
    !done.load(Ordering::Acquire)
}

fn killed(path: &str, child_keeps: bool) -> Outcome {
    // SAFETY: The child only runs this function's code and is killed.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        let mem = Memory::new();
        let mut net = Net::start(path, &mem, Options::new(F_VERSION_1));
        if child_keeps {
            // SAFETY: The child waits and ends.
            if unsafe { libc::fork() } == 0 {
                std::thread::sleep(Duration::from_secs(2));
                // Inert, but it answers.
                let status = i32::from(net.dev.features().is_err());
                // SAFETY: Ends the child.
                unsafe { libc::_exit(status) };
            }
        }
        flood(&mut net, || true);
    }
    std::thread::sleep(Duration::from_millis(700));
    let mut status = 0;
    // SAFETY: Our child.
    unsafe {
        libc::kill(pid, libc::SIGKILL);
        libc::waitpid(pid, &mut status, 0);
    }
    ensure!(libc::WIFSIGNALED(status), "the owner ended by itself");
    if child_keeps {
        std::thread::sleep(Duration::from_secs(2));
    }
    no_worker_left()
}

fn closing(path: &str) -> Outcome {
    for order in 0..24 {
        let mem = Memory::new();
        let mut net = Net::start(path, &mem, Options::new(F_VERSION_1));
        net.check_tx(order)?;
        let Net {
            dev,
            tap,
            wire,
            events,
            ..
        } = net;
        let [rx, tx] = events;
        let mut rest: Vec<Box<dyn std::any::Any>> = vec![
            Box::new(dev),
            Box::new((tap, wire)),
            Box::new((rx.kick, tx.kick)),
            Box::new((rx.call, tx.call, rx.err, tx.err)),
        ];
        let mut order = order as usize;
        while !rest.is_empty() {
            let at = order % rest.len();
            order /= rest.len();
            drop(rest.remove(at));
        }
    }
    no_worker_left()
}

fn swaps(path: &str) -> Outcome {
    let mem = Memory::new();
    let mut net = Net::start(path, &mem, Options::new(F_VERSION_1));
    let other = Tap::new(12);
    let fds = [other.as_raw_fd(), net.tap.as_raw_fd()];
    let before = net.tap.stat("rx_packets") + other.stat("rx_packets");
    let dev_fd = net.dev.as_raw_fd();
    let done = AtomicBool::new(false);
    let (sent, (failed, swaps)) = std::thread::scope(|scope| {
        let done = &done;
        let swapper = scope.spawn(move || {
            let (mut failed, mut swaps) = (0, 0);
            for i in endurance(10_000) {
                let file = VringFile {
                    index: TX,
                    fd: fds[i as usize % 2],
                };
                // SAFETY: A record of the command's type.
                let ret =
                    unsafe { libc::ioctl(dev_fd, NET_SET_BACKEND as _, std::ptr::from_ref(&file)) };
                failed += u32::from(ret != 0);
                swaps += 1;
            }
            done.store(true, Ordering::Release);
            (failed, swaps)
        });
        let sent = flood(&mut net, || until(done));
        (sent, swapper.join().expect("the swapper"))
    });
    ensure_eq!(failed, 0, "swaps that failed");
    ensure!(swaps > 1, "{swaps} swaps only");
    let mut sent = sent;
    while net.ring(TX).free() < net.options.size {
        net.ring(TX).wait_used().ok_or("a buffer was lost")?;
        sent += 1;
    }
    crate::diag!("{sent} frames during {swaps} swaps");
    let arrived = net.tap.stat("rx_packets") + other.stat("rx_packets") - before;
    ensure_eq!(arrived, u64::from(sent), "frames at both taps");
    net.dev
        .set_backend(TX, net.tap.as_raw_fd())
        .map_err(|e| format!("{e:?}"))?;
    while net.wire.recv(0).is_some() {}
    net.check_tx(1)?;
    net.check_rx(2, 500)
}

fn deleted(path: &str) -> Outcome {
    let mem = Memory::new();
    let mut net = Net::start(path, &mem, Options::new(F_VERSION_1));
    net.check_tx(1)?;
    ensure!(net.tap.delete(), "ip link del failed");
    // What is sent now is lost, but comes back used.
    for i in 0..10 {
        net.tx(BUFFERS + i * 4096, &frame(1, 100));
    }
    for _ in 0..10 {
        net.ring(TX)
            .wait_used_for(Duration::from_secs(4))
            .ok_or("no used entry without the tap")?;
    }
    net.tap = Tap::new(12);
    net.wire = crate::net::Wire::new(&net.tap, false);
    net.restart();
    net.check_tx(2)?;
    net.check_rx(3, 600)
}

fn new_tables(path: &str) -> Outcome {
    let mem = Memory::new();
    let mut net = Net::start(path, &mem, Options::new(F_VERSION_1));
    let dev_fd = net.dev.as_raw_fd();
    let regions = mem.regions();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (done, regions) = (&done, &regions);
        scope.spawn(move || {
            let mut words = vec![regions.len() as u64];
            for r in regions {
                words.extend([r.gpa, r.size, r.uaddr, r.flags]);
            }
            for _ in endurance(2000) {
                // SAFETY: A table of the command's type.
                unsafe { libc::ioctl(dev_fd, SET_MEM_TABLE as _, words.as_ptr()) };
            }
            done.store(true, Ordering::Release);
        });
        flood(&mut net, || until(done));
    });
    while net.ring(TX).free() < net.options.size {
        net.ring(TX).wait_used().ok_or("a buffer was lost")?;
    }
    ensure_eq!(net.events[1].err.take(), 0, "errors signalled");
    while net.wire.recv(0).is_some() {}
    net.check_tx(1)
}

fn early_kick(path: &str) -> Outcome {
    let mem = Memory::new();
    let mut net = Net::start(path, &mem, Options::new(F_VERSION_1));
    // Past the run that attaching makes.
    net.check_tx(1)?;
    net.dev.set_kick(TX, -1).map_err(|e| format!("{e:?}"))?;
    net.tx(BUFFERS, &frame(2, 100));
    ensure!(net.wire.recv(300).is_none(), "served without a kick file");
    net.kick(TX);
    let kick = net.events[1].kick.as_raw_fd();
    net.dev.set_kick(TX, kick).map_err(|e| format!("{e:?}"))?;
    net.ring(TX).wait_used().ok_or("the early kick was lost")?;
    Ok(())
}

fn new_calls(path: &str) -> Outcome {
    let mem = Memory::new();
    let mut net = Net::start(path, &mem, Options::new(F_VERSION_1));
    let dev_fd = net.dev.as_raw_fd();
    let done = AtomicBool::new(false);
    let failed = std::thread::scope(|scope| {
        let done = &done;
        let changer = scope.spawn(move || {
            let mut failed = 0;
            for i in endurance(3000) {
                let call = EventFd::new();
                let fd = if i % 3 == 0 { -1 } else { call.as_raw_fd() };
                let file = VringFile { index: TX, fd };
                // SAFETY: A record of the command's type.
                let ret =
                    unsafe { libc::ioctl(dev_fd, SET_VRING_CALL as _, std::ptr::from_ref(&file)) };
                failed += u32::from(ret != 0);
            }
            done.store(true, Ordering::Release);
            failed
        });
        flood(&mut net, || until(done));
        changer.join().expect("the changer")
    });
    ensure_eq!(failed, 0, "changes that failed");
    Ok(())
}

fn race(path: &str) -> Outcome {
    let mem = Memory::new();
    let dev = Vhost::open(path);
    let tap = Tap::new(12);
    let fd = tap.as_raw_fd();
    let owned = std::sync::atomic::AtomicU32::new(0);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                for _ in endurance(300) {
                    if dev.set_owner().is_ok() {
                        owned.fetch_add(1, Ordering::Relaxed);
                        let _ = dev.set_mem_table(&mem.regions(), 0);
                        let _ = dev.set_backend(TX, fd);
                    }
                    let _ = dev.reset_owner();
                }
            });
        }
    });
    ensure!(
        owned.load(Ordering::Relaxed) > 0,
        "nobody ever became the owner"
    );
    let _ = dev.reset_owner();
    dev.set_owner()
        .map_err(|e| format!("after the race: {e:?}"))
}
