// SPDX-License-Identifier: GPL-2.0

//! Whatever happens in between, each available buffer is returned once, in the order of the ring.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::model::{
    table,
    NEXT,
    STOPS,
    WRITE, //
};
use crate::{
    cases,
    device::{
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

/// The operations of both sides on the ring.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// Makes that many buffers available, with this fault.
    Post(u16, Kind),
    /// Takes a buffer.
    Take(End),
    /// Takes a buffer if it is plain and writable, or readable, and completes it or not.
    Straight(bool, bool),
    /// Takes room for that many bytes, of at most that many buffers.
    TakeRoom(usize, usize, End),
    /// Publishes the completed buffers.
    Publish,
    /// The ring is temporarily faulty: a part is unreadable, or the available index jumps.
    Moment(bool, End),
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Good,
    Long,
    Unmapped,
    Readable,
    /// Stops the queue, until it is corrected.
    Range,
}

fn any_end() -> impl Strategy<Value = End> {
    prop_oneof![
        4 => Just(End::Complete),
        2 => Just(End::Drop),
        1 => Just(End::Refuse(Fault::Unwritable)),
    ]
}

fn any_step() -> impl Strategy<Value = Step> {
    let kind = prop_oneof![
        6 => Just(Kind::Good),
        3 => Just(Kind::Long),
        1 => Just(Kind::Unmapped),
        1 => Just(Kind::Readable),
        1 => Just(Kind::Range),
    ];
    prop_oneof![
        4 => (1u16..20, kind).prop_map(|(count, kind)| Step::Post(count, kind)),
        4 => any_end().prop_map(Step::Take),
        4 => (prop::bool::weighted(0.9), prop::bool::weighted(0.8))
            .prop_map(|(write, complete)| Step::Straight(write, complete)),
        4 => (1usize..300, 1usize..40, any_end())
            .prop_map(|(want, max, end)| Step::TakeRoom(want, max, end)),
        2 => Just(Step::Publish),
        1 => (any::<bool>(), any_end()).prop_map(|(jump, end)| Step::Moment(jump, end)),
    ]
}

/// A driver that knows its free descriptors and expects each buffer to be returned.
struct Guest {
    driver: Driver,
    free: VecDeque<u16>,
    /// The descriptors of all buffers in use, in the order of the ring.
    out: VecDeque<Vec<u16>>,
    /// The position of the next used entry.
    seen: u16,
}

impl Guest {
    fn post(&mut self, kind: Kind) {
        let len = if matches!(kind, Kind::Long) { 3 } else { 1 };
        if self.free.len() < len {
            return;
        }
        let chain: Vec<u16> = self.free.drain(..len).collect();
        for (at, &index) in chain.iter().enumerate() {
            let next = chain.get(at + 1).copied();
            let more = if next.is_some() { NEXT } else { 0 };
            let good = Desc {
                addr: u64::from(index),
                len: 10,
                flags: WRITE | more,
                next: next.unwrap_or(0),
            };
            let desc = match kind {
                Kind::Good | Kind::Long => good,
                Kind::Unmapped => Desc {
                    addr: 0x1000,
                    ..good
                },
                Kind::Readable => Desc { flags: 0, ..good },
                Kind::Range => Desc {
                    flags: WRITE | NEXT,
                    next: self.driver.size,
                    ..good
                },
            };
            self.driver.mem.put_desc(self.driver.desc(index), desc);
        }
        self.driver.post(chain[0]);
        self.out.push_back(chain);
    }

    /// Takes back returned buffers; each must be the one that has been in use for longest.
    fn look(&mut self) {
        let idx = self.driver.mem.get_u16(self.driver.used_idx());
        while self.seen != idx {
            let (id, len) = self.driver.used(self.seen);
            let chain = self.out.pop_front().expect("one that is not out");
            assert_eq!(id, u32::from(chain[0]));
            assert!(len as usize <= 10 * chain.len());
            self.free.extend(chain);
            self.seen = self.seen.wrapping_add(1);
        }
    }

    /// Corrects the fault that has stopped the queue.
    fn repair(&mut self) {
        self.driver.mem.heal();
        self.driver.tell();
        for chain in &self.out {
            let addr = self.driver.desc(chain[0]);
            let desc = self.driver.mem.get_desc(addr);
            if desc.next == self.driver.size {
                let flags = WRITE;
                self.driver.mem.put_desc(addr, Desc { flags, ..desc });
            }
        }
    }
}

proptest! {
    #![proptest_config(cases(1500))]

    #[test]
    fn in_order(
        shift in 0u32..7,
        at in prop_oneof![any::<u16>(), 0xff80u16..=u16::MAX],
        steps in prop::collection::vec(any_step(), 1..120),
    ) {
        let size = 1u16 << shift;
        let mut driver = Driver::new(size, 0);
        driver.start(at);
        let built = table(&[(0, 0x1000, 0x1000)]).build();
        let mut device = Device::new(&driver, Negotiated::NONE, at, built);
        let free = (0..size).collect();
        let mut guest = Guest { driver, free, out: VecDeque::new(), seen: at };
        for step in steps {
            let (base, used) = device.state();
            match step {
                Step::Post(count, kind) => (0..count).for_each(|_| guest.post(kind)),
                Step::Take(end) => {
                    let _ = device.take(&guest.driver.mem, end);
                }
                Step::Straight(write, complete) => {
                    let len = complete.then_some(3);
                    let _ = device.straight(&guest.driver.mem, write, len);
                }
                Step::TakeRoom(want, max, end) => {
                    let _ = device.take_room(&guest.driver.mem, (want, max), end);
                }
                Step::Publish => {
                    prop_assert_eq!(device.publish(&guest.driver.mem).fault, None);
                    guest.look();
                    // All buffers that have left the ring have been returned.
                    prop_assert_eq!(guest.seen, base);
                    continue;
                }
                Step::Moment(jump, end) => {
                    let idx = guest.driver.avail_idx();
                    if jump {
                        guest.driver.lie(base.wrapping_add(0x8000).wrapping_add(size));
                    } else {
                        guest.driver.mem.poison_reads(idx..idx + 2);
                    }
                    let got = device.take_room(&guest.driver.mem, (usize::MAX, 1 << 15), end);
                    let stopped = matches!(got, Err(fault) if STOPS.contains(&fault));
                    prop_assert!(stopped || got.is_err(), "{:?}", got);
                    guest.repair();
                }
            }
            let (new, now) = device.state();
            prop_assert_eq!(&now[..used.len()], &used[..]);
            prop_assert_eq!(usize::from(new.wrapping_sub(base)), now.len() - used.len());
        }

        // In any state, the queue continues when the driver only corrects the fault that has
        // stopped it: all buffers are returned in as many steps as there are buffers.
        let (base, _) = device.state();
        for _ in 0..guest.driver.avail.wrapping_sub(base) {
            let mut got = device.take(&guest.driver.mem, End::Complete);
            if matches!(&got, Err(fault) if STOPS.contains(fault)) {
                guest.repair();
                got = device.take(&guest.driver.mem, End::Complete);
            }
            let went = match &got {
                Ok(took) => took.is_some(),
                Err(fault) => !STOPS.contains(fault),
            };
            prop_assert!(went, "{:?}", got);
        }
        prop_assert_eq!(device.take(&guest.driver.mem, End::Complete), Ok(None));
        prop_assert_eq!(device.publish(&guest.driver.mem).fault, None);
        guest.look();
        prop_assert_eq!(guest.out.len(), 0);
        prop_assert_eq!(guest.free.len(), usize::from(size));
        prop_assert_eq!(guest.seen, guest.driver.avail);
    }
}
