// SPDX-License-Identifier: GPL-2.0

//! Packets through both rings: every byte arrives, for all negotiated features.

use crate::{
    diag, ensure, ensure_eq,
    guest::{Memory, Piece, DESC_WRITE},
    net::frame,
    setup::{rounds, Net, Options, BUFFERS},
    tap::{Outcome, Suite},
    vhost::*,
};
use std::{
    os::fd::AsRawFd,
    time::{Duration, Instant},
};

const SIZES: [usize; 9] = [15, 16, 60, 61, 128, 590, 1024, 1513, 1514];

pub fn run(suite: &mut Suite, path: &str) {
    let switches = [
        F_MRG_RXBUF,
        F_INDIRECT,
        F_EVENT_IDX,
        F_VERSION_1,
        F_NOTIFY_ON_EMPTY,
        F_NET_HDR,
    ];
    for mask in 0..1u32 << switches.len() {
        let features = (0..switches.len())
            .filter(|i| mask & (1 << i) != 0)
            .map(|i| switches[i])
            .sum();
        suite.case(&format!("both ways, features {features:#x}"), || {
            both_ways(path, features)
        });
    }
    let in_order = F_VERSION_1 | F_IN_ORDER;
    for further in [0, F_INDIRECT, F_EVENT_IDX, F_MRG_RXBUF | F_INDIRECT] {
        let features = in_order | further;
        suite.case(
            &format!("both ways, in order, features {features:#x}"),
            || both_ways(path, features),
        );
    }
    suite.case_c_fails(
        "in order: a queue starts again behind chains of two descriptors",
        "it goes on with the wrong descriptor",
        || started_again(path),
    );
    for features in [F_VERSION_1, F_VERSION_1 | F_EVENT_IDX, 0, in_order] {
        suite.case(
            &format!("{} buffers, features {features:#x}", rounds(70_000)),
            || wrap_around(path, features),
        );
    }
    crate::large::run(suite, path);
    suite.case("plain sendmsg, with a limited send buffer", || {
        limited_sndbuf(path)
    });
    crate::vlan::run(suite, path);
    crate::tunnel::run(suite, path);
    suite.case("a kernel thread serves as a task does", || kthread(path));
    crate::slots::run(suite, path);
    crate::interrupts::run(suite, path);
    crate::idle::run(suite, path);
    crate::told::run(suite, path);
    crate::backends::run(suite, path);
    crate::budget::run(suite, path);
    crate::busy::run(suite, path);
    suite.case("a flood one way does not starve the other", || starve(path));
}

/// Frames of every size in both directions, in one segment, in several, and through indirect
/// tables.
fn both_ways(path: &str, features: u64) -> Outcome {
    let mem = Memory::new();
    let mut net = Net::start(path, &mem, Options::new(features));
    let hdr = net.options.hdr();
    let indirect = features & F_INDIRECT != 0;
    for (i, &len) in SIZES.iter().enumerate() {
        let sent = frame(i as u32, len);
        let mut data = vec![0; hdr];
        data.extend(&sent);
        let at = BUFFERS + 7;
        mem.write(at, &data);
        let cut = (i * 5) % data.len();
        let pieces: Vec<Piece> = match i % 3 {
            0 => vec![(at, data.len() as u32, 0)],
            _ => vec![
                (at, cut as u32, 0),
                (at + cut as u64, (data.len() - cut) as u32, 0),
            ],
        };
        let ring = net.ring(TX);
        let old = ring.avail_idx();
        if indirect && i % 2 == 0 {
            ring.add_indirect(BUFFERS + 0x1_0000, &pieces);
        } else {
            ring.add(&pieces);
        }
        net.submit(TX, old);
        let used = net.ring(TX).wait_used().ok_or("no used entry for TX")?;
        ensure_eq!(used.1, 0, "used length of a sent buffer");
        let got = net.wire.recv(10_000).ok_or("a sent frame did not arrive")?;
        ensure!(got == sent, "a sent frame of {len} bytes arrived changed");
        receive_one(&mut net, i as u32 + 100, len, i % 2 == 1)?;
    }
    for events in &net.events {
        ensure_eq!(events.err.take(), 0, "errors signalled");
    }
    Ok(())
}

/// Receives a frame in one buffer of one or three segments.
fn receive_one(net: &mut Net<'_>, seed: u32, len: usize, pieces: bool) -> Outcome {
    let hdr = net.options.hdr();
    let at = BUFFERS + 0x2_0003;
    let mem = net.rings[0].mem;
    mem.write(at, &vec![0xa5; 2048]);
    let one: &[Piece] = &[(at, 2048, 0)];
    let three: &[Piece] = &[(at, 11, 0), (at + 11, 90, 0), (at + 101, 1947, 0)];
    net.rx_post(&[if pieces { three } else { one }]);
    let sent = frame(seed, len);
    net.wire.send(&sent).map_err(|e| format!("send: {e:?}"))?;
    let (_, used) = net.ring(RX).wait_used().ok_or("no used entry for RX")?;
    ensure_eq!(used as usize, hdr + len, "used length");
    let got = mem.read(at, hdr + len + 1);
    ensure!(got[hdr..hdr + len] == sent, "a received frame changed");
    ensure_eq!(got[hdr + len], 0xa5, "the byte behind the frame");
    if hdr == 12 {
        ensure_eq!(got[10..12], [1, 0], "num_buffers");
    }
    ensure_eq!(got[0..2], [0, 0], "header flags and type");
    Ok(())
}

