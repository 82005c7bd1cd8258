// SPDX-License-Identifier: GPL-2.0

//! Misses, the wake-ups that follow, and the use of translations.

use super::{bare, map, map_rings, place};
use crate::{
    ensure, ensure_eq,
    guest::{Memory, SIZE},
    iommu::{Mapper, Msg, MISS, PAGE, RO, RW, WO},
    net::frame,
    setup::{worker_time_in_a_while, Net, Options, BUFFERS, IDLE},
    tap::{Outcome, Suite},
    vhost::*,
};
use std::{os::fd::AsRawFd, time::Duration};

pub fn run(suite: &mut Suite, path: &str) {
    suite.case("a queue asks for one page after the other", || asks(path));
    suite.case("one miss for each queue", || one_each(path));
    suite.case("a removed translation is not used", || removed(path));
    suite.case("the translation cache after a change of size", || {
        larger(path)
    });
    suite.case("ring addresses when ACCESS_PLATFORM changes", || {
        toggled(path)
    });
    suite.case("permissions", || permissions(path));
    suite.case(
        "the oldest translation goes when there are too many",
        || evicted(path),
    );
    suite.case("every page somewhere else", || scattered(path));
    suite.case_c_fails(
        "a message that is dropped with another queue's backend is sent again",
        "the queue waits for ever",
        || dropped(path),
    );
    suite.case_c_fails(
        "a buffer behind the last address",
        "its first page is asked for again and again",
        || beyond(path),
    );
}

/// Attaches both queues, whose used rings must be mapped.
fn attach(net: &Net<'_>) -> Outcome {
    for index in [RX, TX] {
        let attached = net.dev.set_backend(index, net.tap.as_raw_fd());
        ensure_eq!(attached, Ok(()), "queue {index}");
    }
    Ok(())
}

/// The next miss.
fn miss(net: &Net<'_>) -> std::result::Result<Msg, String> {
    let asked = net.dev.asked(2000).map_err(|e| format!("{e:?}"))?;
    let (_, msg) = asked.ok_or("no message")?;
    ensure_eq!((msg.kind, msg.size, msg.uaddr), (MISS, 0, 0), "the message");
    Ok(msg)
}

/// The transmit queue asks for descriptors, available ring, and then for the buffer.
fn asks(path: &str) -> Outcome {
    let mem = Memory::new();
    let mut net = bare(path, &mem, Options::new(F_VERSION_1));
    for ring in &net.rings {
        map(&net, ring.used(), RW).map_err(|e| format!("{e:?}"))?;
    }
    let attached = net.dev.set_backend(TX, net.tap.as_raw_fd());
    ensure_eq!(attached, Ok(()), "attached");
    let at = BUFFERS + 0x800;
    let sent = frame(1, 1000);
    net.tx(at, &sent);
    net.kick(TX);
    let [desc, avail] = [net.rings[1].desc(), net.rings[1].avail()];
    for (want, perm) in [(desc, RO), (avail, RO), (at, RO)] {
        let msg = miss(&net)?;
        ensure_eq!((msg.iova, msg.perm), (want, perm), "the miss");
        let used = net.ring(TX).pop_used();
        ensure_eq!(used, None, "used before it was mapped");
        map(&net, msg.iova, RW).map_err(|e| format!("{e:?}"))?;
    }
    let used = net.ring(TX).wait_used().ok_or("no used entry for TX")?;
    ensure_eq!(used.1, 0, "used length");
    let got = net.wire.recv(10_000).ok_or("the frame did not arrive")?;
    ensure!(got == sent, "the frame arrived changed");
    ensure_eq!(net.events[1].err.take(), 0, "errors signalled");
    Ok(())
}

