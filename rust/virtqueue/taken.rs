// SPDX-License-Identifier: GPL-2.0

//! Buffers between the ring and whoever fills or empties them.

use kernel::prelude::*;

use crate::{
    kapi::iov::{
        runs,
        IoVec, //
    },
    virtqueue::{
        chain::{
            self,
            Chain, //
        },
        fault::Fault,
        mem::{
            GuestMemory,
            MemFault, //
        },
        plain::Plain,
        uapi::UsedElem,
        vq::Virtqueue, //
    },
};

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

/// Buffers out of the ring; back into it when dropped.
pub(crate) struct Taken<'s, 'q, M: GuestMemory> {
    vq: &'s mut Virtqueue<'q, M>,
    /// The first of their used entries.
    from: usize,
    count: u16,
    writable: usize,
    bytes: usize,
}

impl<'s, 'q, M: GuestMemory> Taken<'s, 'q, M> {
    /// No buffers yet.
    #[inline(always)]
    pub(super) fn open(vq: &'s mut Virtqueue<'q, M>) -> Self {
        vq.segs.clear();
        let from = vq.used.len();
        Self {
            vq,
            from,
            count: 0,
            writable: 0,
            bytes: 0,
        }
    }

    /// Takes another buffer, of which nothing is written; `None` when there is none.
    #[inline(always)]
    pub(super) fn add(&mut self) -> Result<Option<Chain>, Fault> {
        let vq = &mut *self.vq;
        let Some((head, desc)) = vq.ring.next(&vq.mem)? else {
            return Ok(None);
        };
        let elem = UsedElem {
            id: u32::from(head),
            len: 0,
        };
        // Whoever takes buffers publishes them in time.
        if vq.used.push_within_capacity(elem).is_err() {
            return Ok(None);
        }
        let chain = chain::walk(
            vq.ring,
            &vq.mem,
            vq.table,
            vq.hint,
            vq.segs,
            &mut vq.read,
            (head, desc),
        );
        vq.ring.advance();
        self.count = self.count.wrapping_add(1);
        let chain = chain?;
        self.writable = self.writable.wrapping_add(chain.writable);
        self.bytes = self.bytes.wrapping_add(chain.bytes);
        Ok(Some(chain))
    }

    /// Takes another buffer as room for what is missing to `want` bytes; false when there is
    /// none.
    #[inline(always)]
    pub(super) fn add_room(&mut self, want: usize) -> Result<bool, Fault> {
        let left = want.saturating_sub(self.bytes);
        if let Some(plain) = self.vq.plain_room() {
            return Ok(self.add_plain(&plain, left));
        }
        let Some(chain) = self.add()? else {
            return Ok(false);
        };
        if chain.readable > 0 || chain.writable == 0 {
            return Err(Fault::Direction);
        }
        if let Some(elem) = self.vq.used.last_mut() {
            elem.len = u32::try_from(chain.bytes.min(left)).unwrap_or(u32::MAX);
        }
        Ok(true)
    }

    /// Takes `plain`, the next buffer, for `left` bytes.
    #[inline(always)]
    fn add_plain(&mut self, plain: &Plain, left: usize) -> bool {
        let (seg, _) = plain.segs();
        // CAST: No more than a 32-bit length.
        let len = seg.len().min(left) as u32;
        if self.vq.segs.push_within_capacity(seg).is_err() || !self.vq.complete_plain(plain, len) {
            return false;
        }
        self.count = self.count.wrapping_add(1);
        self.writable = self.writable.wrapping_add(1);
        self.bytes = self.bytes.wrapping_add(seg.len());
        true
    }

    /// Takes the last buffer, which had no place behind the segments of those before it, once
    /// more without these: an error is its own. Nothing but to drop or to refuse is left then.
    #[cold]
    fn add_again(&mut self) -> Result<Option<Chain>, Fault> {
        self.vq.segs.clear();
        let last = self.vq.used.len().saturating_sub(1);
        self.vq.used.truncate(last);
        self.vq.ring.rewind(1);
        self.count = self.count.wrapping_sub(1);
        self.add()
    }

    /// Whether `max` buffers are taken, or all segments that one packet may have.
    #[inline]
    pub(super) fn is_full(&self, max: usize) -> bool {
        usize::from(self.count) >= max || self.vq.segs.len() == self.vq.segs.capacity()
    }

    /// Completes all buffers with length 0 if only one of them, the last, is to blame for
    /// `fault`. Otherwise they go back to the ring.
    #[cold]
    pub(crate) fn refuse(mut self, fault: Fault) -> Fault {
        if fault.is_buffer() {
            for elem in self.vq.used.iter_mut().skip(self.from) {
                elem.len = 0;
            }
            self.count = 0;
            self.vq.ring.forget();
        }
        fault
    }

    /// The memory, in the guest's order.
    #[inline]
    pub(crate) fn segs(&self) -> &[IoVec] {
        self.vq.segs
    }

    /// How many segments the device may write.
    #[inline]
    pub(crate) fn writable(&self) -> usize {
        self.writable
    }

    /// The length in bytes of all buffers.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.bytes
    }

    /// How many buffers these are.
    #[inline]
    pub(crate) fn count(&self) -> u16 {
        self.count
    }

    /// Whether the guest has made more buffers available behind these. Not known counts as yes.
    #[inline]
    pub(crate) fn has_more(&mut self) -> bool {
        !self.vq.ring.is_empty(&self.vq.mem)
    }

    /// Writes `data` at `at` bytes into the buffers.
    ///
    /// # Errors
    ///
    /// [`MemFault`] when that memory cannot be written, or is not part of them.
    pub(crate) fn write_at(&self, at: usize, data: &[u8]) -> Result<(), MemFault> {
        runs(self.segs(), at, data.len(), MemFault, |addr, done, len| {
            let end = done.wrapping_add(len);
            let now = data.get(done..end).ok_or(MemFault)?;
            self.vq.mem.write_bytes(addr, now)
        })
    }

    /// Writes a word at `at` bytes into the buffers, in one access where one segment holds it.
    ///
    /// # Errors
    ///
    /// As [`Self::write_at`].
    #[inline(always)]
    pub(crate) fn write_u16_at(&self, at: usize, value: u16) -> Result<(), MemFault> {
        match self.segs().first() {
            Some(seg) if seg.len() >= at.saturating_add(2) => {
                self.vq.mem.write_u16(seg.base().wrapping_add(at), value)
            }
            _ => self.write_at(at, &value.to_le_bytes()),
        }
    }

    /// The guest gets them back with the next [`Virtqueue::publish`].
    #[inline(always)]
    pub(crate) fn complete(mut self) {
        self.count = 0;
    }
}

impl<M: GuestMemory> Drop for Taken<'_, '_, M> {
    #[inline(always)]
    fn drop(&mut self) {
        if self.count > 0 {
            self.vq.used.truncate(self.from);
            self.vq.ring.rewind(self.count);
        }
    }
}

impl<'q, M: GuestMemory> Virtqueue<'q, M> {
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
                Err(Fault::TooManySegments) if taken.count() > 1 => match taken.add_again() {
                    Ok(_) => return Ok(Room::TooSmall),
                    Err(fault) => return Err(taken.refuse(fault)),
                },
                Err(fault) => return Err(taken.refuse(fault)),
            }
        }
    }
}
