// SPDX-License-Identifier: GPL-2.0

//! A queue while it is served: buffers out, used entries back.

use kernel::prelude::*;

use crate::{
    kapi::iov::IoVec,
    virtqueue::{
        fault::Fault,
        features::Negotiated,
        mem::{
            GuestMemory,
            MemFault,
            MemTable, //
        },
        ring::Ring,
        uapi::UsedElem,
        used::{
            self,
            Published, //
        },
    },
};

/// The parts of a queue, borrowed together.
///
/// Buffers that are taken and not completed go back to the ring when they are dropped, so no
/// count of them travels by hand.
pub(crate) struct Virtqueue<'q, M> {
    pub(super) mem: M,
    pub(super) ring: &'q mut Ring,
    pub(super) table: &'q MemTable,
    /// The region of the table in which an address was found last.
    pub(super) hint: &'q mut usize,
    /// Segments of the buffers that are out.
    pub(super) segs: &'q mut KVec<IoVec>,
    /// Used entries that are not published yet.
    pub(super) used: &'q mut KVec<UsedElem>,
    /// Descriptors that were read the long way.
    pub(super) read: usize,
}

impl<'q, M: GuestMemory> Virtqueue<'q, M> {
    /// Borrows the parts: memory, ring, memory table with the region that was used last, room
    /// for segments, and for used entries.
    pub(crate) fn new(
        mem: M,
        ring: &'q mut Ring,
        (table, hint): (&'q MemTable, &'q mut usize),
        segs: &'q mut KVec<IoVec>,
        used: &'q mut KVec<UsedElem>,
    ) -> Self {
        Self {
            mem,
            ring,
            table,
            hint,
            segs,
            used,
            read: 0,
        }
    }

    /// How many descriptors were read by [`Self::take`] and [`Self::take_room`] since the last call.
    #[inline]
    pub(crate) fn take_read(&mut self) -> usize {
        core::mem::take(&mut self.read)
    }

    /// Whether there is a buffer, which has been read ahead then.
    ///
    /// # Errors
    ///
    /// Those of [`Self::take`] that are of the ring.
    #[inline(always)]
    pub(crate) fn look(&mut self) -> Result<bool, Fault> {
        Ok(self.ring.next(&self.mem)?.is_some())
    }

    /// Whether all buffers are taken that the guest has been seen to have.
    #[inline]
    pub(crate) fn is_drained(&self) -> bool {
        self.ring.is_drained()
    }

    /// Writes a word to the memory of the ring's owner, in one access.
    ///
    /// # Errors
    ///
    /// [`MemFault`] when that is not possible.
    #[inline(always)]
    pub(crate) fn write_u16(&self, addr: usize, value: u16) -> Result<(), MemFault> {
        self.mem.write_u16(addr, value)
    }

    /// How many used entries wait to be published.
    #[inline]
    pub(crate) fn pending(&self) -> usize {
        self.used.len()
    }

    /// Hands all completed buffers back to the guest, and says whether it wants an interrupt.
    /// Without a call eventfd, `has_call` false, that is not asked.
    pub(crate) fn publish(&mut self, negotiated: Negotiated, has_call: bool) -> Published {
        let published = used::publish(self.ring, &self.mem, negotiated, self.used, has_call);
        self.used.clear();
        published
    }

    /// See [`Ring::disable_notify`].
    pub(crate) fn disable_notify(&mut self) {
        self.ring.disable_notify(&self.mem);
    }

    /// See [`Ring::enable_notify`].
    ///
    /// # Errors
    ///
    /// [`MemFault`] when the guest cannot be asked for kicks.
    pub(crate) fn enable_notify(&mut self) -> Result<bool, MemFault> {
        self.ring.enable_notify(&self.mem)
    }
}
