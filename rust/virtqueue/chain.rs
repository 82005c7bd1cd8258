// SPDX-License-Identifier: GPL-2.0

//! Walking descriptor chains, and everything a guest can get wrong in one (VIRTIO 1.3, 2.7.5).

use kernel::prelude::*;

use crate::{
    kapi::iov::IoVec,
    virtqueue::{
        fault::Fault,
        mem::{
            GuestMemory,
            MemTable, //
        },
        ring::Ring,
        uapi::{
            Desc,
            DESC_F_INDIRECT,
            DESC_F_NEXT,
            DESC_F_WRITE, //
        },
    },
};

/// The indirect descriptors that a chain may have: what 16 bits can number.
const INDIRECT_MAX: u32 = 1 << 16;

/// The length of a descriptor in bytes.
const DESC_SIZE: u32 = core::mem::size_of::<Desc>() as u32;

/// Indirect descriptors that are read at once.
const INDIRECT_AHEAD: usize = 8;

/// What a chain describes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Chain {
    /// Segments that the device may read; they come first.
    pub(crate) readable: usize,
    /// Segments that the device may write.
    pub(crate) writable: usize,
    /// The length of all of them.
    pub(crate) bytes: usize,
}

/// Follows the chain of the next buffer of `ring`, which has told of its `head` and that one's
/// descriptor: its pieces are added to `segs`. `hint` is the region of `table` that an address was found in last.
///
/// # Errors
///
/// A [`Fault`], and then `segs` may have some of the pieces.
#[inline(always)]
pub(super) fn walk<M: GuestMemory>(
    ring: &mut Ring,
    mem: &M,
    table: &MemTable,
    hint: &mut usize,
    segs: &mut KVec<IoVec>,
    read: &mut usize,
    (head, mut desc): (u16, Desc),
) -> Result<Chain, Fault> {
    let mut chain = Chain::default();
    // Over all tables of a chain: the work that one buffer can make is bounded.
    let mut indirect_left = INDIRECT_MAX;
    // As many descriptors as there are, each once.
    let mut left = ring.size();
    let (mut index, mut adjacent) = (head, 1u16);
    loop {
        *read = read.wrapping_add(1);
        if desc.flags & DESC_F_INDIRECT != 0 {
            let count = entries(&desc, indirect_left)?;
            indirect_left = indirect_left.wrapping_sub(count);
            // CAST: Lossless on 64-bit.
            *read = read.wrapping_add(count as usize);
            chain = indirect(mem, table, hint, segs, chain, desc)?;
        } else {
            chain.add(table, hint, segs, &desc)?;
        }
        if desc.flags & DESC_F_NEXT == 0 {
            ring.learn(adjacent);
            return Ok(chain);
        }
        left = left.wrapping_sub(1);
        // A `next` out of range is said to be that, also where it is one too many.
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
        desc = ring.next_desc(mem, index)?;
    }
}

/// The entries of the indirect table that `desc` describes, at most `most`.
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
    /// Adds what a descriptor describes.
    #[inline(always)]
    fn add(
        &mut self,
        table: &MemTable,
        hint: &mut usize,
        segs: &mut KVec<IoVec>,
        desc: &Desc,
    ) -> Result<(), Fault> {
        let added = table.translate(hint, desc.addr, desc.len, segs)?;
        if desc.flags & DESC_F_WRITE != 0 {
            self.writable = self.writable.wrapping_add(added);
        } else if self.writable > 0 {
            return Err(Fault::Order);
        } else {
            self.readable = self.readable.wrapping_add(added);
        }
        // OVERFLOW: 32-bit lengths of at most 65536 + 32768 descriptors.
        self.bytes = self.bytes.wrapping_add(desc.len as usize);
        Ok(())
    }
}

/// Follows `chain` through an indirect table, whose entries are used one after the other.
#[inline(never)]
fn indirect<M: GuestMemory>(
    mem: &M,
    table: &MemTable,
    hint: &mut usize,
    segs: &mut KVec<IoVec>,
    mut chain: Chain,
    at: Desc,
) -> Result<Chain, Fault> {
    if !table.covers(hint, at.addr, at.len) {
        return Err(Fault::Unmapped);
    }
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
        let read = table.read_descs(mem, hint, addr, some)?;
        for desc in some.iter().take(read) {
            if desc.flags & DESC_F_INDIRECT != 0 {
                return Err(Fault::IndirectNested);
            }
            chain.add(table, hint, segs, desc)?;
            if desc.flags & DESC_F_NEXT == 0 {
                return Ok(chain);
            }
            done = done.wrapping_add(1);
        }
    }
    Err(Fault::IndirectLoop)
}
