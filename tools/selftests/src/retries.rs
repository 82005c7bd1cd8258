// SPDX-License-Identifier: GPL-2.0

//! Sends that fail for lack of memory or room and may succeed later. They are retried after a
//! delay, and not for ever. Other work is not affected.

mod outside;

use crate::{
    diag, ensure, ensure_eq,
    guest::{Memory, GPA, SIZE},
    lifecycle::no_worker_left,
    net::frame,
    setup::{worker_time, worker_time_in_a_while, Net, Options, BUFFERS, IDLE, WHILE},
    tap::{Outcome, Suite},
    vhost::*,
};
use std::{
    os::fd::AsRawFd,
    time::{Duration, Instant},
};

const C: &str = "it tries again at once, for ever";

/// The part of [`WHILE`] that a worker may use when its retries become ever rarer.
const LITTLE: Duration = Duration::from_millis(120);

/// The shortest time for which it retries, and the time by which it has given up.
const TRIES: Duration = Duration::from_millis(200);
const GIVEN_UP: Duration = Duration::from_secs(3);

pub fn run(suite: &mut Suite, path: &str) {
    let mut case = |name: &str, body: fn(&str) -> Outcome| {
        suite.case_c_fails(&format!("a packet that cannot be held: {name}"), C, || {
            body(path)
        });
    };
    case("tried again for a while, then lost", lost);
    case("those before and behind it are sent, in order", in_order);
    case("the other queue does not notice", other_queue);
    case("kicks meanwhile", kicked);
    case("detached meanwhile", detached);
    suite.case(
        "a packet that cannot be held: RESET_OWNER meanwhile",
        || reset(path),
    );
    suite.case("a packet that cannot be held: closed meanwhile", || {
        closed(path)
    });
    outside::run(suite, path);
}

/// More than any socket buffer holds, in one descriptor; both regions have a part of it.
const HUGE: u32 = 6 << 20;
const HUGE_AT: u64 = GPA + SIZE as u64 / 2 - 0x10_0000;

/// Sends this packet and returns the time.
fn huge(net: &mut Net<'_>) -> Instant {
    let old = net.ring(TX).avail_idx();
    net.ring(TX).add(&[(HUGE_AT, HUGE, 0)]);
    net.submit(TX, old);
    Instant::now()
}

/// Checks that the next buffer is returned with length 0, after retries for some time.
fn given_up(net: &mut Net<'_>, since: Instant) -> Outcome {
    let used = net.ring(TX).wait_used_for(GIVEN_UP);
    let took = since.elapsed();
    diag!("came back after {took:?}");
    ensure_eq!(used.map(|u| u.1), Some(0), "used length");
    ensure!(took >= TRIES, "it was tried for {took:?} only");
    Ok(())
}

/// Checks that the worker sleeps most of the time.
fn mostly_sleeps() -> Outcome {
    let spent = worker_time_in_a_while();
    diag!("worker's CPU time in {WHILE:?}: {spent:?}");
    ensure!(spent < LITTLE, "the worker spins: {spent:?} of {WHILE:?}");
    Ok(())
}

fn start<'m>(path: &str, mem: &'m Memory) -> Net<'m> {
    Net::start(path, mem, Options::new(F_VERSION_1))
}

fn lost(path: &str) -> Outcome {
    let mem = Memory::new();
    let mut net = start(path, &mem);
    net.check_tx(1)?;
    let since = huge(&mut net);
    given_up(&mut net, since)?;
    ensure_eq!(net.counter("tx-drops")?, 1, "packets lost");
    // How much time that takes, which changes when it is measured.
    let since = huge(&mut net);
    mostly_sleeps()?;
    given_up(&mut net, since)?;
    ensure_eq!(net.counter("tx-drops")?, 2, "packets lost");
    ensure_eq!(net.counter("tx-packets")?, 1, "packets sent");
    ensure_eq!(net.counter("tx-faults")?, 0, "faults");
    mostly_sleeps()?;
    net.check_tx(2)?;
    net.check_rx(3, 300)
}

