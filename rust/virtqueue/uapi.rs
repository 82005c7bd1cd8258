// SPDX-License-Identifier: GPL-2.0

//! Structures and constants of guest memory, as `linux/virtio_ring.h` defines them.

use core::mem::size_of;
use kernel::prelude::*;
use zerocopy_derive::Immutable;

/// `struct vring_desc`, one entry of the descriptor table (VIRTIO 1.3, 2.7.5).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes)]
pub(crate) struct Desc {
    /// The guest physical address of the buffer.
    pub(crate) addr: u64,
    /// The length of the buffer in bytes.
    pub(crate) len: u32,
    /// A combination of the `DESC_F_*` flags.
    pub(crate) flags: u16,
    /// The index of the next descriptor of the chain, valid with [`DESC_F_NEXT`].
    pub(crate) next: u16,
}

/// `VRING_DESC_F_NEXT`: the chain continues at `next`.
pub(crate) const DESC_F_NEXT: u16 = 1;
/// `VRING_DESC_F_WRITE`: the buffer is writable for the device; otherwise it is readable.
pub(crate) const DESC_F_WRITE: u16 = 2;
/// `VRING_DESC_F_INDIRECT`: the buffer contains a table of descriptors.
pub(crate) const DESC_F_INDIRECT: u16 = 4;

/// `struct vring_used_elem`, one entry of the used ring (VIRTIO 1.3, 2.7.8).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable)]
pub(crate) struct UsedElem {
    /// The head of the descriptor chain: the index of its first descriptor.
    pub(crate) id: u32,
    /// The number of bytes that the device has written to the chain's buffers.
    pub(crate) len: u32,
}

/// `VRING_AVAIL_F_NO_INTERRUPT`: the guest does not want interrupts.
pub(crate) const AVAIL_F_NO_INTERRUPT: u16 = 1;
/// `VRING_USED_F_NO_NOTIFY`: the device does not want kicks.
pub(crate) const USED_F_NO_NOTIFY: u16 = 1;

const _: () = assert!(size_of::<Desc>() == 16);
const _: () = assert!(size_of::<UsedElem>() == 8);
