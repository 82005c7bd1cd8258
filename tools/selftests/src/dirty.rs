// SPDX-License-Identifier: GPL-2.0

//! The dirty log: no page changes without its bit.
//!
//! A copy of guest memory is kept up to date as in a migration: a bit is cleared, then its page is
//! copied. When the device rests, memory and its copy must be equal.

mod copy;
mod requests;

use crate::{
    dice::Dice,
    ensure, ensure_eq,
    guest::{Memory, Piece, DESC_WRITE},
    iommu::{Mapper, PAGE},
    net::frame,
    setup::{endurance, Net, Options, BUFFERS},
    tap::{Outcome, Suite},
    vhost::*,
};
use copy::{Copy, Log};
use std::os::fd::AsRawFd;

/// The number of rounds of each kind of log.
const ROUNDS: u32 = 10_000;
/// The same for the C module, which is not what is tested.
const ROUNDS_OF_C: u32 = 1_000;

pub fn run(suite: &mut Suite, path: &str, c: bool) {
    let rounds = if c { ROUNDS_OF_C } else { ROUNDS };
    requests::run(suite, path);
    let mergeable = F_VERSION_1 | F_MRG_RXBUF;
    for (what, features) in [
        ("", mergeable),
        (", with event indices", mergeable | F_EVENT_IDX),
        (", in order", mergeable | F_IN_ORDER),
        (", with the header of the device", F_NET_HDR),
    ] {
        suite.case(&format!("no page changes unmarked{what}"), || {
            unmarked(path, features, false, rounds)
        });
    }
    suite.case("no page changes unmarked, with an IOTLB", || {
        unmarked(path, mergeable | F_ACCESS_PLATFORM, false, rounds)
    });
    suite.case("no page changes unmarked, while the log moves", || {
        unmarked(path, mergeable, true, rounds)
    });
    suite.case("a log that is not mapped", || gone(path));
    suite.case("the log is switched on and off under traffic", || {
        switched(path)
    });
    suite.case(
        "CVE-2019-14835: chains of empty indirect descriptors",
        || empty_chains(path),
    );
}

/// A device that logs everything.
struct Guest<'m> {
    net: Net<'m>,
    log: Log,
    dice: Dice,
}

impl<'m> Guest<'m> {
    fn start(path: &str, mem: &'m Memory, features: u64) -> Self {
        let options = Options::new(features | F_LOG_ALL);
        let mut net = Net::prepare(Vhost::open(path), mem, options, false);
        let log = Log::new();
        net.dev.set_log_base(log.base()).expect("log");
        let mapped = features & F_ACCESS_PLATFORM != 0;
        for index in [RX, TX] {
            let ring = &net.rings[index as usize];
            let mut addr = ring.addr(index);
            if mapped {
                (addr.desc, addr.avail, addr.used) = (ring.desc(), ring.avail(), ring.used());
            } else {
                addr.log = ring.used();
            }
            addr.flags = VRING_F_LOG;
            net.dev.set_addr(addr).expect("addr");
        }
        if mapped {
            net.mapper = Some(Mapper::start(
                net.dev.try_clone().expect("dup"),
                mem.regions(),
            ));
            for ring in &net.rings {
                let len = 8 * u64::from(ring.size) + 6;
                let mapped = net.dev.map(&mem.regions(), ring.used(), len);
                mapped.expect("used ring");
            }
        }
        for index in [RX, TX] {
            let mut attached = Err(EFAULT);
            for _ in 0..100 {
                attached = net.dev.set_backend(index, net.tap.as_raw_fd());
                if attached != Err(EFAULT) || !mapped {
                    break;
                }
                let ring = &net.rings[index as usize];
                let len = 8 * u64::from(ring.size) + 6;
                let _ = net.dev.map(&mem.regions(), ring.used(), len);
            }
            attached.expect("backend");
        }
        Self {
            net,
            log,
            dice: Dice::new(1),
        }
    }

    /// Receives a frame into buffers anywhere, which the driver has filled before, and sends one.
    fn round(&mut self, copy: &mut Copy, nth: u32) -> Outcome {
        let hdr = self.net.options.hdr();
        let mem = self.net.rings[0].mem;
        let mergeable = self.net.options.features & F_MRG_RXBUF != 0;
        let len = 60 + self.dice.below(1400) as usize;
        let (count, each) = if mergeable {
            (1 + self.dice.below(3), 700)
        } else {
            (1, 1600)
        };
        let mut room = 0;
        let mut buffers: Vec<Piece> = Vec::new();
        while room < hdr + len || (buffers.len() as u64) < count {
            // One in each part of the memory, so that they do not overlap.
            let part = buffers.len() as u64 * copy::PART;
            let at = BUFFERS + part + self.dice.below(copy::PART - each);
            copy.fill(mem, at, each as usize, nth as u8);
            buffers.push((at, each as u32, DESC_WRITE));
            room += each as usize;
        }
        let old = self.net.ring(RX).avail_idx();
        for buffer in &buffers {
            self.net.ring(RX).add(&[*buffer]);
        }
        self.net.submit(RX, old);
        let sent = frame(nth, len);
        self.net
            .wire
            .send(&sent)
            .map_err(|e| format!("send: {e:?}"))?;
        self.net.tx(BUFFERS + copy::LEN, &frame(nth, 60));
        let mut got = 0;
        while got < hdr + len {
            let (_, used) = self
                .net
                .ring(RX)
                .wait_used()
                .ok_or("no used entry for RX")?;
            got += used as usize;
        }
        self.net
            .ring(TX)
            .wait_used()
            .ok_or("no used entry for TX")?;
        ensure_eq!(got, hdr + len, "bytes");
        // The others stay in the ring, and are forgotten.
        let rest = self.net.ring(RX).in_use();
        if rest > 0 {
            self.flush(rest)?;
        }
        Ok(())
    }

