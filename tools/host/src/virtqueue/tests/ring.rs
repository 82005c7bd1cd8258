// SPDX-License-Identifier: GPL-2.0

//! Layout, positions, and the suppression of kicks.

use std::cell::RefCell;

use super::model::{
    table,
    WRITE, //
};
use crate::{
    device::{
        Device,
        End, //
    },
    driver::{
        Driver,
        OWNER, //
    },
    prelude::*,
    vhost::{
        request,
        uapi::VringAddr, //
    },
    virtqueue::{
        fault::Fault,
        features::Negotiated,
        layout::Layout,
        ring::Ring,
        uapi::Desc, //
    },
};

const FLAGS: Negotiated = Negotiated::new(0);
const EVENT: Negotiated = Negotiated::new(1 << 29);

#[test]
fn sizes() {
    for num in (0..0x2_0000).chain([1 << 31, u32::MAX]) {
        let good = matches!(num.count_ones(), 1) && num <= 32768;
        match Layout::UNSET.with_size(num) {
            Ok(layout) => assert!(good && u32::from(layout.size()) == num),
            Err(e) => assert!(!good && e == EINVAL, "{num}"),
        }
    }
}

fn addr(desc: u64, avail: u64, used: u64) -> VringAddr {
    VringAddr {
        index: 0,
        flags: 0,
        desc,
        used,
        avail,
        log_guest_addr: 0,
    }
}

#[test]
fn places() {
    assert!(Layout::UNSET.is_unset());
    for offset in 0..8 {
        let at = 0x1000 + offset;
        let with =
            |addr: VringAddr| request::places(Layout::UNSET, &addr).map(|(layout, _)| layout);
        // Descriptors may have any alignment.
        assert!(with(addr(at, 0, 0)).is_ok_and(|l| !l.is_unset()));
        let avail = with(addr(0, at, 0)).map(|l| assert!(!l.is_unset()));
        assert_eq!(avail, if offset % 2 == 0 { Ok(()) } else { Err(EINVAL) });
        let good = if offset % 4 == 0 { Ok(()) } else { Err(EINVAL) };
        let used = with(addr(0, 0, at)).map(|l| assert!(!l.is_unset()));
        assert_eq!(used, good);
        // Checked although nothing is logged.
        let log_guest_addr = at;
        let log = with(VringAddr {
            log_guest_addr,
            ..addr(0, 0, 0)
        });
        assert_eq!(log.map(|l| assert!(l.is_unset())), good);
    }
    let logged = VringAddr {
        flags: 1,
        log_guest_addr: 8,
        ..addr(16, 32, 64)
    };
    let log = request::places(Layout::UNSET, &logged).map(|(_, log)| log);
    assert_eq!(log, Ok(Some(8)));
    for flags in [2, 3, 1 << 31] {
        let odd = VringAddr {
            flags,
            ..addr(0, 1, 0)
        };
        assert_eq!(request::places(Layout::UNSET, &odd), Err(EOPNOTSUPP));
    }
    // Setting one does not change the other.
    let layout = Layout::UNSET.with_size(64).unwrap();
    let (layout, _) = request::places(layout, &addr(16, 32, 64)).unwrap();
    assert_eq!(layout.size(), 64);
    assert!(!layout.with_size(2).unwrap().is_unset());
}

/// The lengths of the parts: VIRTIO 1.3, 2.7.2, and two bytes for each event index.
#[test]
fn parts() {
    for shift in 0..=15 {
        let size = 1u64 << shift;
        let layout = Layout::UNSET.with_size(1 << shift).unwrap();
        let (layout, _) = request::places(layout, &addr(0x1001, 0x20002, 0x30004)).unwrap();
        for (negotiated, event) in [(FLAGS, 0), (EVENT, 2)] {
            let parts = [
                (0x1001, 16 * size),
                (0x20002, 4 + 2 * size + event),
                (0x30004, 4 + 8 * size + event),
            ];
            let asked = RefCell::new(Vec::new());
            assert!(layout.parts_ok(negotiated, |addr, len| {
                asked.borrow_mut().push((addr, len));
                true
            }));
            asked.borrow_mut().sort_unstable();
            assert_eq!(*asked.borrow(), parts);
            for bad in parts {
                assert!(!layout.parts_ok(negotiated, |addr, len| (addr, len) != bad));
            }
        }
    }
}

