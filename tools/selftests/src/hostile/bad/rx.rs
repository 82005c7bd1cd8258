// SPDX-License-Identifier: GPL-2.0

//! Receive buffers. They are checked when there is a packet, which they do not cause to be lost.

use super::{anywhere, come_back, counted, empty, kinds, told, Build, ANYWHERE, C, DATA, FEATURES};
use crate::{
    diag, ensure, ensure_eq,
    guest::{Memory, DESC_WRITE},
    idle::sleeps,
    net::frame,
    setup::{observed, rounds, Net, Options, BUFFERS},
    tap::{Outcome, Suite},
    vhost::*,
};
use std::time::Instant;

const OWN: [(&str, Build); 5] = [
    ("a readable buffer", |n| n.ring(RX).add(&[(DATA, 4096, 0)])),
    ("a readable piece before the buffer", |n| {
        n.ring(RX)
            .add(&[(DATA, 64, 0), (DATA + 0x1000, 4096, DESC_WRITE)])
    }),
    ("readable behind writable", |n| {
        n.ring(RX)
            .add(&[(DATA, 4096, DESC_WRITE), (DATA + 0x1000, 64, 0)])
    }),
    ("an empty buffer", |n| {
        n.ring(RX).add(&[(DATA, 0, DESC_WRITE)])
    }),
    ("nothing but empty pieces", |n| {
        n.ring(RX)
            .add(&[(DATA, 0, DESC_WRITE), (DATA, 0, DESC_WRITE)])
    }),
];

const ALL: usize = OWN.len() + ANYWHERE.len();

/// Adds a buffer of this kind, to be published.
fn bad(net: &mut Net<'_>, kind: usize) -> u16 {
    match OWN.get(kind) {
        Some((_, build)) => build(net),
        None => anywhere(net, RX, DESC_WRITE, kind - OWN.len()),
    }
}

/// The addresses of the valid buffers.
fn at(nth: u64) -> u64 {
    BUFFERS + nth * 2048
}

/// Adds a valid buffer of `len` bytes.
fn good(net: &mut Net<'_>, nth: u64, len: u32) -> u16 {
    net.ring(RX).mem.write(at(nth), &vec![0xa5; len as usize]);
    net.ring(RX).add(&[(at(nth), len, DESC_WRITE)])
}

fn send(net: &Net<'_>, nth: u32, len: usize) -> Outcome {
    let sent = net.wire.send(&frame(nth, len));
    sent.map_err(|e| format!("send: {e:?}"))
}

pub(super) fn run(suite: &mut Suite, path: &str) {
    kinds(suite, "received into", &OWN, |kind, features| {
        one(path, features, kind)?;
        one(path, features | F_MRG_RXBUF, kind)?;
        merged(path, features, kind)
    });
    suite.case_c_fails(
        "received into: good ones that have too many pieces together",
        "the packet stays in the way of all others",
        || scattered(path),
    );
    for features in FEATURES {
        suite.case_c_fails(
            &format!("received into: bad ones between good ones, features {features:#x}"),
            C,
            || between(path, features | F_MRG_RXBUF),
        );
        suite.case_c_fails(
            &format!("received into: a whole ring of bad ones, features {features:#x}"),
            C,
            || whole_ring(path, features),
        );
        suite.case_c_fails(
            &format!("received into: bad ones without end, features {features:#x}"),
            C,
            || without_end(path, features),
        );
    }
}