/// Nobody reads the messages, however often the guest kicks.
fn one_each(path: &str) -> Outcome {
    let mem = Memory::new();
    let mut net = bare(path, &mem, Options::new(F_VERSION_1));
    map_rings(&net).map_err(|e| format!("{e:?}"))?;
    attach(&net)?;
    net.rx_post(&[&[(BUFFERS, 2048, 0)]]);
    net.wire
        .send(&frame(1, 100))
        .map_err(|e| format!("{e:?}"))?;
    net.tx(BUFFERS + 0x1_0000, &frame(2, 100));
    for _ in 0..10_000 {
        net.kick(RX);
        net.kick(TX);
    }
    let used = worker_time_in_a_while();
    ensure!(used < IDLE, "the worker was busy for {used:?}");
    let mut asked = [miss(&net)?.iova, miss(&net)?.iova];
    asked.sort_unstable();
    ensure_eq!(asked, [BUFFERS, BUFFERS + 0x1_0000], "the misses");
    // Those that were read are not sent again.
    net.kick(RX);
    net.kick(TX);
    let again = net.dev.asked(100).map_err(|e| format!("{e:?}"))?;
    ensure_eq!(again, None, "a third message");
    for at in asked {
        map(&net, at, RW).map_err(|e| format!("{e:?}"))?;
    }
    net.ring(RX).wait_used().ok_or("no used entry for RX")?;
    net.ring(TX).wait_used().ok_or("no used entry for TX")?;
    Ok(())
}

fn removed(path: &str) -> Outcome {
    let mem = Memory::new();
    let mut net = bare(path, &mem, Options::new(F_VERSION_1));
    map_rings(&net).map_err(|e| format!("{e:?}"))?;
    attach(&net)?;
    let at = BUFFERS;
    for nth in 0..50 {
        // Each time the page is somewhere else.
        let place = mem.at(BUFFERS + 0x1_0000 + nth * PAGE) as u64;
        let told = net.dev.tell(Msg::update(at, PAGE, place, RW));
        ensure_eq!(told, Ok(()), "mapped");
        net.rx_post(&[&[(at, 2048, 0)]]);
        let sent = frame(nth as u32, 200);
        net.wire.send(&sent).map_err(|e| format!("{e:?}"))?;
        net.ring(RX).wait_used().ok_or("no used entry for RX")?;
        let got = mem.read(BUFFERS + 0x1_0000 + nth * PAGE + 12, 200);
        ensure!(got == sent, "frame {nth} is not where the page is");
        // Whichever page of a range, the whole translation goes.
        let gone = net.dev.tell(Msg::invalidate(at + nth, 1));
        ensure_eq!(gone, Ok(()), "removed");
    }
    net.rx_post(&[&[(at, 2048, 0)]]);
    net.wire
        .send(&frame(99, 100))
        .map_err(|e| format!("{e:?}"))?;
    let msg = miss(&net)?;
    ensure_eq!((msg.iova, msg.perm), (at, WO), "the miss");
    Ok(())
}

/// The ring grows while the backend is away. Of its descriptors only the first page is mapped.
fn larger(path: &str) -> Outcome {
    const ALIAS: u64 = 1 << 40;
    let mem = Memory::new();
    let options = Options {
        size: 64,
        ..Options::new(F_VERSION_1)
    };
    let mut net = bare(path, &mem, options);
    let err = |e: Errno| format!("{e:?}");
    map_rings(&net).map_err(err)?;
    map(&net, BUFFERS, RW).map_err(err)?;
    let (desc, used) = (net.rings[1].desc(), net.rings[1].used());
    let told = net
        .dev
        .tell(Msg::update(ALIAS, PAGE, mem.at(desc) as u64, RW));
    ensure_eq!(told, Ok(()), "the descriptors");
    // All else that the larger ring needs, since a new translation makes the device look again.
    for page in 1..3 {
        map(&net, used + page * PAGE, RW).map_err(err)?;
    }
    let addr = VringAddr {
        index: TX,
        desc: ALIAS,
        avail: net.rings[1].avail(),
        used,
        ..Default::default()
    };
    net.dev.set_addr(addr).map_err(err)?;
    attach(&net)?;
    net.tx(BUFFERS, &frame(1, 100));
    net.ring(TX).wait_used().ok_or("no used entry for TX")?;
    net.dev.set_backend(TX, -1).map_err(err)?;
    net.dev.set_num(TX, 1024).map_err(err)?;
    let attached = net.dev.set_backend(TX, net.tap.as_raw_fd());
    ensure_eq!(attached, Ok(()), "attached");
    net.kick(TX);
    let msg = miss(&net)?;
    ensure_eq!((msg.iova, msg.perm), (ALIAS + PAGE, RO), "the miss");
    Ok(())
}

