// SPDX-License-Identifier: GPL-2.0

//! Replacing backends, tables, eventfds and owners while packets flow.

use crate::{
    ensure, ensure_eq,
    guest::{Memory, Ring, DESC_WRITE},
    net::{frame, Tap, Wire},
    setup::{endurance, rounds, Net, Options, BUFFERS, RING_AT},
    tap::{Outcome, Suite},
    vhost::*,
};
use std::{
    os::fd::AsRawFd,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

pub fn run(suite: &mut Suite, path: &str) {
    suite.case("swaps of the backend under traffic", || swaps(path));
    suite.case("one queue is reset while the other one sends", || {
        reset(path)
    });
    suite.case("the memory table is replaced under traffic", || {
        new_tables(path)
    });
    suite.case("the call eventfd changes while it is signalled", || {
        new_calls(path)
    });
    suite.case("SET_OWNER and RESET_OWNER race", || race(path));
}

/// Keeps the transmit ring full while `go` returns true; `go` is called after each round.
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

/// For [`flood`]: yields the processor.
fn until(done: &AtomicBool) -> bool {
    std::thread::sleep(Duration::from_micros(200));
    !done.load(Ordering::Acquire)
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

/// The driver resets the receive queue and enables it again with a ring of another size
/// (VIRTIO_F_RING_RESET).
fn reset(path: &str) -> Outcome {
    let mem = Memory::new();
    let features = F_VERSION_1 | F_RING_RESET;
    let mut net = Net::start(path, &mem, Options::new(features));
    let dev = net.dev.try_clone().map_err(|e| format!("{e:?}"))?;
    let (tap, wire) = (net.tap.as_raw_fd(), Wire::onto(&net.tap.name));
    let [kick, call] = [EventFd::new(), EventFd::new()];
    let done = AtomicBool::new(false);
    let again = |round: u32| -> Outcome {
        let err = |e: Errno| format!("round {round}: {e:?}");
        dev.set_backend(RX, -1).map_err(err)?;
        let base = dev.base(RX).map_err(err)?;
        ensure_eq!(base, u32::from(round > 0), "base in round {round}");
        let mut ring = Ring::new(&mem, RING_AT[0], 4 << (round % 5), false);
        dev.set_num(RX, ring.size.into()).map_err(err)?;
        dev.set_base(RX, 0).map_err(err)?;
        dev.set_addr(ring.addr(RX)).map_err(err)?;
        dev.set_kick(RX, kick.as_raw_fd()).map_err(err)?;
        dev.set_call(RX, call.as_raw_fd()).map_err(err)?;
        dev.set_backend(RX, tap).map_err(err)?;
        ring.add(&[(BUFFERS + 0x1000, 2048, DESC_WRITE)]);
        ring.publish();
        kick.signal(1);
        let sent = frame(round, 60 + round as usize % 1000);
        wire.send(&sent).map_err(err)?;
        let used = ring.wait_used().ok_or("no used entry for RX")?;
        ensure_eq!(used.1 as usize, 12 + sent.len(), "used length");
        let got = mem.read(BUFFERS + 0x1000 + 12, sent.len());
        ensure!(got == sent, "the frame of round {round} arrived changed");
        Ok(())
    };
    let (sent, result) = std::thread::scope(|scope| {
        let resetter = scope.spawn(|| {
            let result = (0..rounds(1000)).try_for_each(again);
            done.store(true, Ordering::Release);
            result
        });
        let sent = flood(&mut net, || until(&done));
        (sent, resetter.join().expect("the resetter"))
    });
    result?;
    crate::diag!("{sent} frames were sent meanwhile");
    while net.ring(TX).free() < net.options.size {
        net.ring(TX).wait_used().ok_or("a buffer was lost")?;
    }
    ensure!(sent > 0, "the other queue did not send");
    ensure_eq!(net.events[1].err.take(), 0, "errors signalled");
    Ok(())
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
