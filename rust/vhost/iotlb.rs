// SPDX-License-Identifier: GPL-2.0

//! The message channel of the device IOTLB, for a device that has none.
//!
//! `VIRTIO_F_ACCESS_PLATFORM` is not offered, so there is never a message to read, and whatever
//! is written finds nothing to apply to. The results are those of the uapi all the same.

use kernel::prelude::*;

/// `sizeof(struct vhost_msg)`, the same for both versions.
const MSG_SIZE: usize = 72;

/// `VHOST_IOTLB_MSG` and `VHOST_IOTLB_MSG_V2`.
const MSG_TYPES: [u32; 2] = [1, 2];

/// `struct vhost_iotlb_msg`: its length without padding, and where it starts.
const BODY_SIZE: usize = 32;
const BODY_AT: usize = 8;
/// Where of a message its size and its kind stand, and the kind that must have a size.
const SIZE_AT: core::ops::Range<usize> = 16..24;
const KIND_AT: usize = 33;
const UPDATE: u8 = 2;

/// Serves a read into `room` bytes. `signalled`: the reader has a signal to handle.
///
/// # Errors
///
/// `EAGAIN` for a file that does not wait. For one that does `ERESTARTSYS` with a signal, and
/// otherwise `EBADFD`: nothing will ever come.
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

/// Serves a write, of which `copy` yields the first bytes.
///
/// # Errors
///
/// `EINVAL` for what is not a message, `EFAULT` for one, since there is no IOTLB.
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

/// The events that are pending: none, ever.
pub(crate) const fn poll() -> u32 {
    0
}
