// SPDX-License-Identifier: GPL-2.0

//! Walking descriptor chains, and everything a guest can get wrong in one (VIRTIO 1.3, 2.7.5).

use kernel::prelude::*;

use crate::{
    kapi::iov::IoVec,
    virtqueue::{
        fault::Fault,
        layout::Layout,
        mem::{
            GuestMemory,
            MemFault,
            MemTable, //
        },
        ring::Ring,
        uapi::{
            Desc,
            UsedElem,
            DESC_F_INDIRECT,
            DESC_F_NEXT,
            DESC_F_WRITE, //
        },
    },
};

/// The indirect descriptors that a chain may have: what 16 bits can number.
const INDIRECT_MAX: u32 = 1 << 16;

/// Indirect descriptors that are read at once.
const INDIRECT_AHEAD: usize = 8;

/// A buffer that was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Chain {
    /// The descriptor it starts with, by which it is handed back.
    pub(crate) head: u16,
    /// Segments that the device may read; they come first.
    pub(crate) readable: usize,
    /// Segments that the device may write.
    pub(crate) writable: usize,
    /// The length of all of them.
    pub(crate) bytes: usize,
}

/// What came of collecting room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Collected {
    /// That many buffers hold it.
    Ready {
        /// Their number.
        heads: usize,
    },
    /// The ring ran dry; all buffers are back in it.
    Short,
    /// The most buffers that were allowed do not hold it; all are back in the ring.
    TooSmall,
}

/// Takes the next buffer: its pieces are added to `segs`. `None` when there is none.
///
/// # Errors
///
/// A [`Fault`]; the buffer stays in the ring and `segs` is as it was.
#[inline]
pub(crate) fn take<M: GuestMemory>(
    ring: &mut Ring,
    mem: &M,
    table: &MemTable,
    hint: &mut usize,
    segs: &mut KVec<IoVec>,
) -> Result<Option<Chain>, Fault> {
    let head = match ring.head(mem) {
        Ok(Some(head)) => head,
        Ok(None) => return Ok(None),
        Err(fault) => {
            ring.forget();
            return Err(fault);
        }
    };
    let kept = segs.len();
    let mut walk = Walk {
        mem,
        table,
        hint,
        segs,
        chain: Chain {
            head,
            readable: 0,
            writable: 0,
            bytes: 0,
        },
        left: INDIRECT_MAX,
    };
    match walk.follow(ring) {
        Ok(()) => {
            let chain = walk.chain;
            ring.advance();
            Ok(Some(chain))
        }
        Err(fault) => {
            segs.truncate(kept);
            ring.forget();
            Err(fault)
        }
    }
}

/// Takes writable buffers until they hold `want` bytes, at most `max` of them. Their used
/// entries are added to `used`: of each its length, of the last what remains.
///
/// # Errors
///
/// A [`Fault`]; all buffers stay in the ring, and `segs` and `used` are as they were.
#[expect(
    clippy::too_many_arguments,
    reason = "the parts of a queue, borrowed one by one"
)]
pub(crate) fn collect<M: GuestMemory>(
    ring: &mut Ring,
    mem: &M,
    table: &MemTable,
    hint: &mut usize,
    segs: &mut KVec<IoVec>,
    used: &mut KVec<UsedElem>,
    want: usize,
    max: usize,
) -> Result<Collected, Fault> {
    let (kept_segs, kept_used) = (segs.len(), used.len());
    let (mut left, mut heads) = (want, 0u16);
    let stopped = loop {
        if left == 0 {
            return Ok(Collected::Ready {
                heads: usize::from(heads),
            });
        }
        if usize::from(heads) >= max {
            break Ok(Collected::TooSmall);
        }
        if segs.len() == segs.capacity() {
            break Err(Fault::NoRoom);
        }
        let chain = match take(ring, mem, table, hint, segs) {
            Ok(Some(chain)) => chain,
            Ok(None) => break Ok(Collected::Short),
            Err(fault) => break Err(fault),
        };
        // Taken: it goes back with the others from here on.
        heads = heads.wrapping_add(1);
        if chain.readable > 0 || chain.writable == 0 {
            break Err(Fault::Direction);
        }
        let len = chain.bytes.min(left);
        left = left.wrapping_sub(len);
        let elem = UsedElem {
            id: u32::from(chain.head),
            len: u32::try_from(len).unwrap_or(u32::MAX),
        };
        if used.push_within_capacity(elem).is_err() {
            break Err(Fault::NoRoom);
        }
    };
    segs.truncate(kept_segs);
    used.truncate(kept_used);
    ring.rewind(heads);
    stopped
}

