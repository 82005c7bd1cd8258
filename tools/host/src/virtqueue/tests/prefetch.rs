// SPDX-License-Identifier: GPL-2.0

//! Reading ahead: each part once, not too early, and with its current contents.

use proptest::prelude::*;
use std::ops::Range;

use super::model::{
    table,
    INDIRECT,
    NEXT,
    WRITE, //
};
use crate::{
    cases,
    device::{
        Device,
        End, //
    },
    driver::{
        Driver,
        Event, //
    },
    kapi::iov::IoVec,
    virtqueue::{
        features::Negotiated,
        uapi::Desc, //
    },
};

/// The order in which a driver uses its descriptors.
#[derive(Clone, Copy, Debug)]
enum Order {
    Up,
    Down,
    Any(u16),
}

impl Order {
    fn head(self, at: u16, size: u16) -> u16 {
        match self {
            Self::Up => at % size,
            Self::Down => (size - 1) - at % size,
            // The step is odd, so that all are used.
            Self::Any(factor) => at.wrapping_mul(factor | 1) % size,
        }
    }
}

fn any_order() -> impl Strategy<Value = Order> {
    prop_oneof![
        3 => Just(Order::Up),
        2 => Just(Order::Down),
        2 => any::<u16>().prop_map(Order::Any),
    ]
}

fn pieces(range: &Range<usize>, base: usize, each: usize) -> Range<usize> {
    (range.start - base) / each..(range.end - base).div_ceil(each)
}

proptest! {
    #![proptest_config(cases(400))]

    /// A driver that reuses each buffer as soon as it has been taken, so that contents that were
    /// read too early or kept too long are wrong.
    #[test]
    fn in_time(
        shift in 0u32..9,
        at in any::<u16>(),
        order in any_order(),
        turns in prop::collection::vec((0u16..200, 0u16..200, 0u16..4), 1..40),
    ) {
        let size = 1u16 << shift;
        let mut driver = Driver::new(size, 0x1000);
        driver.start(at);
        let regions = [(0, u64::from(u32::MAX), 0x1000)];
        let built = table(&regions).build();
        let mut device = Device::new(&driver, Negotiated::NONE, at, built);
        let mut nth = 0u32;
        // The expected lengths.
        let mut due = std::collections::VecDeque::new();
        for (post, taking, back) in turns {
            for _ in 0..post.min(size - due.len() as u16) {
                nth = nth % 0xfff_ffff + 1;
                let head = order.head(driver.avail, size);
                let desc = Desc { addr: 0, len: nth, flags: WRITE, next: 0 };
                driver.mem.put_desc(driver.desc(head), desc);
                driver.post(head);
                due.push_back((head, nth));
            }
            for _ in 0..taking {
                let keep = back < 2;
                let Some((head, len)) = due.pop_front() else {
                    prop_assert_eq!(device.take(&driver.mem, End::Complete), Ok(None));
                    break;
                };
                let got = device.take(&driver.mem, if keep { End::Complete } else { End::Drop });
                let expected = vec![IoVec::new(0x1000, len as usize)];
                prop_assert_eq!(got.map(|took| took.map(|took| took.segs)), Ok(Some(expected)));
                let used = device.state().1;
                if keep {
                    prop_assert_eq!(used.last().map(|elem| elem.id), Some(u32::from(head)));
                    device.publish(&driver.mem);
                    continue;
                }
                // Some are put back and may then change.
                prop_assert_eq!(used, vec![]);
                let mut other = len;
                if back > 2 {
                    other ^= 0x1000_0000;
                    let desc = Desc { addr: 0, len: other, flags: WRITE, next: 0 };
                    driver.mem.put_desc(driver.desc(head), desc);
                }
                due.push_front((head, other));
                break;
            }
        }
    }

    /// No entry and no descriptor is read twice while nothing is put back, none before it is
    /// available, and the index not before it is needed.
    #[test]
    fn once(
        shift in 0u32..9,
        at in any::<u16>(),
        order in any_order(),
        turns in prop::collection::vec((0u16..200, 0u16..200), 1..20),
        step in prop::sample::select(vec![1u16, 2, 4, 8, 16]),
    ) {
        let size = 16u16 << shift;
        let mut driver = Driver::new(size, 0x1000);
        driver.start(at);
        let regions = [(0, u64::from(u32::MAX), 0x1000)];
        let built = table(&regions).build();
        let mut device = Device::new(&driver, Negotiated::NONE, at, built);
        // How often each may be read.
        let mut entries = vec![0u32; usize::from(size)];
        let mut descs = vec![0u32; usize::from(size)];
        let mut waiting = 0;
        for (post, taking) in turns {
            for _ in 0..post.min(size / step - waiting) {
                let head = order.head(driver.avail, size / step) * step;
                for part in 0..step {
                    let index = head + part;
                    let flags = if part + 1 < step { WRITE | NEXT } else { WRITE };
                    let next = index + 1;
                    driver.mem.put_desc(driver.desc(index), Desc { addr: 0, len: 1, flags, next });
                    descs[usize::from(index)] = 1;
                }
                entries[usize::from(driver.avail % size)] = 1;
                driver.post(head);
                waiting += 1;
            }
            let known = device.ring.is_drained();
            let (taken, events) = driver.mem.watch(|| {
                (0..taking)
                    .map_while(|_| device.take(&driver.mem, End::Complete).unwrap())
                    .count()
            });
            device.publish(&driver.mem);
            prop_assert_eq!(taken, usize::from(taking.min(waiting)));
            waiting -= taken as u16;
            let idx = driver.avail_idx()..driver.avail_idx() + 2;
            let (all_entries, all_descs) = (
                driver.avail_entry(0)..driver.used_event(),
                driver.desc(0)..driver.avail_flags(),
            );
            let (mut looked, mut safe) = (0, !known);
            for event in events {
                match event {
                    Event::Rmb => safe = true,
                    Event::Read(range) if range == idx => {
                        looked += 1;
                        safe = false;
                    }
                    Event::Read(range) => {
                        prop_assert!(safe, "{:x?}", range);
                        let (counts, base, each) = if range.start < all_descs.end {
                            prop_assert!(range.end <= all_descs.end);
                            (&mut descs, all_descs.start, 16)
                        } else {
                            prop_assert!(all_entries.start <= range.start);
                            prop_assert!(range.end <= all_entries.end);
                            (&mut entries, all_entries.start, 2)
                        };
                        for count in &mut counts[pieces(&range, base, each)] {
                            prop_assert!(*count > 0, "{:x?}", range);
                            *count -= 1;
                        }
                    }
                    other => prop_assert!(false, "{:?}", other),
                }
            }
            // Once when the ring has become empty, and once more for the entries behind.
            prop_assert!(looked <= 2, "{}", looked);
        }
    }
}

