// SPDX-License-Identifier: GPL-2.0

//! The fast path, case by case: which buffers are plain, how few accesses they need, and what ends
//! it.

use super::model::{
    table,
    Queue,
    INDIRECT,
    NEXT,
    WRITE, //
};
use crate::{
    device::{
        Device,
        End,
        Straight,
        Took, //
    },
    driver::{
        desc,
        Driver,
        Event, //
    },
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

const SIZE: u16 = 16;

fn regions(driver: &Driver) -> [(u64, u64, u64); 2] {
    let data = driver.data() as u64;
    [(0, 0x1000, data), (0x1000, 0x1000, data + 0x2000)]
}

/// A guest whose descriptor table begins with these descriptors.
fn guest(descs: &[Desc]) -> Driver {
    let mut driver = Driver::new(SIZE, 0x4000);
    driver.start(0xffff);
    for (index, desc) in (0..).zip(descs) {
        driver.mem.put_desc(driver.desc(index), *desc);
    }
    driver
}

fn device(driver: &Driver) -> Device {
    let built = table(&regions(driver)).build();
    Device::new(driver, Negotiated::NONE, 0xffff, built)
}

/// Plain buffers: one or two readable segments, or one writable segment, in the region that was
/// used last. All others are not plain, whether faulty or only unusual.
#[test]
fn which_are() {
    let one = |first| vec![first];
    let two = |first, second| vec![first, second];
    let end = desc(0x10, 8, 0, 0);
    for (descs, read, write) in [
        (one(desc(0, 1, 0, 9)), true, false),
        (one(desc(0xff0, 15, 0, 0xffff)), true, false),
        (
            two(desc(0, 12, NEXT, 1), desc(0x100, 60, 0, 9)),
            true,
            false,
        ),
        (one(desc(0, 1, WRITE, 9)), false, true),
        // A length of 0, in either place.
        (one(desc(0, 0, 0, 0)), false, false),
        (one(desc(0, 0, WRITE, 0)), false, false),
        (two(desc(0, 0, NEXT, 1), end), false, false),
        (two(desc(0, 8, NEXT, 1), desc(0, 0, 0, 0)), false, false),
        // Longer chains, mixed ones, and unknown flags.
        (
            vec![desc(0, 8, NEXT, 1), desc(8, 8, NEXT, 2), end],
            false,
            false,
        ),
        (two(desc(0, 8, NEXT, 1), desc(8, 8, WRITE, 0)), false, false),
        (
            two(desc(0, 8, WRITE | NEXT, 1), desc(8, 8, WRITE, 0)),
            false,
            false,
        ),
        (two(desc(0, 8, WRITE | NEXT, 1), end), false, false),
        (one(desc(0, 16, INDIRECT, 0)), false, false),
        (one(desc(0, 16, INDIRECT | WRITE, 0)), false, false),
        (one(desc(0, 8, 0x8000, 0)), false, false),
        (one(desc(0, 8, WRITE | 0x10, 0)), false, false),
        (two(desc(0, 8, NEXT, 1), desc(8, 8, 0x100, 0)), false, false),
        // Loops, and `next` out of range.
        (one(desc(0, 8, NEXT, 0)), false, false),
        (one(desc(0, 8, NEXT, SIZE)), false, false),
        (one(desc(0, 8, NEXT, 0xffff)), false, false),
        // In another region, across the end, and outside of memory.
        (one(desc(0x1000, 8, 0, 0)), false, false),
        (one(desc(0xff8, 9, WRITE, 0)), false, false),
        (one(desc(0x2000, 1, 0, 0)), false, false),
        (one(desc(u64::MAX, 2, WRITE, 0)), false, false),
        (one(desc(0, u32::MAX, WRITE, 0)), false, false),
        (
            two(desc(0, 8, NEXT, 1), desc(0x1ff0, 8, 0, 0)),
            false,
            false,
        ),
    ] {
        // Behind a chain of the same length, so that all of it has been read ahead.
        let mut all = descs.clone();
        let len = all.len() as u16;
        for nth in 0..len {
            let flags = if nth + 1 < len { NEXT } else { 0 };
            all.push(desc(0, 1, flags, len + nth + 1));
        }
        for write_wanted in [false, true] {
            let mut driver = guest(&all);
            driver.post(len);
            driver.post(0);
            let mut device = device(&driver);
            assert!(device.next(&driver.mem).unwrap().is_some());
            let before = device.state();
            let got = device.straight(&driver.mem, write_wanted, None).unwrap();
            let plain = matches!(&got, Straight::Plain(_));
            let expected = if write_wanted { write } else { read };
            assert_eq!(plain, expected, "{descs:x?} {write_wanted} {got:?}");
            if let Straight::Plain(took) = got {
                let seg =
                    |desc: &Desc| IoVec::new(driver.data() + desc.addr as usize, desc.len as usize);
                assert_eq!(took.segs, descs.iter().map(seg).collect::<Vec<_>>());
            }
            // In all cases, asking has changed nothing.
            assert_eq!(device.state(), before);
            let regions = regions(&driver);
            let mut model = Queue::new(&regions, 0xffff, (1024, 1024));
            assert!(model.take(&driver, End::Complete).is_ok());
            let long = device.take(&driver.mem, End::Complete);
            assert_eq!(long, model.take(&driver, End::Complete), "{descs:x?}");
        }
    }
}

/// The region that was used last changes with buffers taken on the slow path.
#[test]
fn elsewhere_and_back() {
    let there = |nth: u16| desc(if nth % 4 < 2 { 0x10 } else { 0x1010 }, 4, 0, 0);
    let mut driver = guest(&(0..8).map(there).collect::<Vec<_>>());
    for head in 0..8 {
        driver.post(head);
    }
    let mut device = device(&driver);
    for head in 0..8u16 {
        let got = device.straight(&driver.mem, false, Some(0)).unwrap();
        let first_there = head % 4 == 2 || (head % 4 == 0 && head > 0);
        if first_there {
            assert_eq!(got, Straight::Other, "{head}");
            assert!(device.next(&driver.mem).unwrap().is_some());
        } else {
            assert!(matches!(got, Straight::Plain(_)), "{head}");
        }
        let elem = UsedElem {
            id: head.into(),
            len: 0,
        };
        assert_eq!(device.state().1.last(), Some(&elem));
    }
    let got = device.straight(&driver.mem, false, Some(0));
    assert_eq!(got, Ok(Straight::None));
}

/// Buffers of a header and a packet. All but the first take the fast path, since the length of
/// chains is not known at the first, and one read of the table serves 32 of them.
#[test]
fn few_accesses() {
    let mut driver = Driver::new(128, 0x4000);
    driver.start(0xffff);
    for nth in 0..64u16 {
        let head = 2 * nth;
        let first = desc(head.into(), 12, NEXT, head + 1);
        let second = desc(0x100 + u64::from(head), 60, 0, 0);
        driver.mem.put_desc(driver.desc(head), first);
        driver.mem.put_desc(driver.desc(head + 1), second);
        driver.post(head);
    }
    let mut device = device(&driver);
    assert!(device.next(&driver.mem).unwrap().is_some());
    let (got, events) = driver.mem.watch(|| {
        (0..64)
            .map(|_| device.straight(&driver.mem, false, Some(0)))
            .collect::<Vec<_>>()
    });
    let plain = |nth: usize| {
        let addr = driver.data() + 2 * nth;
        Ok(Straight::Plain(Took {
            segs: vec![IoVec::new(addr, 12), IoVec::new(addr + 0x100, 60)],
            writable: 0,
            bytes: 72,
            count: 1,
        }))
    };
    let expected = (1..64).map(plain).chain([Ok(Straight::None)]);
    assert_eq!(got, expected.collect::<Vec<_>>());
    let descs = driver.desc(0)..driver.avail_flags();
    let of_table = |e: &&Event| matches!(e, Event::Read(range) if descs.contains(&range.start));
    let reads = events.iter().filter(of_table).count();
    assert!(reads <= 2, "{events:x?}");
}

/// A buffer that was asked for and not completed is returned again, and may also take the slow
/// path. A completed one has the given length.
#[test]
fn completed_or_not() {
    let buffer = |nth: u16| desc(u64::from(nth), 16, WRITE, 0);
    let mut driver = guest(&(0..4).map(buffer).collect::<Vec<_>>());
    for head in 0..4 {
        driver.post(head);
    }
    let mut device = device(&driver).with_room(8, 3);
    let took = |head: usize| Took {
        segs: vec![IoVec::new(driver.data() + head, 16)],
        writable: 1,
        bytes: 16,
        count: 1,
    };
    let straight = |device: &mut Device, len| device.straight(&driver.mem, true, len);
    for len in [None, None, Some(7)] {
        let got = straight(&mut device, len);
        assert_eq!(got, Ok(Straight::Plain(took(0))));
    }
    let got = straight(&mut device, None);
    assert_eq!(got, Ok(Straight::Plain(took(1))));
    let got = device.take(&driver.mem, End::Complete);
    assert_eq!(got, Ok(Some(took(1))));
    let got = straight(&mut device, Some(u32::MAX));
    assert_eq!(got, Ok(Straight::Plain(took(2))));
    let elem = |id, len| UsedElem { id, len };
    let used = vec![elem(0, 7), elem(1, 0), elem(2, u32::MAX)];
    assert_eq!(device.state(), (2, used.clone()));
    // No room for a used entry: the buffer stays in the ring until there is.
    for _ in 0..2 {
        let got = straight(&mut device, Some(1));
        assert_eq!(got, Ok(Straight::Plain(took(3))));
        assert_eq!(device.state(), (2, used.clone()));
    }
    assert_eq!(device.publish(&driver.mem).fault, None);
    let got = straight(&mut device, Some(1));
    assert_eq!(got, Ok(Straight::Plain(took(3))));
    assert_eq!(device.state(), (3, vec![elem(3, 1)]));
    assert_eq!(straight(&mut device, Some(1)), Ok(Straight::None));
}

/// Faults of the ring are reported as on the slow path, and can be corrected.
#[test]
fn stops() {
    for fault in [
        Fault::AvailUnreadable,
        Fault::AvailJump,
        Fault::HeadRange,
        Fault::DescUnreadable,
    ] {
        let mut driver = guest(&[desc(0, 1, 0, 0), desc(1, 1, 0, 0)]);
        driver.post(0);
        let entry = driver.avail_entry(0xffff);
        let first = driver.desc(0);
        match fault {
            Fault::AvailUnreadable => driver.mem.poison_reads(entry..entry + 1),
            Fault::AvailJump => driver.lie(SIZE),
            Fault::HeadRange => driver.mem.put_u16(entry, SIZE),
            _ => driver.mem.poison_reads(first..first + 1),
        }
        let mut device = device(&driver);
        for write in [false, true, false] {
            let got = device.straight(&driver.mem, write, Some(0));
            assert_eq!(got, Err(fault));
            assert_eq!(device.take(&driver.mem, End::Complete), Err(fault));
            assert_eq!(device.state(), (0xffff, vec![]));
        }
        // Corrected by another entry, not by another index.
        if fault != Fault::DescUnreadable {
            driver.mem.heal();
        }
        driver.tell();
        driver.mem.put_u16(entry, 1);
        let got = device.straight(&driver.mem, false, Some(0)).unwrap();
        let addr = match got {
            Straight::Plain(took) => took.segs[0].base() - driver.data(),
            got => panic!("{got:?} {fault:?}"),
        };
        assert_eq!(addr, 1, "{fault:?}");
    }
}

/// The work of the slow path is reported once: each descriptor, and each entry of a table.
#[test]
fn read_the_long_way() {
    let mut driver = guest(&[
        desc(0, 1, 0, 0),
        desc(0, 1, NEXT, 2),
        desc(0, 1, NEXT, 3),
        desc(0, 1, 0, 0),
        desc(0x100, 16 * 5, INDIRECT, 0),
        desc(0x5000, 1, 0, 0),
    ]);
    let inner = driver.data() + 0x100;
    driver.mem.put_desc(inner, desc(0, 1, 0, 0));
    for head in [0, 1, 4, 5, 1] {
        driver.post(head);
    }
    let mut device = device(&driver);
    let mut queue = device.queue(&driver.mem);
    for (read, good) in [(1, true), (3, true), (6, true), (1, false)] {
        match queue.take() {
            Ok(Some(taken)) => {
                assert!(good);
                taken.complete();
            }
            other => assert!(!good && matches!(other, Err(Fault::Unmapped))),
        }
        assert_eq!(queue.take_read(), read);
        assert_eq!(queue.take_read(), 0);
    }
    assert_eq!(queue.take_read(), 0);
    // Buffers that were put back count as well.
    assert!(queue.take().is_ok_and(|taken| taken.is_some()));
    assert!(queue.take().is_ok_and(|taken| taken.is_some()));
    assert_eq!(queue.take_read(), 6);
    assert!(queue.look().is_ok_and(|there| there));
    assert_eq!(queue.take_read(), 0);
}

/// Whether all buffers up to the last index read are taken, regardless of newer ones.
#[test]
fn drained() {
    let mut driver = guest(&[desc(0, 1, 0, 0)]);
    let mut device = device(&driver);
    assert!(device.queue(&driver.mem).is_drained());
    driver.post(0);
    driver.post(0);
    assert!(device.queue(&driver.mem).is_drained());
    assert_eq!(device.queue(&driver.mem).look(), Ok(true));
    for drained in [false, true] {
        assert!(!device.queue(&driver.mem).is_drained());
        let got = device.straight(&driver.mem, false, Some(0));
        assert!(matches!(got, Ok(Straight::Plain(_))));
        assert_eq!(device.queue(&driver.mem).is_drained(), drained);
    }
    assert_eq!(device.queue(&driver.mem).look(), Ok(false));
}
