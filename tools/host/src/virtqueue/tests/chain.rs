// SPDX-License-Identifier: GPL-2.0

//! Arbitrary rings, compared with the model.

use proptest::prelude::*;

use super::model::{
    table,
    Queue,
    INDIRECT,
    NEXT,
    STOPS,
    WRITE, //
};
use crate::{
    cases,
    device::{
        stays_inside,
        Device,
        End, //
    },
    driver::Driver,
    virtqueue::{
        fault::Fault,
        features::Negotiated,
        uapi::Desc, //
    },
};

/// The regions of guest memory: adjacent ones with odd ends, a hole, and one that faults.
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

/// The addresses at which tables cross the ends of three regions.
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

proptest! {
    #![proptest_config(cases(2000))]

    /// The same segments, or the same fault. An invalid buffer is returned and the next one
    /// follows. Any other fault changes nothing, however often it is met.
    #[test]
    fn as_the_model(
        size in 0u32..5,
        at in any::<u16>(),
        direct in prop::collection::vec(any_desc(), 16),
        indirect in prop::collection::vec(any_desc(), 24),
        posted in prop::collection::vec(prop_oneof![9 => 0u16..16, 1 => any::<u16>()], 1..16),
        room in prop_oneof![1 => 1usize..8, 3 => Just(1024usize)],
        bad in prop::option::weighted(0.2, 0usize..16),
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
        let mut device = Device::new(&driver, Negotiated::NONE, at, model.build());
        device = device.with_room(room, posted.len());
        let mut queue = Queue::new(&regions, at, (room, posted.len()));
        let mut again = 2;
        for _ in 0..=posted.len() + 2 {
            let (got, events) = driver.mem.watch(|| device.take(&driver.mem, End::Complete));
            for event in &events {
                prop_assert!(stays_inside(&driver, &regions, event), "{:x?}", event);
            }
            let expected = queue.take(&driver, End::Complete);
            prop_assert_eq!(&got, &expected);
            prop_assert_eq!(device.state(), queue.state());
            match got {
                Ok(None) => break,
                Err(fault) if STOPS.contains(&fault) => {
                    if again == 0 {
                        break;
                    }
                    again -= 1;
                }
                _ => {}
            }
        }
        let (end, used) = device.state();
        prop_assert_eq!(usize::from(end.wrapping_sub(at)), used.len());
        prop_assert!(again == 0 || end == driver.avail, "neither stopped nor at the end");
    }
}

/// The lengths of a chain at which the limit of segments is reached, with and without an indirect
/// table.
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
            let built = table(&regions).build();
            let mut device = Device::new(&driver, Negotiated::NONE, 0, built);
            let got = device.take(&driver.mem, End::Complete);
            if fits {
                let took = got.unwrap().unwrap();
                assert_eq!(took.segs.len(), usize::from(pieces), "{indirect}");
                assert_eq!(took.bytes, usize::from(pieces));
            } else {
                assert_eq!(got, Err(Fault::TooManySegments), "{pieces} {indirect}");
            }
            assert_eq!(device.state().0, 1);
        }
    }
}
