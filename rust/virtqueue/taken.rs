// SPDX-License-Identifier: GPL-2.0

//! Buffers that have been taken from the ring and are not completed yet.

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
        path::Path,
        plain::Plain,
        uapi::UsedElem,
        vq::Virtqueue, //
    },
};

/// The result of taking buffers for a packet to be received.
pub(crate) enum Room<T> {
    /// The buffers have enough room.
    Ready(T),
    /// There are not enough buffers, and more may become available. All are back in the ring.
    Short,
    /// There is no room for the used entries in addition to the pending ones. All buffers are back
    /// in the ring.
    Behind,
    /// The maximum number of buffers or segments of a packet is too small for it. All are back in
    /// the ring.
    TooSmall,
}

/// Buffers that have been taken from the ring. They are put back when this is dropped.
pub(crate) struct Taken<'s, 'q, P: Path> {
    vq: &'s mut Virtqueue<'q, P>,
    /// The index of the first buffer's used entry in the list of pending ones.
    from: usize,
    count: u16,
    writable: usize,
    bytes: usize,
}

impl<'s, 'q, P: Path> Taken<'s, 'q, P> {
    /// Creates an empty set of buffers.
    #[inline(always)]
    pub(super) fn open(vq: &'s mut Virtqueue<'q, P>) -> Self {
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

    /// Takes another buffer with a used length of 0. Returns `None` if there is none.
    #[inline(always)]
    pub(super) fn add(&mut self) -> Result<Option<Chain>, Fault> {
        let vq = &mut *self.vq;
        let Some((head, desc)) = vq.ring.next(&vq.path)? else {
            return Ok(None);
        };
        let elem = UsedElem {
            id: u32::from(head),
            len: 0,
        };
        // Does not happen if the caller publishes in time.
        if vq.used.push_within_capacity(elem).is_err() {
            return Ok(None);
        }
        let chain = chain::walk(vq.ring, &mut vq.path, vq.segs, &mut vq.read, (head, desc));
        vq.ring.advance();
        self.count = self.count.wrapping_add(1);
        let chain = chain?;
        self.writable = self.writable.wrapping_add(chain.writable);
        self.bytes = self.bytes.wrapping_add(chain.bytes);
        Ok(Some(chain))
    }

    /// Takes another writable buffer and sets its used length so that all buffers together have at
    /// most `want` bytes. Returns false if there is no buffer.
    #[inline(always)]
    pub(super) fn add_room(&mut self, want: usize) -> Result<bool, Fault> {
        let left = want.saturating_sub(self.bytes);
        if let Some(plain) = self.vq.plain_room() {
            return Ok(self.add_plain(&plain, left));
        }
        let Some(chain) = self.add()? else {
            return Ok(false);
        };
        chain.check_room()?;
        if let Some(elem) = self.vq.used.last_mut() {
            elem.len = u32::try_from(chain.bytes.min(left)).unwrap_or(u32::MAX);
        }
        Ok(true)
    }

    /// Takes `plain`, which must be the next buffer, with a used length of at most `left` bytes.
    #[inline(always)]
    fn add_plain(&mut self, plain: &Plain, left: usize) -> bool {
        let (seg, _) = plain.segs();
        // CAST: At most a 32-bit length.
        let len = seg.len().min(left) as u32;
        if self.vq.segs.push_within_capacity(seg).is_err() || !self.vq.complete_plain(plain, len) {
            return false;
        }
        self.count = self.count.wrapping_add(1);
        self.writable = self.writable.wrapping_add(1);
        self.bytes = self.bytes.wrapping_add(seg.len());
        true
    }

    /// Takes the last buffer again without the segments of the buffers before it, so that an error
    /// is the fault of that buffer alone. The caller must then drop or refuse the buffers.
    #[cold]
    fn add_again(&mut self) -> Result<(), Fault> {
        self.vq.segs.clear();
        let last = self.vq.used.len().saturating_sub(1);
        self.vq.used.truncate(last);
        self.vq.ring.rewind(1);
        self.count = self.count.wrapping_sub(1);
        self.add()?.map_or(Ok(()), |chain| chain.check_room())
    }

    /// Returns whether `max` buffers, or all the segments that a packet may have, are taken.
    #[inline]
    pub(super) fn is_full(&self, max: usize) -> bool {
        usize::from(self.count) >= max || self.vq.segs.len() == self.vq.segs.capacity()
    }

    /// Returns why there is no further buffer.
    #[cold]
    fn end(self) -> Room<Self> {
        if self.from > 0 && self.vq.used.len() == self.vq.used.capacity() {
            Room::Behind
        } else {
            Room::Short
        }
    }

    /// Completes all buffers with length 0 if `fault` concerns only the last of them; see
    /// [`Fault::is_buffer`]. Otherwise puts all of them back. Returns `fault`.
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

    /// Returns the segments of all buffers, in the order of the ring.
    #[inline]
    pub(crate) fn segs(&self) -> &[IoVec] {
        self.vq.segs
    }

    /// Returns the number of segments that the device may write.
    #[inline]
    pub(crate) fn writable(&self) -> usize {
        self.writable
    }

    /// Returns the length in bytes of all buffers.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.bytes
    }

