// SPDX-License-Identifier: GPL-2.0

//! Packets for more than one buffer, and for more buffers than there are.

use crate::{
    diag, ensure, ensure_eq,
    guest::{Memory, Piece},
    net::{frame, segmented},
    setup::{worker_time_in_a_while, Net, Options, BUFFERS},
    tap::{Outcome, Suite},
    vhost::*,
};
use std::time::Duration;

pub fn run(suite: &mut Suite, path: &str) {
    suite.case("segmentation offload, 64 KiB, sent", || big_tx(path));
    suite.case("segmentation offload, 64 KiB, received", || big_rx(path));
    suite.case("mergeable buffers, each size of buffer", || merging(path));
    for features in [F_MRG_RXBUF, F_MRG_RXBUF | F_EVENT_IDX] {
        suite.case(
            &format!("a packet larger than the free buffers waits, features {features:#x}"),
            || waits_for_buffers(path, features | F_VERSION_1),
        );
    }
    suite.case("a packet of 1,012 buffers, behind others", || of_many(path));
    suite.case("a packet too large for its only buffer is dropped", || {
        too_large(path)
    });
}

fn big_tx(path: &str) -> Outcome {
    let mem = Memory::new();
    let dev = Vhost::open(path);
    let mut net = Net::start_with(dev, &mem, Options::new(F_VERSION_1 | F_INDIRECT), true);
    for (seed, payload) in [(1, 3000), (2, 20_000), (3, 65_480)] {
        let (hdr, sent) = segmented(seed, payload, 1448);
        let mut data = hdr.to_vec();
        data.extend([0, 0]);
        data.extend(&sent);
        mem.write(BUFFERS, &data);
        let pieces: Vec<Piece> = (0..data.len())
            .step_by(4096)
            .map(|off| (BUFFERS + off as u64, (data.len() - off).min(4096) as u32, 0))
            .collect();
        let ring = net.ring(TX);
        let old = ring.avail_idx();
        ring.add_indirect(BUFFERS + 0x10_0000, &pieces);
        net.submit(TX, old);
        net.ring(TX).wait_used().ok_or("no used entry")?;
        let got = loop {
            let got = net.wire.recv(10_000).ok_or("the packet did not arrive")?;
            if got.len() >= 10 + 54 && got[10..22] == sent[..12] {
                break got;
            }
        };
        ensure_eq!(got.len(), 10 + sent.len(), "length with the header");
        ensure_eq!(got[1], 1, "segmentation type");
        ensure_eq!(got[4..6], 1448u16.to_le_bytes(), "segment size");
        ensure!(got[10..] == sent[..], "the packet arrived changed");
    }
    Ok(())
}

fn big_rx(path: &str) -> Outcome {
    let mem = Memory::new();
    let dev = Vhost::open(path);
    let mut net = Net::start_with(dev, &mem, Options::new(F_VERSION_1 | F_MRG_RXBUF), true);
    for (seed, payload) in [(1, 3000), (2, 65_480)] {
        let (hdr, sent) = segmented(seed, payload, 1448);
        let buffers: Vec<[Piece; 1]> = (0..20u64)
            .map(|i| [(BUFFERS + i * 4096, 4096, 0)])
            .collect();
        net.rx_post(&buffers.iter().map(|b| &b[..]).collect::<Vec<_>>());
        let mut data = hdr.to_vec();
        data.extend(&sent);
        net.wire.send(&data).map_err(|e| format!("send: {e:?}"))?;
        let want = 12 + sent.len();
        let (mut got, mut count) = (Vec::new(), 0u16);
        while got.len() < want {
            let (head, used) = net.ring(RX).wait_used().ok_or("no used entry")?;
            let at = BUFFERS + u64::from(head % 20) * 4096;
            got.extend(mem.read(at, used as usize));
            count += 1;
        }
        ensure_eq!(got.len(), want, "received length");
        ensure_eq!(got[10..12], count.to_le_bytes(), "num_buffers");
        ensure_eq!(got[1], 1, "segmentation type");
        ensure!(got[12..] == sent[..], "the packet arrived changed");
        net.restart();
    }
    Ok(())
}

