// SPDX-License-Identifier: GPL-2.0

//! The messages of the IOTLB.

use crate::{
    prelude::*,
    vhost::message::{
        self,
        Message,
        MSG_SIZE,
        READ_SIZE, //
    },
    virtqueue::iotlb::{
        Access,
        Mapping,
        Miss, //
    },
};

/// The result for the first `len` bytes of a message.
fn decode(msg: &[u8; MSG_SIZE], len: usize) -> Result<Option<Message>> {
    let mut bytes = [0; READ_SIZE];
    let len = len.min(READ_SIZE);
    bytes[..len].copy_from_slice(&msg[..len]);
    message::decode(&bytes, len)
}

/// A message whose body says that `size` bytes at 1 are at 2.
fn msg(version: u32, size: u64, kind: u8) -> [u8; MSG_SIZE] {
    let mut msg = [0; MSG_SIZE];
    msg[..4].copy_from_slice(&version.to_le_bytes());
    msg[4..8].fill(0xff);
    msg[8] = 1;
    msg[16..24].copy_from_slice(&size.to_le_bytes());
    msg[24] = 2;
    msg[32] = 3;
    msg[33] = kind;
    msg
}

#[test]
fn decoded() {
    let size = 1 << 63;
    let (iova, uaddr, perm) = (1, 2, 3);
    for version in [1, 2] {
        for kind in 0..=255 {
            let want = match kind {
                2 => Some(Message::Update(Mapping {
                    iova,
                    size,
                    uaddr,
                    perm,
                })),
                3 => Some(Message::Invalidate { iova, size }),
                _ => None,
            };
            for len in [40, 41, 71, 72] {
                assert_eq!(decode(&msg(version, size, kind), len), Ok(want));
            }
            for len in 0..40 {
                let got = decode(&msg(version, size, kind), len);
                assert_eq!(got, Err(EINVAL), "{len}");
            }
            // Only an update must have a size.
            let got = decode(&msg(version, 0, kind), MSG_SIZE);
            assert_eq!(got.is_err(), kind == 2, "{kind}");
            assert!(got.is_ok() || got == Err(EINVAL));
        }
    }
    for version in [0, 3, 0x0100_0000, u32::MAX] {
        assert_eq!(decode(&msg(version, 4096, 2), MSG_SIZE), Err(EINVAL));
    }
}

#[test]
fn encoded() {
    for (access, bit) in [(Access::Read, 1), (Access::Write, 2)] {
        let iova = 0x0123_4567_89ab_cdef;
        for v2 in [false, true] {
            let got = message::encode(&Miss { iova, access }, v2);
            let mut want = [0; MSG_SIZE];
            want[0] = 1 + u8::from(v2);
            want[8..16].copy_from_slice(&iova.to_le_bytes());
            want[32] = bit;
            want[33] = 1;
            assert_eq!(got, want);
        }
    }
}
