// SPDX-License-Identifier: GPL-2.0

//! Returning buffers: the contents of the used ring and the interrupt, compared with unbounded
//! counters.

use proptest::prelude::*;

use crate::{
    cases,
    driver::{
        Driver,
        Event, //
    },
    virtqueue::{
        fault::Fault,
        features::Negotiated,
        ring::Ring,
        uapi::UsedElem,
        used::{
            publish,
            Published, //
        },
    },
};

const EVENT: u128 = 1 << 29;
const ON_EMPTY: u128 = 1 << 24;

/// The state of both sides in counters that do not wrap around.
struct Model {
    /// Entries that have been returned.
    used: u64,
    /// The value of this at the last interrupt decision with EVENT_IDX.
    decided: Option<u64>,
}

impl Model {
    /// Whether `count` more entries require an interrupt, by the contract's text.
    fn publish(&mut self, count: u64, features: u128, drained: bool, wish: u16) -> bool {
        self.used += count;
        if features & ON_EMPTY != 0 && drained {
            return true;
        }
        if features & EVENT == 0 {
            return wish & 1 == 0;
        }
        match self.decided.replace(self.used) {
            None => true,
            Some(old) if self.used - old >= 1 << 16 => true,
            Some(old) => (old..self.used).any(|at| at as u16 == wish),
        }
    }
}

/// The order of accesses: all entries, the index, then the guest's suppression.
fn check_order(driver: &Driver, events: &[Event], count: usize, wishes: bool) {
    let idx = driver.used_idx();
    let idx = Event::Write(idx..idx + 2);
    let at = events.iter().position(|e| *e == idx).unwrap();
    assert_eq!(events[at - 1], Event::Wmb);
    let entries = &events[..at - 1];
    let written: usize = entries
        .iter()
        .map(|e| match e {
            Event::Write(range) => range.len(),
            other => panic!("{other:?}"),
        })
        .sum();
    assert_eq!(written, 8 * count);
    let size = usize::from(driver.size);
    assert!(entries.len() <= 1 + count.div_ceil(size));
    match &events[at + 1..] {
        [] => assert!(!wishes),
        [Event::Mb] => {}
        [Event::Mb, Event::Read(_)] => assert!(wishes),
        other => panic!("{other:?}"),
    }
}

fn published(signal: bool) -> Published {
    Published {
        signal,
        fault: None,
    }
}

proptest! {
    #![proptest_config(cases(60))]

    /// More entries than it takes for all counters to wrap around.
    #[test]
    fn as_counting(
        shift in 0u32..9,
        at in any::<u16>(),
        features in prop::sample::select(vec![0, EVENT, ON_EMPTY, EVENT | ON_EMPTY]),
        batches in prop::collection::vec(
            (1usize..90, 0u32..8, any::<u16>(), any::<bool>(), prop::bool::weighted(0.4)),
            60,
        ),
        seldom in prop::sample::select(vec![1usize, 7, 3000]),
    ) {
        let mut driver = Driver::new(1 << shift, 0);
        driver.start(at);
        let size = usize::from(driver.size);
        let negotiated = Negotiated::new(features);
        let mut ring = driver.device(negotiated, at);
        let mut model = Model { used: u64::from(at), decided: None };
        let mut content = vec![(0, 0); size];
        let (mut rounds, mut id) = (0, 0u32);
        while model.used - u64::from(at) < 3 << 16 {
            for (count, near, far, is_near, drained) in batches.iter().copied() {
                rounds += 1;
                let elems: Vec<UsedElem> = (0..count).map(|_| {
                    id = id.wrapping_add(0x1234_5677);
                    UsedElem { id, len: !id }
                }).collect();
                for (nth, elem) in elems.iter().enumerate() {
                    content[(model.used as usize + nth) % size] = (elem.id, elem.len);
                }
                // The guest's suppression: a position near the current one, or any.
                let wish = if is_near {
                    (model.used as u16).wrapping_add(near as u16 * 16).wrapping_sub(32)
                } else {
                    far
                };
                let place = if features & EVENT != 0 {
                    driver.used_event()
                } else {
                    driver.avail_flags()
                };
                driver.mem.put_u16(place, wish);
                // The ring is empty or not.
                ring.set_base(5);
                if !drained {
                    driver.lie(6);
                    assert!(!ring.is_empty(&driver.mem));
                }
                let has_call = rounds % seldom == 0;
                let (got, events) = driver.mem.watch(|| {
                    publish(&mut ring, &driver.mem, negotiated, &elems, has_call)
                });
                let signal = if has_call {
                    model.publish(count as u64, features, drained, wish)
                } else {
                    model.used += count as u64;
                    false
                };
                prop_assert_eq!(got, published(signal));
                check_order(&driver, &events, count, has_call);
                prop_assert_eq!(driver.mem.get_u16(driver.used_idx()), model.used as u16);
            }
            let ring: Vec<(u32, u32)> = (0..driver.size).map(|at| driver.used(at)).collect();
            prop_assert_eq!(&ring, &content);
        }
    }
}

