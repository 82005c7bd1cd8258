// SPDX-License-Identifier: GPL-2.0

//! Returning buffers, and the interrupt decision, compared with the specification's text.

use arbitrary::{
    Result,
    Unstructured, //
};

use crate::{
    driver::Driver,
    virtqueue::{
        features::Negotiated,
        notify::passes,
        uapi::UsedElem,
        used::publish, //
    },
};

const EVENT: u64 = 1 << 29;

pub fn run(data: &[u8]) {
    let _ = guest(&mut Unstructured::new(data));
}

/// VIRTIO 1.3, 2.7.7.1: whether the entry of `used_event` is among those written.
fn writes_entry(event: u16, old: u16, count: u32) -> bool {
    (0..count).any(|nth| old.wrapping_add(nth as u16) == event)
}

fn guest(u: &mut Unstructured<'_>) -> Result<()> {
    let (event, new, old) = (u.arbitrary()?, u.arbitrary()?, u.arbitrary::<u16>()?);
    let count = u16::wrapping_sub(new, old);
    assert_eq!(
        passes(event, new, old),
        writes_entry(event, old, u32::from(count))
    );

    let mut driver = Driver::new(1 << u.int_in_range(0..=6)?, 0);
    let at = u.arbitrary()?;
    driver.start(at);
    let features = if u.arbitrary()? { EVENT } else { 0 };
    let negotiated = Negotiated::new(features.into());
    let mut ring = driver.device(negotiated, at);
    let size = usize::from(driver.size);
    let mut content = vec![(0, 0); size];
    // The used index, and the entries since the last interrupt decision with EVENT_IDX.
    let (mut used, mut since) = (at, None::<u32>);
    while !u.is_empty() {
        let elems: Vec<UsedElem> = (0..u.int_in_range(0..=100)?)
            .map(|nth| UsedElem { id: nth, len: !nth })
            .collect();
        let wish: u16 = u.arbitrary()?;
        let has_call = u.ratio(3, 4)?;
        let (place, idx) = (driver.used_event(), driver.used_idx());
        driver.mem.put_u16(
            if features == EVENT {
                place
            } else {
                driver.avail_flags()
            },
            wish,
        );
        let bad = u.ratio(1, 8)?;
        if bad {
            driver.mem.poison_writes(idx..idx + 2);
        }
        let before = driver.mem.get_u16(idx);
        let got = publish(&mut ring, &driver.mem, negotiated, &elems, has_call);
        driver.mem.heal();
        assert_eq!(got.fault.is_some(), bad);
        if bad {
            // The guest does not see it.
            assert_eq!(driver.mem.get_u16(idx), before);
            return Ok(());
        }
        for (nth, elem) in elems.iter().enumerate() {
            content[usize::from(used.wrapping_add(nth as u16)) % size] = (elem.id, elem.len);
        }
        let first = used;
        used = used.wrapping_add(elems.len() as u16);
        assert_eq!(driver.mem.get_u16(idx), used);
        for (at, elem) in content.iter().enumerate() {
            assert_eq!(driver.used(at as u16), *elem);
        }
        let count = since.map(|n| n + elems.len() as u32);
        let wanted = match (features, count) {
            (0, _) => wish & 1 == 0,
            (_, None) => true,
            (_, Some(n)) if n >= 1 << 16 => true,
            (_, Some(n)) => {
                let from = first.wrapping_sub((n - elems.len() as u32) as u16);
                writes_entry(wish, from, n)
            }
        };
        assert_eq!(got.signal, has_call && wanted);
        since = match (has_call, features) {
            (true, EVENT) => Some(0),
            _ => count,
        };
    }
    Ok(())
}
