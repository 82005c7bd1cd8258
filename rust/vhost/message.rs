// SPDX-License-Identifier: GPL-2.0

//! The messages of the device IOTLB, which userspace reads from and writes to the device's file.

use kernel::prelude::*;

use crate::virtqueue::iotlb::{
    Mapping,
    Miss, //
};

/// `sizeof(struct vhost_msg)`, which equals `sizeof(struct vhost_msg_v2)`.
pub(crate) const MSG_SIZE: usize = 72;

/// `VHOST_IOTLB_MSG` and `VHOST_IOTLB_MSG_V2`: the types of messages. They differ in four bytes
/// after the type, which have no meaning for this device.
const MSG: u32 = 1;
const MSG_V2: u32 = 2;

/// The size of `struct vhost_iotlb_msg` without padding, and its offset in a message.
const BODY_SIZE: usize = 32;
const BODY_AT: usize = 8;

/// `VHOST_IOTLB_MISS`, `VHOST_IOTLB_UPDATE` and `VHOST_IOTLB_INVALIDATE`: kinds of messages.
const MISS: u8 = 1;
const UPDATE: u8 = 2;
const INVALIDATE: u8 = 3;

/// The size of the part of a message that is read of one that userspace writes.
pub(crate) const READ_SIZE: usize = BODY_AT + BODY_SIZE;

/// What userspace asks for by a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Message {
    /// To add a translation.
    Update(Mapping),
    /// To remove the translations that overlap the `size` bytes at `iova`.
    Invalidate { iova: u64, size: u64 },
}

/// Decodes the first `len` bytes of a message that userspace has written.
///
/// # Errors
///
/// `EINVAL` when the message is too short, of an unknown type, or a translation without a size.
pub(crate) fn decode(bytes: &[u8; READ_SIZE], len: usize) -> Result<Option<Message>> {
    let (kind, rest) = bytes.split_first_chunk::<4>().ok_or(EINVAL)?;
    if len < kind.len() || !matches!(u32::from_ne_bytes(*kind), MSG | MSG_V2) {
        return Err(EINVAL);
    }
    let (_, body) = rest.split_first_chunk::<4>().ok_or(EINVAL)?;
    let (iova, body) = body.split_first_chunk::<8>().ok_or(EINVAL)?;
    let (size, body) = body.split_first_chunk::<8>().ok_or(EINVAL)?;
    let (uaddr, body) = body.split_first_chunk::<8>().ok_or(EINVAL)?;
    let ([perm, kind], _) = body.split_first_chunk::<2>().ok_or(EINVAL)?;
    if len < READ_SIZE {
        return Err(EINVAL);
    }
    let (iova, size) = (u64::from_ne_bytes(*iova), u64::from_ne_bytes(*size));
    match *kind {
        UPDATE if size == 0 => Err(EINVAL),
        UPDATE => Ok(Some(Message::Update(Mapping {
            iova,
            size,
            uaddr: u64::from_ne_bytes(*uaddr),
            perm: *perm,
        }))),
        INVALIDATE => Ok(Some(Message::Invalidate { iova, size })),
        // Messages that only the device sends, or that this device does not have.
        _ => Ok(None),
    }
}

/// Encodes the message that asks for the translation of `miss`, as `struct vhost_msg_v2` if `v2` is
/// set. The padding is zero.
pub(crate) fn encode(miss: &Miss, v2: bool) -> [u8; MSG_SIZE] {
    let mut bytes = [0; MSG_SIZE];
    let kind = if v2 { MSG_V2 } else { MSG };
    let fields: [(usize, &[u8]); 3] = [
        (0, &kind.to_ne_bytes()),
        (BODY_AT, &miss.iova.to_ne_bytes()),
        (BODY_AT + 24, &[miss.access.bit(), MISS]),
    ];
    for (at, field) in fields {
        if let Some(place) = bytes.get_mut(at..).and_then(|b| b.get_mut(..field.len())) {
            place.copy_from_slice(field);
        }
    }
    bytes
}
