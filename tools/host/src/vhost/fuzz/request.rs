// SPDX-License-Identifier: GPL-2.0

//! Arguments of requests, and what is settled with them: features, sizes and places of rings.

use arbitrary::{
    Result,
    Unstructured, //
};

use crate::vhost::{
    features::Negotiated,
    layout::Layout,
    uapi::{
        VringAddr,
        VringFile,
        VringState, //
    },
};

pub fn run(data: &[u8]) {
    let _ = requests(&mut Unstructured::new(data));
}

fn requests(u: &mut Unstructured<'_>) -> Result<()> {
    let bytes: [u8; VringState::SIZE] = u.arbitrary()?;
    assert_eq!(VringState::from_bytes(&bytes).to_bytes(), bytes);
    let file = VringFile::from_bytes(&bytes);
    assert_eq!(file.fd.to_ne_bytes(), bytes[4..]);

    let mut layout = Layout::UNSET;
    while !u.is_empty() {
        let num = if u.ratio(1, 4)? {
            u.arbitrary()?
        } else {
            1 << u.int_in_range(0..=16)?
        };
        match layout.with_size(num) {
            Ok(new) => {
                assert!(num.is_power_of_two() && num <= 0x8000, "{num}");
                assert_eq!(u32::from(new.size()), num);
                layout = new;
            }
            Err(_) => assert!(!num.is_power_of_two() || num > 0x8000, "{num}"),
        }
        let addr = VringAddr::from_bytes(&u.arbitrary()?);
        // The descriptors may be anywhere: that is how it has always been.
        let aligned = addr.avail % 2 == 0 && addr.used % 4 == 0 && addr.log_guest_addr % 4 == 0;
        match layout.with_addr(&addr) {
            Ok(new) => {
                assert!(aligned && addr.flags == 0);
                check_parts(new, &addr, u.arbitrary()?);
            }
            Err(_) => assert!(!aligned || addr.flags != 0),
        }
    }
    Ok(())
}

/// Every entry is in the part that was looked at.
fn check_parts(layout: Layout, addr: &VringAddr, features: u64) {
    let size = u64::from(layout.size());
    let parts = std::cell::RefCell::new(Vec::new());
    let ok = layout.parts_ok(Negotiated::new(features), |at, len| {
        parts.borrow_mut().push((at, len));
        at.checked_add(len).is_some()
    });
    if !ok || size == 0 {
        return;
    }
    let inside = |at: usize, len: u64| {
        parts
            .borrow()
            .iter()
            .any(|&(from, room)| at as u64 >= from && at as u64 + len <= from + room)
    };
    for index in [0, (size - 1) as u16] {
        assert!(inside(layout.desc(index), 16), "{addr:?}");
        assert!(inside(layout.used_entry(index), 8), "{addr:?}");
    }
}
