// SPDX-License-Identifier: GPL-2.0

//! The memory table, compared with one that examines every byte.

use proptest::prelude::*;

use super::model::{
    segs,
    table, //
};
use crate::{
    cases,
    kapi::iov::IoVec,
    prelude::{
        KVec,
        EFAULT,
        GFP_KERNEL,
        LOOKED_AT, //
    },
    virtqueue::{
        fault::Fault,
        table::{
            MemTable,
            MemoryRegion, //
        },
    },
};

fn build(regions: &[(u64, u64, u64)]) -> crate::prelude::Result<MemTable> {
    let mut vec = KVec::with_capacity(regions.len(), GFP_KERNEL)?;
    for &(gpa, size, uaddr) in regions {
        vec.push(MemoryRegion { gpa, size, uaddr }, GFP_KERNEL)?;
    }
    MemTable::new(vec)
}

#[test]
fn regions_that_are_none() {
    let top = 1 << 63;
    let table = [
        ((0, 0, 0), true),
        ((0, 1, 0), true),
        ((1, 0, 0), false),
        ((u64::MAX, 0, 0), false),
        ((u64::MAX, 1, 0), true),
        ((u64::MAX, 2, 0), false),
        ((top, top, 0), true),
        ((top, top + 1, 0), false),
        ((0, u64::MAX, 0), true),
        ((1, u64::MAX, 0), true),
        ((2, u64::MAX, 0), false),
    ];
    for (region, good) in table {
        // Also behind a valid region.
        for regions in [&[region][..], &[(0x1000, 0x1000, 0), region][..]] {
            let built = build(regions);
            assert_eq!(built.is_ok(), good, "{region:x?}");
            assert!(good || built.is_err_and(|e| e == EFAULT));
        }
    }
    assert!(build(&[]).is_ok());
}

#[test]
fn regions_and_user_space() {
    const LIMIT: u64 = 0x7fff_ffff_f000;
    let is_user = |addr: u64, len: u64| addr.checked_add(len).is_some_and(|end| end <= LIMIT);
    let table = [
        ((0, 0x1000, 0), true),
        ((0, 0x1000, LIMIT - 0x1000), true),
        ((0, 0x1001, LIMIT - 0x1000), false),
        ((0, 0x1000, LIMIT), false),
        ((0, 0x1000, u64::MAX - 0xfff), false),
        ((0, 0x1000, u64::MAX), false),
        ((0, 0x1000, 1 << 63), false),
        // The whole address space is never user space.
        ((0, 0, 0), false),
    ];
    for (region, good) in table {
        let first = build(&[region, (1 << 40, 1, 0)]).unwrap();
        let last = build(&[(1 << 40, 1, 0), region]).unwrap();
        assert_eq!(first.regions_ok(is_user), good, "{region:x?}");
        assert_eq!(last.regions_ok(is_user), good, "{region:x?}");
    }
    assert!(build(&[]).unwrap().regions_ok(is_user));
    // A region does not wrap around, also where all addresses are user space.
    assert!(!build(&[(0, 2, u64::MAX - 1)])
        .unwrap()
        .regions_ok(|_, _| true));
}

#[test]
fn the_whole_address_space() {
    let table = build(&[(0, 0, 0)]).unwrap();
    let mut out = segs(4);
    let mut hint = 0;
    let gpa = u64::MAX - 0xffff_fffe;
    assert_eq!(table.translate(&mut hint, gpa, u32::MAX, &mut out), Ok(1));
    assert_eq!(out[0].base() as u64, gpa);
    assert_eq!(out[0].len(), u32::MAX as usize);
    let beyond = table.translate(&mut hint, gpa + 1, u32::MAX, &mut out);
    assert_eq!(beyond, Err(Fault::Unmapped));
    // Segments that were found before remain.
    out.truncate(1);
    // A range without bytes has no segment, in any table; the last byte has one.
    for gpa in [0, 1, u64::MAX] {
        assert_eq!(table.translate(&mut hint, gpa, 0, &mut out), Ok(0));
    }
    assert_eq!(out.len(), 1);
    assert_eq!(table.translate(&mut hint, u64::MAX, 1, &mut out), Ok(1));
    assert_eq!(out[1], IoVec::new(usize::MAX, 1));
}

/// The cost of a look-up in a table of `count` regions in any order: at each address where a
/// region begins or ends, and in gaps.
fn looked_at(count: u64, order: impl Fn(u64) -> u64) -> usize {
    const EACH: u64 = 0x1000;
    let regions: Vec<_> = (0..count)
        .map(|i| (order(i) * 2 * EACH, EACH, (1 << 40) + order(i) * EACH))
        .collect();
    let table = build(&regions).unwrap();
    let mut most = 0;
    for &(gpa, size, uaddr) in &regions {
        for (at, found) in [
            (gpa, Some(uaddr)),
            (gpa + size - 1, Some(uaddr + size - 1)),
            (gpa + size, None),
        ] {
            let mut out = segs(1);
            LOOKED_AT.set(0);
            // No region has been found before.
            let mut hint = usize::MAX;
            let got = table.translate(&mut hint, at, 1, &mut out);
            most = most.max(LOOKED_AT.get());
            assert_eq!(got.ok(), found.map(|_| 1), "{at:x}");
            assert_eq!(out.first().map(|seg| seg.base() as u64), found, "{at:x}");
        }
    }
    most
}

