// SPDX-License-Identifier: GPL-2.0

//! Invalid buffers at any position, and faults of the ring that are found among other buffers.

use super::model::{
    table,
    INDIRECT,
    NEXT,
    STOPS,
    WRITE, //
};
use crate::{
    device::{
        Device,
        End,
        Got,
        Took, //
    },
    driver::Driver,
    virtqueue::{
        fault::Fault,
        features::Negotiated,
        uapi::{
            Desc,
            UsedElem, //
        },
    },
};

/// The number of buffers, of 16 bytes each; the head of a buffer is its number.
const COUNT: u16 = 5;
const EACH: usize = 16;
const ALL: (usize, usize) = (EACH * COUNT as usize, 1024);
/// The size of the ring; descriptors from `SPARE` on are the second of a chain.
const SIZE: u16 = 16;
const SPARE: u16 = 8;
/// A start such that entries cross the end of the ring, and positions wrap around.
const AT: u16 = 0xfffe;
const LEN: usize = 0x20_0000;

/// The faults of a buffer where room is wanted.
const BAD: [Fault; 9] = [
    Fault::IndirectLength,
    Fault::IndirectTooLong,
    Fault::IndirectLoop,
    Fault::IndirectUnreadable,
    Fault::IndirectNested,
    Fault::Unmapped,
    Fault::TooManySegments,
    Fault::Order,
    Fault::Direction,
];

const fn desc(addr: u64, len: u32, flags: u16) -> Desc {
    Desc {
        addr,
        len,
        flags,
        next: 0,
    }
}

fn guest() -> Driver {
    let mut driver = Driver::new(SIZE, LEN);
    driver.start(AT);
    for head in 0..SIZE {
        heal(&driver, head);
    }
    // Indirect tables: one that refers to another, one that is unreadable, and a long one.
    let data = driver.data();
    driver.mem.put_desc(data, desc(0, 16, INDIRECT));
    driver.mem.poison_reads(data + 16..data + 32);
    for at in 2..0x1000 {
        let next = desc(0, 1, WRITE | NEXT);
        driver.mem.put_desc(data + 16 * at, next);
    }
    driver
}

/// Makes the buffer valid.
fn heal(driver: &Driver, head: u16) {
    let good = desc(0x100 + u64::from(head), EACH as u32, WRITE);
    driver.mem.put_desc(driver.desc(head), good);
}

/// Makes the buffer invalid.
fn spoil(driver: &Driver, head: u16, fault: Fault) {
    let chain = |second: Desc| {
        let next = SPARE + head;
        driver.mem.put_desc(driver.desc(next), second);
        let first = desc(0, 8, WRITE | NEXT);
        Desc { next, ..first }
    };
    let bad = match fault {
        Fault::IndirectLength => desc(0, 17, INDIRECT),
        Fault::IndirectTooLong => desc(0, 16 * 65537, INDIRECT),
        Fault::IndirectLoop => desc(32, 160, INDIRECT),
        Fault::IndirectUnreadable => desc(16, 16, INDIRECT),
        Fault::IndirectNested => desc(0, 16, INDIRECT),
        Fault::Unmapped => chain(desc(LEN as u64 - 8, 9, WRITE)),
        Fault::TooManySegments => desc(32, 16 * 1025, INDIRECT),
        Fault::Order => chain(desc(0, 8, 0)),
        Fault::Direction => desc(0, EACH as u32, 0),
        Fault::NextRange => Desc {
            next: SIZE,
            ..desc(0, 8, WRITE | NEXT)
        },
        Fault::Loop => Desc {
            next: head,
            ..desc(0, 1, WRITE | NEXT)
        },
        fault => panic!("{fault:?}"),
    };
    driver.mem.put_desc(driver.desc(head), bad);
}

fn device(driver: &Driver) -> Device {
    let built = table(&[(0, LEN as u64, driver.data() as u64)]).build();
    Device::new(driver, Negotiated::NONE, AT, built).with_pending(BEFORE)
}

