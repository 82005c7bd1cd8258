// SPDX-License-Identifier: GPL-2.0

//! Writing into buffers that were taken, and their properties.

use proptest::prelude::*;

use super::model::{
    table,
    NEXT,
    WRITE, //
};
use crate::{
    cases,
    device::Device,
    driver::{
        Driver,
        Event,
        Mem, //
    },
    virtqueue::{
        features::Negotiated,
        mem::MemFault,
        path::Direct,
        taken::{
            Room,
            Taken, //
        },
        uapi::Desc, //
    },
};

/// Each segment begins in a page of its own, at an odd address.
const PAGE: usize = 0x1000;
const LEN: usize = 16 * PAGE;

/// A guest with buffers of such segments, with the address of every byte of each buffer.
fn guest(buffers: &[Vec<u32>]) -> (Driver, Device, Vec<usize>) {
    let mut driver = Driver::new(16, LEN);
    driver.start(0);
    let mut addrs = Vec::new();
    let mut index = 0;
    for lens in buffers {
        let head = index;
        for (at, &len) in lens.iter().enumerate() {
            let gpa = PAGE * usize::from(index) + 1 + at % 2;
            let more = if at + 1 < lens.len() { NEXT } else { 0 };
            let desc = Desc {
                addr: gpa as u64,
                len,
                flags: WRITE | more,
                next: index + 1,
            };
            driver.mem.put_desc(driver.desc(index), desc);
            let from = driver.data() + gpa;
            addrs.extend(from..from + len as usize);
            index += 1;
        }
        driver.post(head);
    }
    driver.mem.put(
        driver.data(),
        &(0..LEN).map(|at| at as u8).collect::<Vec<_>>(),
    );
    let built = table(&[(0, LEN as u64, driver.data() as u64)]).build();
    let device = Device::new(&driver, Negotiated::NONE, 0, built);
    (driver, device, addrs)
}

