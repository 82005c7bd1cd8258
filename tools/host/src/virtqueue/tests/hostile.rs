// SPDX-License-Identifier: GPL-2.0

//! Each fault that a guest can cause, by name.

use super::{
    fault::all,
    model::{
        table,
        INDIRECT,
        NEXT,
        STOPS,
        WRITE, //
    },
};
use crate::{
    device::{
        Device,
        End,
        Got, //
    },
    driver::{
        desc,
        Driver,
        Event, //
    },
    virtqueue::{
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
/// The first guest address and the length of guest memory.
const GPA: u64 = 0x10_0000;
const LEN: usize = 0x20_0000;

/// A guest with a valid buffer as descriptor 0, to be modified; nothing is available.
fn guest() -> Driver {
    let mut driver = Driver::new(SIZE, LEN);
    driver.start(0);
    driver.mem.put_desc(driver.desc(0), desc(GPA, 64, 0, 0));
    driver
}

/// A guest with `descs` as its table, of which the first is available.
fn chain(descs: &[Desc]) -> Driver {
    let mut driver = guest();
    for (index, desc) in (0..).zip(descs) {
        driver.mem.put_desc(driver.desc(index), *desc);
    }
    driver.post(0);
    driver
}

/// A guest with `inner` as an indirect table with a descriptor length of `len` bytes.
fn indirect(inner: &[Desc], len: u32) -> Driver {
    let driver = chain(&[desc(GPA, len, INDIRECT, 0)]);
    for (at, desc) in inner.iter().enumerate() {
        driver.mem.put_desc(driver.data() + 16 * at, *desc);
    }
    driver
}

/// Errors of a guest, with the fault of each when a buffer is taken.
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
    // A second table when the first one has used up the limit.
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
    // An empty readable descriptor is a readable one.
    list.push((Fault::Order, chain(&[write, desc(GPA, 0, 0, 0)])));
    list
}

/// Errors of a guest where room is wanted.
fn collecting() -> Vec<(Fault, Driver)> {
    vec![
        (Fault::Direction, chain(&[desc(GPA, 64, 0, 0)])),
        (
            Fault::Direction,
            chain(&[desc(GPA, 64, NEXT, 1), desc(GPA, 1, WRITE, 0)]),
        ),
        (Fault::Direction, chain(&[desc(GPA, 0, WRITE, 0)])),
    ]
}

/// However often it is tried: an invalid buffer is returned once and no other follows. Any other
/// fault changes nothing, nor the buffers that were completed before.
fn check(
    (at, fault, driver): (usize, Fault, Driver),
    take: impl Fn(&mut Device, &Driver) -> Result<bool, Fault>,
) {
    let regions = [(GPA, LEN as u64, driver.data() as u64)];
    let before = UsedElem { id: 7, len: 7 };
    let bad = UsedElem { id: 0, len: 0 };
    let built = table(&regions).build();
    let mut device = Device::new(&driver, Negotiated::NONE, 0, built).with_pending(before);
    for nth in 0..3 {
        let (got, events) = driver.mem.watch(|| take(&mut device, &driver));
        let wrote = events.iter().any(|e| matches!(e, Event::Write(_)));
        assert!(!wrote, "{fault:?} {at}");
        let stops = STOPS.contains(&fault);
        let expected = if stops || nth == 0 {
            Err(fault)
        } else {
            Ok(false)
        };
        assert_eq!(got, expected, "{fault:?} {at}");
        let state = if stops {
            (0, vec![before])
        } else {
            (1, vec![before, bad])
        };
        assert_eq!(device.state(), state, "{fault:?} {at}");
    }
}

fn numbered(list: Vec<(Fault, Driver)>) -> impl Iterator<Item = (usize, Fault, Driver)> {
    (0..)
        .zip(list)
        .map(|(at, (fault, driver))| (at, fault, driver))
}

#[test]
fn mistakes_with_buffers() {
    for mistake in numbered(taking()) {
        check(mistake, |device, driver| {
            let took = device.take(&driver.mem, End::Complete)?;
            Ok(took.is_some())
        });
    }
}

#[test]
fn mistakes_where_room_is_wanted() {
    // A fault that is met when taking a buffer is also met when taking room.
    for mistake in numbered(taking()).chain(numbered(collecting())) {
        check(mistake, |device, driver| {
            let got = device.take_room(&driver.mem, (1 << 20, 1024), End::Complete)?;
            Ok(got != Got::Short)
        });
    }
}

/// Buffers with as many segments as a packet may have and too little room are not a fault, but too
/// small.
#[test]
fn a_buffer_of_all_segments() {
    let mut inner = vec![desc(GPA, 1, WRITE | NEXT, 1); 1024];
    inner[1023].flags = WRITE;
    let driver = indirect(&inner, 16 * 1024);
    let regions = [(GPA, LEN as u64, driver.data() as u64)];
    let mut device = Device::new(&driver, Negotiated::NONE, 0, table(&regions).build());
    for (want, ready) in [(1025, false), (1 << 20, false), (1024, true)] {
        let got = device.take_room(&driver.mem, (want, 1024), End::Drop);
        match got {
            Ok(Got::Ready(took)) => assert!(ready && took.segs.len() == 1024, "{want}"),
            got => assert!(!ready && got == Ok(Got::TooSmall), "{got:?} {want}"),
        }
        assert_eq!(device.state(), (0, vec![]));
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
}

/// A new fault must be caused above, or be one that is found elsewhere.
#[test]
fn every_mistake_is_made() {
    let made: Vec<Fault> = taking()
        .into_iter()
        .chain(collecting())
        .map(|(fault, _)| fault)
        .chain([Fault::UsedUnwritable])
        .collect();
    // Found by `net`.
    let others = [Fault::NoPacket, Fault::Unreadable, Fault::Unwritable];
    // Found with an IOTLB only.
    let mapped = [Fault::Denied, Fault::Missing];
    for fault in all().into_iter().filter(|fault| !mapped.contains(fault)) {
        assert!(
            made.contains(&fault) != others.contains(&fault),
            "{fault:?}"
        );
    }
}