/// An entry that was pending before, and must stay.
const BEFORE: UsedElem = UsedElem { id: 77, len: 7 };

fn elems(list: impl IntoIterator<Item = (u16, usize)>) -> Vec<UsedElem> {
    let elem = |(head, len)| UsedElem {
        id: u32::from(head),
        len: len as u32,
    };
    [BEFORE]
        .into_iter()
        .chain(list.into_iter().map(elem))
        .collect()
}

/// All combinations of invalid buffers.
fn masks() -> impl Iterator<Item = Vec<bool>> {
    (0u16..1 << COUNT).map(|mask| (0..COUNT).map(|nth| (mask >> nth) & 1 == 1).collect())
}

/// The used ring has the completed buffers in this order, behind the pending entry.
fn check_published(driver: &Driver, device: &mut Device) {
    let used = device.state().1;
    assert_eq!(used.len(), usize::from(COUNT) + 1);
    assert_eq!(device.publish(&driver.mem).fault, None);
    for (nth, elem) in (0..).zip(used) {
        assert_eq!(driver.used(AT.wrapping_add(nth)), (elem.id, elem.len));
        assert_eq!(elem.id, if nth == 0 { 77 } else { u32::from(nth) - 1 });
    }
    let idx = AT.wrapping_add(COUNT + 1);
    assert_eq!(driver.mem.get_u16(driver.used_idx()), idx);
}

/// One at a time, each invalid buffer is returned, and all others are taken.
#[test]
fn one_by_one() {
    for fault in BAD.into_iter().filter(|fault| *fault != Fault::Direction) {
        for bad in masks() {
            let mut driver = guest();
            for head in 0..COUNT {
                if bad[usize::from(head)] {
                    spoil(&driver, head, fault);
                }
                driver.post(head);
            }
            let mut device = device(&driver);
            for head in 0..COUNT {
                let got = device.take(&driver.mem, End::Complete);
                match got {
                    Ok(Some(took)) => {
                        assert!(!bad[usize::from(head)], "{fault:?} {bad:?}");
                        assert_eq!((took.count, took.bytes), (1, EACH));
                    }
                    got => {
                        assert_eq!(got, Err(fault), "{bad:?} {head}");
                        assert!(bad[usize::from(head)], "{fault:?} {bad:?}");
                    }
                }
                let state = (
                    AT.wrapping_add(head + 1),
                    elems((0..=head).map(|of| (of, 0))),
                );
                assert_eq!(device.state(), state, "{fault:?} {bad:?}");
            }
            assert_eq!(device.take(&driver.mem, End::Complete), Ok(None));
            check_published(&driver, &mut device);
        }
    }
}

/// Where room is wanted, the buffers before an invalid one are returned with it, in the ring's
/// order. Then the buffers behind are used as room.
#[test]
fn with_those_before() {
    for fault in BAD {
        for bad in masks() {
            let mut driver = guest();
            for head in 0..COUNT {
                if bad[usize::from(head)] {
                    spoil(&driver, head, fault);
                }
                driver.post(head);
            }
            let mut device = device(&driver);
            let mut done = 0;
            for head in (0..COUNT).filter(|head| bad[usize::from(*head)]) {
                let got = device.take_room(&driver.mem, ALL, End::Complete);
                assert_eq!(got, Err(fault), "{bad:?}");
                done = head + 1;
                let state = (
                    AT.wrapping_add(done),
                    elems((0..done).map(|head| (head, 0))),
                );
                assert_eq!(device.state(), state, "{fault:?} {bad:?}");
            }
            let left = usize::from(COUNT - done);
            if left < usize::from(COUNT) {
                let got = device.take_room(&driver.mem, ALL, End::Complete);
                assert_eq!(got, Ok(Got::Short), "{fault:?} {bad:?}");
            }
            if left > 0 {
                // One byte less than there are.
                let wanted = (EACH * left - 1, left);
                let got = device.take_room(&driver.mem, wanted, End::Complete);
                let Ok(Got::Ready(Took { bytes, count, .. })) = got else {
                    panic!("{got:?}");
                };
                assert_eq!((bytes, usize::from(count)), (EACH * left, left));
                let last = COUNT - 1;
                let refused = (0..done).map(|head| (head, 0));
                let whole = (done..last).map(|head| (head, EACH));
                let all = elems(refused.chain(whole).chain([(last, EACH - 1)]));
                assert_eq!(device.state().1, all);
            }
            check_published(&driver, &mut device);
        }
    }
}

