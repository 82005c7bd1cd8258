// SPDX-License-Identifier: GPL-2.0

//! The fast path: buffers that need no validation beyond a few comparisons.
//!
//! Most buffers have one descriptor, or two if the header is separate. The descriptors have been
//! read ahead, and the memory is in the region of the memory table that was found last. Such a
//! buffer is returned without changing the state of the ring until it is completed, so there is
//! nothing to roll back. All other buffers use the slow path, [`Virtqueue::take`] and
//! [`Virtqueue::take_room`], which also validates them.

use crate::{
    kapi::iov::IoVec,
    virtqueue::{
        iotlb::Access,
        path::Path,
        uapi::{
            UsedElem,
            DESC_F_NEXT,
            DESC_F_WRITE, //
        },
        vq::Virtqueue, //
    },
};

/// The next buffer of a ring, with one or two segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Plain {
    head: u16,
    first: IoVec,
    /// Empty if there is only one segment.
    second: IoVec,
}

impl Plain {
    /// Returns its segments; the second one may be empty.
    #[inline(always)]
    pub(crate) fn segs(&self) -> (IoVec, IoVec) {
        (self.first, self.second)
    }

    /// Returns its length in bytes.
    #[inline(always)]
    pub(crate) fn len(&self) -> usize {
        // OVERFLOW: The sum of two 32-bit lengths.
        self.first.len().wrapping_add(self.second.len())
    }
}

impl<P: Path> Virtqueue<'_, P> {
    /// Returns the next buffer if it is plain and readable for the device.
    #[inline(always)]
    pub(crate) fn plain(&self) -> Option<Plain> {
        let (head, desc) = self.ring.known()?;
        let first = self.path.near(desc.addr, desc.len, Access::Read)?;
        let second = match desc.flags {
            0 => IoVec::new(0, 0),
            DESC_F_NEXT => {
                let desc = self.ring.known_next(desc.next)?;
                if desc.flags != 0 {
                    return None;
                }
                self.path.near(desc.addr, desc.len, Access::Read)?
            }
            _ => return None,
        };
        Some(Plain {
            head,
            first,
            second,
        })
    }

    /// Returns the next buffer if it is plain, has one segment and is writable for the device.
    #[inline(always)]
    pub(crate) fn plain_room(&self) -> Option<Plain> {
        let (head, desc) = self.ring.known()?;
        if desc.flags != DESC_F_WRITE {
            return None;
        }
        Some(Plain {
            head,
            first: self.path.near(desc.addr, desc.len, Access::Write)?,
            second: IoVec::new(0, 0),
        })
    }

    /// Completes `plain`, which must be the next buffer and of which `len` bytes were written. The
    /// next [`Virtqueue::publish`] returns it to the guest.
    ///
    /// Returns false, and leaves the buffer in the ring, if there is no room for its used entry.
    /// This does not happen if the caller publishes in time.
    #[inline(always)]
    pub(crate) fn complete_plain(&mut self, plain: &Plain, len: u32) -> bool {
        let elem = UsedElem {
            id: u32::from(plain.head),
            len,
        };
        let completed = self.used.push_within_capacity(elem).is_ok();
        if completed {
            self.ring.learn(if plain.second.len() > 0 { 2 } else { 1 });
            self.ring.advance();
        }
        completed
    }
}