/// Where the guest's suppression cannot be read, it is interrupted.
#[test]
fn unknown_wish() {
    for features in [0, EVENT] {
        let mut driver = Driver::new(8, 0);
        driver.start(0);
        let negotiated = Negotiated::new(features);
        let mut ring = driver.device(negotiated, 0);
        let elem = [UsedElem { id: 0, len: 1 }];
        let (flags, event) = (driver.avail_flags(), driver.used_event());
        driver.mem.put_u16(flags, 1);
        driver.mem.put_u16(event, 0x8000);
        let signal = |ring: &mut Ring| publish(ring, &driver.mem, negotiated, &elem, true).signal;
        // With EVENT_IDX, the first decision after attaching is always an interrupt.
        assert_eq!(signal(&mut ring), features == EVENT);
        assert!(!signal(&mut ring));
        driver.mem.poison_reads(flags..flags + 2);
        driver.mem.poison_reads(event..event + 2);
        assert!(signal(&mut ring));
        driver.mem.heal();
        assert!(!signal(&mut ring));
    }
}

/// An entry that could not be written is not there, and the interrupt decision is made
/// nevertheless.
#[test]
fn unwritable() {
    let mut driver = Driver::new(4, 0);
    driver.start(0);
    let mut ring = driver.device(Negotiated::NONE, 0);
    let elems = [UsedElem { id: 1, len: 2 }; 3];
    let idx = driver.used_idx();
    let last = driver.used_entry(2);
    for bad in [last..last + 8, idx..idx + 2] {
        driver.mem.poison_writes(bad);
        let got = publish(&mut ring, &driver.mem, Negotiated::NONE, &elems, true);
        assert!(got.signal);
        assert_eq!(got.fault, Some(Fault::UsedUnwritable));
        assert_eq!((driver.mem.get_u16(idx), ring.next_used()), (0, 0));
        driver.mem.heal();
    }
    let got = publish(&mut ring, &driver.mem, Negotiated::NONE, &elems, false);
    assert_eq!(got, published(false));
    assert_eq!((driver.mem.get_u16(idx), ring.next_used()), (3, 3));
}

/// The decision does not use a last interrupt since which the index has wrapped around.
#[test]
fn a_full_round() {
    let elems = [UsedElem { id: 0, len: 0 }; 64];
    for (since, signal) in [
        (65534, false),
        (65535, false),
        (65536, true),
        (65537, true),
        (70000, true),
        (131072, true),
    ] {
        let mut driver = Driver::new(256, 0);
        driver.start(7);
        let negotiated = Negotiated::new(EVENT);
        let mut ring = driver.device(negotiated, 7);
        let mut hand_back = |count: usize, has_call| {
            publish(
                &mut ring,
                &driver.mem,
                negotiated,
                &elems[..count],
                has_call,
            )
        };
        assert_eq!(hand_back(1, true), published(true));
        // The last entry before the index has the same value again.
        driver.mem.put_u16(driver.used_event(), 7);
        let mut left = since - 1;
        while left > 0 {
            let count = left.min(64);
            assert_eq!(hand_back(count, false), published(false));
            left -= count;
        }
        assert_eq!(hand_back(1, true), published(signal), "{since}");
    }
}
