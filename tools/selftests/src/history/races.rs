// SPDX-License-Identifier: GPL-2.0

//! Entries about concurrent operations.

use super::err;
use crate::{
    changes::flood,
    child::Child,
    diag, ensure, ensure_eq,
    guest::{Memory, DESC_NEXT},
    lifecycle::no_worker_left,
    net::frame,
    setup::{Net, Options, BUFFERS, SLOW},
    tap::Outcome,
    vhost::*,
};
use std::{
    cell::Cell,
    os::fd::AsRawFd,
    result::Result,
    sync::atomic::{AtomicBool, AtomicI32, AtomicU32, Ordering},
    time::{Duration, Instant},
};

/// The duration of a race.
fn while_racing() -> Duration {
    Duration::from_secs(if SLOW.load(Ordering::Relaxed) { 2 } else { 1 })
}

/// A race lasts longer if it has had fewer rounds than this by then.
const FEW: u32 = 10;
const AT_MOST: Duration = Duration::from_secs(20);

/// A descriptor whose length, flags and `next` change while it is fetched: the values that were
/// checked must be the ones that are used. Mapped memory ends behind the shorter length, and the
/// bytes behind it must never be sent.
pub(super) fn fetched_once(path: &str) -> Outcome {
    const SHORT: u32 = 12 + 100;
    const LONG: u32 = SHORT + 1000;
    const END: u64 = BUFFERS + 0x1000;
    let mem = Memory::new();
    let mut net = Net::start(path, &mem, Options::new(F_VERSION_1));
    let mut table = mem.regions();
    table.truncate(1);
    table[0].size = END - table[0].gpa;
    net.dev.set_mem_table(&table, 0).map_err(err)?;
    let at = END - u64::from(SHORT);
    let sent = frame(1, 100);
    mem.write(at, &[0; 12]);
    mem.write(at + 12, &sent);
    mem.write(END, &[0xa5; 2000]);
    net.ring(TX).set_desc(0, (at, SHORT, 0), 0);
    let word = |offset| {
        let at = mem.at(net.rings[1].desc() + offset);
        // SAFETY: A word of the first descriptor, in memory that outlives it.
        unsafe { AtomicU32::from_ptr(at.cast()) }
    };
    let (len, flags) = (word(8), word(12));
    let done = AtomicBool::new(false);
    let (arrived, told) = std::thread::scope(|scope| {
        let done = &done;
        scope.spawn(move || {
            // The flags, and a `next` beyond the ring.
            let next = u32::from(DESC_NEXT) | (300 << 16);
            for wait in (0..64).cycle() {
                if done.load(Ordering::Acquire) {
                    break;
                }
                for (word, value) in [(len, LONG), (len, SHORT), (flags, next), (flags, 0)] {
                    word.store(value, Ordering::Release);
                    // Long enough for an emulated processor, which executes everything between two
                    // jumps at once, and of varying length.
                    (0..wait).for_each(|_| std::hint::spin_loop());
                }
            }
        });
        let result = fetch_all(&mut net, &sent);
        done.store(true, Ordering::Release);
        result
    })?;
    diag!("{arrived} frames, {told} mistakes told");
    net.restart();
    while net.wire.recv(0).is_some() {}
    net.check_tx(2)?;
    net.check_rx(3, 300)
}

/// Offers the same descriptor until both outcomes have occurred: valid and invalid.
fn fetch_all(net: &mut Net<'_>, sent: &[u8]) -> Result<(u32, u64), String> {
    let (mut arrived, mut told) = (0, 0);
    let start = Instant::now();
    loop {
        net.ring(TX).offer_again(0, 128);
        net.kick(TX);
        while let Some(got) = net.wire.recv(0) {
            ensure!(got == sent, "another frame, of {} bytes", got.len());
            arrived += 1;
        }
        told += net.events[1].err.take();
        let spent = start.elapsed();
        if spent > while_racing() && arrived > 0 && told > 0 {
            return Ok((arrived, told));
        }
        ensure!(
            spent < Duration::from_secs(15),
            "{arrived} frames, {told} mistakes"
        );
    }
}

/// Kick files that are replaced, removed and closed while they are written to, and backends that
/// are attached and detached.
pub(super) fn kicks_replaced(path: &str) -> Outcome {
    let mem = Memory::new();
    let mut net = Net::start(path, &mem, Options::new(F_VERSION_1));
    let (now, done, written) = (
        AtomicI32::new(-1),
        AtomicBool::new(false),
        AtomicU32::new(0),
    );
    let rounds = std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(Ordering::Acquire) {
                    let (fd, one) = (now.load(Ordering::Acquire), 1u64);
                    // SAFETY: Eight bytes. The file may have been closed, and meanwhile only files
                    // of this race are opened.
                    let n = unsafe { libc::write(fd, std::ptr::from_ref(&one).cast(), 8) };
                    written.fetch_add(u32::from(n == 8), Ordering::Relaxed);
                }
            });
        }
        let rounds = replace(&net, &now);
        done.store(true, Ordering::Release);
        rounds
    })?;
    let written = written.load(Ordering::Relaxed);
    diag!("{rounds} files, {written} kicks");
    ensure!(rounds > FEW, "{rounds} files only");
    ensure!(written > rounds, "{written} kicks only");
    let kick = net.events[1].kick.as_raw_fd();
    net.dev.set_kick(TX, kick).map_err(err)?;
    let tap = net.tap.as_raw_fd();
    net.dev.set_backend(TX, tap).map_err(err)?;
    net.check_tx(1)?;
    net.check_rx(2, 300)
}

