// SPDX-License-Identifier: GPL-2.0

//! Buffers between the ring and whoever fills or empties them.

use kernel::prelude::*;

use crate::{
    kapi::iov::IoVec,
    vhost::session::Session, //
};

/// Buffers out of the ring; back into it when dropped.
pub(crate) struct Taken<'s, 'q> {
    session: &'s mut Session<'q>,
    /// The first of their used entries.
    from: usize,
    count: usize,
    writable: usize,
    bytes: usize,
}

impl<'s, 'q> Taken<'s, 'q> {
    /// The last `count` buffers that `session` took, whose used entries are those `from` there on;
    /// the memory is that in its buffers.
    #[inline]
    pub(super) fn new(
        session: &'s mut Session<'q>,
        from: usize,
        count: usize,
        writable: usize,
        bytes: usize,
    ) -> Self {
        Self {
            session,
            from,
            count,
            writable,
            bytes,
        }
    }

    /// The memory, in the guest's order.
    #[inline]
    pub(crate) fn segs(&self) -> &[IoVec] {
        &self.session.buffers.segs
    }

    /// How many segments the device may write.
    #[inline]
    pub(crate) fn writable(&self) -> usize {
        self.writable
    }

    /// The length in bytes: of a buffer, all of it; of room, what was asked for.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.bytes
    }

    /// How many buffers these are.
    #[inline]
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// Whether the guest has made more buffers available behind these. Not known counts as yes.
    #[inline]
    pub(crate) fn has_more(&mut self) -> bool {
        !self.session.ring.is_empty(&self.session.mem)
    }

    /// Writes `data` at `at` bytes into the buffers.
    ///
    /// # Errors
    ///
    /// `EFAULT` when that memory cannot be written, or is not part of them.
    pub(crate) fn write_at(&self, at: usize, data: &[u8]) -> Result {
        let (mut skip, mut rest) = (at, data);
        for seg in self.segs() {
            if rest.is_empty() {
                break;
            }
            let Some(room) = seg.len().checked_sub(skip) else {
                skip = skip.wrapping_sub(seg.len());
                continue;
            };
            let (now, later) = rest.split_at_checked(room.min(rest.len())).ok_or(EFAULT)?;
            self.session
                .mem
                .write_bytes(seg.base().wrapping_add(skip), now)?;
            (skip, rest) = (0, later);
        }
        if rest.is_empty() {
            Ok(())
        } else {
            Err(EFAULT)
        }
    }

    /// The guest gets them back with the next [`Session::publish`].
    #[inline]
    pub(crate) fn complete(mut self) {
        self.count = 0;
    }
}

impl Drop for Taken<'_, '_> {
    #[inline]
    fn drop(&mut self) {
        if self.count > 0 {
            self.session.buffers.used.truncate(self.from);
            self.session
                .ring
                .rewind(u16::try_from(self.count).unwrap_or(u16::MAX));
        }
    }
}
