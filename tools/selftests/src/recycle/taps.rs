// SPDX-License-Identifier: GPL-2.0

//! Other kinds of backends, and what they can do with frames.

use super::{
    flow::Flow,
    held::{pass, reader, MIXED, SMALL},
    pattern::Sent,
};
use crate::{
    diag, ensure, ensure_eq,
    guest::{Memory, Piece},
    link::{Upper, Verdict, Xdp},
    net::{Tap, ETH_TYPE},
    setup::{observed, Net, Options},
    tap::{Outcome, Suite},
    vhost::*,
};
use std::{os::fd::AsRawFd, result::Result};
use vhost_selftests::guest::{GPA, SIZE};

/// Frames for each way of sending, so that pages are reused in the meantime.
const LENS: [usize; 12] = [
    60, 1514, 2048, 2049, 3500, 4096, 5000, 9000, 32_756, 32_757, 40_000, 65_549,
];

pub fn run(suite: &mut Suite, path: &str) {
    for (what, frags) in [("NAPI", false), ("NAPI and parts", true)] {
        suite.case(&format!("a tap with {what}"), || polled(path, frags));
    }
    suite.case("a tap with a limited send buffer", || limited(path));
    suite.case("a macvtap, and what is below it reads late", || {
        stacked(path, Upper::macvtap)
    });
    suite.case("an ipvtap, and what is below it reads late", || {
        stacked(path, Upper::ipvtap)
    });
    suite.case("XDP: frames that pass and frames that are dropped", || {
        passed_or_dropped(path)
    });
    suite.case("XDP: bytes before each frame", || pushed(path));
    suite.case("XDP: frames that are sent back, and received late", || {
        sent_back(path)
    });
}

fn polled(path: &str, frags: bool) -> Outcome {
    let mem = Memory::new();
    let mut flow = Flow::on(path, &mem, 1, Tap::polled(12, frags));
    if frags {
        // The longest segment that such a tap accepts.
        flow.longest = 4096;
    }
    // No longer packet either.
    let lens = LENS.map(|len| if frags { len.min(65_000) } else { len });
    let slow = reader(&flow, 2 << 20);
    pass(&mut flow, &lens, 60)?;
    super::held::first_ones(&flow, &slow, 10)
}

/// Each packet is sent by itself then, and waits for those before.
fn limited(path: &str) -> Outcome {
    let mem = Memory::new();
    let tap = Tap::new(12);
    tap.set_sndbuf(200_000);
    let mut flow = Flow::on(path, &mem, 1, tap);
    pass(&mut flow, &LENS, 60)
}

/// A device on another interface's tap. Its frames are read from the file of that tap.
fn stacked(path: &str, over: fn(&Tap, i32) -> Result<Upper, String>) -> Outcome {
    let mem = Memory::new();
    let lower = Tap::new(0);
    let upper = over(&lower, 12)?;
    let net = Net::prepare(Vhost::open(path), &mem, Options::new(F_VERSION_1), false);
    for queue in [RX, TX] {
        let set = net.set_backend(queue, upper.as_raw_fd());
        set.map_err(|e| format!("{e:?}"))?;
    }
    let mut flow = Flow::over(net, 1);
    for _ in 0..20 {
        // Read late, and only as many as there is room for.
        for _ in 0..4 {
            flow.send_all(LENS)?;
        }
        for number in flow.sent.count() - 4 * LENS.len() as u32..flow.sent.count() {
            let got = lower.recv(10_000);
            let got = got.ok_or_else(|| format!("frame {number} did not leave"))?;
            ensure_eq!(flow.sent.check(&got)?, number, "frame");
        }
    }
    // The reader has room for no more, so it holds the first ones.
    for _ in 0..200 {
        flow.send_all(MIXED)?;
    }
    let mut last = None;
    let mut count = 0;
    while let Some(got) = lower.recv(0) {
        let number = Some(flow.sent.check(&got)?);
        ensure!(last < number, "{number:?} behind {last:?}");
        last = number;
        count += 1;
    }
    diag!("{count} frames held");
    ensure!(count >= 500, "{count} frames only");
    Ok(())
}

