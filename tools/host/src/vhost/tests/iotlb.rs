// SPDX-License-Identifier: GPL-2.0

//! The message channel of a device without an IOTLB.

use crate::{
    prelude::*,
    vhost::iotlb, //
};

/// The result of writing `msg`.
fn write(msg: &[u8]) -> Result<usize> {
    iotlb::write(|out| {
        let len = out.len().min(msg.len());
        out[..len].copy_from_slice(&msg[..len]);
        len
    })
}

/// A message of 72 bytes.
fn msg(version: u32, size: u64, kind: u8) -> [u8; 72] {
    let mut msg = [0; 72];
    msg[..4].copy_from_slice(&version.to_le_bytes());
    msg[16..24].copy_from_slice(&size.to_le_bytes());
    msg[33] = kind;
    msg
}

#[test]
fn reads() {
    for signalled in [false, true] {
        assert_eq!(iotlb::read(71, true, signalled), Ok(0));
        assert_eq!(iotlb::read(0, false, signalled), Ok(0));
        assert_eq!(iotlb::read(72, true, signalled), Err(EAGAIN));
    }
    assert_eq!(iotlb::read(72, false, false), Err(EBADFD));
    assert_eq!(iotlb::read(72, false, true), Err(ERESTARTSYS));
    assert_eq!(iotlb::poll(), 0);
}

#[test]
fn writes() {
    for version in [1, 2] {
        for kind in 0..=7 {
            assert_eq!(write(&msg(version, 4096, kind)), Err(EFAULT));
            // Only an update must have a size.
            let empty = if kind == 2 { EINVAL } else { EFAULT };
            assert_eq!(write(&msg(version, 0, kind)), Err(empty));
        }
        assert_eq!(write(&msg(version, 1, 2)[..40]), Err(EFAULT));
        for len in 0..40 {
            assert_eq!(write(&msg(version, 1, 2)[..len]), Err(EINVAL), "{len}");
        }
    }
    for version in [0, 3, u32::MAX] {
        assert_eq!(write(&msg(version, 4096, 2)), Err(EINVAL));
    }
}
