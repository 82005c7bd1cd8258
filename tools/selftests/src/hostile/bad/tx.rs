// SPDX-License-Identifier: GPL-2.0

//! Transmit buffers.

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
    ("a writable buffer", |n| {
        n.ring(TX).add(&[(DATA, 64, DESC_WRITE)])
    }),
    ("a writable piece behind the frame", |n| {
        n.ring(TX)
            .add(&[(DATA, 112, 0), (DATA + 0x1000, 64, DESC_WRITE)])
    }),
    ("readable behind writable", |n| {
        n.ring(TX)
            .add(&[(DATA, 64, DESC_WRITE), (DATA + 0x1000, 64, 0)])
    }),
    ("nothing but empty pieces", |n| {
        n.ring(TX).add(&[(DATA, 0, 0), (DATA, 0, 0)])
    }),
    ("a buffer shorter than the header", |n| {
        n.ring(TX).add(&[(DATA, 8, 0)])
    }),
];

const ALL: usize = OWN.len() + ANYWHERE.len();

/// Adds a buffer of this kind, to be published.
fn bad(net: &mut Net<'_>, kind: usize) -> u16 {
    match OWN.get(kind) {
        Some((_, build)) => build(net),
        None => anywhere(net, TX, 0, kind - OWN.len()),
    }
}

/// Adds a buffer with a frame, at an address of its own.
fn good(net: &mut Net<'_>, nth: u32) -> u16 {
    let hdr = net.options.hdr();
    let at = BUFFERS + u64::from(nth) * 1024;
    let mut data = vec![0; hdr];
    data.extend(frame(nth, 200));
    net.ring(TX).mem.write(at, &data);
    net.ring(TX).add(&[(at, data.len() as u32, 0)])
}

pub(super) fn run(suite: &mut Suite, path: &str) {
    kinds(suite, "sent", &OWN, |kind, features| {
        one(path, features, kind)
    });
    suite.case_c_fails("sent, comes back: no more than a header", C, || {
        only_header(path)
    });
    for features in FEATURES {
        suite.case_c_fails(
            &format!("sent: bad ones in a burst, features {features:#x}"),
            C,
            || burst(path, features),
        );
        suite.case_c_fails(
            &format!("sent: a whole ring of bad ones, features {features:#x}"),
            C,
            || whole_ring(path, features),
        );
        suite.case_c_fails(
            &format!("sent: bad ones without end, and the other queue, features {features:#x}"),
            C,
            || without_end(path, features),
        );
    }
}

/// Checks that these frames arrive, in order, and no others.
fn arrive(net: &Net<'_>, frames: impl IntoIterator<Item = u32>) -> Outcome {
    for nth in frames {
        let got = net.wire.recv(4000);
        let got = got.ok_or_else(|| format!("frame {nth} did not arrive"))?;
        ensure!(got == frame(nth, 200), "frame {nth} is another or changed");
    }
    ensure!(net.wire.recv(50).is_none(), "something else arrived");
    Ok(())
}

/// An invalid buffer between two valid ones, and one alone.
fn one(path: &str, features: u64, kind: usize) -> Outcome {
    let mem = Memory::new();
    let mut net = Net::start(path, &mem, Options::new(features));
    let old = net.ring(TX).avail_idx();
    let heads = [good(&mut net, 0), bad(&mut net, kind), good(&mut net, 1)];
    net.submit(TX, old);
    come_back(&mut net, TX, &empty(&heads))?;
    told(&net, TX)?;
    arrive(&net, 0..2)?;
    counted(&net, TX, 1)?;
    let old = net.ring(TX).avail_idx();
    let head = bad(&mut net, kind);
    net.submit(TX, old);
    come_back(&mut net, TX, &[(head, 0)])?;
    told(&net, TX)?;
    counted(&net, TX, 2)?;
    ensure_eq!(net.counter("tx-packets")?, 2, "packets sent");
    net.check_tx(3)?;
    net.check_rx(4, 300)?;
    ensure_eq!(net.events[0].err.take(), 0, "errors of the other queue");
    Ok(())
}

