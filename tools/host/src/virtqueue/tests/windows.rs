// SPDX-License-Identifier: GPL-2.0

//! Chains of several descriptors that are read ahead: their contents for all placements, and the
//! number of reads.

use std::ops::Range;

use proptest::prelude::*;

use super::model::{
    table,
    NEXT,
    WRITE, //
};
use crate::{
    cases,
    device::{
        stays_inside,
        Device,
        End,
        Straight, //
    },
    driver::{
        Driver,
        Event, //
    },
    virtqueue::{
        features::Negotiated,
        uapi::Desc, //
    },
};

/// The owner's address of guest memory; nothing is mapped there.
const BASE: u64 = 0x1000;

fn built() -> crate::virtqueue::table::MemTable {
    table(&[(0, u64::from(u32::MAX), BASE)]).build()
}

/// The placement of chains in the descriptor table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lie {
    /// Each behind the one before, from the beginning.
    Up,
    /// Each before the one before, from the end.
    Down,
    /// As `Up`, but of each two chains the second is available first.
    Pairs,
    /// As `Up`, but with descending descriptors in each chain.
    Back,
    /// The first descriptors of all chains, then the second ones.
    Rows,
}

impl Lie {
    const ALL: [Self; 5] = [Self::Up, Self::Down, Self::Pairs, Self::Back, Self::Rows];

    /// The descriptor of part `part` of chain `nth` of `count`, each of `len`, in a table of
    /// `size`.
    fn index(self, (nth, count): (u16, u16), (part, len): (u16, u16), size: u16) -> u16 {
        match self {
            Self::Up => nth * len + part,
            Self::Down => size - (nth + 1) * len + part,
            Self::Pairs => (nth ^ 1) * len + part,
            Self::Back => (nth + 1) * len - part - 1,
            Self::Rows => part * count + nth,
        }
    }
}

/// A chain of these descriptors; the address of each is its number.
fn put(driver: &Driver, chain: &[u16]) {
    put_as(WRITE, driver, chain);
}

/// The same, writable or readable.
fn put_as(flags: u16, driver: &Driver, chain: &[u16]) {
    for (at, &index) in chain.iter().enumerate() {
        let next = chain.get(at + 1);
        let desc = Desc {
            addr: index.into(),
            len: 1,
            flags: next.map_or(flags, |_| flags | NEXT),
            next: next.copied().unwrap_or(0xffff),
        };
        driver.mem.put_desc(driver.desc(index), desc);
    }
}

/// The number of reads of the table, and of descriptors read.
fn reads(driver: &Driver, events: &[Event]) -> (usize, usize) {
    let descs = driver.desc(0)..driver.avail_flags();
    let part = |event: &Event| match event {
        Event::Read(range) if descs.contains(&range.start) => Some(range.len() / 16),
        _ => None,
    };
    let parts: Vec<usize> = events.iter().filter_map(part).collect();
    (parts.len(), parts.iter().sum())
}

/// The descriptors of the next buffer, writable or readable; on the fast path if wanted and
/// possible.
fn next_by(straight: Option<u16>, device: &mut Device, driver: &Driver) -> Option<Vec<u16>> {
    let plain = straight.map(|flags| device.straight(&driver.mem, flags == WRITE, Some(1)));
    let (head, took) = match plain {
        Some(Ok(Straight::Plain(took))) => {
            let head = device.state().1.last().map_or(0, |elem| elem.id as u16);
            (head, took)
        }
        _ => device.next(&driver.mem).unwrap()?,
    };
    let index = |base: usize| u16::try_from(base - BASE as usize).unwrap();
    let chain: Vec<u16> = took.segs.iter().map(|seg| index(seg.base())).collect();
    assert_eq!(chain.first(), Some(&head));
    Some(chain)
}

/// The same on the slow path.
fn next(device: &mut Device, driver: &Driver) -> Option<Vec<u16>> {
    next_by(None, device, driver)
}

