// SPDX-License-Identifier: GPL-2.0

//! Memory that is kept for packets and that an idle device gives back.

use crate::{
    child::Child,
    diag, ensure,
    group::Group,
    guest::Memory,
    net::frame,
    setup::{Net, Options, BUFFERS},
    tap::Outcome,
    vhost::*,
};
use std::time::{Duration, Instant};

/// Frames that nobody reads at first, so that their memory is in use. So few that no page is
/// replaced, since a replacement is not charged.
const FRAMES: u32 = 110;
/// The memory that they take at least, in bytes; it is reused.
const KEPT: i64 = 160 << 10;
/// The part of it that an idle device may keep.
const LITTLE: i64 = 64 << 10;

/// A device that was busy and is idle has no more memory than before.
pub fn given_back(path: &str) -> Outcome {
    let group = Group::new("max").map_err(|e| format!("no control group: {e}"))?;
    let status = Child::new(|| {
        group.join().expect("joining the control group");
        match idle(path, &group) {
            Ok(()) => 0,
            Err(what) => {
                eprintln!("# {what}");
                1
            }
        }
    })
    .wait();
    ensure!(status.success(), "the child ended with {status}");
    Ok(())
}

fn idle(path: &str, group: &Group) -> Outcome {
    let kernel = || group.kernel().map_err(|e| e.to_string());
    let mem = Memory::new();
    let mut net = Net::start(path, &mem, Options::new(F_VERSION_1));
    net.check_tx(1)?;
    net.check_rx(2, 100)?;
    // The memory of the first frame is given back as well.
    std::thread::sleep(Duration::from_secs(5));
    let before = kernel()?;
    let sent = frame(3, 1500);
    for nth in 0..FRAMES {
        net.tx(BUFFERS, &sent);
        ensure!(net.ring(TX).wait_used().is_some(), "no used entry, {nth}");
    }
    for nth in 0..FRAMES {
        ensure!(net.wire.recv(5_000).as_ref() == Some(&sent), "frame {nth}");
    }
    // The group's figures can be some seconds old, and a device that sends is not idle.
    let (since, mut busy) = (Instant::now(), 0);
    while since.elapsed() < Duration::from_secs(6) && busy < before + KEPT {
        net.tx(BUFFERS, &sent);
        ensure!(net.ring(TX).wait_used().is_some(), "no used entry");
        ensure!(net.wire.recv(5_000).as_ref() == Some(&sent), "a frame");
        std::thread::sleep(Duration::from_millis(100));
        busy = kernel()?.max(busy);
    }
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
