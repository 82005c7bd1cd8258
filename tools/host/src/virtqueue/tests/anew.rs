// SPDX-License-Identifier: GPL-2.0

//! Data that must be read again, although it has been read before.

use super::model::{
    table,
    NEXT,
    WRITE, //
};
use crate::{
    device::{
        Device,
        End, //
    },
    driver::{
        Driver,
        Event, //
    },
    virtqueue::{
        fault::Fault,
        features::Negotiated,
        uapi::Desc, //
    },
};

/// A ring that was faulty and has been corrected is served with its new contents, although the old
/// ones have been read.
#[test]
fn put_right() {
    let good = |len| Desc {
        addr: 0,
        len,
        flags: WRITE,
        next: 0,
    };
    let regions = [(0, 0x1000, 0x1000)];
    let stops = [Fault::HeadRange, Fault::NextRange, Fault::Loop];
    for fault in stops {
        let mut driver = Driver::new(4, 0x1000);
        driver.start(0);
        for head in 0..4 {
            driver
                .mem
                .put_desc(driver.desc(head), good(u32::from(head) + 1));
            driver.post(head);
        }
        let next = match fault {
            Fault::HeadRange => {
                driver.mem.put_u16(driver.avail_entry(2), 4);
                0
            }
            Fault::NextRange => 4,
            _ => 2,
        };
        let flags = WRITE | NEXT;
        let bad = Desc {
            flags,
            next,
            ..good(1)
        };
        driver.mem.put_desc(driver.desc(2), bad);
        let built = table(&regions).build();
        let mut device = Device::new(&driver, Negotiated::NONE, 0, built);
        let mut next = || {
            let next = device.next(&driver.mem);
            next.map(|next| next.map_or(0, |(_, took)| took.bytes))
        };
        assert_eq!((next(), next()), (Ok(1), Ok(2)));
        assert_eq!((next(), next()), (Err(fault), Err(fault)));
        driver.mem.put_u16(driver.avail_entry(2), 2);
        driver.mem.put_desc(driver.desc(2), good(5));
        assert_eq!((next(), next()), (Ok(5), Ok(4)));
        assert_eq!(next(), Ok(0));
    }
}

/// Entries and descriptors behind a refused buffer are read again.
#[test]
fn put_right_behind() {
    let desc = |addr, len| Desc {
        addr,
        len,
        flags: WRITE,
        next: 0,
    };
    let mut driver = Driver::new(4, 0x1000);
    driver.start(0);
    for head in 0..4 {
        driver.mem.put_desc(driver.desc(head), desc(0x1000, 1));
        driver.post(head);
    }
    let built = table(&[(0, 0x1000, 0x1000)]).build();
    let mut device = Device::new(&driver, Negotiated::NONE, 0, built);
    for head in 0..4 {
        driver.mem.put_desc(driver.desc(head), desc(0x1000, 1));
        assert_eq!(device.next(&driver.mem), Err(Fault::Unmapped));
        for behind in head + 1..4 {
            driver.mem.put_desc(driver.desc(behind), desc(0, 7));
        }
        let took = device.take(&driver.mem, End::Drop).unwrap();
        assert_eq!(took.map_or(7, |took| took.bytes), 7, "{head}");
    }
    assert_eq!(device.state().0, 4);
}

/// Descriptors behind an available chain are read with it if the chains before it were longer.
/// They may still change, and have the contents of the time at which they are made available.
#[test]
fn not_available_yet() {
    const SIZE: u16 = 64;
    for (long, at) in [(2, 0), (3, 5), (5, 0xfffe), (16, 7), (17, 0)] {
        let mut driver = Driver::new(SIZE, 0x1000);
        driver.start(at);
        let built = table(&[(0, 0x1000, 0x1000)]).build();
        let mut device = Device::new(&driver, Negotiated::NONE, at, built);
        let part = |addr: u16, last| Desc {
            addr: addr.into(),
            len: 1,
            flags: if last { WRITE } else { WRITE | NEXT },
            next: addr + 1,
        };
        // From here on, chains are expected to be long.
        for index in 0..long {
            driver
                .mem
                .put_desc(driver.desc(index), part(index, index + 1 == long));
        }
        driver.post(0);
        let took = device.next(&driver.mem).unwrap().unwrap();
        assert_eq!(took.1.segs.len(), usize::from(long));

        let head = 20;
        driver.mem.put_desc(driver.desc(head), part(head, true));
        driver.post(head);
        let (took, events) = driver.mem.watch(|| device.next(&driver.mem));
        assert!(took.is_ok_and(|took| took.is_some()));
        let behind = driver.desc(head + 1);
        let early = events
            .iter()
            .any(|e| matches!(e, Event::Read(range) if range.contains(&behind)));
        assert!(early, "nothing was read ahead: {events:x?}");
        // A descriptor that was read too early, and a chain before it that leads to it.
        for first in [head + 1, head] {
            driver
                .mem
                .put_desc(driver.desc(first), part(first, first > head));
            if first == head {
                driver
                    .mem
                    .put_desc(driver.desc(head + 1), part(head + 1, true));
            }
            driver.post(first);
            let (_, took) = device.next(&driver.mem).unwrap().unwrap();
            let addrs: Vec<usize> = took.segs.iter().map(|seg| seg.base() - 0x1000).collect();
            let expected: Vec<usize> = (first..head + 2).map(usize::from).collect();
            assert_eq!(addrs, expected, "{long} {first}");
        }
    }
}
