// SPDX-License-Identifier: GPL-2.0

//! The fast path: the contents of a plain buffer are those that the slow path finds.

use crate::{
    cases,
    device::{
        Device,
        End, //
    },
    driver::Driver,
    kapi::iov::IoVec,
    virtqueue::{
        features::Negotiated,
        model::{
            table,
            INDIRECT,
            NEXT,
            WRITE, //
        },
        uapi::Desc, //
    },
};
use proptest::prelude::*;

const SIZE: u16 = 64;
const LEN: usize = 0x4000;

/// Chains of descriptors with these flags and lengths, one behind the other in the table.
fn guest(chains: &[Vec<(u16, u32)>], step: u16) -> (Driver, Device) {
    let mut driver = Driver::new(SIZE, LEN);
    driver.start(0);
    let mut index = 0u16;
    for chain in chains {
        let head = index;
        for (at, &(flags, len)) in chain.iter().enumerate() {
            let last = at + 1 == chain.len();
            let next = (index + step) % SIZE;
            let desc = Desc {
                addr: u64::from(index) * 0x80,
                len,
                flags: flags | if last { 0 } else { NEXT },
                next,
            };
            driver.mem.put_desc(driver.desc(index), desc);
            index = next;
        }
        driver.post(head);
    }
    let built = table(&[(0, LEN as u64, driver.data() as u64)]).build();
    let device = Device::new(&driver, Negotiated::NONE, 0, built);
    (driver, device)
}

fn any_chains() -> impl Strategy<Value = Vec<Vec<(u16, u32)>>> {
    let flags = prop_oneof![8 => Just(0u16), 3 => Just(WRITE), 1 => Just(INDIRECT)];
    let desc = (flags, prop_oneof![1 => Just(0u32), 8 => 1u32..0x80]);
    prop::collection::vec(prop::collection::vec(desc, 1..4), 1..16)
}

/// The non-empty segments.
fn some((first, second): (IoVec, IoVec)) -> Vec<IoVec> {
    [first, second]
        .into_iter()
        .filter(|s| s.len() > 0)
        .collect()
}

proptest! {
    #![proptest_config(cases(400))]

    /// Each buffer on both paths: a plain buffer is complete, and is returned in the same way.
    #[test]
    fn as_the_long_way(chains in any_chains(), step in prop_oneof![4 => Just(1u16), 1 => Just(3u16)]) {
        let (driver, mut straight) = guest(&chains, step);
        let (again, mut long) = guest(&chains, step);
        for chain in &chains {
            prop_assert!(straight.queue(&driver.mem).look().unwrap());
            let (plain, room) = {
                let queue = straight.queue(&driver.mem);
                (queue.plain(), queue.plain_room())
            };
            let before = long.state();
            let took = long.take(&again.mem, End::Complete);
            let readable = chain.iter().all(|d| d.0 == 0 && d.1 > 0);
            if plain.is_some() {
                // At most two descriptors, all readable.
                prop_assert!(readable && chain.len() <= 2);
            }
            if room.is_some() {
                prop_assert!(chain.len() == 1 && chain[0].0 == WRITE && chain[0].1 > 0);
            }
            match plain.or(room) {
                Some(plain) => {
                    let took = took.unwrap().unwrap();
                    let offset = |segs: &[IoVec], data| {
                        segs.iter().map(|s| (s.base() - data, s.len())).collect::<Vec<_>>()
                    };
                    let segs = some(plain.segs());
                    prop_assert_eq!(offset(&segs, driver.data()), offset(&took.segs, again.data()));
                    prop_assert_eq!(plain.len(), took.bytes);
                    prop_assert!(straight.queue(&driver.mem).complete_plain(&plain, 0));
                }
                None => {
                    let same = straight.take(&driver.mem, End::Complete);
                    prop_assert_eq!(same.is_ok(), took.is_ok());
                }
            }
            prop_assert_ne!(long.state(), before);
            prop_assert_eq!(straight.state(), long.state());
        }
        prop_assert!(!straight.queue(&driver.mem).look().unwrap());
        prop_assert!(straight.queue(&driver.mem).is_drained());
    }
}

/// Readable buffers of one and of two descriptors are plain once the region is known.
#[test]
fn most_are_plain() {
    for each in [1, 2] {
        let chains = vec![vec![(0u16, 0x40u32); each]; 16];
        let (driver, mut device) = guest(&chains, 1);
        // The first buffer makes the region known.
        assert!(device.take(&driver.mem, End::Complete).unwrap().is_some());
        for _ in 1..chains.len() {
            let mut queue = device.queue(&driver.mem);
            assert!(queue.look().unwrap());
            let plain = queue.plain().expect("plain");
            assert_eq!(plain.len(), 0x40 * each);
            assert!(queue.complete_plain(&plain, 0));
        }
    }
}

/// Without room for the used entry, nothing is taken.
#[test]
fn without_room() {
    let (driver, device) = guest(&[vec![(WRITE, 0x40)], vec![(WRITE, 0x40)]], 1);
    let mut device = device.with_room(4, 1);
    assert!(device.take(&driver.mem, End::Complete).unwrap().is_some());
    let before = device.state();
    let mut queue = device.queue(&driver.mem);
    assert!(queue.look().unwrap());
    let plain = queue.plain_room().expect("plain");
    assert!(!queue.complete_plain(&plain, 1));
    assert_eq!(device.state(), before);
}

/// The number of descriptors that the slow path has read is reported once.
#[test]
fn what_was_read() {
    let (driver, mut device) = guest(&[vec![(0, 1); 3], vec![(0, 1)]], 1);
    let mut queue = device.queue(&driver.mem);
    queue.take().unwrap().unwrap().complete();
    assert_eq!(queue.take_read(), 3);
    assert_eq!(queue.take_read(), 0);
    queue.take().unwrap().unwrap().complete();
    assert_eq!(queue.take_read(), 1);
}

/// A word is written to its address, and fails where there is no memory.
#[test]
fn a_word() {
    let (driver, mut device) = guest(&[vec![(WRITE, 2)]], 1);
    let at = driver.data() + 0x101;
    assert!(!device.ring.is_unset());
    let queue = device.queue(&driver.mem);
    queue.write_u16(at, 0x1234).unwrap();
    assert_eq!(driver.mem.get::<2>(at), 0x1234u16.to_le_bytes());
    assert!(queue.write_u16(usize::MAX - 1, 1).is_err());
}
