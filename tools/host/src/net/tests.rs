// SPDX-License-Identifier: GPL-2.0

//! The virtio-net header.

use proptest::prelude::*;

use super::hdr::{
    self,
    BadChecksum, //
};
use crate::cases;

fn header(flags: u8, hdr_len: u16, start: u16, offset: u16) -> [u8; hdr::LEN] {
    let mut header = [0xa5; hdr::LEN];
    header[0] = flags;
    header[2..4].copy_from_slice(&hdr_len.to_le_bytes());
    header[6..8].copy_from_slice(&start.to_le_bytes());
    header[8..10].copy_from_slice(&offset.to_le_bytes());
    header
}

/// A header of `kind` bytes that begins like this one.
fn of_kind(kind: usize, begin: [u8; hdr::LEN]) -> Vec<u8> {
    let rest = [0xee; hdr::TUNNEL];
    [&begin[..], &rest].concat()[..kind].to_vec()
}

#[test]
fn places() {
    assert_eq!(hdr::BASE, 10);
    assert_eq!(hdr::LEN, 12);
    assert_eq!(hdr::TUNNEL, 24);
    assert_eq!(hdr::NUM_BUFFERS, 10);
}

proptest! {
    #![proptest_config(cases(2000))]

    /// Only `hdr_len` is changed, and only to what the checksum needs, in each kind of header.
    #[test]
    fn checksum(
        kind in prop::sample::select(vec![hdr::BASE, hdr::LEN, hdr::TUNNEL]),
        flags in 0u8..4,
        hdr_len in prop_oneof![0u16..80, any::<u16>()],
        start in prop_oneof![0u16..60, any::<u16>()],
        offset in prop_oneof![0u16..20, any::<u16>()],
        len in prop_oneof![0usize..100, 0usize..0x20000],
        around in prop::option::of(0u64..4),
    ) {
        let end = u64::from(start) + u64::from(offset) + 2;
        // Often exactly the length that the checksum needs, or nearly.
        let len = around.map_or(len, |around| (end + around).saturating_sub(2) as usize);
        let before = of_kind(kind, header(flags, hdr_len, start, offset));
        let mut after = before.clone();
        let result = hdr::cover_checksum(&mut after, len);
        if flags & 1 == 0 || end <= u64::from(hdr_len) {
            prop_assert_eq!(result, Ok(()));
            prop_assert_eq!(after, before);
        } else if end > len as u64 || end > 0xffff {
            prop_assert_eq!(result, Err(BadChecksum));
            prop_assert_eq!(after, before);
        } else {
            prop_assert_eq!(result, Ok(()));
            prop_assert_eq!(after, of_kind(kind, header(flags, end as u16, start, offset)));
        }
    }

    /// Bytes that are too short for a header are ignored.
    #[test]
    fn short(len in 0usize..10) {
        let mut bytes = [0xff; 10];
        prop_assert_eq!(hdr::cover_checksum(&mut bytes[..len], 0), Ok(()));
        prop_assert_eq!(bytes, [0xff; 10]);
    }
}
