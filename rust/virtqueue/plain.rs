// SPDX-License-Identifier: GPL-2.0

//! The straight path: buffers about which there is nothing to find out.
//!
//! Most buffers have one descriptor, or two with the header apart, that have been read ahead and
//! lie in the region of guest memory that was used last. Such a buffer is told of as it is, and
//! nothing changes before it is completed, so there is nothing to roll back. All other buffers go
//! the long way, [`Virtqueue::take`] and [`Virtqueue::take_room`], which also finds what is wrong.

use crate::{
    kapi::iov::IoVec,
    virtqueue::{
        mem::GuestMemory,
        uapi::{
            UsedElem,
            DESC_F_NEXT,
            DESC_F_WRITE, //
        },
        vq::Virtqueue, //
    },
};

/// The next buffer of a ring, of one segment or two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Plain {
    head: u16,
    first: IoVec,
    /// Empty where there is only one.
    second: IoVec,
}

impl Plain {
    /// Its memory; the second segment may be empty.
    #[inline(always)]
    pub(crate) fn segs(&self) -> (IoVec, IoVec) {
        (self.first, self.second)
    }

    /// Its length in bytes.
    #[inline(always)]
    pub(crate) fn len(&self) -> usize {
        // OVERFLOW: Two 32-bit lengths.
        self.first.len().wrapping_add(self.second.len())
    }
}

impl<M: GuestMemory> Virtqueue<'_, M> {
    /// The next buffer if it is plain, and to be read.
    #[inline(always)]
    pub(crate) fn plain(&self) -> Option<Plain> {
        let (head, desc) = self.ring.known()?;
        let first = self.table.near(self.hint, desc.addr, desc.len)?;
        let second = match desc.flags {
            0 => IoVec::new(0, 0),
            DESC_F_NEXT => {
                let desc = self.ring.known_next(desc.next)?;
                if desc.flags != 0 {
                    return None;
                }
                self.table.near(self.hint, desc.addr, desc.len)?
            }
            _ => return None,
        };
        Some(Plain {
            head,
            first,
            second,
        })
    }

    /// The next buffer if it is plain, in one piece, and to be written.
    #[inline(always)]
    pub(crate) fn plain_room(&self) -> Option<Plain> {
        let (head, desc) = self.ring.known()?;
        if desc.flags != DESC_F_WRITE {
            return None;
        }
        Some(Plain {
            head,
            first: self.table.near(self.hint, desc.addr, desc.len)?,
            second: IoVec::new(0, 0),
        })
    }

    /// Completes `plain`, the next buffer, of which `len` bytes were written: the guest gets it
    /// back with the next [`Virtqueue::publish`]. False without room for its used entry, which
    /// does not happen to who publishes in time; it stays in the ring then.
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
