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
        taken::Taken,
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
}

/// What came of asking for room for a packet.
pub(crate) enum Room<T> {
    /// Enough.
    Ready(T),
    /// The ring ran dry: more buffers may come. All are back in the ring.
    Short,
    /// As many buffers, or segments, as one packet may have do not hold it. All are back in the
    /// ring.
    TooSmall,
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
        }
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

    /// Takes the next buffer, or `None` when there is none.
    ///
    /// # Errors
    ///
    /// What is wrong. A buffer that is wrong in itself has been completed with length 0;
    /// otherwise the ring is as before.
    #[inline(always)]
    pub(crate) fn take(&mut self) -> Result<Option<Taken<'_, 'q, M>>, Fault> {
        let mut taken = Taken::open(self);
        match taken.add() {
            Ok(Some(_)) => Ok(Some(taken)),
            Ok(None) => Ok(None),
            Err(fault) => Err(taken.refuse(fault)),
        }
    }

    /// Takes writable buffers until they hold `want` bytes, at most `max` of them. Of each is
    /// used what it has, and of the last what remains.
    ///
    /// # Errors
    ///
    /// As [`Self::take`], but the buffers before one that is wrong in itself are completed with
    /// length 0 as well, so that buffers are handed back in the order of the ring.
    #[inline(always)]
    pub(crate) fn take_room(
        &mut self,
        want: usize,
        max: usize,
    ) -> Result<Room<Taken<'_, 'q, M>>, Fault> {
        let mut taken = Taken::open(self);
        loop {
            if taken.len() >= want {
                return Ok(Room::Ready(taken));
            }
            if taken.is_full(max) {
                return Ok(Room::TooSmall);
            }
            match taken.add_room(want) {
                Ok(true) => {}
                Ok(false) => return Ok(Room::Short),
                Err(fault) => return Err(taken.refuse(fault)),
            }
        }
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
