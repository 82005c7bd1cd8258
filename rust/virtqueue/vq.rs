// SPDX-License-Identifier: GPL-2.0

//! A virtqueue while it is served.

use kernel::prelude::*;

use crate::{
    kapi::iov::IoVec,
    virtqueue::{
        fault::Fault,
        features::Negotiated,
        iotlb::Miss,
        mem::{
            GuestMemory,
            MemFault, //
        },
        path::Path,
        ring::Ring,
        uapi::UsedElem,
        used::{
            self,
            Published, //
        },
    },
};

/// The parts of a queue, borrowed for the time in which it is served.
///
/// Buffers that are taken and not completed are put back into the ring when they are dropped, so
/// callers do not count them.
pub(crate) struct Virtqueue<'q, P> {
    pub(super) path: P,
    pub(super) ring: &'q mut Ring,
    /// The segments of the buffers that are taken.
    pub(super) segs: &'q mut KVec<IoVec>,
    /// The used entries that are not published yet.
    pub(super) used: &'q mut KVec<UsedElem>,
    /// The number of descriptors that were read by the slow path.
    pub(super) read: usize,
}

impl<'q, P: Path> Virtqueue<'q, P> {
    /// Borrows the parts of a queue. The capacities of `segs` and `used` limit the segments of a
    /// packet and the pending used entries.
    pub(crate) fn new(
        path: P,
        ring: &'q mut Ring,
        segs: &'q mut KVec<IoVec>,
        used: &'q mut KVec<UsedElem>,
    ) -> Self {
        Self {
            path,
            ring,
            segs,
            used,
            read: 0,
        }
    }

    /// Returns and resets the number of descriptors that the slow path has read.
    #[inline]
    pub(crate) fn take_read(&mut self) -> usize {
        core::mem::take(&mut self.read)
    }

    /// Returns whether there is an available buffer. If so, it has been read ahead.
    ///
    /// # Errors
    ///
    /// The faults of the ring that [`Self::take`] returns.
    #[inline(always)]
    pub(crate) fn look(&mut self) -> Result<bool, Fault> {
        Ok(self.ring.next(&self.path)?.is_some())
    }

    /// Returns whether there is an available buffer. Returns true if that is unreadable.
    pub(crate) fn has_buffer(&mut self) -> bool {
        !self.ring.is_empty(&self.path)
    }

    /// Returns whether all buffers up to the available index that was read last are taken.
    #[inline]
    pub(crate) fn is_drained(&self) -> bool {
        self.ring.is_drained()
    }

    /// Writes a 16-bit word to the owner's memory, in one access.
    ///
    /// # Errors
    ///
    /// [`MemFault`] when the memory is not writable.
    #[inline(always)]
    pub(crate) fn write_u16(&self, addr: usize, value: u16) -> Result<(), MemFault> {
        self.path.owner().write_u16(addr, value)
    }

    /// See [`Path::wrote`].
    #[inline(always)]
    pub(crate) fn wrote(&self, segs: &[IoVec], len: usize) {
        self.path.wrote(segs, len);
    }

    /// See [`Path::take_logged`].
    #[inline(always)]
    pub(crate) fn take_logged(&self) -> bool {
        self.path.take_logged()
    }

    /// See [`Path::miss`].
    #[inline(always)]
    pub(crate) fn miss(&self) -> Option<Miss> {
        self.path.miss()
    }

    /// Returns the number of used entries that are not published yet.
    #[inline]
    pub(crate) fn pending(&self) -> usize {
        self.used.len()
    }

    /// Returns all completed buffers to the guest and decides whether to interrupt it. Without a
    /// call eventfd, when `has_call` is false, there is no decision. See [`used::publish`].
    pub(crate) fn publish(&mut self, negotiated: Negotiated, has_call: bool) -> Published {
        let published = used::publish(self.ring, &self.path, negotiated, self.used, has_call);
        self.used.clear();
        published
    }

    /// See [`Ring::disable_notify`].
    pub(crate) fn disable_notify(&mut self) {
        self.ring.disable_notify(&self.path);
    }

    /// See [`Ring::enable_notify`].
    ///
    /// # Errors
    ///
    /// As for [`Ring::enable_notify`].
    pub(crate) fn enable_notify(&mut self) -> Result<bool, MemFault> {
        self.ring.enable_notify(&self.path)
    }
}