    /// Returns the number of buffers.
    #[inline]
    pub(crate) fn count(&self) -> u16 {
        self.count
    }

    /// Returns whether the guest has made more buffers available. Returns true if that is
    /// unreadable.
    #[inline]
    pub(crate) fn has_more(&mut self) -> bool {
        !self.vq.ring.is_empty(&self.vq.path)
    }

    /// Writes `data` to the buffers at byte offset `at`.
    ///
    /// # Errors
    ///
    /// [`MemFault`] when the memory is not writable, or the buffers are too short.
    pub(crate) fn write_at(&self, at: usize, data: &[u8]) -> Result<(), MemFault> {
        runs(self.segs(), at, data.len(), MemFault, |addr, done, len| {
            let end = done.wrapping_add(len);
            let now = data.get(done..end).ok_or(MemFault)?;
            self.vq.path.owner().write_bytes(addr, now)
        })
    }

    /// Writes `value` in little-endian order at byte offset `at`, in one access if the first
    /// segment contains it.
    ///
    /// # Errors
    ///
    /// As for [`Self::write_at`].
    #[inline(always)]
    pub(crate) fn write_u16_at(&self, at: usize, value: u16) -> Result<(), MemFault> {
        match self.segs().first() {
            Some(seg) if seg.len() >= at.saturating_add(2) => self
                .vq
                .path
                .owner()
                .write_u16(seg.base().wrapping_add(at), value),
            _ => self.write_at(at, &value.to_le_bytes()),
        }
    }

    /// Records that up to `len` bytes were written to the buffers; see [`Path::wrote`].
    #[inline(always)]
    pub(crate) fn wrote(&self, len: usize) {
        self.vq.path.wrote(self.segs(), len);
    }

    /// Completes the buffers. The next [`Virtqueue::publish`] returns them to the guest.
    #[inline(always)]
    pub(crate) fn complete(mut self) {
        self.count = 0;
    }
}

impl<P: Path> Drop for Taken<'_, '_, P> {
    #[inline(always)]
    fn drop(&mut self) {
        if self.count > 0 {
            self.vq.used.truncate(self.from);
            self.vq.ring.rewind(self.count);
        }
    }
}

impl<'q, P: Path> Virtqueue<'q, P> {
    /// Takes the next buffer. Returns `None` if there is none.
    ///
    /// # Errors
    ///
    /// The [`Fault`] of the buffer or the ring. A buffer for which [`Fault::is_buffer`] holds has
    /// been completed with length 0; otherwise the ring is unchanged.
    #[inline(always)]
    pub(crate) fn take(&mut self) -> Result<Option<Taken<'_, 'q, P>>, Fault> {
        let mut taken = Taken::open(self);
        match taken.add() {
            Ok(Some(_)) => Ok(Some(taken)),
            Ok(None) => Ok(None),
            Err(fault) => Err(taken.refuse(fault)),
        }
    }

    /// Takes at most `max` writable buffers until they have room for `want` bytes. The used length
    /// of each is its full length, and that of the last is what remains of `want`.
    ///
    /// # Errors
    ///
    /// As for [`Self::take`]. The buffers before an invalid one are completed with length 0 as
    /// well, so that buffers are returned in the order of the ring.
    #[inline(always)]
    pub(crate) fn take_room(
        &mut self,
        want: usize,
        max: usize,
    ) -> Result<Room<Taken<'_, 'q, P>>, Fault> {
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
                Ok(false) => return Ok(taken.end()),
                Err(Fault::TooManySegments) if taken.count() > 1 => match taken.add_again() {
                    Ok(()) => return Ok(Room::TooSmall),
                    Err(fault) => return Err(taken.refuse(fault)),
                },
                Err(fault) => return Err(taken.refuse(fault)),
            }
        }
    }
}
