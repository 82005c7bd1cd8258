// SPDX-License-Identifier: GPL-2.0

//! The limits of one run: as many packets and bytes as in the C module.

use crate::vhost::budget::Budget;

/// The limits: `VHOST_NET_PKT_WEIGHT` and `VHOST_NET_WEIGHT`.
const PACKETS: usize = 256;
const BYTES: usize = 512 * 1024;

#[test]
fn packets() {
    // Moved or lost, in any mixture, and of any length.
    for losing in [0, 1, 2, 3, 255, 256, 1000] {
        let mut budget = Budget::new();
        assert_eq!(budget.packets(), 0);
        for nth in 0..PACKETS {
            assert!(!budget.is_spent(), "{nth} {losing}");
            if nth < losing {
                budget.lost();
            } else {
                budget.moved_one(0);
            }
            assert!(budget.packets() > 0);
        }
        assert!(budget.is_spent(), "{losing}");
        assert_eq!(budget.bytes_left(), BYTES);
        assert_eq!(budget.uncounted(), (PACKETS.saturating_sub(losing), 0));
    }
}

#[test]
fn bytes() {
    for (len, packets) in [
        (BYTES, 1),
        (BYTES - 1, 2),
        (BYTES + 1, 1),
        (0x10000, 8),
        (3000, 175),
        (usize::MAX, 1),
    ] {
        let mut budget = Budget::new();
        for nth in 0..packets {
            assert!(!budget.is_spent(), "{len} {nth}");
            assert_eq!(budget.bytes_left(), BYTES - nth * len);
            budget.moved_one(len);
        }
        assert!(budget.is_spent(), "{len}");
        assert_eq!(budget.bytes_left(), 0, "{len}");
    }
    // Lost packets have no bytes.
    let mut budget = Budget::new();
    budget.moved_one(BYTES - 1);
    budget.lost();
    assert!(!budget.is_spent());
    assert_eq!(budget.bytes_left(), 1);
}

/// The budget saturates: moving more does not restore it.
#[test]
fn more_than_all() {
    let mut budget = Budget::new();
    budget.moved_one(usize::MAX);
    budget.moved_one(usize::MAX);
    budget.moved_one(1);
    assert!(budget.is_spent());
    assert_eq!(budget.bytes_left(), 0);
}

/// Each packet that has gone through is reported once; lost packets are counted elsewhere.
#[test]
fn uncounted() {
    let mut budget = Budget::new();
    assert_eq!(budget.uncounted(), (0, 0));
    budget.moved_one(60);
    budget.lost();
    budget.moved_one(1514);
    assert_eq!(budget.uncounted(), (2, 1574));
    assert_eq!(budget.uncounted(), (0, 0));
    budget.moved_one(1);
    assert_eq!(budget.uncounted(), (1, 1));
    // Reporting does not restore the budget.
    assert_eq!(budget.bytes_left(), BYTES - 1575);
}

/// Descriptors of long chains count like packets.
#[test]
fn descriptors() {
    let mut budget = Budget::new();
    budget.read(63);
    assert_eq!(budget.packets(), 0);
    budget.read(64);
    assert_eq!(budget.packets(), 1);
    budget.read(64 * PACKETS);
    assert!(budget.is_spent());
    assert_eq!(budget.uncounted(), (0, 0));
}