/// Each chain has its own contents, for all placements. Each descriptor is read once and no other
/// is read. Adjacent ones are read together.
#[test]
fn wherever_they_lie() {
    const COUNT: u16 = 64;
    // Also more of them than are ever read at once.
    for len in [1u16, 2, 3, 5, 16, 17, 64, 65, 100] {
        for lie in Lie::ALL {
            let size = (COUNT * len).next_power_of_two();
            let mut driver = Driver::new(size, 0);
            driver.start(0xffc0);
            let chains: Vec<Vec<u16>> = (0..COUNT)
                .map(|nth| {
                    let index = |part| lie.index((nth, COUNT), (part, len), size);
                    (0..len).map(index).collect()
                })
                .collect();
            for chain in &chains {
                put(&driver, chain);
                driver.post(chain[0]);
            }
            let mut device = Device::new(&driver, Negotiated::NONE, 0xffc0, built());
            let (taken, events) = driver.mem.watch(|| {
                (0..COUNT)
                    .map_while(|_| next(&mut device, &driver))
                    .collect::<Vec<_>>()
            });
            assert_eq!(taken, chains, "{len} {lie:?}");
            let inside = |event: &Event| stays_inside(&driver, &[], event);
            assert!(events.iter().all(inside), "{len} {lie:?} {events:x?}");

            let (count, descs) = reads(&driver, &events);
            let all = usize::from(COUNT * len);
            assert_eq!(descs, all, "{len} {lie:?}");
            let first = usize::from(len);
            let together = match (lie, len) {
                // The first alone, since its length is not known yet. Of the others as many as fit
                // into 64 descriptors, or pairs.
                (Lie::Up | Lie::Down, 1) => 1,
                (Lie::Up | Lie::Down, 2..=16) => {
                    first + usize::from((COUNT - 1).div_ceil(64 / len))
                }
                (Lie::Pairs, 1..=16) => first + usize::from(COUNT / 2),
                // The heads of all, and the others one by one.
                (Lie::Rows, _) | (Lie::Back, 1) => 1 + all - usize::from(COUNT),
                _ => all,
            };
            assert!(count <= together, "{len} {lie:?}: {count} of {together}");
        }
    }
}

/// The purpose of reading ahead: 64 buffers of a header and a packet each.
#[test]
fn few_accesses() {
    let mut driver = Driver::new(256, 0);
    driver.start(0);
    for nth in 0..64 {
        put(&driver, &[2 * nth, 2 * nth + 1]);
        driver.post(2 * nth);
    }
    let mut device = Device::new(&driver, Negotiated::NONE, 0, built());
    let (taken, events) = driver
        .mem
        .watch(|| (0..65).map_while(|_| next(&mut device, &driver)).count());
    assert_eq!(taken, 64);
    let count = |part: Range<usize>| {
        let of = |e: &&Event| matches!(e, Event::Read(range) if part.contains(&range.start));
        events.iter().filter(of).count()
    };
    // The index is read for the first, and behind the last.
    assert_eq!(count(driver.avail_idx()..driver.avail_entry(0)), 2);
    assert_eq!(count(driver.avail_entry(0)..driver.used_event()), 1);
    // Both descriptors of the first, and at most two times 64.
    assert!(reads(&driver, &events).0 <= 4, "{events:x?}");
    let others = events.iter().filter(|e| !matches!(e, Event::Read(_)));
    assert_eq!(others.count(), 1);
}

/// Whatever the expected length of a chain at the end of the table, nothing behind the table is
/// read.
#[test]
fn the_end_of_the_table() {
    for size in [1u16, 2, 4, 32, 64] {
        for long in [1u16, 2, 3, 16, 32].into_iter().filter(|len| *len <= size) {
            let mut driver = Driver::new(size, 0);
            driver.start(0);
            let mut device = Device::new(&driver, Negotiated::NONE, 0, built());
            let chain: Vec<u16> = (0..long).collect();
            put(&driver, &chain);
            driver.post(0);
            assert_eq!(next(&mut device, &driver), Some(chain));
            for back in 1..=size.min(20) {
                let last = size - back;
                put(&driver, &[last]);
                driver.post(last);
                let (took, events) = driver.mem.watch(|| next(&mut device, &driver));
                assert_eq!(took, Some(vec![last]));
                let inside = |event: &Event| stays_inside(&driver, &[], event);
                assert!(events.iter().all(inside), "{size} {long} {events:x?}");
                // Another chain of the same length, so that the next one is expected to have it.
                let again: Vec<u16> = (0..long.min(last)).collect();
                if let Some(&head) = again.first() {
                    put(&driver, &again);
                    driver.post(head);
                    assert_eq!(next(&mut device, &driver), Some(again));
                }
            }
        }
    }
}

