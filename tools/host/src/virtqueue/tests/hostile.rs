// SPDX-License-Identifier: GPL-2.0

//! Each mistake that a guest can make, by name.

use super::model::{
    heads,
    segs,
    table,
    INDIRECT,
    NEXT,
    WRITE, //
};
use crate::{
    driver::{
        Driver,
        Event, //
    },
    virtqueue::{
        chain::{
            collect,
            take, //
        },
        fault::Fault,
        features::Negotiated,
        uapi::{
            Desc,
            UsedElem, //
        },
        used::publish, //
    },
};

const SIZE: u16 = 8;
/// Where guest memory begins for the guest, and how long it is.
const GPA: u64 = 0x10_0000;
const LEN: usize = 0x20_0000;

const fn desc(addr: u64, len: u32, flags: u16, next: u16) -> Desc {
    Desc {
        addr,
        len,
        flags,
        next,
    }
}

/// A guest with a good buffer as descriptor 0, ready to be spoilt; nothing is posted.
fn guest() -> Driver {
    let mut driver = Driver::new(SIZE, LEN);
    driver.start(0);
    driver.mem.put_desc(driver.desc(0), desc(GPA, 64, 0, 0));
    driver
}

/// With `descs` as its table, the first of them posted.
fn chain(descs: &[Desc]) -> Driver {
    let mut driver = guest();
    for (index, desc) in (0..).zip(descs) {
        driver.mem.put_desc(driver.desc(index), *desc);
    }
    driver.post(0);
    driver
}

/// With `inner` as an indirect table said to be `len` bytes long.
fn indirect(inner: &[Desc], len: u32) -> Driver {
    let driver = chain(&[desc(GPA, len, INDIRECT, 0)]);
    for (at, desc) in inner.iter().enumerate() {
        driver.mem.put_desc(driver.data() + 16 * at, *desc);
    }
    driver
}

