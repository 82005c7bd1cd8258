// SPDX-License-Identifier: GPL-2.0

//! The IOTLB, compared with a list of translations; and the memory table by the owner's addresses.

use proptest::prelude::*;

use super::model::table;
use crate::{
    cases,
    prelude::{
        EFAULT,
        LOOKED_AT, //
    },
    virtqueue::{
        fault::Fault,
        iotlb::{
            Access,
            Iotlb,
            Mapping,
            Miss, //
        },
    },
};

const MAX: usize = 6;

#[derive(Clone, Copy, Debug)]
enum Step {
    Add(Mapping),
    Remove(u64, u64),
    Look(u64, u64, Access),
}

fn access() -> impl Strategy<Value = Access> {
    prop_oneof![Just(Access::Read), Just(Access::Write)]
}

fn step() -> impl Strategy<Value = Step> {
    let mapping = (0u64..64, 0u64..24, 0u64..8, 0u8..8);
    let mapping = mapping.prop_map(|(iova, size, place, perm)| Mapping {
        iova,
        size,
        uaddr: place * 0x1000,
        perm,
    });
    prop_oneof![
        3 => mapping.prop_map(Step::Add),
        1 => (0u64..64, 0u64..16).prop_map(|(iova, size)| Step::Remove(iova, size)),
        4 => (0u64..80, 0u64..40, access()).prop_map(|(iova, len, a)| Step::Look(iova, len, a)),
    ]
}

/// Checks the pieces of a range, each against some translation that contains its first byte.
fn look(iotlb: &Iotlb, list: &[Mapping], iova: u64, len: u64, access: Access) {
    let mut at = iova;
    let mut ends = Vec::new();
    let found = iotlb.pieces(&mut 0, (iova, len), access, |uaddr, len| {
        let fits = list.iter().any(|m| {
            let inside = m.iova <= at && at - m.iova < m.size;
            inside
                && m.perm & access.bit() != 0
                && uaddr as u64 == m.uaddr + (at - m.iova)
                && (len as u64) <= m.size - (at - m.iova)
        });
        assert!(fits, "{at} for {iova}, {len} in {list:?}");
        at += len as u64;
        ends.push(at);
        Ok(())
    });
    let mut there = list.iter().filter(|m| m.iova <= at && at - m.iova < m.size);
    match found {
        Ok(count) => assert_eq!((at, ends.len()), (iova + len, count)),
        Err((Fault::Missing, miss)) => {
            assert_eq!(miss, Some(Miss { iova: at, access }));
            assert!(there.next().is_none() && at < iova + len);
        }
        Err((Fault::Denied, None)) => assert!(there.any(|m| m.perm & access.bit() == 0)),
        Err(other) => panic!("{other:?}"),
    }
}

proptest! {
    #![proptest_config(cases(4000))]

    #[test]
    fn as_a_list(steps in prop::collection::vec(step(), 0..60)) {
        let mut iotlb = Iotlb::new(MAX);
        let mut list: Vec<Mapping> = Vec::new();
        for step in steps {
            match step {
                Step::Add(mapping) if mapping.size == 0 => {
                    prop_assert_eq!(iotlb.add(&mapping), Err(EFAULT));
                }
                Step::Add(mapping) => {
                    prop_assert_eq!(iotlb.add(&mapping), Ok(()));
                    if list.len() == MAX {
                        list.remove(0);
                    }
                    list.push(mapping);
                }
                Step::Remove(iova, 0) => {
                    prop_assert_eq!(iotlb.remove(iova, 0), Err(EFAULT));
                }
                Step::Remove(iova, size) => {
                    prop_assert_eq!(iotlb.remove(iova, size), Ok(()));
                    list.retain(|m| m.iova >= iova + size || iova >= m.iova + m.size);
                }
                Step::Look(iova, len, access) => look(&iotlb, &list, iova, len, access),
            }
        }
        for at in 0..90 {
            for access in [Access::Read, Access::Write] {
                look(&iotlb, &list, at, 1, access);
            }
        }
    }

    /// Every region that shares memory with the range, and nothing else.
    #[test]
    fn owners(
        regions in prop::collection::vec((0u64..32, 1u64..16), 0..8),
        at in 0u64..48,
        len in 0u64..32,
    ) {
        // Of each region the place for the owner; its guest addresses are its own.
        let far = |nth: usize| 0x1000 * (nth as u64 + 1);
        let regions: Vec<_> = regions
            .into_iter()
            .enumerate()
            .map(|(nth, (uaddr, size))| (far(nth), size, uaddr))
            .collect();
        let mut got = Vec::new();
        table(&regions).build().owners(at, len, |gpa, len| got.extend(gpa..gpa + len));
        got.sort_unstable();
        let mut want = Vec::new();
        for &(gpa, size, uaddr) in &regions {
            let inside = (0..size).filter(|i| (at..at + len).contains(&(uaddr + i)));
            want.extend(inside.map(|i| gpa + i));
        }
        want.sort_unstable();
        prop_assert_eq!(got, want);
    }
}

#[test]
fn the_oldest_goes() {
    const MOST: u64 = 2048;
    let mut iotlb = Iotlb::new(MOST as usize);
    let at = |nth: u64| (nth * 7 % 4096) << 12;
    let map = |nth| Mapping {
        iova: at(nth),
        size: 4096,
        uaddr: nth << 12,
        perm: 3,
    };
    for nth in 0..MOST + 100 {
        iotlb.add(&map(nth)).unwrap();
        let found = iotlb.whole(&mut 0, at(nth), 4096, Access::Write);
        assert_eq!(found, Some(nth << 12));
        if let Some(gone) = nth.checked_sub(MOST) {
            assert_eq!(iotlb.whole(&mut 0, at(gone), 1, Access::Read), None);
            assert!(iotlb.whole(&mut 0, at(gone + 1), 1, Access::Read).is_some());
        }
    }
    // A search among all of them.
    for nth in 100..MOST + 100 {
        LOOKED_AT.set(0);
        let found = iotlb.whole(&mut 5000, at(nth) + 1, 4095, Access::Read);
        assert_eq!(found, Some((nth << 12) + 1));
        assert!(LOOKED_AT.get() <= 12, "{} steps", LOOKED_AT.get());
    }
}