/// Descriptors that are not needed may be unreadable.
#[test]
fn unreadable_between() {
    let mut driver = Driver::new(16, 0);
    driver.start(0);
    let chains = [vec![0u16, 1], vec![2, 4], vec![6, 7], vec![8]];
    for chain in &chains {
        put(&driver, chain);
        driver.post(chain[0]);
    }
    for index in [3, 5, 9] {
        driver
            .mem
            .poison_reads(driver.desc(index)..driver.desc(index + 1));
    }
    let mut device = Device::new(&driver, Negotiated::NONE, 0, built());
    for chain in chains {
        assert_eq!(next(&mut device, &driver), Some(chain));
    }
    assert_eq!(next(&mut device, &driver), None);
}

/// The next step of a guest: the length of its chain, whether it is contiguous, the number of
/// buffers taken then, whether on the fast path where possible, and whether the last one is put
/// back.
type Turn = (u16, bool, u16, u16, bool, bool);

fn turn() -> impl Strategy<Value = Turn> {
    let len = prop_oneof![3 => Just(1u16), 3 => Just(2), 2 => 3u16..6, 1 => 6u16..20];
    let taking = prop_oneof![2 => Just(0u16), 2 => 1u16..4, 1 => Just(u16::MAX)];
    (
        len,
        any::<bool>(),
        any::<u16>(),
        taking,
        any::<bool>(),
        prop::bool::weighted(0.2),
    )
}

/// Free descriptors for a chain of `len`, contiguous if wanted and available.
fn allocate(free: &[u16], len: u16, neighbours: bool, from: u16) -> Vec<u16> {
    let len = usize::from(len).min(free.len());
    let next_to = |run: &&[u16]| run.windows(2).all(|two| two[1] == two[0] + 1);
    if neighbours {
        let mut sorted = free.to_vec();
        sorted.sort_unstable();
        if let Some(run) = sorted.windows(len.max(1)).find(next_to) {
            return run.to_vec();
        }
    }
    let start = usize::from(from) % free.len().max(1);
    let mut chain: Vec<u16> = free[start..]
        .iter()
        .chain(&free[..start])
        .copied()
        .collect();
    chain.truncate(len);
    chain
}

proptest! {
    #![proptest_config(cases(1500))]

    /// A driver that continuously overwrites each descriptor that is not available. So contents
    /// that were read too early or kept too long are wrong.
    #[test]
    fn as_it_is_when_available(
        shift in 0u32..8,
        at in any::<u16>(),
        flags in prop::sample::select(vec![0, WRITE]),
        turns in prop::collection::vec(turn(), 1..80),
    ) {
        let size = 1u16 << shift;
        let mut driver = Driver::new(size, 0);
        driver.start(at);
        let mut device = Device::new(&driver, Negotiated::NONE, at, built());
        let mut free: Vec<u16> = (0..size).collect();
        let mut waiting = std::collections::VecDeque::new();
        let mut nonsense = 0u16;
        for (len, neighbours, from, taking, straight, back) in turns {
            let chain = allocate(&free, len, neighbours, from);
            if let Some(&head) = chain.first() {
                free.retain(|index| !chain.contains(index));
                put_as(flags, &driver, &chain);
                driver.post(head);
                waiting.push_back(chain);
            }
            for &index in &free {
                nonsense = nonsense.wrapping_add(0x3001);
                let desc = Desc {
                    addr: 0x8000 + u64::from(nonsense),
                    len: 2,
                    flags: nonsense,
                    next: nonsense % (size + 1),
                };
                driver.mem.put_desc(driver.desc(index), desc);
            }
            for _ in 0..taking.min(waiting.len() as u16) {
                let mut chain = waiting.pop_front().unwrap();
                let (took, events) = driver.mem.watch(|| next_by(straight.then_some(flags), &mut device, &driver));
                prop_assert_eq!(took.as_ref(), Some(&chain));
                let inside = |event: &Event| stays_inside(&driver, &[], event);
                prop_assert!(events.iter().all(inside), "{:x?}", events);
                // Never more reads than one for each descriptor.
                prop_assert!(reads(&driver, &events).0 <= chain.len());
                device.publish(&driver.mem);
                free.append(&mut chain);
            }
            if back && !waiting.is_empty() {
                let took = device.take(&driver.mem, End::Drop);
                prop_assert!(took.is_ok_and(|took| took.is_some()));
                // A buffer that was put back may change.
                let chain = waiting.front_mut().unwrap();
                let head = chain[0];
                free.extend_from_slice(&chain[1..]);
                chain.truncate(1);
                put_as(flags, &driver, &[head]);
            }
        }
    }
}