fn toggled(path: &str) -> Outcome {
    let mem = Memory::new();
    let mut net = bare(path, &mem, Options::new(F_VERSION_1));
    let err = |e: Errno| format!("{e:?}");
    map_rings(&net).map_err(err)?;
    map(&net, BUFFERS, RW).map_err(err)?;
    attach(&net)?;
    net.tx(BUFFERS, &frame(1, 100));
    net.ring(TX).wait_used().ok_or("no used entry for TX")?;
    let on = net.options.features;
    for features in [on & !F_ACCESS_PLATFORM, on] {
        // The addresses mean something else now: the device has none.
        net.dev.set_features(features).map_err(err)?;
        let before = net.ring(TX).used_idx();
        net.tx(BUFFERS, &frame(2, 100));
        net.kick(TX);
        let used = worker_time_in_a_while();
        ensure!(used < IDLE, "the worker was busy for {used:?}");
        ensure_eq!(net.ring(TX).used_idx(), before, "used without a ring");
    }
    // The same features again: another IOTLB, and the addresses stay.
    for index in [RX, TX] {
        place(&net, index);
    }
    net.dev.set_features(on).map_err(err)?;
    net.kick(TX);
    let asked = miss(&net)?;
    ensure_eq!(asked.iova, net.rings[1].desc(), "the miss");
    map_rings(&net).map_err(err)?;
    map(&net, BUFFERS, RW).map_err(err)?;
    net.kick(TX);
    for _ in 0..2 {
        net.ring(TX).wait_used().ok_or("no used entry for TX")?;
    }
    Ok(())
}

fn permissions(path: &str) -> Outcome {
    let mem = Memory::new();
    let mut net = bare(path, &mem, Options::new(F_VERSION_1));
    let err = |e: Errno| format!("{e:?}");
    map_rings(&net).map_err(err)?;
    attach(&net)?;
    // Readable alone is enough to send, and writable alone to receive.
    map(&net, BUFFERS, RO).map_err(err)?;
    map(&net, BUFFERS + PAGE, WO).map_err(err)?;
    net.tx(BUFFERS, &frame(1, 100));
    net.ring(TX).wait_used().ok_or("no used entry for TX")?;
    net.rx_post(&[&[(BUFFERS + PAGE, 2048, 0)]]);
    net.wire.send(&frame(2, 100)).map_err(err)?;
    net.ring(RX).wait_used().ok_or("no used entry for RX")?;
    ensure_eq!(
        net.events.each_ref().map(|e| e.err.take()),
        [0, 0],
        "errors"
    );
    // And nothing else.
    net.tx(BUFFERS + PAGE, &frame(3, 100));
    ensure!(net.events[1].err.wait(2000), "sent what is only writable");
    net.rx_post(&[&[(BUFFERS, 2048, 0)]]);
    net.wire.send(&frame(4, 100)).map_err(err)?;
    ensure!(
        net.events[0].err.wait(2000),
        "received into what is only readable"
    );
    let asked = net.dev.asked(100).map_err(err)?;
    ensure_eq!(asked, None, "a message");
    Ok(())
}

fn evicted(path: &str) -> Outcome {
    let mem = Memory::new();
    let mut net = bare(path, &mem, Options::new(F_VERSION_1));
    let err = |e: Errno| format!("{e:?}");
    let first = BUFFERS;
    map(&net, first, RW).map_err(err)?;
    map_rings(&net).map_err(err)?;
    attach(&net)?;
    net.tx(first, &frame(1, 100));
    net.ring(TX).wait_used().ok_or("no used entry for TX")?;
    let rings = 6 + 1;
    for nth in 0..2048 - rings {
        let told = net.dev.tell(Msg::update(nth << 40, 1, 0x1000, RW));
        ensure_eq!(told, Ok(()), "translation {nth}");
    }
    net.tx(first, &frame(2, 100));
    net.ring(TX).wait_used().ok_or("no used entry for TX")?;
    let one_more = net.dev.tell(Msg::update(0xfff << 40, 1, 0x1000, RW));
    ensure_eq!(one_more, Ok(()), "one more");
    net.tx(first, &frame(3, 100));
    let asked = miss(&net)?;
    ensure_eq!(asked.iova, first, "the miss");
    Ok(())
}