fn merging(path: &str) -> Outcome {
    let mem = Memory::new();
    let options = Options::new(F_VERSION_1 | F_MRG_RXBUF);
    let mut net = Net::start(path, &mem, options);
    for (i, each) in [13u32, 64, 100, 761, 763, 1526, 1527]
        .into_iter()
        .enumerate()
    {
        let sent = frame(i as u32, 1514);
        let want = 12 + sent.len();
        let count = want.div_ceil(each as usize);
        let buffers: Vec<[Piece; 1]> = (0..count as u64)
            .map(|n| [(BUFFERS + n * u64::from(each), each, 0)])
            .collect();
        net.rx_post(&buffers.iter().map(|b| &b[..]).collect::<Vec<_>>());
        net.wire.send(&sent).map_err(|e| format!("send: {e:?}"))?;
        let mut left = want as u32;
        for _ in 0..count {
            let (_, used) = net.ring(RX).wait_used().ok_or("no used entry")?;
            ensure_eq!(used, left.min(each), "used length, buffers of {each}");
            left -= used;
        }
        let got = mem.read(BUFFERS, want);
        ensure_eq!(got[10..12], (count as u16).to_le_bytes(), "num_buffers");
        ensure!(got[12..] == sent[..], "changed, buffers of {each}");
    }
    Ok(())
}

fn waits_for_buffers(path: &str, features: u64) -> Outcome {
    let mem = Memory::new();
    let mut net = Net::start(path, &mem, Options::new(features));
    let sent = frame(7, 1500);
    let buffers: Vec<[Piece; 1]> = (0..8u64).map(|n| [(BUFFERS + n * 200, 200, 0)]).collect();
    net.rx_post(&buffers[..3].iter().map(|b| &b[..]).collect::<Vec<_>>());
    net.wire.send(&sent).map_err(|e| format!("send: {e:?}"))?;
    std::thread::sleep(Duration::from_millis(300));
    let spent = worker_time_in_a_while();
    diag!("worker's CPU time while it waits: {spent:?}");
    ensure!(
        spent < Duration::from_millis(100),
        "the worker spins: {spent:?}"
    );
    ensure_eq!(net.ring(RX).pop_used(), None, "used entries while waiting");
    ensure_eq!(net.dev.base(RX), Ok(0), "base while waiting");
    net.rx_post(&buffers[3..].iter().map(|b| &b[..]).collect::<Vec<_>>());
    for _ in 0..8 {
        net.ring(RX).wait_used().ok_or("no used entry")?;
    }
    ensure!(mem.read(BUFFERS + 12, 1500) == sent, "the packet changed");
    Ok(())
}

/// Of one byte each, and all there at once with those of the packets before, of which few enough
/// come first not to be handed back by themselves.
fn of_many(path: &str) -> Outcome {
    const BEFORE: u64 = 50;
    const MANY: u64 = 1012;
    const BYTES: u64 = BUFFERS + BEFORE * 0x1000;
    let mem = Memory::new();
    let options = Options {
        size: 2048,
        ..Options::new(F_VERSION_1 | F_MRG_RXBUF)
    };
    let mut net = Net::start(path, &mem, options);
    let small = frame(1, 60);
    let big = frame(2, MANY as usize - 12);
    for sent in std::iter::repeat_n(&small, BEFORE as usize).chain([&big]) {
        net.wire.send(sent).map_err(|e| format!("send: {e:?}"))?;
    }
    let before = (0..BEFORE).map(|n| [(BUFFERS + n * 0x1000, 2048, 0)]);
    let many = (0..MANY).map(|n| [(BYTES + n, 1, 0)]);
    let buffers: Vec<[Piece; 1]> = before.chain(many).collect();
    net.rx_post(&buffers.iter().map(|b| &b[..]).collect::<Vec<_>>());
    for nth in 0..BEFORE + MANY {
        let (_, used) = net.ring(RX).wait_used().ok_or(format!("only {nth} used"))?;
        ensure_eq!(used, if nth < BEFORE { 72 } else { 1 }, "used length");
    }
    for nth in 0..BEFORE {
        let got = mem.read(BUFFERS + nth * 0x1000 + 12, small.len());
        ensure!(got == small, "small frame {nth} changed");
    }
    let got = mem.read(BYTES, MANY as usize);
    ensure_eq!(got[10..12], (MANY as u16).to_le_bytes(), "num_buffers");
    ensure!(got[12..] == big[..], "the packet changed");
    Ok(())
}

fn too_large(path: &str) -> Outcome {
    let mem = Memory::new();
    let mut net = Net::start(path, &mem, Options::new(F_VERSION_1));
    mem.write(BUFFERS, &[0xa5; 4096]);
    net.rx_post(&[&[(BUFFERS, 100, 0)]]);
    let big = frame(1, 1000);
    net.wire.send(&big).map_err(|e| format!("send: {e:?}"))?;
    let small = frame(2, 60);
    net.wire.send(&small).map_err(|e| format!("send: {e:?}"))?;
    let (_, used) = net.ring(RX).wait_used().ok_or("no used entry")?;
    ensure_eq!(used, 72, "used length");
    ensure!(
        mem.read(BUFFERS + 12, 60) == small,
        "the small frame changed"
    );
    ensure!(
        mem.read(BUFFERS + 100, 1000).iter().all(|&b| b == 0xa5),
        "bytes behind the buffer were written"
    );
    Ok(())
}
