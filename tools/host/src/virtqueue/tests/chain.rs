// SPDX-License-Identifier: GPL-2.0

//! Any ring at all against the model.

use proptest::prelude::*;

use super::model::{
    segs,
    table,
    walk,
    INDIRECT,
    NEXT,
    WRITE, //
};
use crate::{
    cases,
    driver::{
        Driver,
        Event, //
    },
    kapi::iov::IoVec,
    virtqueue::{
        chain::{
            take,
            Chain, //
        },
        features::Negotiated,
        uapi::Desc, //
    },
};

/// The parts of guest memory: adjacent ones with odd ends, a hole, and one that faults.
fn regions(driver: &Driver) -> [(u64, u64, u64); 5] {
    let data = driver.data() as u64;
    [
        (0x4000, 0x1000, data + 0x2000),
        (0x1000, 0x800, data),
        (0x180c, 0x7f4, data + 0x800),
        (0x1800, 0xc, data + 0x1000),
        (0x10000, 0x1000, 0x1000),
    ]
}

/// Where tables lie across the ends of three regions.
const ACROSS: u64 = 0x17d4;

fn any_desc() -> impl Strategy<Value = Desc> {
    let addr = prop_oneof![
        6 => 0x1000u64..0x1100,
        2 => 0x17e0u64..0x1820,
        2 => (0u64..4).prop_map(|at| ACROSS + at * 16),
        2 => (0u64..0x200).prop_map(|at| 0x4000 + at * 16),
        2 => 0x1ff0u64..0x2010,
        1 => 0x10000u64..0x10010,
        1 => any::<u64>(),
    ];
    let len = prop_oneof![
        4 => 1u32..0x40,
        3 => (0u32..8).prop_map(|n| n * 16),
        1 => Just(0),
        1 => 0u32..0x1000,
        1 => any::<u32>(),
    ];
    let flags = prop_oneof![
        4 => Just(0),
        4 => Just(NEXT),
        3 => Just(WRITE),
        4 => Just(WRITE | NEXT),
        2 => Just(INDIRECT),
        2 => Just(INDIRECT | NEXT),
        1 => any::<u16>(),
    ];
    let next = prop_oneof![8 => 0u16..8, 1 => any::<u16>()];
    (addr, len, flags, next).prop_map(|(addr, len, flags, next)| Desc {
        addr,
        len,
        flags,
        next,
    })
}

/// Whether an access is one to a part of the ring or to a region, and does not leave it.
fn stays_inside(driver: &Driver, regions: &[(u64, u64, u64)], event: &Event) -> bool {
    let Event::Read(read) = event else {
        return *event == Event::Rmb;
    };
    let region = |&(_, size, uaddr): &(u64, u64, u64)| uaddr as usize..(uaddr + size) as usize;
    let parts = [
        driver.desc(0)..driver.avail_flags(),
        driver.avail_idx()..driver.avail_entry(0),
        driver.avail_entry(0)..driver.used_event(),
    ];
    let mut all = parts.into_iter().chain(regions.iter().map(region));
    all.any(|part| part.start <= read.start && read.end <= part.end)
}

