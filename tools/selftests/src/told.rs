// SPDX-License-Identifier: GPL-2.0

//! What the module reports about its work, and how it handles a header with too short a `hdr_len`.

use crate::{
    ensure, ensure_eq,
    guest::Memory,
    net::{frame, Tap, Wire},
    setup::{Net, Options, BUFFERS},
    tap::{Outcome, Suite},
    vhost::{F_VERSION_1, TX},
};
use std::time::Duration;

pub fn run(suite: &mut Suite, path: &str) {
    suite.case_c_fails("fdinfo counts what was done", "it counts nothing", || {
        counters(path)
    });
    suite.case_c_fails(
        "a batch that the tap refuses is told and counted",
        "it never hands the buffers back",
        || refused(path),
    );
    suite.case("a header length that ends before its checksum", || {
        short_hdr_len(path)
    });
}

fn counters(path: &str) -> Outcome {
    let mem = Memory::new();
    let mut net = Net::start(path, &mem, Options::new(F_VERSION_1));
    for seed in 0..3 {
        net.check_tx(seed)?;
    }
    net.check_rx(9, 300)?;
    let faults = net.counter("tx-faults")?;
    ensure_eq!(net.counter("tx-packets")?, 3, "packets sent");
    ensure_eq!(net.counter("tx-bytes")?, 600, "bytes sent");
    ensure_eq!(net.counter("tx-buffers")?, 3, "buffers sent from");
    ensure_eq!(net.counter("rx-packets")?, 1, "packets received");
    ensure_eq!(net.counter("rx-bytes")?, 300, "bytes received");
    ensure_eq!(faults, 0, "faults");
    let batches = net.counter("tx-batches")?;
    let told = net.counter("tx-signals")? + net.counter("tx-suppressed")?;
    ensure_eq!(
        batches,
        told,
        "batches, and those with or without an interrupt"
    );
    net.ring(TX).push_head(999);
    net.ring(TX).publish();
    net.kick(TX);
    ensure!(net.events[1].err.wait(10_000), "no error was signalled");
    ensure_eq!(net.counter("tx-faults")?, 1, "faults after a mistake");
    Ok(())
}

/// The interface is deleted and its file is open.
fn refused(path: &str) -> Outcome {
    const FRAMES: u16 = 5;
    let mem = Memory::new();
    let mut net = Net::start(path, &mem, Options::new(F_VERSION_1));
    net.check_tx(1)?;
    crate::link::delete(&net.tap.name)?;
    mem.write(BUFFERS, &[0; 12]);
    mem.write(BUFFERS + 12, &frame(2, 200));
    let old = net.ring(TX).avail_idx();
    for _ in 0..FRAMES {
        net.ring(TX).add(&[(BUFFERS, 212, 0)]);
    }
    net.submit(TX, old);
    for nth in 0..FRAMES {
        let used = net.ring(TX).wait_used_for(Duration::from_secs(4));
        ensure_eq!(used.map(|u| u.1), Some(0), "buffer {nth}");
    }
    ensure!(net.events[1].err.wait(4000), "no error was signalled");
    ensure_eq!(net.counter("tx-drops")?, FRAMES.into(), "packets lost");
    net.tap = Tap::new(12);
    net.wire = Wire::new(&net.tap, false);
    net.restart();
    net.events[1].err.take();
    net.check_tx(3)?;
    net.check_rx(4, 300)?;
    ensure_eq!(net.events[1].err.take(), 0, "errors signalled since");
    Ok(())
}

/// The checksum is behind `hdr_len`: both modules correct the length.
fn short_hdr_len(path: &str) -> Outcome {
    let mem = Memory::new();
    let mut net = Net::start(path, &mem, Options::new(F_VERSION_1));
    let sent = frame(4, 200);
    // NEEDS_CSUM, of the bytes from 34 on, at byte 50; `hdr_len` is 14.
    let mut data = vec![1, 0, 14, 0, 0, 0, 34, 0, 16, 0, 0, 0];
    data.extend(&sent);
    mem.write(BUFFERS, &data);
    let old = net.ring(TX).avail_idx();
    net.ring(TX).add(&[(BUFFERS, data.len() as u32, 0)]);
    net.submit(TX, old);
    net.ring(TX).wait_used().ok_or("no used entry")?;
    let got = net.wire.recv(10_000).ok_or("the frame did not arrive")?;
    ensure_eq!(got.len(), sent.len(), "bytes that arrived");
    // The receiver completes the checksum.
    ensure!(
        got[..50] == sent[..50] && got[52..] == sent[52..],
        "the frame arrived changed"
    );
    net.check_tx(5)
}
