// SPDX-License-Identifier: GPL-2.0

//! What lies in the guest's memory, laid out as the guest sees it: `linux/virtio_ring.h`.

use core::mem::size_of;
use kernel::prelude::*;
use zerocopy_derive::Immutable;

/// `struct vring_desc`, one entry of the descriptor table (VIRTIO 1.3, 2.7.5).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes)]
pub(crate) struct Desc {
    /// Where, for the guest.
    pub(crate) addr: u64,
    /// How many bytes.
    pub(crate) len: u32,
    /// `DESC_F_*`.
    pub(crate) flags: u16,
    /// Which entry follows, if one does.
    pub(crate) next: u16,
}

/// The chain goes on at `next`.
pub(crate) const DESC_F_NEXT: u16 = 1;
/// The device may write the buffer; otherwise it may read it.
pub(crate) const DESC_F_WRITE: u16 = 2;
/// The buffer is a table of descriptors.
pub(crate) const DESC_F_INDIRECT: u16 = 4;

/// `struct vring_used_elem`, one entry of the used ring (VIRTIO 1.3, 2.7.8).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable)]
pub(crate) struct UsedElem {
    /// The first descriptor of the buffer.
    pub(crate) id: u32,
    /// How many bytes of it were written.
    pub(crate) len: u32,
}

/// `VRING_AVAIL_F_NO_INTERRUPT`: the guest wants none.
pub(crate) const AVAIL_F_NO_INTERRUPT: u16 = 1;
/// `VRING_USED_F_NO_NOTIFY`: the device wants no kicks.
pub(crate) const USED_F_NO_NOTIFY: u16 = 1;

const _: () = assert!(size_of::<Desc>() == 16);
const _: () = assert!(size_of::<UsedElem>() == 8);
