// SPDX-License-Identifier: GPL-2.0

//! Walks descriptor chains and validates them (VIRTIO 1.3, 2.7.5).

use kernel::prelude::*;

use crate::{
    kapi::iov::IoVec,
    virtqueue::{
        fault::Fault,
        path::Path,
        ring::Ring,
        uapi::{
            Desc,
            DESC_F_INDIRECT,
            DESC_F_NEXT,
            DESC_F_WRITE, //
        },
    },
};

/// The most indirect descriptors that a chain may have, in all its indirect tables together.
const INDIRECT_MAX: u32 = 1 << 16;

/// The size of a descriptor in bytes.
const DESC_SIZE: u32 = core::mem::size_of::<Desc>() as u32;

/// The number of indirect descriptors that are read at once.
const INDIRECT_AHEAD: usize = 8;

/// The size of a descriptor chain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Chain {
    /// The number of segments that the device may read; these come first.
    pub(crate) readable: usize,
    /// The number of segments that the device may write.
    pub(crate) writable: usize,
    /// The length in bytes of all segments.
    pub(crate) bytes: usize,
}

/// Walks the descriptor chain of the ring's next buffer and appends its segments to `segs`.
///
/// `head` and `desc` are the head and its descriptor, as [`Ring::next`] returned them. The number of
/// descriptors is added to `read`.
///
/// # Errors
///
/// The [`Fault`] of the chain; a part of its segments may have been appended to `segs` then.
#[inline(always)]
pub(super) fn walk<P: Path>(
    ring: &mut Ring,
    path: &mut P,
    segs: &mut KVec<IoVec>,
    read: &mut usize,
    (head, mut desc): (u16, Desc),
) -> Result<Chain, Fault> {
    let mut chain = Chain::default();
    // One limit for all indirect tables of the chain bounds the work that one buffer can cause.
    let mut indirect_left = INDIRECT_MAX;
    // A chain may use each descriptor of the table once.
    let mut left = ring.size();
    let (mut index, mut adjacent) = (head, 1u16);
    loop {
        *read = read.wrapping_add(1);
        if desc.flags & DESC_F_INDIRECT != 0 {
            let count = entries(&desc, indirect_left)?;
            indirect_left = indirect_left.wrapping_sub(count);
            // CAST: Lossless on 64-bit.
            *read = read.wrapping_add(count as usize);
            chain = indirect(path, segs, chain, desc)?;
        } else {
            chain.add(path, segs, &desc)?;
        }
        if desc.flags & DESC_F_NEXT == 0 {
            ring.learn(adjacent);
            return Ok(chain);
        }
        left = left.wrapping_sub(1);
        // An index out of range is reported as such, even if the chain is also too long.
        if desc.next >= ring.size() {
            return Err(Fault::NextRange);
        }
        if left == 0 {
            return Err(Fault::Loop);
        }
        if desc.next == index.wrapping_add(1) {
            adjacent = adjacent.wrapping_add(1);
        }
        index = desc.next;
        desc = ring.next_desc(path, index)?;
    }
}

/// Returns the number of entries of the indirect table that `desc` describes.
///
/// # Errors
///
/// [`Fault::IndirectLength`], and [`Fault::IndirectTooLong`] for more than `most` entries.
fn entries(desc: &Desc, most: u32) -> Result<u32, Fault> {
    if desc.len % DESC_SIZE != 0 {
        return Err(Fault::IndirectLength);
    }
    match desc.len / DESC_SIZE {
        count if count <= most => Ok(count),
        _ => Err(Fault::IndirectTooLong),
    }
}

impl Chain {
    /// Checks that the device may write the buffer, and all of it.
    ///
    /// # Errors
    ///
    /// [`Fault::Direction`].
    pub(super) fn check_room(&self) -> Result<(), Fault> {
        if self.readable > 0 || self.writable == 0 {
            return Err(Fault::Direction);
        }
        Ok(())
    }

    /// Adds the buffer of one descriptor.
    #[inline(always)]
    fn add<P: Path>(
        &mut self,
        path: &mut P,
        segs: &mut KVec<IoVec>,
        desc: &Desc,
    ) -> Result<(), Fault> {
        let added = path.translate(desc, segs)?;
        if desc.flags & DESC_F_WRITE != 0 {
            self.writable = self.writable.wrapping_add(added);
        } else if self.writable > 0 {
            return Err(Fault::Order);
        } else {
            self.readable = self.readable.wrapping_add(added);
        }
        // OVERFLOW: The sum of at most 65536 + 32768 lengths of 32 bits.
        self.bytes = self.bytes.wrapping_add(desc.len as usize);
        Ok(())
    }
}

/// Continues `chain` with the descriptors of the indirect table `at`. The entries of the table are
/// used in the order of the table; `next` is ignored.
#[inline(never)]
fn indirect<P: Path>(
    path: &mut P,
    segs: &mut KVec<IoVec>,
    mut chain: Chain,
    at: Desc,
) -> Result<Chain, Fault> {
    path.check(at.addr, at.len)?;
    let count = at.len / DESC_SIZE;
    let mut descs = [Desc::default(); INDIRECT_AHEAD];
    let mut done = 0;
    while done < count {
        let addr = at
            .addr
            .wrapping_add(u64::from(done).wrapping_mul(u64::from(DESC_SIZE)));
        // CAST: Lossless on 64-bit.
        let rest = count.wrapping_sub(done) as usize;
        let some = descs
            .get_mut(..rest.min(INDIRECT_AHEAD))
            .unwrap_or_default();
        let read = path.read_table(addr, some)?;
        for desc in some.iter().take(read) {
            if desc.flags & DESC_F_INDIRECT != 0 {
                return Err(Fault::IndirectNested);
            }
            chain.add(path, segs, desc)?;
            if desc.flags & DESC_F_NEXT == 0 {
                return Ok(chain);
            }
            done = done.wrapping_add(1);
        }
    }
    Err(Fault::IndirectLoop)
}
