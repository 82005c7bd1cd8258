// SPDX-License-Identifier: GPL-2.0

//! The addresses of the parts of a split ring (VIRTIO 1.3, 2.7.2).
//!
//! Ring positions are 16-bit counters that wrap. Position `p` refers to entry `p % size`.

use core::mem::size_of;
use kernel::prelude::*;

use crate::virtqueue::{
    features::Negotiated,
    uapi::{
        Desc,
        UsedElem, //
    },
};

/// The largest queue size that userspace may set.
const SIZE_MAX: u32 = 32768;

/// The number of bytes before the entries of both rings: flags and index.
const RING_HEAD: usize = 4;

/// The byte offset of the index in both rings.
const RING_IDX: usize = 2;

/// The addresses of a ring's parts in the owner's address space, and the queue size.
///
/// # Invariants
///
/// `size` is a power of two from 1 to [`SIZE_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    size: u16,
    desc: usize,
    avail: usize,
    used: usize,
}

impl Layout {
    /// A ring of one entry whose parts have no addresses yet.
    pub(crate) const UNSET: Self = Self {
        size: 1,
        desc: 0,
        avail: 0,
        used: 0,
    };

    /// Returns this layout with a queue size of `num` entries.
    ///
    /// # Errors
    ///
    /// `EINVAL` unless `num` is a power of two from 1 to 32768 (VIRTIO 1.3, 2.7).
    pub(crate) fn with_size(self, num: u32) -> Result<Self> {
        if !num.is_power_of_two() || num > SIZE_MAX {
            return Err(EINVAL);
        }
        // INVARIANT: `num` was checked above.
        let size = u16::try_from(num).map_err(|_| EINVAL)?;
        Ok(Self { size, ..self })
    }

    /// Returns this layout with other addresses for the three parts.
    ///
    /// # Errors
    ///
    /// `EINVAL` when `avail` or `used` is not aligned as the specification requires, or when an
    /// address does not fit into `usize`. `desc` may have any alignment.
    pub(crate) fn with_places(self, desc: u64, avail: u64, used: u64) -> Result<Self> {
        if avail % 2 != 0 || used % 4 != 0 {
            return Err(EINVAL);
        }
        let place = |addr: u64| usize::try_from(addr).map_err(|_| EINVAL);
        Ok(Self {
            desc: place(desc)?,
            avail: place(avail)?,
            used: place(used)?,
            ..self
        })
    }

    /// Returns this layout without addresses.
    pub(crate) fn without_places(self) -> Self {
        // INVARIANT: The size is that of `self`.
        Self {
            size: self.size,
            ..Self::UNSET
        }
    }

    /// Returns whether no part has an address.
    #[inline]
    pub(crate) const fn is_unset(&self) -> bool {
        self.desc == 0 && self.avail == 0 && self.used == 0
    }

    /// Returns the queue size in entries.
    #[inline]
    pub(crate) const fn size(&self) -> u16 {
        self.size
    }

    /// Returns whether `is_user(address, length)` is true for each of the three parts.
    pub(crate) fn parts_ok(
        &self,
        negotiated: Negotiated,
        is_user: impl Fn(u64, u64) -> bool,
    ) -> bool {
        self.parts(negotiated)
            .iter()
            .all(|&(addr, len)| is_user(addr, len))
    }

    /// Returns the address and the length in bytes of the descriptor table, the available ring and
    /// the used ring.
    pub(super) fn parts(&self, negotiated: Negotiated) -> [(u64, u64); 3] {
        // CAST: Lossless on 64-bit; OVERFLOW: at most 32768 entries of at most 16 bytes.
        let size = u64::from(self.size);
        let event = if negotiated.event_idx() { 2 } else { 0 };
        let head = (RING_HEAD as u64).wrapping_add(event);
        let len = |each: usize| size.wrapping_mul(each as u64);
        [
            (self.desc as u64, len(size_of::<Desc>())),
            (self.avail as u64, len(2).wrapping_add(head)),
            (self.used as u64, self.used_len(negotiated)),
        ]
    }

    /// Returns the length of the used ring in bytes.
    pub(crate) fn used_len(&self, negotiated: Negotiated) -> u64 {
        // CAST, OVERFLOW: As above.
        let event = if negotiated.event_idx() { 2 } else { 0 };
        let entries = u64::from(self.size).wrapping_mul(size_of::<UsedElem>() as u64);
        entries.wrapping_add(RING_HEAD as u64).wrapping_add(event)
    }

    /// Returns the index of the entry that position `at` refers to.
    #[inline]
    const fn slot(&self, at: u16) -> usize {
        // OVERFLOW: By the invariant the size is at least 1.
        (at & self.size.wrapping_sub(1)) as usize
    }

    /// Returns the number of entries from position `at` to the end of the ring.
    #[inline]
    pub(super) const fn until_wrap(&self, at: u16) -> usize {
        (self.size as usize).wrapping_sub(self.slot(at))
    }

    #[inline]
    const fn part(base: usize, head: usize, index: usize, each: usize) -> usize {
        base.wrapping_add(head)
            .wrapping_add(index.wrapping_mul(each))
    }

    /// Returns the address of descriptor `index`.
    #[inline]
    pub(super) const fn desc(&self, index: u16) -> usize {
        Self::part(self.desc, 0, index as usize, size_of::<Desc>())
    }

    pub(super) const fn avail_flags(&self) -> usize {
        self.avail
    }

    pub(super) const fn avail_idx(&self) -> usize {
        self.avail.wrapping_add(RING_IDX)
    }

    #[inline]
    pub(super) const fn avail_entry(&self, at: u16) -> usize {
        Self::part(self.avail, RING_HEAD, self.slot(at), 2)
    }

    /// Returns the address of `used_event`, which follows the available ring. The guest writes to
    /// it the used index at which it wants the next interrupt.
    pub(super) const fn used_event(&self) -> usize {
        Self::part(self.avail, RING_HEAD, self.size as usize, 2)
    }

    pub(super) const fn used_flags(&self) -> usize {
        self.used
    }

    pub(super) const fn used_idx(&self) -> usize {
        self.used.wrapping_add(RING_IDX)
    }

    #[inline]
    pub(super) const fn used_entry(&self, at: u16) -> usize {
        Self::part(self.used, RING_HEAD, self.slot(at), size_of::<UsedElem>())
    }

    /// Returns the address of `avail_event`, which follows the used ring. The device writes to it
    /// the available index at which it wants the next kick.
    pub(super) const fn avail_event(&self) -> usize {
        Self::part(
            self.used,
            RING_HEAD,
            self.size as usize,
            size_of::<UsedElem>(),
        )
    }
}
