// SPDX-License-Identifier: GPL-2.0

//! Collecting room for a packet: the same as taking one buffer after the other, and no change when
//! there is not enough room.

use proptest::prelude::*;

use super::model::{
    table,
    Queue,
    NEXT,
    WRITE, //
};
use crate::{
    cases,
    device::{
        Device,
        End,
        Got, //
    },
    driver::Driver,
    kapi::iov::IoVec,
    virtqueue::{
        fault::Fault,
        features::Negotiated,
        uapi::{
            Desc,
            UsedElem, //
        },
    },
};

/// A descriptor of a chain, mostly writable.
fn any_desc() -> impl Strategy<Value = Desc> {
    let len = prop_oneof![8 => 1u32..200, 1 => Just(0), 1 => Just(0x1000)];
    let flags =
        prop_oneof![20 => Just(WRITE), 8 => Just(WRITE | NEXT), 1 => Just(0), 1 => Just(NEXT)];
    (0u64..0x1000, len, flags, 0u16..256).prop_map(|(addr, len, flags, next)| Desc {
        addr,
        len,
        flags,
        next,
    })
}

fn any_end() -> impl Strategy<Value = End> {
    prop_oneof![
        8 => Just(End::Complete),
        1 => Just(End::Drop),
        1 => Just(End::Refuse(Fault::Unwritable)),
        1 => Just(End::Refuse(Fault::UsedUnwritable)),
    ]
}

proptest! {
    #![proptest_config(cases(600))]

    /// Packet after packet, with invalid buffers between, buffers that come late, and packets that
    /// are given up.
    #[test]
    fn as_taking(
        size in 0u32..9,
        at in prop_oneof![any::<u16>(), 0xff00u16..=u16::MAX],
        descs in prop::collection::vec(any_desc(), 256),
        posts in prop::collection::vec((0u16..256, 0u16..120), 1..12),
        packets in prop::collection::vec(
            (1usize..2000, prop_oneof![Just(1usize), 2usize..1024], any_end()),
            24,
        ),
        room in prop_oneof![1 => 1usize..40, 3 => Just(1024usize)],
        entries in prop_oneof![1 => 1usize..40, 3 => Just(1089usize)],
    ) {
        let mut driver = Driver::new(1 << size, 0x2_0000);
        driver.start(at);
        for (index, desc) in (0..driver.size).zip(&descs) {
            let next = desc.next % driver.size;
            driver.mem.put_desc(driver.desc(index), Desc { next, ..*desc });
        }
        let regions = [(0, 0xc00, driver.data() as u64), (0xc00, 0x1_f400, 0x1000)];
        let built = table(&regions).build();
        let mut device = Device::new(&driver, Negotiated::NONE, at, built);
        device = device.with_room(room, entries);
        let mut queue = Queue::new(&regions, at, (room, entries));
        let mut posts = posts.into_iter();
        for (want, max, end) in packets {
            let (before, pending) = device.state();
            // As many as the ring has room for.
            if let Some((first, count)) = posts.next() {
                let free = driver.size - driver.avail.wrapping_sub(before).min(driver.size);
                for head in 0..count.min(free) {
                    driver.post(first.wrapping_add(head) % driver.size);
                }
            }
            let got = device.take_room(&driver.mem, (want, max), end);
            prop_assert_eq!(&got, &queue.take_room(&driver, (want, max), end));
            prop_assert_eq!(device.state(), queue.state());
            let (after, used) = device.state();
            prop_assert_eq!(&used[..pending.len()], &pending[..]);
            let added = &used[pending.len()..];
            prop_assert_eq!(usize::from(after.wrapping_sub(before)), added.len());
            let total: usize = added.iter().map(|elem| elem.len as usize).sum();
            let keeps = match (&got, end) {
                (Ok(Got::Ready(_)), End::Complete) => want,
                _ => 0,
            };
            prop_assert_eq!(total, keeps);
            // From time to time the buffers are returned.
            if used.len() > entries / 2 {
                prop_assert_eq!(device.publish(&driver.mem).fault, None);
                queue.published();
            }
        }
    }
}

