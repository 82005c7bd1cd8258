// SPDX-License-Identifier: GPL-2.0

//! Busy polling: a queue that waits without sleeping.

use crate::{
    ensure, ensure_eq,
    guest::Memory,
    ioctl::BAD,
    net::frame,
    setup::{worker_time, worker_time_in_a_while, Net, Options, BUFFERS, IDLE},
    tap::{Outcome, Suite},
    vhost::*,
};
use std::time::{Duration, Instant};

/// Timeouts, about 20 ms and 4 s.
const SOME: u32 = 20_000;
const LONG: u32 = 4_000_000;

pub fn run(suite: &mut Suite, path: &str) {
    suite.case("busy polling: the timeouts", || timeouts(path));
    suite.case("busy polling: buffers without kicks", || unkicked(path));
    suite.case("busy polling: packets while the worker waits", || {
        received(path)
    });
    suite.case("busy polling: a queue does not hold up the other", || {
        other_queue(path)
    });
    suite.case("busy polling: the worker sleeps afterwards", || {
        sleeps(path)
    });
    suite.case_c_fails(
        "busy polling: requests do not wait for a long timeout",
        "SET_VRING_CALL waits for the queue",
        || requests(path),
    );
}

fn timeouts(path: &str) -> Outcome {
    let mem = Memory::new();
    let mut net = Net::start(path, &mem, Options::new(F_VERSION_1));
    for queue in [RX, TX] {
        ensure_eq!(net.dev.busyloop(queue), Ok(0), "after open");
    }
    for num in [1, 50, 0x8000_0000, 0] {
        ensure_eq!(net.dev.set_busyloop(RX, num), Ok(()), "{num}");
        ensure_eq!(net.dev.busyloop(RX), Ok(num), "{num}");
        ensure_eq!(net.dev.busyloop(TX), Ok(0), "the other queue");
    }
    ensure_eq!(net.dev.set_busyloop(2, 1), Err(ENOBUFS), "a third queue");
    for cmd in [SET_VRING_BUSYLOOP_TIMEOUT, GET_VRING_BUSYLOOP_TIMEOUT] {
        ensure_eq!(net.dev.raw(cmd, BAD), Err(EFAULT), "{cmd:#x}, bad pointer");
    }
    net.dev.set_busyloop(TX, 77).map_err(|e| format!("{e:?}"))?;
    net.check_tx(1)?;
    net.check_rx(2, 300)?;
    ensure_eq!(net.dev.reset_owner(), Ok(()), "RESET_OWNER");
    ensure_eq!(net.dev.set_owner(), Ok(()), "SET_OWNER");
    ensure_eq!(net.dev.busyloop(TX), Ok(0), "after RESET_OWNER");
    Ok(())
}

/// A frame that is made available without a kick, while the queue is polling.
fn unkicked(path: &str) -> Outcome {
    let mem = Memory::new();
    for features in [F_VERSION_1, F_VERSION_1 | F_EVENT_IDX] {
        let mut net = Net::start(path, &mem, Options::new(features));
        ensure_eq!(net.dev.set_busyloop(TX, SOME), Ok(()), "the timeout");
        let mut found = 0;
        for nth in 0..50 {
            net.tx(BUFFERS, &frame(nth, 60));
            net.ring(TX).wait_used().ok_or("no used entry for TX")?;
            net.wire.recv(10_000).ok_or("the frame did not arrive")?;
            let old = net.ring(TX).avail_idx();
            net.ring(TX).add(&[(BUFFERS, 72, 0)]);
            net.ring(TX).publish();
            let waits = net.ring(TX).needs_kick(old);
            // On a busy host the time may be over.
            if net
                .ring(TX)
                .wait_used_for(Duration::from_millis(15))
                .is_some()
            {
                found += u32::from(!waits);
            } else {
                net.kick(TX);
                net.ring(TX).wait_used().ok_or("no used entry for TX")?;
            }
            net.wire.recv(10_000).ok_or("the frame did not arrive")?;
        }
        ensure!(found >= 10, "only {found} of 50 were found without a kick");
    }
    Ok(())
}

fn received(path: &str) -> Outcome {
    let mem = Memory::new();
    let mut net = Net::start(path, &mem, Options::new(F_VERSION_1));
    ensure_eq!(net.dev.set_busyloop(RX, SOME), Ok(()), "the timeout");
    let before = worker_time();
    for nth in 0..200 {
        net.check_rx(nth, 60 + nth as usize)?;
    }
    let used = worker_time() - before;
    ensure!(
        used > Duration::from_millis(20),
        "the worker did not poll: {used:?}"
    );
    Ok(())
}

/// The other queue's kick, or packet, ends the polling.
fn other_queue(path: &str) -> Outcome {
    let mem = Memory::new();
    let mut net = Net::start(path, &mem, Options::new(F_VERSION_1));
    for queue in [RX, TX] {
        ensure_eq!(net.dev.set_busyloop(queue, 90_000), Ok(()), "the timeout");
    }
    let started = Instant::now();
    for nth in 0..50 {
        net.check_rx(nth, 100)?;
        net.check_tx(nth)?;
    }
    let took = started.elapsed();
    ensure!(took < Duration::from_millis(50 * 90), "both took {took:?}");
    Ok(())
}

fn sleeps(path: &str) -> Outcome {
    let mem = Memory::new();
    let mut net = Net::start(path, &mem, Options::new(F_VERSION_1));
    for queue in [RX, TX] {
        ensure_eq!(net.dev.set_busyloop(queue, SOME), Ok(()), "the timeout");
    }
    net.check_tx(1)?;
    net.check_rx(2, 100)?;
    std::thread::sleep(Duration::from_millis(100));
    let used = worker_time_in_a_while();
    ensure!(used < IDLE, "the worker was busy for {used:?}");
    net.check_tx(3)
}

fn requests(path: &str) -> Outcome {
    let mem = Memory::new();
    let mut net = Net::start(path, &mem, Options::new(F_VERSION_1));
    ensure_eq!(net.dev.set_busyloop(TX, LONG), Ok(()), "the timeout");
    net.check_tx(1)?;
    let started = Instant::now();
    ensure_eq!(net.dev.set_call(TX, -1), Ok(()), "SET_VRING_CALL");
    ensure_eq!(net.dev.set_busyloop(TX, 0), Ok(()), "no timeout");
    let took = started.elapsed();
    ensure!(took < Duration::from_secs(2), "the requests took {took:?}");
    Ok(())
}