/// What a guest does wrong, and what that is when a buffer is taken.
fn taking() -> Vec<(Fault, Driver)> {
    let good = desc(GPA, 64, NEXT, 1);
    let mut list = Vec::new();

    let mut driver = guest();
    driver.post(0);
    driver
        .mem
        .poison_reads(driver.avail_idx()..driver.avail_idx() + 2);
    list.push((Fault::AvailUnreadable, driver));

    let mut driver = guest();
    driver.post(0);
    driver
        .mem
        .poison_reads(driver.avail_entry(0)..driver.avail_entry(0) + 2);
    list.push((Fault::AvailUnreadable, driver));

    for jump in [SIZE + 1, 0x8000, u16::MAX] {
        let driver = guest();
        driver.lie(jump);
        list.push((Fault::AvailJump, driver));
    }
    for head in [SIZE, u16::MAX] {
        let mut driver = guest();
        driver.post(head);
        list.push((Fault::HeadRange, driver));
    }
    for next in [SIZE, u16::MAX] {
        list.push((Fault::NextRange, chain(&[desc(GPA, 64, NEXT, next)])));
    }
    list.push((Fault::Loop, chain(&[desc(GPA, 64, NEXT, 0)])));
    let ring: Vec<Desc> = (1..=SIZE).map(|at| desc(GPA, 1, NEXT, at % SIZE)).collect();
    list.push((Fault::Loop, chain(&ring)));

    for bad in [0, 1] {
        let driver = chain(&[good, desc(GPA, 64, 0, 0)]);
        driver
            .mem
            .poison_reads(driver.desc(bad) + 8..driver.desc(bad) + 9);
        list.push((Fault::DescUnreadable, driver));
    }

    for len in [1, 15, 17, u32::MAX] {
        list.push((Fault::IndirectLength, indirect(&[], len)));
    }
    list.push((Fault::IndirectTooLong, indirect(&[], 16 * 65537)));
    // A second table where the first has left no room.
    let driver = chain(&[
        desc(GPA, 16 * 65536, INDIRECT | NEXT, 1),
        desc(GPA, 16, INDIRECT, 0),
    ]);
    list.push((Fault::IndirectTooLong, driver));
    list.push((Fault::IndirectLoop, indirect(&[good], 0)));
    list.push((Fault::IndirectLoop, indirect(&[good, good], 32)));
    let endless = vec![desc(GPA, 0, NEXT, 0); 65536];
    list.push((Fault::IndirectLoop, indirect(&endless, 16 * 65536)));

    let driver = indirect(&[good, desc(GPA, 64, 0, 0)], 32);
    driver
        .mem
        .poison_reads(driver.data() + 31..driver.data() + 32);
    list.push((Fault::IndirectUnreadable, driver));
    list.push((
        Fault::IndirectNested,
        indirect(&[desc(GPA, 16, INDIRECT, 0)], 16),
    ));
    list.push((
        Fault::IndirectNested,
        indirect(&[good, desc(GPA, 16, INDIRECT, 0)], 32),
    ));

    let end = GPA + LEN as u64;
    for (addr, len) in [
        (end, 1),
        (end - 1, 2),
        (GPA - 1, 1),
        (GPA - 1, 2),
        (0, u32::MAX),
    ] {
        list.push((Fault::Unmapped, chain(&[good, desc(addr, len, 0, 0)])));
        list.push((
            Fault::Unmapped,
            indirect(&[good, desc(addr, len, 0, 0)], 32),
        ));
    }
    list.push((Fault::Unmapped, chain(&[desc(u64::MAX, 2, 0, 0)])));
    list.push((Fault::Unmapped, chain(&[desc(end - 16, 32, INDIRECT, 0)])));

    let many = vec![good; 1025];
    list.push((Fault::TooManySegments, indirect(&many, 16 * 1025)));

    let write = desc(GPA, 64, WRITE | NEXT, 1);
    list.push((Fault::Order, chain(&[write, desc(GPA, 64, 0, 0)])));
    list.push((Fault::Order, indirect(&[write, desc(GPA, 64, 0, 0)], 32)));
    // An empty one to read is one to read.
    list.push((Fault::Order, chain(&[write, desc(GPA, 0, 0, 0)])));
    list
}

/// What it does wrong where room is wanted.
fn collecting() -> Vec<(Fault, Driver)> {
    let write = desc(GPA, 1, WRITE | NEXT, 1);
    vec![
        (Fault::Direction, chain(&[desc(GPA, 64, 0, 0)])),
        (
            Fault::Direction,
            chain(&[desc(GPA, 64, NEXT, 1), desc(GPA, 1, WRITE, 0)]),
        ),
        (Fault::Direction, chain(&[desc(GPA, 0, WRITE, 0)])),
        (Fault::NoRoom, {
            let mut inner = vec![write; 1024];
            inner[1023].flags = WRITE;
            indirect(&inner, 16 * 1024)
        }),
    ]
}

/// Nothing of the ring or of what was collected before has changed, however often it is tried.
fn check(fault: Fault, driver: &Driver, at: usize) {
    let regions = [(GPA, LEN as u64, driver.data() as u64)];
    let built = table(&regions).build();
    let mut ring = driver.device(Negotiated::NONE, 0);
    let (mut segs, mut heads) = (segs(1024), heads(8));
    heads
        .push_within_capacity(UsedElem { id: 7, len: 7 })
        .unwrap();
    let mut hint = 0;
    for _ in 0..3 {
        let got = collect(
            &mut ring,
            &driver.mem,
            &built,
            &mut hint,
            &mut segs,
            &mut heads,
            1 << 20,
            1024,
        );
        assert_eq!(got, Err(fault), "{fault:?} {at}");
        assert_eq!((segs.len(), ring.base()), (0, 0), "{fault:?} {at}");
        assert_eq!(&heads[..], [UsedElem { id: 7, len: 7 }]);
    }
}