/// A walk along one chain.
struct Walk<'a, M> {
    mem: &'a M,
    table: &'a MemTable,
    hint: &'a mut usize,
    segs: &'a mut KVec<IoVec>,
    chain: Chain,
    /// Indirect descriptors that the chain may still have.
    left: u32,
}

impl<M: GuestMemory> Walk<'_, M> {
    /// Follows the chain through the descriptor table.
    #[inline]
    fn follow(&mut self, ring: &mut Ring) -> Result<(), Fault> {
        let desc = ring.desc(self.mem, self.chain.head)?;
        self.part(&desc)?;
        if desc.flags & DESC_F_NEXT == 0 {
            return Ok(());
        }
        self.follow_on(&ring.layout(), desc.next)
    }

    /// Follows it behind its first descriptor.
    fn follow_on(&mut self, layout: &Layout, mut index: u16) -> Result<(), Fault> {
        // As many descriptors as there are, each once.
        for _ in 1..layout.size() {
            if index >= layout.size() {
                return Err(Fault::NextRange);
            }
            let mut desc = [Desc::default()];
            self.mem
                .read_descs(layout.desc(index), &mut desc)
                .map_err(|MemFault| Fault::DescUnreadable)?;
            let [desc] = desc;
            self.part(&desc)?;
            if desc.flags & DESC_F_NEXT == 0 {
                return Ok(());
            }
            index = desc.next;
        }
        // A `next` out of range is said to be that, also where it is one too many.
        if index >= layout.size() {
            return Err(Fault::NextRange);
        }
        Err(Fault::Loop)
    }

    /// Adds what a descriptor of the table describes.
    #[inline]
    fn part(&mut self, desc: &Desc) -> Result<(), Fault> {
        if desc.flags & DESC_F_INDIRECT != 0 {
            self.indirect(desc)
        } else {
            self.buffer(desc)
        }
    }

    /// Adds what a descriptor describes.
    #[inline]
    fn buffer(&mut self, desc: &Desc) -> Result<(), Fault> {
        let added = self
            .table
            .translate(self.hint, desc.addr, desc.len, self.segs)?;
        if desc.flags & DESC_F_WRITE != 0 {
            self.chain.writable = self.chain.writable.wrapping_add(added);
        } else if self.chain.writable > 0 {
            return Err(Fault::Order);
        } else {
            self.chain.readable = self.chain.readable.wrapping_add(added);
        }
        // OVERFLOW: 32-bit lengths of at most 65536 + 32768 descriptors.
        self.chain.bytes = self.chain.bytes.wrapping_add(desc.len as usize);
        Ok(())
    }

    /// Follows the chain through an indirect table, whose entries are used one after the other.
    #[cold]
    fn indirect(&mut self, at: &Desc) -> Result<(), Fault> {
        const EACH: u32 = core::mem::size_of::<Desc>() as u32;
        if at.len % EACH != 0 {
            return Err(Fault::IndirectLength);
        }
        if !self.table.covers(self.hint, at.addr, at.len) {
            return Err(Fault::Unmapped);
        }
        let count = at.len / EACH;
        // Over all tables of a chain: the work that one buffer can make is bounded.
        self.left = self.left.checked_sub(count).ok_or(Fault::IndirectTooLong)?;
        let mut descs = [Desc::default(); INDIRECT_AHEAD];
        let mut done = 0;
        while done < count {
            let addr = at
                .addr
                .wrapping_add(u64::from(done).wrapping_mul(u64::from(EACH)));
            // CAST: Lossless on 64-bit.
            let rest = count.wrapping_sub(done) as usize;
            let some = descs
                .get_mut(..rest.min(INDIRECT_AHEAD))
                .unwrap_or_default();
            let read = self.table.read_descs(self.mem, self.hint, addr, some)?;
            for desc in some.iter().take(read) {
                if desc.flags & DESC_F_INDIRECT != 0 {
                    return Err(Fault::IndirectNested);
                }
                self.buffer(desc)?;
                if desc.flags & DESC_F_NEXT == 0 {
                    return Ok(());
                }
                done = done.wrapping_add(1);
            }
        }
        Err(Fault::IndirectLoop)
    }
}