proptest! {
    #![proptest_config(cases(2000))]

    /// The same segments, or the same fault and nothing changed.
    #[test]
    fn as_the_model(
        size in 0u32..5,
        at in any::<u16>(),
        direct in prop::collection::vec(any_desc(), 16),
        indirect in prop::collection::vec(any_desc(), 24),
        posted in prop::collection::vec(prop_oneof![9 => 0u16..16, 1 => any::<u16>()], 1..16),
        room in prop_oneof![1 => 1usize..8, 3 => Just(1024usize)],
        bad in prop::option::weighted(0.2, 0usize..16),
        kept in 0usize..3,
    ) {
        let mut driver = Driver::new(1 << size, 0x4000);
        driver.start(at);
        for (index, desc) in (0..driver.size).zip(&direct) {
            driver.mem.put_desc(driver.desc(index), *desc);
        }
        let regions = regions(&driver);
        let model = table(&regions);
        // The same tables in the middle of a region, at its beginning and across its end.
        for (at, desc) in indirect.iter().enumerate() {
            let from = driver.data() + 0x2000 + at * 16;
            driver.mem.put_desc(from, *desc);
            driver.mem.put_desc(driver.data() + at * 16, *desc);
            model.put(&driver, ACROSS + 16 * at as u64, &driver.mem.get::<16>(from));
        }
        for head in posted.iter().take(usize::from(driver.size)) {
            driver.post(head % (driver.size + 1));
        }
        if let Some(bad) = bad {
            let addr = driver.desc(0) + 16 * (bad % usize::from(driver.size));
            driver.mem.poison_reads(addr..addr + 1);
        }
        let built = model.build();
        let mut ring = driver.device(Negotiated::NONE, at);
        let mut hint = 0;
        for position in 0..posted.len().min(usize::from(driver.size)) {
            let mut out = segs(room + kept);
            for at in 0..kept {
                out.push_within_capacity(IoVec::new(at, at)).unwrap();
            }
            let before = ring.base();
            prop_assert_eq!(usize::from(before.wrapping_sub(at)), position);
            let head = driver.mem.get_u16(driver.avail_entry(before));
            let (got, events) = driver.mem.watch(|| {
                take(&mut ring, &driver.mem, &built, &mut hint, &mut out)
            });
            for event in &events {
                prop_assert!(stays_inside(&driver, &regions, event), "{:x?}", event);
            }
            match walk(&driver, &model, head, room) {
                Ok(buffer) => {
                    let chain = Chain {
                        head,
                        readable: buffer.readable,
                        writable: buffer.writable,
                        bytes: buffer.bytes,
                    };
                    prop_assert_eq!(got, Ok(Some(chain)));
                    prop_assert_eq!(&out[kept..], &buffer.segs[..]);
                    prop_assert_eq!(ring.base(), before.wrapping_add(1));
                }
                Err(fault) => {
                    prop_assert_eq!(got, Err(fault));
                    prop_assert_eq!(out.len(), kept);
                    prop_assert_eq!(ring.base(), before);
                    // And again.
                    let again = take(&mut ring, &driver.mem, &built, &mut hint, &mut out);
                    prop_assert_eq!(again, Err(fault));
                    break;
                }
            }
        }
    }
}

/// The lengths of a chain whose segments are counted, with and without an indirect table.
#[test]
fn segment_limit() {
    for (pieces, fits) in [(1023u16, true), (1024, true), (1025, false)] {
        for indirect in [false, true] {
            let mut driver = Driver::new(2048, 0x10000);
            driver.start(0);
            let regions = [(0, 0x10000, driver.data() as u64)];
            let base = if indirect {
                driver.data()
            } else {
                driver.desc(0)
            };
            for at in 0..pieces {
                let desc = Desc {
                    addr: 0,
                    len: 1,
                    flags: if at + 1 < pieces { NEXT } else { 0 },
                    next: at + 1,
                };
                driver.mem.put_desc(base + 16 * usize::from(at), desc);
            }
            if indirect {
                let desc = Desc {
                    addr: 0,
                    len: 16 * u32::from(pieces),
                    flags: INDIRECT,
                    next: 0,
                };
                driver.mem.put_desc(driver.desc(0), desc);
            }
            driver.post(0);
            let mut ring = driver.device(Negotiated::NONE, 0);
            let built = table(&regions).build();
            let mut out = segs(1024);
            let got = take(&mut ring, &driver.mem, &built, &mut 0, &mut out);
            assert_eq!(got.is_ok(), fits, "{pieces} {indirect}");
            assert_eq!(out.len(), if fits { usize::from(pieces) } else { 0 });
        }
    }
}
