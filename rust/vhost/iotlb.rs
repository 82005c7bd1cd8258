// SPDX-License-Identifier: GPL-2.0

//! The message interface of the device IOTLB, for a device without one.
//!
//! `VIRTIO_F_ACCESS_PLATFORM` is not offered, so there is never a message to read, and none that is
//! written can be applied. The results are still those that the uapi specifies.

use kernel::prelude::*;

/// `sizeof(struct vhost_msg)`, which equals `sizeof(struct vhost_msg_v2)`.
const MSG_SIZE: usize = 72;

/// `VHOST_IOTLB_MSG` and `VHOST_IOTLB_MSG_V2`.
const MSG_TYPES: [u32; 2] = [1, 2];

/// The size of `struct vhost_iotlb_msg` without padding, and its offset in a message.
const BODY_SIZE: usize = 32;
const BODY_AT: usize = 8;
/// The offsets of `size` and `type` in a message, and `VHOST_IOTLB_UPDATE`, which needs a size.
const SIZE_AT: core::ops::Range<usize> = 16..24;
const KIND_AT: usize = 33;
const UPDATE: u8 = 2;

/// Handles a read into a buffer of `room` bytes. `signalled` is whether a signal is pending.
///
/// # Errors
///
/// `EAGAIN` for a nonblocking file. For a blocking one `ERESTARTSYS` if a signal is pending, else
/// `EBADFD`, because there will never be a message.
pub(crate) fn read(room: usize, nonblocking: bool, signalled: bool) -> Result<usize> {
    if room < MSG_SIZE {
        return Ok(0);
    }
    Err(match (nonblocking, signalled) {
        (true, _) => EAGAIN,
        (false, true) => ERESTARTSYS,
        (false, false) => EBADFD,
    })
}

/// Handles a write. `copy` copies the beginning of the message and returns its length in bytes.
///
/// # Errors
///
/// `EINVAL` for an invalid message, `EFAULT` for a valid one because there is no IOTLB.
pub(crate) fn write(copy: impl FnOnce(&mut [u8]) -> usize) -> Result<usize> {
    let mut msg = [0u8; BODY_AT + BODY_SIZE];
    let len = copy(&mut msg);
    let (kind, _) = msg.split_first_chunk::<4>().ok_or(EINVAL)?;
    if len < kind.len() || !MSG_TYPES.contains(&u32::from_ne_bytes(*kind)) {
        return Err(EINVAL);
    }
    if len < msg.len() {
        return Err(EINVAL);
    }
    let empty = msg
        .get(SIZE_AT)
        .is_some_and(|size| size.iter().all(|&b| b == 0));
    if msg.get(KIND_AT) == Some(&UPDATE) && empty {
        return Err(EINVAL);
    }
    Err(EFAULT)
}

/// Returns the pending events, of which there are never any.
pub(crate) const fn poll() -> u32 {
    0
}