fn dropped(path: &str) -> Outcome {
    let mem = Memory::new();
    let mut net = bare(path, &mem, Options::new(F_VERSION_1));
    map_rings(&net).map_err(|e| format!("{e:?}"))?;
    attach(&net)?;
    net.tx(BUFFERS, &frame(1, 100));
    for nth in 0..20 {
        // With the message unread, and read.
        ensure!(readable(&net.dev, 2000), "no message in round {nth}");
        if nth % 2 == 0 {
            ensure_eq!(miss(&net)?.iova, BUFFERS, "the miss");
        }
        ensure_eq!(net.dev.set_backend(RX, -1), Ok(()), "detached");
        let attached = net.dev.set_backend(RX, net.tap.as_raw_fd());
        ensure_eq!(attached, Ok(()), "attached");
    }
    let msg = miss(&net)?;
    map(&net, msg.iova, RW).map_err(|e| format!("{e:?}"))?;
    net.ring(TX).wait_used().ok_or("no used entry for TX")?;
    Ok(())
}

fn beyond(path: &str) -> Outcome {
    const LAST: u64 = u64::MAX - (PAGE - 1);
    let mem = Memory::new();
    let mut net = bare(path, &mem, Options::new(F_VERSION_1));
    map_rings(&net).map_err(|e| format!("{e:?}"))?;
    attach(&net)?;
    let uaddr = mem.at(BUFFERS) as u64;
    let told = net.dev.tell(Msg::update(LAST, PAGE, uaddr, RW));
    ensure_eq!(told, Ok(()), "the last page");
    let old = net.ring(TX).avail_idx();
    net.ring(TX).add(&[(LAST, 2 * PAGE as u32, 0)]);
    net.submit(TX, old);
    let used = net.ring(TX).wait_used_for(Duration::from_secs(2));
    ensure_eq!(used.map(|used| used.1), Some(0), "used length");
    ensure!(net.events[1].err.take() > 0, "no error was signalled");
    let asked = net.dev.asked(100).map_err(|e| format!("{e:?}"))?;
    ensure_eq!(asked, None, "a message");
    // The page itself can be used, up to its end.
    mem.write(BUFFERS, &[0; 12]);
    mem.write(
        BUFFERS + 12,
        &frame(2, PAGE as usize - 12)[..PAGE as usize - 12],
    );
    let old = net.ring(TX).avail_idx();
    net.ring(TX).add(&[(LAST, 100, 0)]);
    net.submit(TX, old);
    net.ring(TX).wait_used().ok_or("no used entry for TX")?;
    net.wire.recv(10_000).ok_or("the frame did not arrive")?;
    Ok(())
}

/// No two pages of the guest are adjacent for the owner, in rings of several pages.
fn scattered(path: &str) -> Outcome {
    let mem = Memory::in_regions(SIZE / PAGE as usize);
    for features in [F_VERSION_1, F_VERSION_1 | F_EVENT_IDX | F_MRG_RXBUF] {
        let options = Options {
            size: 1024,
            ..Options::new(features)
        };
        let mut net = bare(path, &mem, options);
        for ring in &net.rings {
            for page in 0..3 {
                map(&net, ring.used() + page * PAGE, RW).map_err(|e| format!("{e:?}"))?;
            }
        }
        for index in [RX, TX] {
            let attached = net.dev.set_backend(index, net.tap.as_raw_fd());
            ensure_eq!(attached, Ok(()), "queue {index}");
        }
        let dev = net.dev.try_clone().map_err(|e| format!("{e:?}"))?;
        net.mapper = Some(Mapper::start(dev, mem.regions()));
        for nth in 0..3000u64 {
            let at = BUFFERS + nth % 64 * PAGE + 0xc00;
            let sent = frame(nth as u32, 1400);
            net.rx_post(&[&[(at, 2048, 0)]]);
            net.wire.send(&sent).map_err(|e| format!("{e:?}"))?;
            net.ring(RX).wait_used().ok_or("no used entry for RX")?;
            ensure!(
                mem.read(at + 12, 1400) == sent,
                "received frame {nth} changed"
            );
            let out = BUFFERS + 0x10_0000 + nth % 64 * PAGE + 0xd00;
            net.tx(out, &sent);
            net.ring(TX).wait_used().ok_or("no used entry for TX")?;
            let got = net.wire.recv(10_000).ok_or("a sent frame did not arrive")?;
            ensure!(got == sent, "sent frame {nth} changed");
        }
        let mapped = net.mapper.as_ref().map_or(0, Mapper::mapped);
        ensure!(mapped > 100, "{mapped} pages mapped only");
        for events in &net.events {
            ensure_eq!(events.err.take(), 0, "errors signalled");
        }
    }
    Ok(())
}