/// The socket expects no header: there is nothing behind the guest's header.
fn only_header(path: &str) -> Outcome {
    let mem = Memory::new();
    let mut net = Net::start(path, &mem, Options::new(F_VERSION_1 | F_NET_HDR));
    let old = net.ring(TX).avail_idx();
    let hdr = net.options.hdr() as u32;
    let heads = [
        good(&mut net, 0),
        net.ring(TX).add(&[(DATA, hdr, 0)]),
        good(&mut net, 1),
    ];
    net.submit(TX, old);
    come_back(&mut net, TX, &empty(&heads))?;
    told(&net, TX)?;
    arrive(&net, 0..2)?;
    counted(&net, TX, 1)
}

/// One of each kind, each followed by valid buffers: one more after each kind.
fn burst(path: &str, features: u64) -> Outcome {
    let mem = Memory::new();
    let mut net = Net::start(path, &mem, Options::new(features));
    let old = net.ring(TX).avail_idx();
    let (mut heads, mut frames) = (Vec::new(), 0);
    for kind in 0..ALL {
        heads.push(bad(&mut net, kind));
        for _ in 0..kind {
            heads.push(good(&mut net, frames));
            frames += 1;
        }
    }
    net.submit(TX, old);
    come_back(&mut net, TX, &empty(&heads))?;
    told(&net, TX)?;
    arrive(&net, 0..frames)?;
    counted(&net, TX, ALL as u64)?;
    ensure!(net.events[1].call.wait(4000), "no interrupt");
    sleeps("all have come back")
}

/// As many as there are descriptors, while frames arrive.
fn whole_ring(path: &str, features: u64) -> Outcome {
    let mem = Memory::new();
    let mut net = Net::start(path, &mem, Options::new(features));
    let old = net.ring(TX).avail_idx();
    let mut heads = Vec::new();
    // Some of them have two descriptors.
    while net.ring(TX).free() > 1 {
        heads.push(bad(&mut net, heads.len() % ALL));
    }
    net.submit(TX, old);
    net.check_rx(1, 300)?;
    come_back(&mut net, TX, &empty(&heads))?;
    told(&net, TX)?;
    counted(&net, TX, heads.len() as u64)?;
    sleeps("all have come back")?;
    net.check_tx(2)?;
    net.check_rx(3, 300)
}

/// Each is made available again when it has been returned; frames still arrive.
fn without_end(path: &str, features: u64) -> Outcome {
    let mem = Memory::new();
    let mut net = Net::start(path, &mem, Options::new(features));
    let end = Instant::now() + observed();
    let (mut back, mut received) = (0u64, 0u32);
    net.rx_post(&[&[(BUFFERS, 2048, 0)]]);
    let _ = net.wire.send(&frame(0, 200));
    while Instant::now() < end {
        let old = net.ring(TX).avail_idx();
        while net.ring(TX).free() > 1 {
            bad(&mut net, back as usize % OWN.len());
        }
        net.submit(TX, old);
        while net.ring(TX).pop_used().is_some() {
            back += 1;
        }
        if net.ring(RX).pop_used().is_some() {
            let got = mem.read(BUFFERS + net.options.hdr() as u64, 200);
            ensure!(got == frame(received, 200), "frame {received} is changed");
            received += 1;
            net.rx_post(&[&[(BUFFERS, 2048, 0)]]);
            let _ = net.wire.send(&frame(received, 200));
        }
    }
    diag!(
        "{back} came back, and {received} were received in {:?}",
        observed()
    );
    ensure!(back > u64::from(rounds(1000)), "only {back} came back");
    let few = rounds(10).max(2);
    ensure!(received > few, "only {received} packets were received");
    Ok(())
}