fn replace(net: &Net<'_>, now: &AtomicI32) -> Result<u32, String> {
    let start = Instant::now();
    let mut old = None;
    for round in 0.. {
        let spent = start.elapsed();
        if spent > while_racing() && (round > FEW || spent > AT_MOST) {
            return Ok(round);
        }
        let kick = EventFd::new();
        let fd = kick.as_raw_fd();
        net.dev.set_kick(TX, fd).map_err(err)?;
        now.store(fd, Ordering::Release);
        // Closes the file before, which another thread may be writing to.
        drop(old.replace(kick));
        match round % 16 {
            3 | 7 | 11 => net.dev.set_kick(TX, -1).map_err(err)?,
            5 | 13 => net.dev.set_backend(TX, -1).map_err(err)?,
            6 | 14 => net.dev.set_backend(TX, net.tap.as_raw_fd()).map_err(err)?,
            _ => (),
        }
    }
    Ok(0)
}

/// Two processes request to be the owner of the same device: one becomes the owner, the other gets
/// an error.
pub(super) fn two_owners(path: &str) -> Outcome {
    const DEVICES: usize = 20;
    let devs: Vec<Vhost> = (0..DEVICES).map(|_| Vhost::open(path)).collect();
    let go: Vec<EventFd> = (0..DEVICES).map(|_| EventFd::new()).collect();
    let (won, lost) = (EventFd::new(), EventFd::new());
    let racer = || {
        for (dev, go) in devs.iter().zip(&go) {
            if !go.wait(30_000) {
                return 1;
            }
            let (result, base) = (dev.set_owner(), dev.base(TX));
            let told = match (result, base) {
                (Ok(()), Ok(0)) => &won,
                (Err(EBUSY), Err(EPERM)) => &lost,
                _ => return 2,
            };
            told.signal(1);
        }
        0
    };
    let racers = [Child::new(racer), Child::new(racer)];
    for (i, go) in go.iter().enumerate() {
        // Both wait for the same file.
        go.signal(1);
        let told = won.wait(10_000) && lost.wait(10_000);
        ensure!(told, "device {i}: not one owner and one who is none");
        let (owners, others) = (won.take(), lost.take());
        ensure_eq!((owners, others), (1, 1), "device {i}: owners and others");
    }
    for racer in racers {
        ensure_eq!(racer.wait().code(), Some(0), "how a racer ended");
    }
    // A device whose owner has died still answers.
    ensure_eq!(devs[0].set_owner(), Err(EBUSY), "SET_OWNER afterwards");
    drop(devs);
    no_worker_left()
}

/// Another process changes the features while packets flow. Features that do not affect the
/// packets change nothing. With others the packets may be wrong, and the device must work when it
/// is set up again.
pub(super) fn features_by_another(path: &str) -> Outcome {
    let harmless = [0, F_INDIRECT, F_NOTIFY_ON_EMPTY];
    let others = [0, F_MRG_RXBUF, F_NET_HDR, F_EVENT_IDX, F_VERSION_1];
    let mem = Memory::new();
    let mut net = Net::start(path, &mem, Options::new(F_VERSION_1));
    let before = net.tap.stat("rx_packets");
    let sent = changing(&mut net, F_VERSION_1, &harmless)?;
    let mut sent = sent;
    while net.ring(TX).free() < net.options.size {
        net.ring(TX).wait_used().ok_or("a buffer was lost")?;
        sent += 1;
    }
    let arrived = net.tap.stat("rx_packets") - before;
    ensure_eq!(arrived, u64::from(sent), "frames at the tap");
    ensure_eq!(net.events[1].err.take(), 0, "errors signalled");
    changing(&mut net, 0, &others)?;
    net.restart();
    while net.wire.recv(0).is_some() {}
    net.check_tx(1)?;
    net.check_rx(2, 300)
}

/// Sends while another process sets each of `features` in turn, together with `always`.
fn changing(net: &mut Net<'_>, always: u64, features: &[u64]) -> Result<u32, String> {
    let changed = EventFd::new();
    let dev = net.dev.try_clone().map_err(err)?;
    let other = Child::new(|| {
        for bits in features.iter().cycle() {
            if dev.set_features(always | bits).is_err() {
                return 1;
            }
            changed.signal(1);
        }
        2
    });
    let start = Instant::now();
    let times = Cell::new(0);
    let sent = flood(net, || {
        std::thread::sleep(Duration::from_micros(200));
        times.set(times.get() + changed.take());
        let spent = start.elapsed();
        spent < while_racing() || (times.get() <= u64::from(FEW) && spent < AT_MOST)
    });
    other.killed()?;
    let times = times.get();
    diag!("{sent} frames, {times} changes");
    ensure!(sent > 0, "nothing was sent");
    ensure!(times > u64::from(FEW), "{times} changes only");
    Ok(sent)
}