#[test]
fn many_regions_are_few_to_look_at() {
    // The number of regions, and of steps of a binary search; one more step checks the last
    // region.
    for (count, most) in [(2, 2), (64, 7), (512, 10), (0x8000, 16)] {
        // 7 is coprime to each of these numbers.
        let orders: [&dyn Fn(u64) -> u64; 3] = [&|i| i, &|i| count - 1 - i, &|i| i * 7 % count];
        for order in orders {
            let looked_at = looked_at(count, order);
            assert!((1..=most).contains(&looked_at), "{looked_at} of {count}");
        }
    }
}

#[test]
fn regions_within_regions() {
    // Each region inside the one before, and one that begins in the last and ends behind all.
    let mut regions: Vec<_> = (0..100).map(|i| (i, 400 - 2 * i, 0x1000 * i)).collect();
    regions.push((390, 260, 0x10_0000));
    let table = build(&regions).unwrap();
    let mut hint = 0;
    for at in 0..700 {
        let mut out = segs(1);
        let got = table.translate(&mut hint, at, 1, &mut out);
        assert_eq!(got.is_ok(), at < 650, "{at}");
    }
    // Regions hidden by others are checked as well: each must be in user space.
    assert!(table.regions_ok(|_, _| true));
    for &(_, _, hidden) in &regions {
        assert!(!table.regions_ok(|uaddr, _| uaddr != hidden));
    }
}

/// The bases of small address spaces of which every byte can be checked.
const BASES: [u64; 3] = [0, 0x1_0000_0000, u64::MAX - 63];

fn any_regions(overlapping: bool) -> impl Strategy<Value = Vec<(u64, u64, u64)>> {
    let region = (0u64..64, 1u64..24, 0u64..8);
    (0usize..3, prop::collection::vec(region, 0..8)).prop_map(move |(base, raw)| {
        let base = BASES[base];
        let mut regions: Vec<(u64, u64, u64)> = Vec::new();
        for (at, (start, size, uaddr)) in raw.into_iter().enumerate() {
            let size = size.min(64 - start);
            let collides = regions
                .iter()
                .any(|r| r.0 - base < start + size && start < r.0 - base + r.1);
            if overlapping || !collides {
                // For the owner they are far apart and not in order.
                let place = 0x10_0000 * ((at as u64 * 5) % 8 + 1) + uaddr;
                regions.push((base + start, size, place));
            }
        }
        regions
    })
}

/// The start of a translation: mostly where the regions are.
fn any_range() -> impl Strategy<Value = (usize, u64, u32)> {
    (0usize..3, 0u64..70, prop_oneof![0u32..70, any::<u32>()])
}

proptest! {
    #![proptest_config(cases(3000))]

    /// One segment for each region, in order; a fault exactly when a byte is in no region, or when
    /// there are more segments than room.
    #[test]
    fn translate(
        regions in any_regions(false),
        ranges in prop::collection::vec(any_range(), 1..12),
        mut hint in 0usize..10,
        room in 0usize..6,
    ) {
        let built = build(&regions).unwrap();
        for (base, start, len) in ranges {
            let gpa = BASES[base].wrapping_add(start);
            let mut out = segs(room);
            let got = built.translate(&mut hint, gpa, len, &mut out);
            let naive = table(&regions).translate(gpa, len, room);
            match naive {
                Ok(expected) => {
                    prop_assert_eq!(got, Ok(expected.len()));
                    prop_assert_eq!(&out[..], &expected[..]);
                }
                Err(fault) => prop_assert_eq!(got, Err(fault)),
            }
            let unlimited = table(&regions).translate(gpa, len, usize::MAX);
            prop_assert_eq!(built.covers(&mut hint, gpa, len), unlimited.is_ok());
        }
    }

    /// Where regions overlap, any of them may be used, and nothing else.
    #[test]
    fn translate_overlapping(
        regions in any_regions(true),
        ranges in prop::collection::vec(any_range(), 1..12),
        mut hint in 0usize..10,
    ) {
        let built = build(&regions).unwrap();
        for (base, start, len) in ranges {
            let gpa = BASES[base].wrapping_add(start);
            let mut out = segs(16);
            let mapped = table(&regions).translate(gpa, len, usize::MAX).is_ok();
            let got = built.translate(&mut hint, gpa, len, &mut out);
            if !mapped {
                prop_assert_eq!(got, Err(Fault::Unmapped));
                continue;
            }
            prop_assert_eq!(got, Ok(out.len()));
            let mut at = gpa;
            for seg in out.iter() {
                let (addr, len) = (seg.base() as u64, seg.len() as u64);
                prop_assert!(len > 0);
                let inside = regions.iter().any(|&(first, size, uaddr)| {
                    let skip = at.wrapping_sub(first);
                    skip < size && len <= size - skip && addr == uaddr + skip
                });
                prop_assert!(inside, "{:x?} of {:x?} at {:x}", seg, regions, at);
                at = at.wrapping_add(len);
            }
            prop_assert_eq!(at, gpa.wrapping_add(u64::from(len)));
        }
    }
}