    /// Uses the remaining receive buffers up.
    fn flush(&mut self, count: u16) -> Outcome {
        for nth in 0..count {
            let sent = frame(nth.into(), 60);
            self.net
                .wire
                .send(&sent)
                .map_err(|e| format!("send: {e:?}"))?;
            self.net
                .ring(RX)
                .wait_used()
                .ok_or("no used entry for RX")?;
        }
        Ok(())
    }
}

fn unmarked(path: &str, features: u64, moves: bool, rounds: u32) -> Outcome {
    let mem = Memory::new();
    let mut guest = Guest::start(path, &mem, features);
    let used = guest.net.rings.each_ref().map(|ring| ring.used());
    let mut copy = Copy::new(&mem, &used);
    let mut marked = 0;
    let mut done = 0;
    for nth in endurance(rounds) {
        guest.round(&mut copy, nth)?;
        if moves && nth % 8 == 7 {
            let new = Log::new();
            guest
                .net
                .dev
                .set_log_base(new.base())
                .map_err(|e| format!("SET_LOG_BASE: {e:?}"))?;
            let old = std::mem::replace(&mut guest.log, new);
            marked += copy.follow(&mem, &old)?;
        }
        marked += copy
            .check(&mem, &guest.log)
            .map_err(|e| format!("round {nth}: {e}"))?;
        done += 1;
    }
    crate::diag!("{done} rounds, {marked} pages marked");
    ensure!(marked > done, "pages marked");
    // What is not in guest memory is not marked either.
    ensure_eq!(
        guest.log.outside(),
        0,
        "bits of pages outside of guest memory"
    );
    for events in &guest.net.events {
        ensure_eq!(events.err.take(), 0, "errors signalled");
    }
    Ok(())
}

/// Bits are lost and nothing else: the device goes on, and logs again when there is a log.
fn gone(path: &str) -> Outcome {
    let mem = Memory::new();
    let mut guest = Guest::start(path, &mem, F_VERSION_1 | F_MRG_RXBUF);
    let used = guest.net.rings.each_ref().map(|ring| ring.used());
    let mut copy = Copy::new(&mem, &used);
    guest.log.remove();
    for nth in 0..50 {
        guest.round(&mut copy, nth)?;
    }
    for events in &guest.net.events {
        ensure_eq!(events.err.take(), 0, "errors signalled");
    }
    let new = Log::new();
    let set = guest.net.dev.set_log_base(new.base());
    ensure_eq!(set, Ok(()), "SET_LOG_BASE");
    guest.log = new;
    let mut copy = Copy::new(&mem, &used);
    for nth in 0..50 {
        guest.round(&mut copy, nth)?;
        copy.check(&mem, &guest.log)?;
    }
    Ok(())
}

/// As at the beginning of a migration and after its cancellation.
fn switched(path: &str) -> Outcome {
    let mem = Memory::new();
    let features = F_VERSION_1 | F_MRG_RXBUF;
    let mut guest = Guest::start(path, &mem, features);
    let used = guest.net.rings.each_ref().map(|ring| ring.used());
    let set = |guest: &Guest<'_>, on: bool| -> Outcome {
        let all = if on { F_LOG_ALL } else { 0 };
        let dev = &guest.net.dev;
        ensure_eq!(dev.set_features(features | all), Ok(()), "SET_FEATURES");
        for index in [RX, TX] {
            let ring = &guest.net.rings[index as usize];
            let mut addr = ring.addr(index);
            addr.flags = if on { VRING_F_LOG } else { 0 };
            addr.log = ring.used();
            ensure_eq!(dev.set_addr(addr), Ok(()), "SET_VRING_ADDR");
        }
        Ok(())
    };
    for turn in 0..100 {
        set(&guest, true)?;
        let mut copy = Copy::new(&mem, &used);
        guest.log.take();
        for nth in 0..3 {
            guest.round(&mut copy, turn * 8 + nth)?;
            copy.check(&mem, &guest.log)?;
        }
        set(&guest, false)?;
        guest.log.take();
        guest.round(&mut copy, turn * 8 + 5)?;
        ensure_eq!(guest.log.take(), vec![], "pages marked without logging");
    }
    Ok(())
}

/// More empty descriptors than a packet may have segments, which C once recorded beyond the end of
/// its list of what to log.
fn empty_chains(path: &str) -> Outcome {
    let mem = Memory::new();
    let mut guest = Guest::start(path, &mem, F_VERSION_1 | F_MRG_RXBUF);
    let at = BUFFERS + 0x8000;
    let mut pieces = vec![(at, 0, DESC_WRITE); 1500];
    pieces.push((at, 2048, DESC_WRITE));
    let table = BUFFERS + 0x1_0000;
    let net = &mut guest.net;
    for nth in 0..20 {
        let old = net.ring(RX).avail_idx();
        net.ring(RX).add_indirect(table, &pieces);
        net.submit(RX, old);
        let sent = frame(nth, 500);
        net.wire.send(&sent).map_err(|e| format!("send: {e:?}"))?;
        let (_, used) = net.ring(RX).wait_used().ok_or("no used entry for RX")?;
        ensure_eq!(used, 512, "used length");
        ensure!(mem.read(at + 12, 500) == sent, "the frame changed");
        guest.log.until_marked(at / PAGE)?;
    }
    Ok(())
}
