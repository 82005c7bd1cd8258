// SPDX-License-Identifier: GPL-2.0

//! The translations of a device IOTLB, from I/O virtual addresses of the guest to addresses of the
//! owner.
//!
//! Userspace adds and removes translations; the device asks for those that it misses. Each queue
//! has its own copy, which its lock protects, so that runs need no lock for translations and a
//! removed one is not in use when the request to remove it returns.

use kernel::prelude::*;

use crate::{
    kapi::iov::IoVec,
    virtqueue::{
        fault::Fault,
        ranges::{
            Range,
            Ranges, //
        },
    },
};

/// What the device does with memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// It reads: `VHOST_ACCESS_RO`.
    Read,
    /// It writes: `VHOST_ACCESS_WO`.
    Write,
}

impl Access {
    /// Returns the bit of this access in the permissions of a message.
    pub(crate) const fn bit(self) -> u8 {
        match self {
            Self::Read => 1,
            Self::Write => 2,
        }
    }
}

/// An address that the IOTLB does not map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Miss {
    /// The I/O virtual address.
    pub(crate) iova: u64,
    /// What the device wants to do there.
    pub(crate) access: Access,
}

/// A translation, from `struct vhost_iotlb_msg`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mapping {
    /// The first I/O virtual address.
    pub(crate) iova: u64,
    /// The length in bytes.
    pub(crate) size: u64,
    /// The address in the owner's address space.
    pub(crate) uaddr: u64,
    /// The bits of the permitted accesses; see [`Access::bit`].
    pub(crate) perm: u8,
}

/// What is known of a translation besides its addresses.
#[derive(Clone, Copy)]
struct Entry {
    perm: u8,
    /// The number of translations that were added before.
    age: u64,
}

impl Entry {
    #[inline]
    const fn permits(self, access: Access) -> bool {
        self.perm & access.bit() != 0
    }
}

/// The translations of a queue; see the [module documentation](self).
pub(crate) struct Iotlb {
    ranges: Ranges<Entry>,
    added: u64,
    max: usize,
}

impl Iotlb {
    /// Creates an IOTLB of at most `max` translations.
    pub(crate) fn new(max: usize) -> Self {
        Self {
            ranges: Ranges::EMPTY,
            added: 0,
            max,
        }
    }

    /// Allocates room for another translation.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn reserve(&mut self) -> Result {
        self.ranges.reserve()
    }

    /// Adds a translation. It does not replace those that it overlaps, any of which may be used. If
    /// there are too many, the oldest one is removed.
    ///
    /// # Errors
    ///
    /// `EFAULT` when it is empty or wraps around, `ENOMEM`.
    pub(crate) fn add(&mut self, mapping: &Mapping) -> Result {
        let entry = Entry {
            perm: mapping.perm,
            age: self.added,
        };
        let range = Range::new(mapping.iova, mapping.size, mapping.uaddr, entry)?;
        self.reserve()?;
        if self.ranges.iter().len() >= self.max {
            let oldest = self.ranges.iter().map(|range| range.with.age).min();
            self.ranges.retain(|range| Some(range.with.age) != oldest);
        }
        self.added = self.added.wrapping_add(1);
        self.ranges.insert(range)
    }

    /// Removes all translations that overlap the `size` bytes at `iova`.
    ///
    /// # Errors
    ///
    /// `EFAULT` when that is empty or wraps around.
    pub(crate) fn remove(&mut self, iova: u64, size: u64) -> Result {
        let gone = Range::new(iova, size, 0, ())?;
        self.ranges.retain(|range| !range.overlaps(&gone));
        Ok(())
    }

    /// Returns the owner's address of the `len` bytes at `iova` if one translation contains them
    /// all and permits `access`. `hint` is the index of the translation that was found last.
    pub(super) fn whole(
        &self,
        hint: &mut usize,
        iova: u64,
        len: u64,
        access: Access,
    ) -> Option<u64> {
        let range = self.ranges.find(hint, iova)?;
        let holds = range.left(iova) >= len && range.with.permits(access);
        holds.then(|| range.translate(iova))
    }

    /// Returns the `len` bytes at `iova` as one segment if `len` is not 0, and the translation
    /// `hint` contains them and the byte that follows and permits `access`.
    #[inline]
    pub(super) fn near(&self, hint: &usize, iova: u64, len: u32, access: Access) -> Option<IoVec> {
        let range = self.ranges.get(*hint)?;
        if !range.holds(iova, len) || !range.with.permits(access) {
            return None;
        }
        // CAST: Lossless on 64-bit.
        Some(IoVec::new(range.translate(iova) as usize, len as usize))
    }

    /// Splits the `len` bytes at `iova` at the boundaries of translations, calls `each` with the
    /// owner's address and the length of each piece, and returns the number of pieces.
    ///
    /// # Errors
    ///
    /// Those of `each`; [`Fault::Denied`] when a translation does not permit `access`;
    /// [`Fault::Missing`] and the miss when a byte is not mapped; [`Fault::Unmapped`] when the bytes
    /// pass the last address.
    pub(super) fn pieces(
        &self,
        hint: &mut usize,
        (iova, len): (u64, u64),
        access: Access,
        mut each: impl FnMut(usize, usize) -> Result<(), Fault>,
    ) -> Result<usize, (Fault, Option<Miss>)> {
        let each = |range: &Range<Entry>, uaddr: u64, len: u64| {
            if !range.with.permits(access) {
                return Err((Fault::Denied, None));
            }
            // CAST: Lossless on 64-bit.
            each(uaddr as usize, len as usize).map_err(|fault| (fault, None))
        };
        let hole = |iova: Option<u64>| match iova {
            Some(iova) => (Fault::Missing, Some(Miss { iova, access })),
            None => (Fault::Unmapped, None),
        };
        self.ranges.pieces(hint, iova, len, each, hole)
    }
}
