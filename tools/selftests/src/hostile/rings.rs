// SPDX-License-Identifier: GPL-2.0

//! Rings that are unmapped or change while they are served.

use crate::{
    diag, ensure,
    guest::Memory,
    net::frame,
    setup::{worker_time_in_a_while, Net, Options, BUFFERS, IDLE, WHILE},
    tap::{Outcome, Suite},
    vhost::*,
};
use std::time::Duration;

pub fn run(suite: &mut Suite, path: &str) {
    suite.case("rings that go away while they are served", || {
        unmapped(path)
    });
    suite.case("a used ring that cannot be written to", || read_only(path));
    suite.case("descriptors that change while they are served", || {
        flipping(path)
    });
}

fn read_only(path: &str) -> Outcome {
    let mem = Memory::new();
    let mut net = Net::start(path, &mem, Options::new(F_VERSION_1 | F_EVENT_IDX));
    net.check_tx(1)?;
    let at = mem.at(net.rings[1].used());
    // SAFETY: Our mapping, of which the used ring has a page of its own; put back below.
    unsafe { libc::mprotect(at.cast(), 4096, libc::PROT_READ) };
    net.tx(BUFFERS, &frame(2, 100));
    net.kick(TX);
    let told = net.events[1].err.wait(10_000);
    let spent = worker_time_in_a_while();
    // SAFETY: As above.
    unsafe { libc::mprotect(at.cast(), 4096, libc::PROT_READ | libc::PROT_WRITE) };
    ensure!(told, "the error eventfd did not fire");
    ensure!(spent < IDLE, "the worker spins: {spent:?} of {WHILE:?}");
    net.restart();
    while net.wire.recv(0).is_some() {}
    net.check_tx(3)
}

fn unmapped(path: &str) -> Outcome {
    let mem = Memory::new();
    let mut net = Net::start(path, &mem, Options::new(F_VERSION_1));
    net.check_tx(1)?;
    for part in [
        net.rings[1].avail(),
        net.rings[1].used(),
        net.rings[1].desc(),
    ] {
        let at = net.rings[1].mem.at(part);
        // SAFETY: Our mapping, which is put back below.
        unsafe { libc::mprotect(at.cast(), 4096, libc::PROT_NONE) };
        net.kick(TX);
        std::thread::sleep(Duration::from_millis(100));
        let spent = worker_time_in_a_while();
        diag!("worker's CPU time in the {WHILE:?} after: {spent:?}");
        // SAFETY: As above.
        unsafe { libc::mprotect(at.cast(), 4096, libc::PROT_READ | libc::PROT_WRITE) };
        ensure!(spent < IDLE, "the worker spins: {spent:?}");
    }
    net.restart();
    net.check_tx(2)
}

fn flipping(path: &str) -> Outcome {
    let mem = Memory::new();
    let mut net = Net::start(path, &mem, Options::new(F_VERSION_1));
    let mut data = vec![0; 12];
    data.extend(frame(0, 100));
    mem.write(BUFFERS, &data);
    let desc = net.rings[1].desc();
    for i in 0..64 {
        net.ring(TX).set_desc(i, (BUFFERS, 112, 0), 0);
    }
    std::thread::scope(|scope| {
        let mem = &mem;
        scope.spawn(move || {
            for i in 0..200_000u32 {
                let bytes = i.wrapping_mul(2_654_435_761).to_le_bytes();
                let at = desc + u64::from(i % 64) * 16 + 8 + u64::from(i % 2) * 4;
                mem.write(at, &bytes);
            }
        });
        for _ in 0..2000 {
            let ring = net.ring(TX);
            let head = ring.avail_idx() % 64;
            ring.push_head(head);
            ring.publish();
            net.kick(TX);
        }
    });
    let spent = worker_time_in_a_while();
    ensure!(spent < IDLE, "the worker spins: {spent:?}");
    net.restart();
    while net.wire.recv(0).is_some() {}
    net.check_tx(2)
}