/// As when a guest is stopped and continued: the base counts buffers, and not descriptors.
fn started_again(path: &str) -> Outcome {
    let mem = Memory::new();
    let mut net = Net::start(path, &mem, Options::new(F_VERSION_1 | F_IN_ORDER));
    let err = |e: Errno| format!("{e:?}");
    let sends = |net: &mut Net<'_>, nth: u32| -> Outcome {
        let sent = frame(nth, 100);
        let at = BUFFERS + u64::from(nth) * 0x1000;
        mem.write(at, &[0; 12]);
        mem.write(at + 0x100, &sent);
        let old = net.ring(TX).avail_idx();
        net.ring(TX).add(&[(at, 12, 0), (at + 0x100, 100, 0)]);
        net.submit(TX, old);
        net.ring(TX)
            .wait_used_for(Duration::from_secs(2))
            .ok_or("no used entry for TX")?;
        let got = net.wire.recv(2000).ok_or("the frame did not arrive")?;
        ensure!(got == sent, "frame {nth} changed");
        Ok(())
    };
    for nth in 0..3 {
        sends(&mut net, nth)?;
    }
    let fd = net.tap.as_raw_fd();
    net.set_backend(TX, -1).map_err(err)?;
    let base = net.dev.base(TX).map_err(err)?;
    ensure_eq!(base, 3, "base");
    net.dev.set_base(TX, base).map_err(err)?;
    net.set_backend(TX, fd).map_err(err)?;
    for nth in 3..6 {
        sends(&mut net, nth)?;
    }
    Ok(())
}

/// More buffers than the 16-bit indices can count, a few at a time, with a few bytes each.
fn wrap_around(path: &str, features: u64) -> Outcome {
    let count = rounds(70_000);
    let mem = Memory::new();
    let mut net = Net::start(path, &mem, Options::new(features));
    let hdr = net.options.hdr();
    let (mut sent, mut done) = (0, 0);
    let mut data = vec![0; hdr];
    data.extend(frame(0, 60));
    for slot in 0..64 {
        mem.write(BUFFERS + slot * 256, &data);
    }
    let before = net.tap.stat("rx_packets");
    while done < count {
        let old = net.ring(TX).avail_idx();
        while sent < count && sent - done < 64 {
            let at = BUFFERS + u64::from(sent % 64) * 256;
            net.ring(TX).add(&[(at, data.len() as u32, 0)]);
            sent += 1;
        }
        net.submit(TX, old);
        net.ring(TX).wait_used().ok_or("no used entry")?;
        done += 1;
        while net.ring(TX).pop_used().is_some() {
            done += 1;
        }
    }
    ensure_eq!(
        net.tap.stat("rx_packets") - before,
        u64::from(count),
        "frames"
    );
    ensure_eq!(net.dev.base(TX), Ok(count & 0xffff), "base");
    Ok(())
}

fn limited_sndbuf(path: &str) -> Outcome {
    let mem = Memory::new();
    let mut net = Net::start(path, &mem, Options::new(F_VERSION_1));
    net.tap.set_sndbuf(40_000);
    for seed in 0..200 {
        net.check_tx(seed)?;
    }
    Ok(())
}

fn kthread(path: &str) -> Outcome {
    let mem = Memory::new();
    let dev = Vhost::open(path);
    dev.set_fork_from_owner(0)
        .map_err(|e| format!("SET_FORK_FROM_OWNER: {e:?}"))?;
    let mut net = Net::start_with(dev, &mem, Options::new(F_VERSION_1), false);
    for seed in 0..20 {
        net.check_tx(seed)?;
        net.check_rx(seed + 50, 700)?;
    }
    Ok(())
}

/// While the guest sends as fast as it can, it still receives packets.
fn starve(path: &str) -> Outcome {
    let mem = Memory::new();
    let mut net = Net::start(path, &mem, Options::new(F_VERSION_1));
    let mut data = vec![0; 12];
    data.extend(frame(0, 60));
    mem.write(BUFFERS, &data);
    let piece = (BUFFERS, data.len() as u32, 0);
    let end = Instant::now() + Duration::from_secs(2);
    let (mut sent, mut received) = (0u32, 0u32);
    net.rx_post(&[&[(BUFFERS + 0x1000, 2048, 0)]]);
    let _ = net.wire.send(&frame(1, 200));
    while Instant::now() < end {
        let old = net.ring(TX).avail_idx();
        while net.ring(TX).free() > 0 {
            net.ring(TX).add(&[piece]);
            sent += 1;
        }
        net.submit(TX, old);
        while net.ring(TX).pop_used().is_some() {}
        if net.ring(RX).pop_used().is_some() {
            received += 1;
            net.rx_post(&[&[(BUFFERS + 0x1000, 2048, DESC_WRITE)]]);
            let _ = net.wire.send(&frame(received, 200));
        }
    }
    diag!(
        "sent {sent} and received {received} in 2 s, fd {}",
        net.dev.as_raw_fd()
    );
    ensure!(
        received > rounds(10).max(2),
        "only {received} packets were received"
    );
    Ok(())
}