/// An invalid buffer before a valid one, and one alone, after which the packet waits for the next
/// buffer.
fn one(path: &str, features: u64, kind: usize) -> Outcome {
    let mem = Memory::new();
    let mut net = Net::start(path, &mem, Options::new(features));
    let old = net.ring(RX).avail_idx();
    let heads = [bad(&mut net, kind), good(&mut net, 0, 2048)];
    net.submit(RX, old);
    send(&net, 1, 200)?;
    come_back(&mut net, RX, &[(heads[0], 0), (heads[1], 212)])?;
    told(&net, RX)?;
    ensure!(mem.read(at(0) + 12, 200) == frame(1, 200), "changed");
    counted(&net, RX, 1)?;
    let old = net.ring(RX).avail_idx();
    let head = bad(&mut net, kind);
    net.submit(RX, old);
    send(&net, 2, 300)?;
    come_back(&mut net, RX, &[(head, 0)])?;
    told(&net, RX)?;
    let old = net.ring(RX).avail_idx();
    let head = good(&mut net, 1, 2048);
    net.submit(RX, old);
    come_back(&mut net, RX, &[(head, 312)])?;
    ensure!(mem.read(at(1) + 12, 300) == frame(2, 300), "changed");
    counted(&net, RX, 2)?;
    ensure_eq!(net.counter("rx-packets")?, 2, "packets received");
    ensure_eq!(net.counter("rx-drops")?, 0, "packets lost");
    net.check_tx(3)?;
    ensure_eq!(net.events[1].err.take(), 0, "errors of the other queue");
    Ok(())
}

/// Checks that a frame has been received into valid buffers of `each` bytes from `first` on, whose
/// heads are `heads`.
fn whole(net: &mut Net<'_>, nth: u32, len: usize, first: u64, heads: &[u16], each: u32) -> Outcome {
    let want = 12 + len as u32;
    let count = want.div_ceil(each);
    let mut got = Vec::new();
    for (i, &head) in (0..).zip(&heads[..count as usize]) {
        let used = each.min(want - i * each);
        come_back(net, RX, &[(head, used)])?;
        got.extend(
            net.ring(RX)
                .mem
                .read(at(first + u64::from(i)), used as usize),
        );
    }
    ensure_eq!(got[10..12], (count as u16).to_le_bytes(), "num_buffers");
    ensure!(got[12..] == frame(nth, len), "frame {nth} is changed");
    Ok(())
}

/// An invalid buffer among those for one packet: the buffers taken for the packet are returned as
/// well.
fn merged(path: &str, features: u64, kind: usize) -> Outcome {
    let mem = Memory::new();
    let mut net = Net::start(path, &mem, Options::new(features | F_MRG_RXBUF));
    let old = net.ring(RX).avail_idx();
    let before = [good(&mut net, 0, 200), good(&mut net, 1, 200)];
    let middle = bad(&mut net, kind);
    let behind: Vec<u16> = (2..12).map(|i| good(&mut net, i, 200)).collect();
    net.submit(RX, old);
    send(&net, 1, 1500)?;
    come_back(&mut net, RX, &empty(&[before[0], before[1], middle]))?;
    whole(&mut net, 1, 1500, 2, &behind, 200)?;
    told(&net, RX)?;
    counted(&net, RX, 1)?;
    for nth in 0..2 {
        let unused = mem.read(at(nth), 200).iter().all(|&b| b == 0xa5);
        ensure!(unused, "buffer {nth} is said to be empty and is not");
    }
    // The two remaining buffers hold another packet.
    send(&net, 2, 300)?;
    whole(&mut net, 2, 300, 10, &behind[8..], 200)?;
    ensure_eq!(net.counter("rx-packets")?, 2, "packets received");
    ensure_eq!(net.counter("rx-drops")?, 0, "packets lost");
    Ok(())
}

