// SPDX-License-Identifier: GPL-2.0

//! Frames that are still held after their backend, owner or device is gone.

use super::{
    flow::{expect, held, Flow},
    held::{first_ones, pass, reader, MIXED},
    pattern::Sent,
};
use crate::{
    child::Child,
    diag, ensure, ensure_eq,
    guest::Memory,
    net::{Tap, Wire},
    tap::{Outcome, Suite},
    vhost::*,
};
use std::{os::fd::AsRawFd, time::Duration};

pub fn run(suite: &mut Suite, path: &str) {
    suite.case("two devices at once", || two(path));
    suite.case("held while backend, owner and device change", || {
        changes(path)
    });
    suite.case("held when the owner has ended", || ended(path));
    suite.case("held when the owner is killed while it sends", || {
        killed(path)
    });
}

fn two(path: &str) -> Outcome {
    let mems = [Memory::new(), Memory::new()];
    let mut flows = [(&mems[0], 1), (&mems[1], 2)].map(|(mem, tag)| Flow::start(path, mem, tag));
    let readers = [&flows[0], &flows[1]].map(|flow| reader(flow, 2 << 20));
    std::thread::scope(|scope| {
        let threads = flows
            .each_mut()
            .map(|flow| scope.spawn(|| pass(flow, &MIXED, 150)));
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().expect("a thread"))
    })?;
    for (flow, wire) in flows.iter().zip(&readers) {
        first_ones(flow, wire, 30)?;
    }
    Ok(())
}

/// All sent frames are held to the end.
fn changes(path: &str) -> Outcome {
    let text = |e| format!("{e:?}");
    let mem = Memory::new();
    let mut flow = Flow::start(path, &mem, 1);
    let all = reader(&flow, 64 << 20);
    let other = Tap::new(12);
    pass(&mut flow, &MIXED, 4)?;
    for round in 0..10 {
        let fd = flow.net.tap.as_raw_fd();
        match round % 5 {
            0 => {
                flow.net.set_backend(TX, -1).map_err(text)?;
                flow.net.set_backend(TX, fd).map_err(text)?;
            }
            1 => {
                let away = flow.net.set_backend(TX, other.as_raw_fd());
                away.map_err(text)?;
                flow.repeat(5000, 256)?;
                flow.net.set_backend(TX, fd).map_err(text)?;
            }
            2 => flow.net.restart(),
            3 => {
                flow.net.dev.reset_owner().map_err(text)?;
                flow.net.dev.set_owner().map_err(text)?;
                // A stopped device is set up as for a restart.
                flow.net.restart();
            }
            _ => {
                flow.net.dev = Vhost::open(path);
                flow.net.dev.set_owner().map_err(text)?;
                flow.net
                    .dev
                    .set_mem_table(&mem.regions(), 0)
                    .map_err(text)?;
                flow.net.restart();
            }
        }
        flow.go_on();
        pass(&mut flow, &MIXED, 4)?;
    }
    expect(&all, &flow.sent, 0..flow.sent.count())
}

/// Frames that a child sends, which has the tap open as well. The parent can compute them.
fn sends(path: &str, tap: &Tap, times: u32) -> Outcome {
    let mem = Memory::new();
    let mut flow = Flow::on(path, &mem, 1, tap.again());
    for _ in 0..times {
        flow.send_all(MIXED)?;
    }
    Ok(())
}

fn ended(path: &str) -> Outcome {
    let tap = Tap::new(12);
    let wire = Wire::new(&tap, false);
    let status = Child::new(|| i32::from(sends(path, &tap, 40).is_err())).wait();
    ensure!(status.success(), "the child ended with {status}");
    let mut sent = Sent::new(1);
    for _ in 0..40 {
        MIXED.map(|len| sent.note(len));
    }
    // Without references, its pages are in use by others now.
    let mem = Memory::new();
    let mut flow = Flow::start(path, &mem, 2);
    pass(&mut flow, &MIXED, 40)?;
    expect(&wire, &sent, 0..sent.count())
}

fn killed(path: &str) -> Outcome {
    for round in 0..5 {
        let tap = Tap::new(12);
        let wire = Wire::new(&tap, false);
        wire.option(libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, 4 << 20);
        let owner = Child::new(|| i32::from(sends(path, &tap, 10_000).is_err()));
        ensure!(readable(&wire, 10_000), "nothing arrived");
        std::thread::sleep(Duration::from_millis(20 * round));
        owner.killed()?;
        let mem = Memory::new();
        let mut flow = Flow::start(path, &mem, 2);
        pass(&mut flow, &MIXED, 10)?;
        let mut sent = Sent::new(1);
        for _ in 0..10_000 {
            MIXED.map(|len| sent.note(len));
        }
        let numbers = held(&wire, &sent)?;
        diag!("{} frames held", numbers.len());
        ensure_eq!(numbers.first(), Some(&0), "the first one");
    }
    Ok(())
}