fn reads(events: &[Event], part: Range<usize>) -> usize {
    let is_there = |e: &&Event| matches!(e, Event::Read(range) if part.contains(&range.start));
    events.iter().filter(is_there).count()
}

/// Neighbours are read at once, in both directions of the table.
#[test]
fn few_accesses() {
    const SIZE: u16 = 256;
    for (order, each) in [(Order::Up, 64), (Order::Down, 64), (Order::Any(7), 1)] {
        let mut driver = Driver::new(SIZE, 0x1000);
        driver.start(0);
        for at in 0..SIZE {
            let head = order.head(at, SIZE);
            let desc = Desc {
                addr: u64::from(head),
                len: 1,
                flags: WRITE,
                next: 0,
            };
            driver.mem.put_desc(driver.desc(head), desc);
            driver.post(head);
        }
        let regions = [(0, 0x1000, 0x1000)];
        let built = table(&regions).build();
        let mut device = Device::new(&driver, Negotiated::NONE, 0, built);
        let (taken, events) = driver.mem.watch(|| {
            (0..SIZE)
                .map_while(|_| device.next(&driver.mem).unwrap())
                .collect::<Vec<_>>()
        });
        assert_eq!(taken.len(), usize::from(SIZE));
        for (at, (head, took)) in (0..SIZE).zip(taken) {
            assert_eq!(head, order.head(at, SIZE));
            assert_eq!(took.segs, [IoVec::new(0x1000 + usize::from(head), 1)]);
        }
        let idx = driver.avail_idx();
        assert_eq!(reads(&events, idx..idx + 2), 1);
        let entries = driver.avail_entry(0)..driver.used_event();
        assert_eq!(reads(&events, entries), 4);
        let descs = driver.desc(0)..driver.avail_flags();
        assert_eq!(reads(&events, descs), usize::from(SIZE) / each, "{order:?}");
    }
}

/// Indirect tables are read several entries at once; an unreadable entry that is not used does no
/// harm.
#[test]
fn indirect_runs() {
    const COUNT: u32 = 20;
    for readable in [COUNT, COUNT - 1, 9, 8, 1] {
        let mut driver = Driver::new(1, 0x1000);
        driver.start(0);
        let regions = [(0, 0x1000, driver.data() as u64)];
        let built = table(&regions).build();
        let desc = Desc {
            addr: 0,
            len: 16 * COUNT,
            flags: INDIRECT,
            next: 0,
        };
        driver.mem.put_desc(driver.desc(0), desc);
        for at in 0..COUNT {
            let flags = if at + 1 < readable { NEXT } else { 0 };
            let desc = Desc {
                addr: 0,
                len: at + 1,
                flags,
                next: 0,
            };
            driver.mem.put_desc(driver.data() + 16 * at as usize, desc);
        }
        let end = driver.data() + 16 * readable as usize;
        driver.mem.poison_reads(end..end + 1);
        driver.post(0);
        let mut device = Device::new(&driver, Negotiated::NONE, 0, built);
        let (took, events) = driver.mem.watch(|| device.take(&driver.mem, End::Complete));
        let took = took.unwrap().unwrap();
        let lens: Vec<usize> = took.segs.iter().map(|seg| seg.len()).collect();
        assert_eq!(lens, (1..=readable as usize).collect::<Vec<_>>());
        if readable == COUNT {
            let table = driver.data()..driver.data() + 16 * COUNT as usize;
            assert_eq!(reads(&events, table), 3);
        }
    }
}
