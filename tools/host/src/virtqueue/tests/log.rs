// SPDX-License-Identifier: GPL-2.0

//! The bits of the dirty log, compared with one that sets each page's bit by itself.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::model::table;
use crate::{
    cases,
    virtqueue::{
        log::{
            self,
            words, //
        },
        mem::MemFault, //
    },
};

/// The addresses of all bits that are set, and the number of words.
fn bits(base: u64, gpa: u64, len: u64) -> Result<(BTreeSet<u128>, usize), MemFault> {
    let (mut set, mut count) = (BTreeSet::new(), 0);
    words(base, gpa, len, |word, bits| {
        assert_eq!(word % 4, 0);
        assert_ne!(bits, 0);
        for bit in (0..32).filter(|bit| (bits >> bit) & 1 != 0) {
            assert!(set.insert(word as u128 * 8 + bit), "a bit is set twice");
        }
        count += 1;
        Ok(())
    })?;
    Ok((set, count))
}

fn naive(base: u64, gpa: u64, len: u64) -> BTreeSet<u128> {
    let (gpa, len) = (u128::from(gpa), u128::from(len));
    let pages = if len == 0 {
        0..0
    } else {
        gpa / 4096..(gpa + len - 1) / 4096 + 1
    };
    pages.map(|page| u128::from(base) * 8 + page).collect()
}

#[test]
fn nothing() {
    for gpa in [0, 4095, u64::MAX] {
        assert_eq!(bits(0, gpa, 0), Ok((BTreeSet::new(), 0)));
    }
}

#[test]
fn ends() {
    assert!(bits(0, u64::MAX, 1).is_ok());
    assert_eq!(bits(0, u64::MAX, 2), Err(MemFault));
    // The last byte of the log.
    let most = u64::MAX >> 15;
    assert!(bits(u64::MAX - most, u64::MAX, 1).is_ok());
    assert_eq!(bits(u64::MAX - most + 1, u64::MAX, 1), Err(MemFault));
    // An error ends it.
    let mut count = 0;
    let failed = words(0, 0, 1 << 30, |_, _| {
        count += 1;
        Err(MemFault)
    });
    assert_eq!((failed, count), (Err(MemFault), 1));
}

#[test]
fn user_space() {
    let is_user = |addr: u64, len: u64| addr.checked_add(len).is_some_and(|end| end <= 1000);
    for (base, gpa, size, good) in [
        (0, 0, 1000 << 15, true),
        (0, 0, (1000 << 15) + 1, false),
        (999, 0, 1 << 15, true),
        (1000, 0, 1, false),
        (0, 999 << 15, 1 << 15, true),
        (0, 1000 << 15, 1, false),
        (u64::MAX, 1 << 15, 1, false),
        (1000, 0, 0, true),
    ] {
        assert_eq!(
            log::is_ok(base, gpa, size, is_user),
            good,
            "{base} {gpa} {size}"
        );
    }
}

#[test]
fn logs_of_tables() {
    let is_user = |addr: u64, len: u64| addr.checked_add(len).is_some_and(|end| end <= 1 << 20);
    for (regions, base, good) in [
        (&[][..], u64::MAX, true),
        (&[(0, 1 << 30, 0)], 0, true),
        (&[(0, 1 << 30, 0)], (1 << 20) - (1 << 15), true),
        (&[(0, 1 << 30, 0)], (1 << 20) - (1 << 15) + 1, false),
        (&[(0, 1, 0), (1 << 34, 1 << 30, 0)], 1 << 19, false),
        (&[(0, 0, 0)], 0, false),
    ] {
        assert_eq!(
            table(regions).build().log_ok(base, is_user),
            good,
            "{regions:x?}"
        );
    }
}

proptest! {
    #![proptest_config(cases(4000))]

    #[test]
    fn each_page(base in 0u64..64, gpa in 0u64..0x8_0000, len in 0u64..0x4_0000, high: bool) {
        let gpa = if high { gpa + (1 << 40) } else { gpa };
        let (set, count) = bits(base, gpa, len).unwrap();
        prop_assert_eq!(&set, &naive(base, gpa, len));
        // Each word is accessed once.
        let words: BTreeSet<u128> = set.iter().map(|bit| bit / 32).collect();
        prop_assert_eq!(words.len(), count);
    }
}