/// Buffers that have too many segments together are all valid: they stay in the ring, and the packet
/// is too large. A buffer that has too many by itself is returned with those before it.
#[test]
fn too_many_together() {
    for segs in [1023u32, 1024, 1025] {
        let mut driver = guest();
        driver.post(0);
        let data = driver.data();
        let end = desc(0, 1, WRITE);
        driver.mem.put_desc(data + 16 * (1 + segs as usize), end);
        let long = desc(32, 16 * segs, INDIRECT);
        driver.mem.put_desc(driver.desc(1), long);
        driver.post(1);
        let mut device = device(&driver);
        let want = EACH + segs as usize;
        let got = device.take_room(&driver.mem, (want, 1024), End::Drop);
        match segs {
            1023 => assert!(matches!(got, Ok(Got::Ready(took)) if took.segs.len() == 1024)),
            1024 => assert_eq!(got, Ok(Got::TooSmall)),
            _ => assert_eq!(got, Err(Fault::TooManySegments)),
        }
        if segs < 1025 {
            assert_eq!(device.state(), (AT, elems([])));
            // A smaller packet, and then it is the first.
            let got = device.take_room(&driver.mem, (1, 1024), End::Complete);
            assert!(matches!(got, Ok(Got::Ready(_))));
            let got = device.take_room(&driver.mem, (segs as usize, 1024), End::Complete);
            assert!(matches!(got, Ok(Got::Ready(took)) if took.segs.len() == segs as usize));
            assert_eq!(device.state().1, elems([(0, 1), (1, segs as usize)]));
        } else {
            let back = (AT.wrapping_add(2), elems([(0, 0), (1, 0)]));
            assert_eq!(device.state(), back);
        }
    }
}

/// Buffers that are dropped are all in the ring again, and the next ones taken have their current
/// contents.
#[test]
fn dropped() {
    for count in 1..=COUNT {
        for end in [End::Drop, End::Refuse(Fault::UsedUnwritable)] {
            let mut driver = guest();
            for head in 0..COUNT {
                driver.post(head);
            }
            let mut device = device(&driver);
            let wanted = (EACH * usize::from(count), 1024);
            for round in 0..3 {
                let got = device.take_room(&driver.mem, wanted, end);
                let Ok(Got::Ready(took)) = got else {
                    panic!("{got:?}");
                };
                assert_eq!(took.count, count);
                let addr = driver.data() + 0x100 * (round + 1);
                let addrs = took.segs.iter().map(|seg| seg.base() - addr);
                assert!(addrs.eq(0..usize::from(count)), "{round} {:x?}", took.segs);
                assert_eq!(device.state(), (AT, elems([])), "{count} {end:?}");
                // A guest that corrects a fault that was not reported.
                for head in 0..COUNT {
                    let addr = 0x100 * (round as u64 + 2) + u64::from(head);
                    let other = desc(addr, EACH as u32, WRITE);
                    driver.mem.put_desc(driver.desc(head), other);
                }
            }
            let got = device.take_room(&driver.mem, wanted, End::Complete);
            assert!(matches!(got, Ok(Got::Ready(_))));
            let taken = elems((0..count).map(|head| (head, EACH)));
            assert_eq!(device.state(), (AT.wrapping_add(count), taken));
        }
    }
}

