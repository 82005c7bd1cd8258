// SPDX-License-Identifier: GPL-2.0

//! A guest that breaks every rule. A ring that cannot be trusted stops its queue; an invalid
//! buffer is returned; the error eventfd is signalled; the worker does not spin.

mod bad;
mod rings;

use crate::{
    diag, ensure, ensure_eq,
    guest::{Memory, DESC_NEXT, GPA, SIZE},
    net::frame,
    setup::{worker_time_in_a_while, Net, Options, BUFFERS, IDLE, WHILE},
    tap::{Outcome, Suite},
    vhost::*,
};

/// How the device must handle a fault.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Expect {
    /// The queue stops and the error eventfd fires.
    Stop,
    /// The buffer is returned, and the next one is served.
    Drop,
}

type Build = fn(&mut Net<'_>);

const SPINS: &str = "the worker retries the buffer for ever";

pub fn run(suite: &mut Suite, path: &str) {
    let tx: [(&str, Build); 5] = [
        ("a descriptor that follows itself", |n| {
            n.ring(TX).set_desc(0, (BUFFERS, 64, DESC_NEXT), 0);
            n.ring(TX).push_head(0);
        }),
        ("a head out of range", |n| n.ring(TX).push_head(256)),
        ("the largest head", |n| n.ring(TX).push_head(0xffff)),
        ("a next out of range", |n| {
            n.ring(TX).set_desc(0, (BUFFERS, 64, DESC_NEXT), 256);
            n.ring(TX).push_head(0);
        }),
        ("an index beyond the ring", |n| index_beyond(n, TX)),
    ];
    for (name, build) in tx {
        suite.case(&format!("sent: {name}"), || {
            mistake(path, TX, Expect::Stop, build)
        });
    }
    suite.case("received into: a head out of range", || {
        mistake(path, RX, Expect::Stop, |n| n.ring(RX).push_head(999))
    });
    let spins: [(&str, Build); 2] = [
        ("a checksum that ends beyond the packet", |n| {
            let mut data = vec![1, 0, 0, 0, 0, 0, 0, 0x40, 0, 0x40, 0, 0];
            data.extend(frame(1, 60));
            n.ring(TX).mem.write(BUFFERS, &data);
            one(n, BUFFERS, data.len() as u32);
        }),
        ("a page that is not there", |n| {
            let at = n.ring(TX).mem.at(BUFFERS);
            // SAFETY: Our mapping.
            unsafe { libc::mprotect(at.cast(), 4096, libc::PROT_NONE) };
            one(n, BUFFERS, 200);
        }),
    ];
    for (name, build) in spins {
        suite.case_c_fails(&format!("sent: {name}"), SPINS, || {
            mistake(path, TX, Expect::Drop, build)
        });
    }
    suite.case("sent: a buffer across two regions is fine", || {
        straddle(path)
    });
    bad::run(suite, path);
    rings::run(suite, path);
}

fn index_beyond(n: &mut Net<'_>, queue: u32) {
    let idx = n.ring(queue).avail_idx().wrapping_add(257);
    n.ring(queue).publish_idx(idx);
}

/// For the record of known defects.
pub fn indices_beyond(path: &str) -> Outcome {
    mistake(path, TX, Expect::Stop, |n| index_beyond(n, TX))?;
    mistake(path, RX, Expect::Stop, |n| index_beyond(n, RX))
}

fn one(n: &mut Net<'_>, addr: u64, len: u32) {
    n.ring(TX).set_desc(0, (addr, len, 0), 0);
    n.ring(TX).push_head(0);
}

/// Causes a fault on a queue that works, checks the outcome, and checks that the queue works
/// again.
fn mistake(path: &str, queue: u32, expect: Expect, build: Build) -> Outcome {
    let mem = Memory::new();
    let mut net = Net::start(path, &mem, Options::new(F_VERSION_1 | F_INDIRECT));
    build(&mut net);
    // A fault in the index has already been published.
    if net.ring(queue).avail_idx() > 0 {
        net.ring(queue).publish();
    }
    net.kick(queue);
    if queue == RX {
        let _ = net.wire.send(&frame(1, 100));
    }
    let err = &net.events[queue as usize].err;
    let told = err.wait(if expect == Expect::Stop { 10_000 } else { 200 });
    let spent = worker_time_in_a_while();
    diag!("worker's CPU time in the {WHILE:?} after: {spent:?}");
    let used = net.ring(queue).pop_used();
    // Also after a failed check, the device must become idle.
    let verdict = (|| {
        ensure!(spent < IDLE, "the worker spins: {spent:?} of {WHILE:?}");
        if expect == Expect::Stop {
            ensure!(told, "the error eventfd did not fire");
            ensure_eq!(used, None, "used entries");
        } else {
            ensure_eq!(used, Some((0, 0)), "used entry of the dropped buffer");
        }
        Ok(())
    })();
    // SAFETY: Our mapping.
    unsafe {
        let at = mem.at(BUFFERS);
        libc::mprotect(at.cast(), 4096, libc::PROT_READ | libc::PROT_WRITE);
    }
    if expect == Expect::Drop && verdict.is_ok() {
        // The queue continues behind it, on the descriptors that the driver takes for free.
        net.tx(BUFFERS + 0x4000, &frame(5, 100));
        let next = net.ring(TX).wait_used();
        ensure!(next.is_some(), "the next buffer was not served");
    }
    net.restart();
    while net.wire.recv(0).is_some() {}
    net.check_tx(2)?;
    if queue == TX {
        net.check_rx(3, 200)?;
    }
    verdict
}

fn straddle(path: &str) -> Outcome {
    let mem = Memory::new();
    let mut net = Net::start(path, &mem, Options::new(F_VERSION_1));
    let sent = frame(1, 1000);
    net.tx(GPA + SIZE as u64 / 2 - 500, &sent);
    net.ring(TX).wait_used().ok_or("no used entry")?;
    let got = net.wire.recv(10_000).ok_or("the frame did not arrive")?;
    ensure!(got == sent, "the frame arrived changed");
    Ok(())
}