/// Calls the function with all buffers of the guest taken.
fn with<T>(
    driver: &Driver,
    device: &mut Device,
    want: usize,
    f: impl FnOnce(&Taken<'_, '_, Direct<'_, &Mem>>) -> T,
) -> T {
    let mut queue = device.queue(&driver.mem);
    let room = queue.take_room(want, 1024).unwrap();
    let Room::Ready(taken) = room else {
        panic!("no room for {want}");
    };
    f(&taken)
}

fn memory(driver: &Driver) -> Vec<u8> {
    driver.mem.get::<LEN>(driver.data()).to_vec()
}

/// The expected memory after `data` was written to these addresses.
fn patched(driver: &Driver, addrs: &[usize], data: &[u8]) -> Vec<u8> {
    let mut bytes = memory(driver);
    for (addr, byte) in addrs.iter().zip(data) {
        bytes[addr - driver.data()] = *byte;
    }
    bytes
}

fn any_buffers() -> impl Strategy<Value = Vec<Vec<u32>>> {
    // A buffer has at least one byte, or it is not room.
    let lens = prop::collection::vec(prop_oneof![1 => Just(0u32), 4 => 1u32..8], 1..5);
    let lens = lens.prop_filter("no room", |lens| lens.iter().sum::<u32>() > 0);
    prop::collection::vec(lens, 1..4)
}

proptest! {
    #![proptest_config(cases(600))]

    /// Each byte is written to its address, and nothing else is.
    #[test]
    fn write_at(buffers in any_buffers(), at in 0usize..40, len in 0usize..24) {
        let (driver, mut device, addrs) = guest(&buffers);
        let data: Vec<u8> = (0..len).map(|nth| 0xf0 ^ nth as u8).collect();
        let there = addrs.get(at.min(addrs.len())..).unwrap();
        let expected = patched(&driver, there, &data);
        let wrote = with(&driver, &mut device, addrs.len(), |taken| taken.write_at(at, &data));
        if len <= there.len() {
            prop_assert_eq!(wrote, Ok(()));
            prop_assert_eq!(memory(&driver), expected);
        } else {
            prop_assert_eq!(wrote, Err(MemFault));
            // The bytes for which there was room may have been written.
            let before: Vec<u8> = (0..LEN).map(|at| at as u8).collect();
            for ((now, before), expected) in memory(&driver).iter().zip(before).zip(expected) {
                prop_assert!(*now == before || *now == expected);
            }
        }
    }

    /// The same for a word, low byte first, at every offset; in one access wherever the first
    /// segment has both bytes.
    #[test]
    fn write_u16_at(buffers in any_buffers(), value in any::<u16>()) {
        let (driver, mut device, addrs) = guest(&buffers);
        let first = buffers.iter().flatten().copied().find(|len| *len > 0).unwrap();
        for at in 0..addrs.len() + 3 {
            let there = addrs.get(at.min(addrs.len())..).unwrap();
            let expected = patched(&driver, there, &value.to_le_bytes());
            let (wrote, events) = with(&driver, &mut device, addrs.len(), |taken| {
                driver.mem.watch(|| taken.write_u16_at(at, value))
            });
            if at + 2 <= addrs.len() {
                prop_assert_eq!(wrote, Ok(()));
                prop_assert_eq!(memory(&driver), expected);
                let one = Event::Write(addrs[at]..addrs[at] + 2);
                if at + 2 <= first as usize {
                    prop_assert_eq!(events, vec![one]);
                } else if addrs[at + 1] == addrs[at] + 1 {
                    prop_assert_eq!(events.len(), 1);
                } else {
                    prop_assert_eq!(events.len(), 2);
                }
            } else {
                prop_assert_eq!(wrote, Err(MemFault));
            }
        }
    }
}

/// Unwritable memory is reported, wherever it is; memory that is not written does not matter.
#[test]
fn unwritable() {
    let buffers = [vec![3, 4], vec![5]];
    for bad in 0..12 {
        for at in 0..11 {
            let (driver, mut device, addrs) = guest(&buffers);
            driver.mem.poison_writes(addrs[bad]..addrs[bad] + 1);
            let touched = (at..at + 2).contains(&bad);
            let expected = if touched { Err(MemFault) } else { Ok(()) };
            with(&driver, &mut device, 12, |taken| {
                assert_eq!(taken.write_u16_at(at, 0), expected, "{bad} {at}");
                assert_eq!(taken.write_at(at, &[0; 2]), expected, "{bad} {at}");
            });
        }
    }
}

/// An offset may be any number.
#[test]
fn far_away() {
    let (driver, mut device, _) = guest(&[vec![16]]);
    with(&driver, &mut device, 16, |taken| {
        for at in [15, 16, 1 << 32, usize::MAX - 1, usize::MAX] {
            assert_eq!(taken.write_u16_at(at, 1), Err(MemFault), "{at}");
            assert_eq!(taken.write_at(at, &[1, 1]), Err(MemFault), "{at}");
        }
    });
}

/// Whether there are buffers behind those that were taken. Asking changes nothing.
#[test]
fn has_more() {
    let (mut driver, mut device, _) = guest(&[vec![1], vec![1], vec![1]]);
    for (want, more) in [(1, true), (2, true), (3, false)] {
        let mut queue = device.queue(&driver.mem);
        let Ok(Room::Ready(mut taken)) = queue.take_room(want, 1024) else {
            panic!("{want}");
        };
        assert_eq!(taken.has_more(), more, "{want}");
        drop(taken);
        assert_eq!(device.state(), (0, vec![]));
    }
    // Unknown counts as yes.
    for lie in [true, false] {
        let idx = driver.avail_idx();
        if lie {
            driver.lie(3 + 17);
        } else {
            driver.mem.poison_reads(idx..idx + 2);
        }
        let mut queue = device.queue(&driver.mem);
        let Ok(Room::Ready(mut taken)) = queue.take_room(3, 1024) else {
            panic!("no room");
        };
        assert!(taken.has_more());
        drop(taken);
        driver.mem.heal();
        driver.tell();
    }
    // A buffer that has come in the meantime.
    driver.post(0);
    let mut queue = device.queue(&driver.mem);
    let Ok(Room::Ready(mut taken)) = queue.take_room(3, 1024) else {
        panic!("no room");
    };
    assert!(taken.has_more());
    taken.complete();
    assert_eq!(queue.pending(), 3);
    let last = device.next(&driver.mem).unwrap().unwrap();
    assert_eq!(last.0, 0);
    assert_eq!(device.state().0, 4);
}

/// The queue's functions for kicks are those of its ring.
#[test]
fn kicks() {
    let (mut driver, mut device, _) = guest(&[vec![1]]);
    let flags = driver.used_flags();
    device.queue(&driver.mem).disable_notify();
    assert_eq!(driver.mem.get_u16(flags), 1);
    assert!(device.next(&driver.mem).unwrap().is_some());
    assert_eq!(device.queue(&driver.mem).enable_notify(), Ok(false));
    assert_eq!(driver.mem.get_u16(flags), 0);
    device.queue(&driver.mem).disable_notify();
    driver.post(0);
    assert_eq!(device.queue(&driver.mem).enable_notify(), Ok(true));
}