fn in_order(path: &str) -> Outcome {
    let mem = Memory::new();
    let mut net = start(path, &mem);
    let hdr = net.options.hdr();
    let old = net.ring(TX).avail_idx();
    let mut heads = Vec::new();
    for nth in 0..8u32 {
        let at = BUFFERS + u64::from(nth) * 2048;
        let mut data = vec![0; hdr];
        data.extend(frame(nth, 200));
        mem.write(at, &data);
        if nth == 4 {
            heads.push(net.ring(TX).add(&[(HUGE_AT, HUGE, 0)]));
        }
        heads.push(net.ring(TX).add(&[(at, data.len() as u32, 0)]));
    }
    net.submit(TX, old);
    for nth in 0..8 {
        let got = net.wire.recv(GIVEN_UP.as_millis() as i32);
        let got = got.ok_or_else(|| format!("frame {nth} did not arrive"))?;
        ensure!(got == frame(nth, 200), "frame {nth} is another or changed");
    }
    for head in heads {
        let used = net.ring(TX).wait_used_for(GIVEN_UP);
        ensure_eq!(used, Some((head, 0)), "used entry");
    }
    ensure_eq!(net.counter("tx-drops")?, 1, "packets lost");
    Ok(())
}

/// Frames that are received while a packet waits to be sent.
fn other_queue(path: &str) -> Outcome {
    let mem = Memory::new();
    let mut net = start(path, &mem);
    let since = huge(&mut net);
    let mut meanwhile = 0;
    for nth in 0..10 {
        net.check_rx(nth, 300)?;
        meanwhile += u32::from(net.ring(TX).used_idx() == 0);
    }
    diag!("{meanwhile} received meanwhile");
    ensure!(meanwhile > 0, "nothing was received meanwhile");
    given_up(&mut net, since)
}

/// Received frames cause no more retries, and none for longer.
fn kicked(path: &str) -> Outcome {
    let mem = Memory::new();
    let mut net = start(path, &mem);
    let since = huge(&mut net);
    let before = worker_time();
    let mut kicks = 0;
    while since.elapsed() < WHILE {
        net.kick(TX);
        kicks += 1;
        // Each makes the worker run; a retry in each run would take all of its time.
        std::thread::sleep(Duration::from_millis(4));
    }
    let spent = worker_time() - before;
    diag!("worker's CPU time in {WHILE:?} and {kicks} kicks: {spent:?}");
    ensure!(spent < IDLE, "the worker spins: {spent:?} of {WHILE:?}");
    while since.elapsed() < GIVEN_UP && net.ring(TX).used_idx() == 0 {
        net.kick(TX);
        std::thread::sleep(Duration::from_millis(1));
    }
    given_up(&mut net, since)?;
    net.check_tx(1)
}

/// Checks that something was done in time, while the packet was being retried.
fn at_once(what: &str, body: impl FnOnce() -> Result) -> Outcome {
    std::thread::sleep(Duration::from_millis(50));
    let started = Instant::now();
    ensure_eq!(body(), Ok(()), "{what}");
    let took = started.elapsed();
    diag!("{what}: {took:?}");
    ensure!(took < Duration::from_secs(1), "{what} took {took:?}");
    Ok(())
}

fn detached(path: &str) -> Outcome {
    let mem = Memory::new();
    let mut net = start(path, &mem);
    huge(&mut net);
    at_once("detached", || net.set_backend(TX, -1))?;
    // The buffer is still available, or used.
    let used = u32::from(net.ring(TX).used_idx());
    ensure_eq!(net.dev.base(TX), Ok(used), "base");
    mostly_sleeps()?;
    ensure_eq!(u32::from(net.ring(TX).used_idx()), used, "used, detached");
    let fd = net.tap.as_raw_fd();
    ensure_eq!(net.set_backend(TX, fd), Ok(()), "attached again");
    given_up(&mut net, Instant::now() - TRIES)?;
    net.check_tx(1)
}

fn reset(path: &str) -> Outcome {
    let mem = Memory::new();
    let mut net = start(path, &mem);
    huge(&mut net);
    at_once("RESET_OWNER", || net.dev.reset_owner())?;
    no_worker_left()?;
    ensure_eq!(net.dev.set_owner(), Ok(()), "SET_OWNER");
    net.restart();
    mostly_sleeps()?;
    net.check_tx(1)?;
    net.check_rx(2, 300)
}

fn closed(path: &str) -> Outcome {
    let mem = Memory::new();
    let mut net = start(path, &mem);
    huge(&mut net);
    at_once("closed", || {
        drop(net);
        Ok(())
    })?;
    no_worker_left()?;
    // The owner may reuse its memory, and the device does not read it.
    mem.write(HUGE_AT, &[0; 64]);
    let mut net = start(path, &mem);
    net.check_tx(1)
}
