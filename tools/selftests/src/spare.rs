// SPDX-License-Identifier: GPL-2.0

//! Memory that is kept for packets: an idle device gives it back, and any device when the kernel is
//! short of memory.

use crate::{
    diag, ensure,
    group::{in_group, Group},
    guest::Memory,
    net::frame,
    setup::{Net, Options, BUFFERS},
    tap::Outcome,
    vhost::*,
};
use std::{
    fs, result,
    time::{Duration, Instant},
};

/// Frames that nobody reads at first, so that their memory is in use. So few that no page is
/// replaced, since a replacement is not charged.
const FRAMES: u32 = 110;
/// The memory that they take at least, in bytes; it is reused.
const KEPT: i64 = 160 << 10;
/// The part of it that an idle device may keep.
const LITTLE: i64 = 64 << 10;

/// A device that was busy and is idle has no more memory than before.
pub fn given_back(path: &str) -> Outcome {
    in_group(|group| idle(path, group))
}

/// A device that is not idle frees the pages that it does not use when the kernel is short of memory.
pub fn asked_for(path: &str) -> Outcome {
    in_group(|group| asked(path, group))
}

fn idle(path: &str, group: &Group) -> Outcome {
    let kernel = || kernel(group);
    let mem = Memory::new();
    let mut net = Net::start(path, &mem, Options::new(F_VERSION_1));
    net.check_tx(1)?;
    net.check_rx(2, 100)?;
    // The memory of the first frame is given back as well.
    std::thread::sleep(Duration::from_secs(5));
    let before = kernel()?;
    fill(&mut net)?;
    let mut busy = 0;
    stay_busy(&mut net, Duration::from_secs(6), || {
        busy = kernel()?.max(busy);
        Ok((busy >= before + KEPT).then_some(()))
    })?;
    let (since, mut after) = (Instant::now(), busy);
    while after > before + LITTLE && since.elapsed() < Duration::from_secs(30) {
        std::thread::sleep(Duration::from_millis(200));
        after = kernel()?;
    }
    diag!(
        "{before} bytes before, {busy} busy, {after} after {:?}",
        since.elapsed()
    );
    ensure!(
        busy >= before + KEPT,
        "{before} bytes before, and {busy} busy"
    );
    ensure!(
        after <= before + LITTLE,
        "{before} bytes before, and {after} when idle"
    );
    net.check_tx(4)?;
    net.check_rx(5, 100)
}

/// Returns the kernel memory of the group in bytes. The figure can be some seconds old.
fn kernel(group: &Group) -> result::Result<i64, String> {
    group.kernel().map_err(|e| e.to_string())
}

fn a_frame() -> Vec<u8> {
    frame(3, 1500)
}

/// Lets the device use many pages at the same time, and then none.
fn fill(net: &mut Net<'_>) -> Outcome {
    let sent = a_frame();
    for nth in 0..FRAMES {
        net.tx(BUFFERS, &sent);
        ensure!(net.ring(TX).wait_used().is_some(), "no used entry, {nth}");
    }
    for nth in 0..FRAMES {
        ensure!(net.wire.recv(5_000).as_ref() == Some(&sent), "frame {nth}");
    }
    Ok(())
}

/// Sends a frame every 100 ms, so that the device is not idle, until `done` returns an answer or
/// `time` has passed.
fn stay_busy<T>(
    net: &mut Net<'_>,
    time: Duration,
    mut done: impl FnMut() -> result::Result<Option<T>, String>,
) -> result::Result<Option<T>, String> {
    let (sent, since) = (a_frame(), Instant::now());
    while since.elapsed() < time {
        net.tx(BUFFERS, &sent);
        ensure!(net.ring(TX).wait_used().is_some(), "no used entry");
        ensure!(net.wire.recv(5_000).as_ref() == Some(&sent), "a frame");
        std::thread::sleep(Duration::from_millis(100));
        let answer = done()?;
        if answer.is_some() {
            return Ok(answer);
        }
    }
    Ok(None)
}

/// Calls all shrinkers.
pub fn ask_all() -> Outcome {
    fs::write("/proc/sys/vm/drop_caches", "2").map_err(|e| format!("drop_caches: {e}"))
}

fn asked(path: &str, group: &Group) -> Outcome {
    const TIME: Duration = Duration::from_secs(8);
    let mem = Memory::new();
    let mut net = Net::start(path, &mem, Options::new(F_VERSION_1));
    net.check_tx(1)?;
    ask_all()?;
    std::thread::sleep(Duration::from_secs(5));
    let before = kernel(group)?;
    fill(&mut net)?;
    // A device that is not idle keeps its pages unless the kernel asks for them.
    let mut busy = 0;
    stay_busy(&mut net, TIME, || {
        busy = kernel(group)?;
        Ok(None::<()>)
    })?;
    ask_all()?;
    let after = stay_busy(&mut net, TIME, || {
        let kept = kernel(group)?;
        Ok((kept <= before + LITTLE).then_some(kept))
    })?;
    let now = kernel(group)?;
    diag!("{before} bytes before, {busy} busy, {now} when asked for them");
    ensure!(
        busy >= before + KEPT,
        "{before} bytes before, and {busy} busy"
    );
    ensure!(after.is_some(), "{before} bytes before, and {now} asked");
    net.check_tx(4)?;
    net.check_rx(5, 100)
}