fn passed_or_dropped(path: &str) -> Outcome {
    let mem = Memory::new();
    let mut flow = Flow::start(path, &mem, 1);
    let slow = reader(&flow, 4 << 20);
    for _ in 0..10 {
        let program = Xdp::attach(&flow.net.tap, Verdict::Pass)?;
        pass(&mut flow, &MIXED, 4)?;
        drop(program);
        let _program = Xdp::attach(&flow.net.tap, Verdict::Drop)?;
        for _ in 0..4 {
            flow.send_all(MIXED)?;
        }
        ensure_eq!(flow.net.wire.recv(0), None, "a frame that was dropped");
    }
    super::held::first_ones(&flow, &slow, 30)
}

/// A program extends each frame at its beginning, where there is headroom.
fn pushed(path: &str) -> Outcome {
    let mem = Memory::new();
    let mut flow = Flow::start(path, &mem, 1);
    let slow = reader(&flow, 2 << 20);
    let [high, low] = ETH_TYPE.to_be_bytes();
    let head = [6, 9, 9, 9, 9, 9, 2, 0, 0, 0, 0, 7, high, low, 0xab, 0xcd];
    let words =
        [0, 4, 8, 12].map(|i| u32::from_le_bytes([head[i], head[i + 1], head[i + 2], head[i + 3]]));
    let _program = Xdp::push(&flow.net.tap, words)?;
    let stripped = |sent: &Sent, got: Vec<u8>| {
        ensure!(got.starts_with(&head), "the head: {:x?}", &got[..16]);
        sent.check(&got[16..])
    };
    for _ in 0..40 {
        let first = flow.sent.count();
        // The longest frame that is copied completely.
        flow.send_all(MIXED.map(|len| len.min(20_000)))?;
        for number in first..flow.sent.count() {
            let got = flow.net.wire.recv(10_000);
            let got = got.ok_or_else(|| format!("frame {number} did not arrive"))?;
            ensure_eq!(stripped(&flow.sent, got)?, number, "frame");
        }
    }
    let mut number = 0;
    while let Some(got) = slow.recv(0) {
        ensure_eq!(stripped(&flow.sent, got)?, number, "frame");
        number += 1;
    }
    diag!("{number} frames held");
    ensure!(number > 30, "{number} frames only");
    Ok(())
}

/// Frames that the program sends back wait in the tap's ring for the guest.
fn sent_back(path: &str) -> Outcome {
    const EACH: u64 = 4096;
    let mem = Memory::new();
    let mut flow = Flow::start(path, &mem, 1);
    let program = Xdp::attach(&flow.net.tap, Verdict::Tx)?;
    // Many more than fit into the ring.
    for _ in 0..2000 / SMALL.len() {
        flow.send_all(SMALL)?;
    }
    drop(program);
    pass(&mut flow, &MIXED, 40)?;
    let (mut last, mut count) = (None, 0);
    'all: loop {
        let at = |slot: u64| GPA + SIZE as u64 / 2 + slot * EACH;
        let buffers: Vec<[Piece; 1]> = (0..64).map(|i| [(at(i), EACH as u32, 0)]).collect();
        flow.net
            .rx_post(&buffers.iter().map(|b| &b[..]).collect::<Vec<_>>());
        for slot in 0..64 {
            let Some((_, len)) = flow.net.ring(RX).wait_used_for(observed()) else {
                break 'all;
            };
            let got = mem.read_much(at(slot), len as usize);
            let number = Some(flow.sent.check(&got[12..])?);
            ensure!(last < number, "{number:?} behind {last:?}");
            last = number;
            count += 1;
        }
    }
    diag!("{count} frames came back");
    ensure!(count >= 500, "{count} frames only");
    Ok(())
}