#[test]
fn mistakes_with_buffers() {
    for (at, (fault, driver)) in taking().into_iter().enumerate() {
        let regions = [(GPA, LEN as u64, driver.data() as u64)];
        let built = table(&regions).build();
        let mut ring = driver.device(Negotiated::NONE, 0);
        let (mut segs, mut hint) = (segs(1024), 0);
        for _ in 0..3 {
            let (got, events) = driver
                .mem
                .watch(|| take(&mut ring, &driver.mem, &built, &mut hint, &mut segs));
            assert_eq!(got, Err(fault), "{fault:?} {at}");
            assert_eq!((segs.len(), ring.base()), (0, 0), "{fault:?} {at}");
            let wrote = events.iter().any(|e| matches!(e, Event::Write(_)));
            assert!(!wrote, "{fault:?} {at}");
        }
        assert!(fault.is_reported());
    }
}

#[test]
fn mistakes_where_room_is_wanted() {
    // What is wrong for one purpose is for the other.
    for (at, (fault, driver)) in taking().into_iter().enumerate() {
        check(fault, &driver, at);
    }
    for (at, (fault, driver)) in collecting().into_iter().enumerate() {
        check(fault, &driver, at);
        assert_eq!(fault.is_reported(), fault != Fault::NoRoom);
    }
}

#[test]
fn mistakes_with_the_used_ring() {
    let guest = guest();
    let elem = UsedElem { id: 0, len: 1 };
    let (idx, entry) = (guest.used_idx(), guest.used_entry(0));
    for bad in [idx..idx + 2, entry + 7..entry + 8] {
        guest.mem.heal();
        let mut ring = guest.device(Negotiated::NONE, 0);
        guest.mem.poison_writes(bad);
        let published = publish(&mut ring, &guest.mem, Negotiated::NONE, &[elem], true);
        assert_eq!(published.fault, Some(Fault::UsedUnwritable));
        assert_eq!(guest.mem.get_u16(idx), 0);
    }
    for fault in [
        Fault::UsedUnwritable,
        Fault::NoPacket,
        Fault::HeaderUnwritable,
    ] {
        assert!(fault.is_reported());
    }
}

/// A new kind of mistake must be added above, or be one that is not made here.
#[test]
fn every_mistake_is_made() {
    let made: Vec<Fault> = taking()
        .into_iter()
        .chain(collecting())
        .map(|(fault, _)| fault)
        .chain([Fault::UsedUnwritable])
        .collect();
    let next = |fault| match fault {
        Fault::AvailUnreadable => Some(Fault::AvailJump),
        Fault::AvailJump => Some(Fault::HeadRange),
        Fault::HeadRange => Some(Fault::NextRange),
        Fault::NextRange => Some(Fault::Loop),
        Fault::Loop => Some(Fault::DescUnreadable),
        Fault::DescUnreadable => Some(Fault::IndirectLength),
        Fault::IndirectLength => Some(Fault::IndirectTooLong),
        Fault::IndirectTooLong => Some(Fault::IndirectLoop),
        Fault::IndirectLoop => Some(Fault::IndirectUnreadable),
        Fault::IndirectUnreadable => Some(Fault::IndirectNested),
        Fault::IndirectNested => Some(Fault::Unmapped),
        Fault::Unmapped => Some(Fault::TooManySegments),
        Fault::TooManySegments => Some(Fault::Order),
        Fault::Order => Some(Fault::Direction),
        Fault::Direction => Some(Fault::NoRoom),
        Fault::NoRoom => Some(Fault::UsedUnwritable),
        // The last two are the network's to find.
        Fault::UsedUnwritable | Fault::NoPacket | Fault::HeaderUnwritable => None,
    };
    let mut fault = Some(Fault::AvailUnreadable);
    while let Some(this) = fault {
        assert!(made.contains(&this), "{this:?}");
        fault = next(this);
    }
}
