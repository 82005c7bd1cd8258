// SPDX-License-Identifier: GPL-2.0

//! Entries about what is in the rings.

use super::err;
use crate::{
    changes::flood,
    diag, ensure, ensure_eq,
    guest::{Memory, Piece, DESC_WRITE},
    idle::sleeps,
    net::{frame, segmented},
    setup::{endurance, rounds, Net, Options, BUFFERS},
    tap::Outcome,
    vhost::*,
};
use std::{
    fs,
    os::fd::AsRawFd,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

pub(super) fn too_long(path: &str) -> Outcome {
    let mem = Memory::new();
    let mut net = Net::start(path, &mem, Options::new(F_VERSION_1));
    let mark = [0x5a; 4096];
    mem.write(BUFFERS, &mark);
    net.rx_post(&[&[(BUFFERS, 100, 0)]]);
    net.wire.send(&frame(1, 1000)).map_err(err)?;
    ensure!(net.ring(RX).used_idx() == 0, "a buffer was used for it");
    sleeps("the packet does not fit")?;
    ensure!(
        mem.read(BUFFERS + 100, 3996) == mark[100..],
        "bytes behind the buffer were written"
    );
    // The one that fits gets the buffer.
    net.wire.send(&frame(2, 60)).map_err(err)?;
    let (_, len) = net
        .ring(RX)
        .wait_used()
        .ok_or("the next packet did not arrive")?;
    ensure_eq!(len, 72, "its length");
    ensure!(
        mem.read(BUFFERS + 100, 3996) == mark[100..],
        "bytes behind the buffer were written"
    );
    Ok(())
}

pub(super) fn many_heads(path: &str) -> Outcome {
    let mem = Memory::new();
    let options = Options {
        features: F_VERSION_1 | F_MRG_RXBUF,
        size: 2048,
    };
    let mut net = Net::start(path, &mem, options);
    for i in 0..64 {
        net.wire.send(&frame(i, 60)).map_err(err)?;
    }
    net.wire.send(&frame(64, 1000)).map_err(err)?;
    // One buffer for each of the small ones, then one for each byte.
    let small: Vec<[Piece; 1]> = (0..64u64)
        .map(|i| [(BUFFERS + i * 128, 128, DESC_WRITE)])
        .collect();
    let bytes: Vec<[Piece; 1]> = (0..1012u64)
        .map(|i| [(BUFFERS + 0x10_000 + i, 1, DESC_WRITE)])
        .collect();
    let all: Vec<&[Piece]> = small.iter().chain(&bytes).map(|p| &p[..]).collect();
    net.rx_post(&all);
    for i in 0..64 + 1012 {
        let used = net.ring(RX).wait_used();
        ensure!(used.is_some(), "only {i} buffers came back");
    }
    let got = mem.read(BUFFERS + 0x10_000 + 12, 1000);
    ensure!(
        got == frame(64, 1000),
        "the packet in a thousand pieces is another"
    );
    ensure_eq!(
        mem.read(BUFFERS + 0x10_000 + 10, 2),
        1012u16.to_le_bytes(),
        "num_buffers"
    );
    Ok(())
}

pub(super) fn always_dropped(path: &str) -> Outcome {
    let mem = Memory::new();
    let mut net = Net::start(path, &mem, Options::new(F_VERSION_1));
    let tiny: Vec<[Piece; 1]> = (0..100u64)
        .map(|i| [(BUFFERS + 0x1000 + i * 16, 16, DESC_WRITE)])
        .collect();
    let tiny: Vec<&[Piece]> = tiny.iter().map(|p| &p[..]).collect();
    net.rx_post(&tiny);
    let done = AtomicBool::new(false);
    let wire = net.wire.as_raw_fd();
    let big = frame(1, 1400);
    let sent = std::thread::scope(|scope| {
        let (done, big) = (&done, &big);
        scope.spawn(move || {
            while !done.load(Ordering::Acquire) {
                // SAFETY: The frame is readable.
                unsafe { libc::send(wire, big.as_ptr().cast(), big.len(), 0) };
            }
        });
        let end = Instant::now() + Duration::from_millis(800);
        let sent = flood(&mut net, || Instant::now() < end);
        done.store(true, Ordering::Release);
        sent
    });
    diag!("{sent} frames the other way meanwhile");
    ensure!(
        sent > rounds(500),
        "the other queue was starved: {sent} frames"
    );
    ensure_eq!(
        net.ring(RX).used_idx(),
        0,
        "buffers used for what does not fit"
    );
    Ok(())
}

/// Pages that are free, from the kernel's own account.
fn free_pages() -> i64 {
    let text = fs::read_to_string("/proc/vmstat").unwrap_or_default();
    let line = text.lines().find_map(|l| l.strip_prefix("nr_free_pages "));
    line.and_then(|n| n.parse().ok()).unwrap_or(0)
}

pub(super) fn short_frames(path: &str) -> Outcome {
    let mem = Memory::new();
    let mut net = Net::start(path, &mem, Options::new(F_VERSION_1));
    mem.write(BUFFERS, &[0; 64]);
    let before = free_pages();
    let mut sent = 0;
    for i in endurance(40_000) {
        sent += 1;
        while net.ring(TX).free() == 0 {
            net.ring(TX)
                .wait_used()
                .ok_or("a short frame did not come back")?;
        }
        let old = net.ring(TX).avail_idx();
        net.ring(TX).add(&[(BUFFERS, 13 + i % 13, 0)]);
        net.submit(TX, old);
    }
    while net.ring(TX).free() < 256 {
        net.ring(TX)
            .wait_used()
            .ok_or("a short frame did not come back")?;
    }
    let lost = before - free_pages();
    diag!("{lost} pages fewer after {sent} frames");
    ensure!(lost < sent / 5, "{lost} pages are gone");
    ensure!(net.wire.recv(100).is_none(), "a short frame arrived");
    net.check_tx(1)
}

pub(super) fn livelock(path: &str, features: u64) -> Outcome {
    let mem = Memory::new();
    let mut net = Net::start_with(
        Vhost::open(path),
        &mem,
        Options::new(features | F_VERSION_1 | F_MRG_RXBUF),
        true,
    );
    net.rx_post(&[
        &[(BUFFERS, 1500, 0)],
        &[(BUFFERS + 0x1000, 1500, 0)],
        &[(BUFFERS + 0x2000, 1500, 0)],
    ]);
    let (hdr, data) = segmented(7, 8000, 1400);
    let mut whole = hdr.to_vec();
    whole.extend(&data);
    net.wire.send(&whole).map_err(err)?;
    sleeps("the packet does not fit")?;
    ensure_eq!(
        net.ring(RX).used_idx(),
        0,
        "buffers used before there were enough"
    );
    net.rx_post(&[
        &[(BUFFERS + 0x3000, 1500, 0)],
        &[(BUFFERS + 0x4000, 1500, 0)],
        &[(BUFFERS + 0x5000, 1500, 0)],
    ]);
    let mut got = Vec::new();
    for i in 0..6 {
        let (_, len) = net
            .ring(RX)
            .wait_used()
            .ok_or("the packet did not arrive")?;
        got.extend(mem.read(BUFFERS + i * 0x1000, len as usize));
        if got.len() >= 12 + data.len() {
            break;
        }
    }
    ensure!(got[12..] == data[..], "the packet arrived changed");
    Ok(())
}
