// SPDX-License-Identifier: GPL-2.0

//! Notifications in both directions: when kicks and interrupts are required.

use proptest::prelude::*;

use super::model::{
    table,
    WRITE, //
};
use crate::{
    cases,
    device::{
        Device,
        End, //
    },
    driver::{
        Driver,
        Event, //
    },
    virtqueue::{
        features::Negotiated,
        mem::MemFault,
        notify::passes,
        uapi::Desc, //
    },
};

const FLAGS: Negotiated = Negotiated::new(0);
const EVENT: Negotiated = Negotiated::new(1 << 29);

/// VIRTIO 1.3, 2.7.7.1: an interrupt is sent when the entry of `used_event` has been written.
fn writes_entry(event: u16, new: u16, old: u16) -> bool {
    let mut at = old;
    while at != new {
        if at == event {
            return true;
        }
        at = at.wrapping_add(1);
    }
    false
}

#[test]
fn events_nearby() {
    for old in [0u16, 1, 0x7ffe, 0x8000, 0xfff0, 0xffff] {
        for count in 0..40u16 {
            let new = old.wrapping_add(count);
            for near in 0..80u16 {
                let event = old.wrapping_add(near).wrapping_sub(20);
                let expected = writes_entry(event, new, old);
                assert_eq!(passes(event, new, old), expected, "{event} {new} {old}");
            }
        }
    }
}

proptest! {
    #![proptest_config(cases(400))]

    #[test]
    fn events_anywhere(event in any::<u16>(), new in any::<u16>(), old in any::<u16>()) {
        prop_assert_eq!(passes(event, new, old), writes_entry(event, new, old));
    }
}

/// The accesses for disabling and enabling kicks; the index is read only after a barrier.
#[test]
fn off_and_on() {
    for negotiated in [FLAGS, EVENT] {
        let by_index = negotiated.event_idx();
        let mut driver = Driver::new(8, 0);
        driver.start(0xfffe);
        let (flags, event) = (driver.used_flags(), driver.avail_event());
        let mut ring = driver.device(negotiated, 0xfffe);

        // Kicks are already enabled.
        let (more, events) = driver.mem.watch(|| ring.enable_notify(&driver.mem));
        assert_eq!((more, events), (Ok(false), vec![]));

        driver.mem.put_u16(event, 0xaaaa);
        let ((), events) = driver.mem.watch(|| ring.disable_notify(&driver.mem));
        if by_index {
            assert_eq!(events, []);
        } else {
            assert_eq!(events, [Event::Write(flags..flags + 2)]);
        }
        assert_eq!(driver.mem.get_u16(flags), u16::from(!by_index));
        // One write is enough.
        let ((), events) = driver.mem.watch(|| ring.disable_notify(&driver.mem));
        assert_eq!(events, []);

        let (more, events) = driver.mem.watch(|| ring.enable_notify(&driver.mem));
        let place = if by_index { event } else { flags };
        let idx = driver.avail_idx();
        assert_eq!(more, Ok(false));
        assert_eq!(
            events,
            [
                Event::Write(place..place + 2),
                Event::Mb,
                Event::Read(idx..idx + 2)
            ]
        );
        assert_eq!(driver.mem.get_u16(flags), 0);
        assert_eq!(
            driver.mem.get_u16(event),
            if by_index { 0xfffe } else { 0xaaaa }
        );
    }
}

/// A buffer that came before kicks were enabled is not missed.
#[test]
fn slipped_in() {
    for negotiated in [FLAGS, EVENT] {
        let mut driver = Driver::new(8, 0x1000);
        driver.start(0xfffe);
        let desc = Desc {
            addr: 0,
            len: 1,
            flags: WRITE,
            next: 0,
        };
        driver.mem.put_desc(driver.desc(0), desc);
        let regions = [(0, 0x1000, driver.data() as u64)];
        let built = table(&regions).build();
        let mut device = Device::new(&driver, negotiated, 0xfffe, built);
        for round in 0..6 {
            device.ring.disable_notify(&driver.mem);
            // A buffer that was taken and put back is not a new one.
            if round == 3 {
                let taken = device.take(&driver.mem, End::Drop);
                assert_eq!(taken.map(|taken| taken.is_some()), Ok(true));
                assert_eq!(device.ring.enable_notify(&driver.mem), Ok(false));
                device.ring.disable_notify(&driver.mem);
            }
            let taken = device.take(&driver.mem, End::Complete);
            assert_eq!(taken.map(|taken| taken.is_some()), Ok(round > 0));
            driver.post(0);
            let ring = &mut device.ring;
            let (more, events) = driver.mem.watch(|| ring.enable_notify(&driver.mem));
            assert_eq!(more, Ok(true), "{round}");
            // It can be read immediately, but not before the index.
            assert_eq!(events.last(), Some(&Event::Rmb));
            assert!(!ring.is_drained());
        }
    }
}

/// Failed reads and writes are reported; kicks count as enabled then.
#[test]
fn on_in_vain() {
    for negotiated in [FLAGS, EVENT] {
        let mut driver = Driver::new(8, 0);
        driver.start(0);
        let mut ring = driver.device(negotiated, 0);
        let place = if negotiated.event_idx() {
            driver.avail_event()
        } else {
            driver.used_flags()
        };
        driver.post(0);
        ring.disable_notify(&driver.mem);
        driver.mem.poison_writes(place..place + 1);
        assert_eq!(ring.enable_notify(&driver.mem), Err(MemFault));
        driver.mem.heal();

        ring.disable_notify(&driver.mem);
        driver
            .mem
            .poison_reads(driver.avail_idx()..driver.avail_idx() + 1);
        assert_eq!(ring.enable_notify(&driver.mem), Err(MemFault));
        driver.mem.heal();

        // An index that jumps counts as new; the next read reports the fault.
        ring.disable_notify(&driver.mem);
        driver.lie(9);
        assert_eq!(ring.enable_notify(&driver.mem), Ok(true));
        assert!(ring.is_drained());
        assert!(!ring.is_empty(&driver.mem));
    }
}