#[test]
fn attaching() {
    let mut driver = Driver::new(8, 0);
    driver.start(0);
    driver.mem.put_u16(driver.used_idx(), 0xabcd);
    let mut ring = driver.device(FLAGS, 5);
    assert_eq!((ring.base(), ring.next_used()), (5, 0xabcd));
    ring.signalled_used = Some(1);
    driver.mem.put_u16(driver.used_idx(), 7);
    driver.mem.put_u16(driver.used_flags(), 0xffff);

    let (flags, idx) = (driver.used_flags(), driver.used_idx());
    driver.mem.poison_writes(flags..flags + 2);
    assert!(ring.attach(&driver.mem).is_err());
    driver.mem.heal();
    driver.mem.poison_reads(idx..idx + 2);
    assert!(ring.attach(&driver.mem).is_err());
    assert_eq!((ring.base(), ring.next_used()), (5, 0xabcd));
    assert_eq!(ring.signalled_used, Some(1));

    driver.mem.heal();
    assert!(ring.attach(&driver.mem).is_ok());
    assert_eq!((ring.base(), ring.next_used()), (5, 7));
    assert_eq!(ring.signalled_used, None);
    assert_eq!(driver.mem.get_u16(flags), 0);

    // The last suppression of kicks is written again.
    ring.disable_notify(&driver.mem);
    driver.mem.put_u16(flags, 0);
    assert!(ring.attach(&driver.mem).is_ok());
    assert_eq!(driver.mem.get_u16(flags), 1);
}

/// A ring that was moved is read at its new address.
#[test]
fn moving() {
    let mut driver = Driver::new(8, 0x1000);
    driver.start(0);
    for index in 0..8 {
        let desc = Desc {
            addr: u64::from(index),
            len: 1,
            flags: WRITE,
            next: 0,
        };
        driver.mem.put_desc(driver.desc(index), desc);
        driver.post(index);
    }
    let regions = [(0, 0x1000, OWNER as u64)];
    let built = table(&regions).build();
    let mut device = Device::new(&driver, FLAGS, 0, built);
    assert!(Ring::new().is_unset() && !device.ring.is_unset());
    let head = |device: &mut Device, driver: &Driver| {
        let next = device.next(&driver.mem).unwrap();
        next.map(|(head, _)| head)
    };
    assert_eq!(head(&mut device, &driver), Some(0));
    // The available ring at another address, with another order.
    let data = driver.data();
    for at in 0..8 {
        driver.mem.put_u16(data + 4 + 2 * usize::from(at), 7 - at);
    }
    driver.mem.put_u16(data + 2, 8);
    let moved = addr(
        driver.desc(0) as u64,
        data as u64,
        driver.used_flags() as u64,
    );
    let (layout, _) = request::places(device.ring.layout(), &moved).unwrap();
    device.ring.set_layout(layout);
    // Taken, put back, and taken again.
    let dropped = device.take(&driver.mem, End::Drop);
    assert!(dropped.is_ok_and(|took| took.is_some()));
    assert_eq!(head(&mut device, &driver), Some(6));
    // From the new address.
    driver.mem.put_u16(data + 4 + 2 * 7, 3);
    device.ring.set_base(7);
    assert_eq!(head(&mut device, &driver), Some(3));
    assert_eq!(head(&mut device, &driver), None);
}

/// With another size, the ring does not keep the available index that was read before.
#[test]
fn resizing() {
    let mut driver = Driver::new(8, 0);
    driver.start(0);
    for _ in 0..8 {
        driver.post(0);
    }
    for (size, drained) in [(8, false), (4, true), (16, true)] {
        let mut ring = driver.device(FLAGS, 0);
        assert!(!ring.is_empty(&driver.mem));
        ring.set_layout(ring.layout().with_size(size).unwrap());
        assert_eq!(ring.is_drained(), drained, "{size}");
        // More available buffers than entries are found at the next read.
        let jump = ring.next(&driver.mem) == Err(Fault::AvailJump);
        assert_eq!(jump, size == 4);
    }
}

#[test]
fn emptiness() {
    let mut driver = Driver::new(8, 0);
    driver.start(3);
    let mut ring = driver.device(FLAGS, 3);
    assert!(ring.is_empty(&driver.mem));
    assert!(ring.is_drained());
    driver.post(0);
    assert!(!ring.is_empty(&driver.mem));
    assert!(!ring.is_drained());
    ring.set_base(4);
    assert!(ring.is_empty(&driver.mem));
    // A ring that cannot be read does not count as empty.
    driver.lie(4 + 9);
    assert!(!ring.is_empty(&driver.mem));
    driver.lie(4);
    driver
        .mem
        .poison_reads(driver.avail_idx()..driver.avail_idx() + 1);
    assert!(!ring.is_empty(&driver.mem));
}