/// A fault that stops the queue leaves all buffers collected before it in the ring, however often
/// it is tried. When it has been corrected, all are taken.
#[test]
fn ring_faults_in_the_midst() {
    let faults = STOPS
        .iter()
        .filter(|fault| !matches!(fault, Fault::UsedUnwritable | Fault::Missing));
    for fault in faults.copied() {
        for at in 0..COUNT {
            let mut driver = guest();
            for head in 0..at {
                driver.post(head);
            }
            let mut device = device(&driver);
            // The available index is read when there seem to be no more buffers.
            let got = device.take_room(&driver.mem, ALL, End::Drop);
            assert_eq!(got, Ok(Got::Short));
            let position = AT.wrapping_add(at);
            let (entry, idx) = (driver.avail_entry(position), driver.avail_idx());
            for head in at..COUNT {
                driver.post(head);
            }
            match fault {
                Fault::AvailUnreadable => driver.mem.poison_reads(idx..idx + 1),
                Fault::AvailJump => driver.lie(position.wrapping_add(SIZE + 1)),
                Fault::HeadRange => driver.mem.put_u16(entry, SIZE),
                Fault::DescUnreadable => {
                    let addr = driver.desc(at);
                    driver.mem.poison_reads(addr + 15..addr + 16);
                }
                fault => spoil(&driver, at, fault),
            }
            for _ in 0..3 {
                let got = device.take_room(&driver.mem, ALL, End::Complete);
                assert_eq!(got, Err(fault), "{at}");
                assert_eq!(device.state(), (AT, elems([])), "{fault:?} {at}");
            }
            driver.mem.heal();
            driver.tell();
            driver.mem.put_u16(entry, at);
            heal(&driver, at);
            let got = device.take_room(&driver.mem, ALL, End::Complete);
            assert!(
                matches!(&got, Ok(Got::Ready(took)) if took.count == COUNT),
                "{got:?}"
            );
            let all = elems((0..COUNT).map(|head| (head, EACH)));
            assert_eq!(device.state().1, all, "{fault:?} {at}");
            check_published(&driver, &mut device);
        }
    }
}

/// An unreadable entry behind the end of the ring is found when it is needed, and not with those
/// before the end.
#[test]
fn entry_in_the_midst() {
    let mut driver = guest();
    for head in 0..COUNT {
        driver.post(head);
    }
    let mut device = device(&driver);
    let entry = driver.avail_entry(0);
    driver.mem.poison_reads(entry..entry + 2);
    for _ in 0..2 {
        let got = device.take_room(&driver.mem, ALL, End::Complete);
        assert_eq!(got, Err(Fault::AvailUnreadable));
        assert_eq!(device.state(), (AT, elems([])));
    }
    let got = device.take_room(&driver.mem, (2 * EACH, 1024), End::Drop);
    assert!(matches!(got, Ok(Got::Ready(took)) if took.count == 2));
}

/// An endpoint that finds an invalid buffer while filling returns all of them, and continues
/// behind.
#[test]
fn by_whoever_fills_them() {
    let faults = [Fault::Unwritable, Fault::Direction, Fault::NoPacket];
    for fault in faults {
        let mut driver = guest();
        for head in 0..COUNT {
            driver.post(head);
        }
        let mut device = device(&driver);
        let wanted = (3 * EACH - 1, 1024);
        let got = device.take_room(&driver.mem, wanted, End::Refuse(fault));
        assert!(matches!(got, Ok(Got::Ready(took)) if took.count == 3));
        let three = [(0, 0), (1, 0), (2, 0)];
        assert_eq!(device.state(), (AT.wrapping_add(3), elems(three)));
        let got = device.take(&driver.mem, End::Refuse(fault));
        assert!(got.is_ok_and(|took| took.is_some()));
        let got = device.take_room(&driver.mem, (EACH, 1), End::Complete);
        assert!(matches!(got, Ok(Got::Ready(took)) if took.count == 1));
        let all = elems(three.into_iter().chain([(3, 0), (4, EACH)]));
        assert_eq!(device.state().1, all);
        check_published(&driver, &mut device);
    }
}