/// A packet that does not fit yet fits when there are more buffers, complete and in order: across
/// the end of the ring, the wrap-around of positions, and the end of what is read at once.
#[test]
fn short_then_whole() {
    const SIZE: u16 = 256;
    for at in [0, 200, 0xff80, 0xffff] {
        let mut driver = Driver::new(SIZE, 0x1000);
        driver.start(at);
        for index in 0..SIZE {
            driver.mem.put_desc(driver.desc(index), byte_at(index));
        }
        let regions = [(0, 0x1000, driver.data() as u64)];
        let built = table(&regions).build();
        let mut device = Device::new(&driver, Negotiated::NONE, at, built);
        for posted in 0..SIZE {
            let got = device.take_room(&driver.mem, (256, 1024), End::Complete);
            assert_eq!(got, Ok(Got::Short), "{at} {posted}");
            assert_eq!(device.state(), (at, vec![]));
            // There is nothing new, so the worker may sleep.
            assert_eq!(device.ring.enable_notify(&driver.mem), Ok(false));
            device.ring.disable_notify(&driver.mem);
            driver.post(posted * 7 % SIZE);
        }
        let got = device.take_room(&driver.mem, (256, 1024), End::Complete);
        let Ok(Got::Ready(took)) = got else {
            panic!("{got:?}");
        };
        let heads = (0..SIZE).map(|index| index * 7 % SIZE);
        let seg = |head| IoVec::new(driver.data() + usize::from(head), 1);
        let elem = |head| UsedElem {
            id: u32::from(head),
            len: 1,
        };
        assert_eq!(took.segs, heads.clone().map(seg).collect::<Vec<_>>());
        assert_eq!((took.count, took.bytes), (256, 256));
        let used = heads.map(elem).collect();
        assert_eq!(device.state(), (at.wrapping_add(256), used));
    }
}

/// Room for one byte.
fn byte_at(addr: u16) -> Desc {
    Desc {
        addr: u64::from(addr),
        len: 1,
        flags: WRITE,
        next: 0,
    }
}

/// Four buffers of one byte that are available, and their device.
fn four_bytes() -> (Driver, Device) {
    let mut driver = Driver::new(4, 0x1000);
    driver.start(0);
    for index in 0..4 {
        driver.mem.put_desc(driver.desc(index), byte_at(index));
        driver.post(index);
    }
    let regions = [(0, 0x1000, driver.data() as u64)];
    let built = table(&regions).build();
    let device = Device::new(&driver, Negotiated::NONE, 0, built);
    (driver, device)
}

/// Never more entries, segments or buffers than there is room for, whatever is asked for.
#[test]
fn full() {
    for (want, (segs, entries), max, expected) in [
        // As if there were no more buffers: pending entries must be published first.
        (3, (1024, 2), 1024, Some(Got::Short)),
        (2, (1024, 2), 1024, None),
        (3, (2, 1089), 1024, Some(Got::TooSmall)),
        (2, (2, 1089), 1024, None),
        (3, (1024, 1089), 2, Some(Got::TooSmall)),
        (2, (1024, 1089), 2, None),
        (5, (1024, 1089), 5, Some(Got::Short)),
        (4, (4, 4), 4, None),
    ] {
        let (driver, device) = four_bytes();
        let mut device = device.with_room(segs, entries);
        let got = device.take_room(&driver.mem, (want, max), End::Complete);
        match expected {
            Some(expected) => {
                assert_eq!(got, Ok(expected), "{want} {segs} {entries} {max}");
                assert_eq!(device.state(), (0, vec![]));
            }
            None => {
                let all = matches!(&got, Ok(Got::Ready(took)) if took.bytes == want);
                assert!(all, "{got:?} {want} {segs} {entries} {max}");
                assert_eq!(device.state().1.len(), want);
            }
        }
    }
}

/// Used entries that wait take room, which a packet has once they are published.
#[test]
fn behind_others() {
    let waits = UsedElem { id: 9, len: 1 };
    for (want, expected) in [(3, None), (4, Some(Got::Behind))] {
        let (driver, device) = four_bytes();
        let mut device = device.with_room(1024, 4).with_pending(waits);
        let got = device.take_room(&driver.mem, (want, 1024), End::Complete);
        match expected {
            Some(expected) => {
                assert_eq!(got, Ok(expected), "{want}");
                assert_eq!(device.state(), (0, vec![waits]));
            }
            None => assert!(matches!(got, Ok(Got::Ready(_))), "{got:?}"),
        }
    }
}
