// SPDX-License-Identifier: GPL-2.0

//! Runs of segments, compared with the addresses of their bytes one by one.

use std::cell::RefCell;

use proptest::prelude::*;

use super::iov::{
    runs,
    IoVec, //
};
use crate::cases;

/// Why a walk ended.
#[derive(Debug, PartialEq, Eq)]
enum Why {
    Short,
    Told,
}

proptest! {
    #![proptest_config(cases(3000))]

    /// Each byte occurs once and in order, with one run for each non-empty segment, and missing
    /// bytes are reported.
    #[test]
    fn as_bytes(
        lens in prop::collection::vec(prop_oneof![1 => Just(0usize), 3 => 0usize..9], 0..8),
        skip in 0usize..40,
        len in 0usize..40,
    ) {
        let segs: Vec<IoVec> = (1..)
            .zip(&lens)
            .map(|(nth, len)| IoVec::new(0x1000 * nth + 1, *len))
            .collect();
        let bytes = segs
            .iter()
            .enumerate()
            .flat_map(|(nth, seg)| (0..seg.len()).map(move |at| (nth, seg.base() + at)));
        let wanted: Vec<(usize, usize)> = bytes.skip(skip).take(len).collect();

        let (got, mut count) = (RefCell::new(Vec::new()), 0);
        let ended = runs(&segs, skip, len, Why::Short, |addr, done, len| {
            assert!(len > 0);
            let mut got = got.borrow_mut();
            assert_eq!(done, got.len());
            got.extend(addr..addr + len);
            count += 1;
            Ok(())
        });
        let enough = wanted.len() == len;
        prop_assert_eq!(ended, if enough { Ok(()) } else { Err(Why::Short) });
        let addrs: Vec<usize> = wanted.iter().map(|(_, addr)| *addr).collect();
        prop_assert_eq!(got.into_inner(), addrs);
        let mut touched: Vec<usize> = wanted.iter().map(|(nth, _)| *nth).collect();
        touched.dedup();
        prop_assert_eq!(count, touched.len());

        // An error ends the walk and is returned.
        for stop in 0..count {
            let mut nth = 0;
            let ended = runs(&segs, skip, len, Why::Short, |_, _, _| {
                nth += 1;
                if nth > stop { Err(Why::Told) } else { Ok(()) }
            });
            prop_assert_eq!((ended, nth), (Err(Why::Told), stop + 1));
        }
    }
}

/// Addresses and lengths may be any numbers.
#[test]
fn at_the_end() {
    let segs = [
        IoVec::new(usize::MAX - 1, 4),
        IoVec::new(7, usize::MAX),
        IoVec::new(9, 1),
    ];
    let seen = RefCell::new(Vec::new());
    let run = |skip, len| {
        let ended = runs(&segs, skip, len, Why::Short, |addr, done, len| {
            seen.borrow_mut().push((addr, done, len));
            Ok(())
        });
        (ended, seen.take())
    };
    assert_eq!(run(3, 2), (Ok(()), vec![(1, 0, 1), (7, 1, 1)]));
    let all = vec![(7, 0, usize::MAX)];
    assert_eq!(run(4, usize::MAX), (Ok(()), all));
    assert_eq!(run(usize::MAX, 4).1, vec![(2, 0, 4)]);
    assert_eq!(run(usize::MAX, usize::MAX).0, Err(Why::Short));
    assert_eq!(run(0, 0), (Ok(()), vec![]));
}