/// Valid buffers with too many segments for one packet: it is lost, and the next one fits in them.
fn scattered(path: &str) -> Outcome {
    const PIECES: u64 = 300;
    let mem = Memory::new();
    let features = F_VERSION_1 | F_INDIRECT | F_MRG_RXBUF;
    let mut net = Net::start(path, &mem, Options::new(features));
    let old = net.ring(RX).avail_idx();
    let heads: Vec<u16> = (0..4)
        .map(|nth| {
            let ones: Vec<_> = (0..PIECES).map(|i| (at(nth) + i, 1, DESC_WRITE)).collect();
            net.ring(RX)
                .add_indirect(BUFFERS + 0x1_0000 * (nth + 1), &ones)
        })
        .collect();
    net.submit(RX, old);
    send(&net, 1, 1100)?;
    send(&net, 2, 200)?;
    come_back(&mut net, RX, &[(heads[0], 212)])?;
    ensure!(mem.read(at(0) + 12, 200) == frame(2, 200), "changed");
    ensure_eq!(net.counter("rx-drops")?, 1, "packets lost");
    counted(&net, RX, 0)?;
    send(&net, 3, 600)?;
    come_back(
        &mut net,
        RX,
        &[(heads[1], 300), (heads[2], 300), (heads[3], 12)],
    )?;
    net.check_tx(4)
}

/// One of each kind before a good one, with as many frames waiting as there are good ones.
fn between(path: &str, features: u64) -> Outcome {
    let mem = Memory::new();
    let mut net = Net::start(path, &mem, Options::new(features));
    for nth in 0..ALL as u32 {
        send(&net, nth, 200)?;
    }
    let old = net.ring(RX).avail_idx();
    let mut heads = Vec::new();
    for kind in 0..ALL {
        heads.push((bad(&mut net, kind), 0));
        heads.push((good(&mut net, kind as u64, 2048), 212));
    }
    net.submit(RX, old);
    come_back(&mut net, RX, &heads)?;
    told(&net, RX)?;
    for nth in 0..ALL as u32 {
        let got = mem.read(at(u64::from(nth)) + 12, 200);
        ensure!(got == frame(nth, 200), "frame {nth} is changed");
    }
    counted(&net, RX, ALL as u64)?;
    ensure!(net.events[0].call.wait(4000), "no interrupt");
    sleeps("all have come back")
}

/// As many as there are descriptors, and a frame that waits for a valid buffer.
fn whole_ring(path: &str, features: u64) -> Outcome {
    let mem = Memory::new();
    let mut net = Net::start(path, &mem, Options::new(features));
    let old = net.ring(RX).avail_idx();
    let mut heads = Vec::new();
    // Some of them have two descriptors.
    while net.ring(RX).free() > 1 {
        heads.push(bad(&mut net, heads.len() % ALL));
    }
    net.submit(RX, old);
    send(&net, 1, 200)?;
    net.check_tx(2)?;
    come_back(&mut net, RX, &empty(&heads))?;
    told(&net, RX)?;
    counted(&net, RX, heads.len() as u64)?;
    sleeps("all have come back")?;
    let old = net.ring(RX).avail_idx();
    let head = good(&mut net, 0, 2048);
    net.submit(RX, old);
    come_back(&mut net, RX, &[(head, 212)])?;
    ensure!(mem.read(at(0) + 12, 200) == frame(1, 200), "changed");
    net.check_tx(3)?;
    net.check_rx(4, 300)
}

/// Each is made available again when it has been returned; frames are still sent.
fn without_end(path: &str, features: u64) -> Outcome {
    let mem = Memory::new();
    let mut net = Net::start(path, &mem, Options::new(features));
    send(&net, 0, 200)?;
    let end = Instant::now() + observed();
    let (mut back, mut sent) = (0u64, 0u32);
    while Instant::now() < end {
        let old = net.ring(RX).avail_idx();
        while net.ring(RX).free() > 1 {
            bad(&mut net, back as usize % OWN.len());
        }
        net.submit(RX, old);
        while net.ring(RX).pop_used().is_some() {
            back += 1;
        }
        if net.ring(TX).free() == net.options.size {
            net.tx(at(0), &frame(sent, 200));
        }
        if net.ring(TX).pop_used().is_some() {
            sent += 1;
        }
    }
    diag!("{back} came back, and {sent} were sent in {:?}", observed());
    ensure!(back > u64::from(rounds(1000)), "only {back} came back");
    let few = rounds(10).max(2);
    ensure!(sent > few, "only {sent} packets were sent");
    Ok(())
}
