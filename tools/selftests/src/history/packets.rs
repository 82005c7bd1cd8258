// SPDX-License-Identifier: GPL-2.0

//! Entries about the contents of rings.

use super::err;
use crate::{
    changes::flood,
    child::Child,
    diag, ensure, ensure_eq,
    guest::{Memory, Piece, DESC_WRITE},
    idle::sleeps,
    lifecycle::no_worker_left,
    net::{frame, segmented},
    setup::{observed, rounds, Net, Options, BUFFERS, SLOW},
    tap::Outcome,
    vhost::*,
};
use std::{
    os::fd::AsRawFd,
    result::Result,
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
    // The packet that fits is received into the buffer.
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

/// A packet for two buffers, of which the second cannot be fetched: an error must not be taken for
/// a number of buffers. Then a packet for which there are too few buffers.
pub(super) fn bad_head(path: &str) -> Outcome {
    let mem = Memory::new();
    let mut net = Net::start(path, &mem, Options::new(F_VERSION_1 | F_MRG_RXBUF));
    let mark = [0x5a; 1200];
    mem.write(BUFFERS, &mark);
    net.ring(RX).add(&[(BUFFERS, 600, DESC_WRITE)]);
    net.ring(RX).push_head(999);
    net.ring(RX).publish();
    let sent = frame(1, 1000);
    net.wire.send(&sent).map_err(err)?;
    net.kick(RX);
    ensure!(net.events[0].err.wait(10_000), "the error was not told");
    sleeps("a head cannot be fetched")?;
    ensure_eq!(net.ring(RX).used_idx(), 0, "buffers used");
    ensure!(mem.read(BUFFERS, 1200) == mark, "something was written");
    net.restart();
    net.rx_post(&[&[(BUFFERS, 600, 0)]]);
    sleeps("there are too few buffers")?;
    ensure_eq!(net.ring(RX).used_idx(), 0, "used of too few buffers");
    net.rx_post(&[&[(BUFFERS + 600, 600, 0)]]);
    for len in [600, 412] {
        let used = net.ring(RX).wait_used();
        ensure_eq!(used.map(|u| u.1), Some(len), "used length");
    }
    ensure!(mem.read(BUFFERS + 12, 1000) == sent, "it arrived changed");
    ensure!(mem.read(BUFFERS + 1012, 188) == mark[1012..], "and more");
    net.check_tx(2)?;
    net.check_rx(3, 300)
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
    // One buffer for each of the small packets, then one for each byte.
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

/// Sends frames both ways while `go` returns true; the received ones never fit. Returns the number
/// of frames that were sent.
fn dropping(net: &mut Net<'_>, go: impl Fn() -> bool) -> u32 {
    let tiny: Vec<[Piece; 1]> = (0..100u64)
        .map(|i| [(BUFFERS + 0x1000 + i * 16, 16, DESC_WRITE)])
        .collect();
    let tiny: Vec<&[Piece]> = tiny.iter().map(|p| &p[..]).collect();
    net.rx_post(&tiny);
    let done = AtomicBool::new(false);
    let wire = net.wire.as_raw_fd();
    let big = frame(1, 1400);
    std::thread::scope(|scope| {
        let (done, big) = (&done, &big);
        scope.spawn(move || {
            while !done.load(Ordering::Acquire) {
                // SAFETY: The frame is readable.
                unsafe { libc::send(wire, big.as_ptr().cast(), big.len(), 0) };
            }
        });
        let sent = flood(net, go);
        done.store(true, Ordering::Release);
        sent
    })
}

pub(super) fn always_dropped(path: &str) -> Outcome {
    let mem = Memory::new();
    let mut net = Net::start(path, &mem, Options::new(F_VERSION_1));
    let end = Instant::now() + observed();
    let sent = dropping(&mut net, || Instant::now() < end);
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

/// Kills a process that runs for ever, in the middle of its work, and waits for its exit.
fn killed_while(body: impl FnOnce(&EventFd) -> i32) -> Outcome {
    let ready = EventFd::new();
    let owner = Child::new(|| body(&ready));
    ensure!(ready.wait(20_000), "the owner never came to it");
    std::thread::sleep(Duration::from_millis(300));
    let before = Instant::now();
    owner.killed()?;
    let took = before.elapsed();
    diag!("killed within {took:?}");
    let slow = SLOW.load(Ordering::Relaxed);
    let limit = Duration::from_secs(if slow { 20 } else { 5 });
    ensure!(took < limit, "it took {took:?}");
    no_worker_left()
}

pub(super) fn dropping_killed(path: &str) -> Outcome {
    killed_while(|ready| {
        let mem = Memory::new();
        let mut net = Net::start(path, &mem, Options::new(F_VERSION_1));
        dropping(&mut net, || ready.signal(1));
        // Not reached: there is room for more signals than rounds.
        0
    })
}

/// The owner of a buffer that the C module retries for ever, where there is such a buffer.
pub(super) fn retried_killed(path: &str) -> Outcome {
    killed_while(|ready| {
        let mem = Memory::new();
        let mut net = Net::start(path, &mem, Options::new(F_VERSION_1));
        net.ring(TX).set_desc(0, (BUFFERS, 8, 0), 0);
        loop {
            net.ring(TX).offer_again(0, 200);
            net.kick(TX);
            ready.signal(1);
        }
    })
}

/// A device whose next received packet is larger than all its buffers.
fn parked<'m>(path: &str, mem: &'m Memory, features: u64) -> Result<(Net<'m>, Vec<u8>), String> {
    let mut net = Net::start_with(
        Vhost::open(path),
        mem,
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
    Ok((net, data))
}

pub(super) fn livelock(path: &str, features: u64) -> Outcome {
    let mem = Memory::new();
    let (mut net, data) = parked(path, &mem, features)?;
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

/// The owner dies while the packet waits for buffers.
pub(super) fn livelock_killed(path: &str, features: u64) -> Outcome {
    killed_while(|ready| {
        let mem = Memory::new();
        let Ok((mut net, _)) = parked(path, &mem, features) else {
            return 1;
        };
        // Also while it is kicked again and again.
        loop {
            net.kick(RX);
            std::thread::sleep(Duration::from_millis(1));
            if net.ring(RX).used_idx() != 0 {
                return 2;
            }
            ready.signal(1);
        }
    })
}
