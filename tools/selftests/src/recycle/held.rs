// SPDX-License-Identifier: GPL-2.0

//! Readers that let frames wait while thousands of others pass.

use super::{
    flow::{held, Flow},
    ring::RxRing,
};
use crate::{
    diag, ensure, ensure_eq,
    guest::Memory,
    net::{Wire, ETH_TYPE},
    setup::{rounds, SLOW},
    tap::{Outcome, Suite},
};
use std::sync::atomic::Ordering;

/// Frames that are sent in batches.
pub const SMALL: [usize; 9] = [60, 1514, 64, 590, 14, 1024, 128, 3000, 61];
/// Packets that are sent one by one.
pub const LARGE: [usize; 8] = [65_549, 4096, 9000, 32_756, 32_757, 20_000, 65_000, 50_001];
/// Both in turn, so that pages of both kinds are in use at the same time.
pub const MIXED: [usize; 10] = [60, 65_549, 1514, 590, 9000, 64, 1024, 40_000, 128, 4096];

pub fn run(suite: &mut Suite, path: &str) {
    for (what, lens, times) in [
        ("small", &SMALL[..], 700),
        ("large", &LARGE[..], 200),
        ("mixed", &MIXED[..], 300),
    ] {
        suite.case(&format!("{what} frames held by a slow reader"), || {
            slow(path, lens, times)
        });
    }
    suite.case("frames held by several readers at once", || several(path));
    suite.case("a ring that frames are copied to, read late", || ring(path));
    suite.case("more frames than a page has references", || many(path));
}

/// A reader with room for about that many bytes.
pub fn reader(flow: &Flow<'_>, room: i32) -> Wire {
    let wire = Wire::new(&flow.net.tap, false);
    wire.option(libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, room / 2);
    wire
}

/// Sends frames of these lengths again and again. Each must arrive at the reader.
pub fn pass(flow: &mut Flow<'_>, lens: &[usize], times: u32) -> Outcome {
    // On a slow kernel: enough for all pages to be in use.
    let slow = SLOW.load(Ordering::Relaxed);
    for _ in 0..if slow { times.div_ceil(6) } else { times } {
        let first = flow.sent.count();
        flow.send_all(lens.iter().copied())?;
        flow.arrived(first)?;
    }
    Ok(())
}

/// Checks that the first sent frames wait there, and at least `least` of them.
pub fn first_ones(flow: &Flow<'_>, wire: &Wire, least: usize) -> Outcome {
    let numbers = held(wire, &flow.sent)?;
    diag!("{} of {} frames held", numbers.len(), flow.sent.count());
    ensure!(numbers.len() >= least, "{} frames only", numbers.len());
    ensure_eq!(numbers[0], 0, "the first one");
    Ok(())
}

fn slow(path: &str, lens: &[usize], times: u32) -> Outcome {
    let mem = Memory::new();
    let mut flow = Flow::start(path, &mem, 1);
    let slow = reader(&flow, 4 << 20);
    pass(&mut flow, lens, times)?;
    first_ones(&flow, &slow, 30)?;
    // It reads along from now on, so pages are returned by both readers.
    for _ in 0..10 {
        let first = flow.sent.count();
        pass(&mut flow, lens, 1)?;
        let numbers = held(&slow, &flow.sent)?;
        let all: Vec<u32> = (first..flow.sent.count()).collect();
        ensure!(numbers == all, "of {all:?} {numbers:?} arrived");
    }
    Ok(())
}

/// Clones of one packet share its data, and each is held for a different time.
fn several(path: &str) -> Outcome {
    let mem = Memory::new();
    let mut flow = Flow::start(path, &mem, 1);
    let readers = [1, 2, 4, 8].map(|room| reader(&flow, room << 20));
    pass(&mut flow, &MIXED, 60)?;
    for (i, wire) in readers.iter().enumerate() {
        first_ones(&flow, wire, 10)?;
        if i == 1 {
            pass(&mut flow, &MIXED, 60)?;
        }
    }
    Ok(())
}

fn ring(path: &str) -> Outcome {
    let mem = Memory::new();
    let mut flow = Flow::start(path, &mem, 1);
    let ring = RxRing::new(&flow.net.tap)?;
    pass(&mut flow, &MIXED, 60)?;
    // The time after which a partly filled block is given to its reader.
    std::thread::sleep(std::time::Duration::from_millis(200));
    let frames = ring.frames();
    diag!("{} of {} frames held", frames.len(), flow.sent.count());
    ensure!(frames.len() > 30, "{} frames only", frames.len());
    for (number, got) in (0..).zip(frames) {
        ensure_eq!(flow.sent.check(got)?, number, "frame");
    }
    Ok(())
}

/// Each piece of a page takes one reference, and a page starts with 32768. Eight pages are used in
/// turn.
fn many(path: &str) -> Outcome {
    const FRAMES: u32 = 280_000;
    let mem = Memory::new();
    let mut flow = Flow::start(path, &mem, 1);
    // It receives none of them.
    flow.net.wire.hear(&flow.net.tap, ETH_TYPE + 1);
    flow.repeat(60, rounds(FRAMES))?;
    flow.net.wire.hear(&flow.net.tap, ETH_TYPE);
    pass(&mut flow, &MIXED, 4)
}
