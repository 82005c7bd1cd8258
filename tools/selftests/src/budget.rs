// SPDX-License-Identifier: GPL-2.0

//! What one run of a queue may move: at most 256 packets, also when buffers are added whenever the
//! ring has become empty. Then other work of the worker runs.

use crate::{
    changes::flood,
    diag, ensure, ensure_eq,
    guest::{Memory, DESC_WRITE},
    net::frame,
    setup::{rounds, Net, Options, BUFFERS},
    tap::{Outcome, Suite},
    vhost::*,
    waits::Held,
};
use std::{
    cell::Cell,
    os::fd::AsRawFd,
    time::{Duration, Instant},
};

/// Packets in one run.
const WEIGHT: u64 = 256;

const C: &str = "it counts nothing";

pub fn run(suite: &mut Suite, path: &str) {
    suite.case_c_fails("a run ends, though buffers to send slip in", C, || {
        slipped_in(path, TX)
    });
    suite.case_c_fails("a run ends, though buffers to receive slip in", C, || {
        slipped_in(path, RX)
    });
    suite.case_c_fails("no run moves more, as fast as can be", C, || flooded(path));
}

/// Packets and runs of a queue so far.
fn moved(net: &Net<'_>, queue: u32) -> std::result::Result<[u64; 2], String> {
    let side = ["rx", "tx"][queue as usize];
    let count = |what| net.counter(&format!("{side}-{what}"));
    Ok([count("packets")?, count("runs")?])
}

/// Makes the same buffer available that many times, without a kick.
fn add(net: &mut Net<'_>, queue: u32, count: u32) {
    let flags = [DESC_WRITE, 0][queue as usize];
    for _ in 0..count {
        net.ring(queue).add(&[(BUFFERS, 112, flags)]);
    }
    net.ring(queue).publish();
}

/// The worker finds the ring empty and enables notifications. This access is held up until more
/// buffers are available.
/// more.
fn slipped_in(path: &str, queue: u32) -> Outcome {
    const EACH: u32 = 250;
    let mem = Memory::new();
    let options = Options {
        features: F_VERSION_1 | F_EVENT_IDX,
        size: 1024,
    };
    let mut net = Net::start(path, &mem, options);
    net.check_tx(1)?;
    net.check_rx(2, 100)?;
    let mut data = vec![0; net.options.hdr()];
    data.extend(frame(3, 100));
    mem.write(BUFFERS, &data);
    if queue == RX {
        for _ in 0..2 * EACH {
            let sent = net.wire.send(&frame(3, 100));
            sent.map_err(|e| format!("send: {e:?}"))?;
        }
    }
    std::thread::sleep(Duration::from_millis(50));
    let before = moved(&net, queue)?;
    let ring = net.ring(queue);
    let asks = ring.used() + 4 + 8 * u64::from(ring.size);
    let held = Held::new(mem.at(asks & !0xfff)).map_err(|e| format!("userfaultfd: {e:?}"))?;
    add(&mut net, queue, EACH);
    net.kick(queue);
    ensure!(readable(&held, 10_000), "the worker never asked for a kick");
    add(&mut net, queue, EACH);
    ensure_eq!(held.supply(), Ok(()), "the page");
    for nth in 0..2 * EACH {
        let used = net.ring(queue).wait_used();
        ensure!(used.is_some(), "only {nth} came back");
    }
    std::thread::sleep(Duration::from_millis(50));
    let after = moved(&net, queue)?;
    let (packets, runs) = (after[0] - before[0], after[1] - before[1]);
    diag!("{packets} packets in {runs} runs");
    ensure_eq!(packets, u64::from(2 * EACH), "packets");
    ensure!(packets <= WEIGHT * runs, "{packets} packets in {runs} runs");
    Ok(())
}

/// Buffers are added continuously while frames are received.
fn flooded(path: &str) -> Outcome {
    let mem = Memory::new();
    let mut net = Net::start(path, &mem, Options::new(F_VERSION_1 | F_EVENT_IDX));
    net.check_tx(1)?;
    let buffers: Vec<_> = (0..200)
        .map(|i| [(BUFFERS + 0x1_0000 + i * 512, 512, 0)])
        .collect();
    net.rx_post(&buffers.iter().map(|b| &b[..]).collect::<Vec<_>>());
    let (wire, incoming, frames) = (net.wire.as_raw_fd(), frame(3, 200), Cell::new(0));
    let few = rounds(10).max(2);
    let (mut sent, mut received) = (0, 0);
    // On a slow or busy machine a second may have only a few runs.
    for _ in 0..15 {
        let end = Instant::now() + Duration::from_secs(1);
        sent += flood(&mut net, || {
            if frames.get() < 200 {
                frames.set(frames.get() + 1);
                // SAFETY: The frame is readable.
                unsafe { libc::send(wire, incoming.as_ptr().cast(), incoming.len(), 0) };
            }
            Instant::now() < end
        });
        while net.ring(RX).pop_used().is_some() {
            received += 1;
        }
        if received > few {
            break;
        }
    }
    let [packets, runs] = moved(&net, TX)?;
    diag!("{sent} sent, {received} received; {packets} packets in {runs} runs");
    ensure!(packets <= WEIGHT * runs, "{packets} packets in {runs} runs");
    ensure!(received > few, "only {received} packets were received");
    Ok(())
}
