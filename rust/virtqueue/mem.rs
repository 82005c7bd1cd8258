// SPDX-License-Identifier: GPL-2.0

//! Guest memory: the one seam through which rings reach it, and the table that says where it is.

use kernel::prelude::*;

use crate::{
    kapi::iov::IoVec,
    virtqueue::{
        fault::Fault,
        uapi::{
            Desc,
            UsedElem, //
        },
    },
};

/// The length of a descriptor in bytes.
const DESC_SIZE: usize = core::mem::size_of::<Desc>();

/// Some byte could not be accessed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MemFault;

/// Access to the memory that rings live in, by addresses in the owner's address space.
///
/// Nothing is assumed of an address. A 16-bit word is read and written in one access; of longer
/// reads no more is promised than that each byte is read once.
pub(crate) trait GuestMemory {
    /// Reads a word.
    fn read_u16(&self, addr: usize) -> Result<u16, MemFault>;
    /// Reads words.
    fn read_u16s(&self, addr: usize, out: &mut [u16]) -> Result<(), MemFault>;
    /// Reads descriptors.
    fn read_descs(&self, addr: usize, out: &mut [Desc]) -> Result<(), MemFault>;
    /// Reads bytes.
    fn read_bytes(&self, addr: usize, out: &mut [u8]) -> Result<(), MemFault>;
    /// Writes bytes.
    fn write_bytes(&self, addr: usize, data: &[u8]) -> Result<(), MemFault>;
    /// Writes a word.
    fn write_u16(&self, addr: usize, value: u16) -> Result<(), MemFault>;
    /// Writes used entries.
    fn write_used(&self, addr: usize, elems: &[UsedElem]) -> Result<(), MemFault>;
    /// What was read before this is no newer than what is read after.
    fn rmb(&self);
    /// What was written before this is seen before what is written after.
    fn wmb(&self);
    /// A full barrier.
    fn mb(&self);
}

/// A region of guest memory as userspace describes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MemoryRegion {
    /// Its first address for the guest.
    pub(crate) gpa: u64,
    /// Its length in bytes.
    pub(crate) size: u64,
    /// Its first address for the owner.
    pub(crate) uaddr: u64,
}

/// A region, with both ends inclusive so that one may reach the end of the address space.
#[derive(Clone, Copy, Debug)]
struct Region {
    first: u64,
    last: u64,
    uaddr: u64,
    /// Which region reaches furthest, of this one and those before it in the table.
    furthest: usize,
}

impl Region {
    #[inline]
    const fn contains(&self, gpa: u64) -> bool {
        self.first <= gpa && gpa <= self.last
    }

    /// Whether all of the `len` bytes from `gpa` on, and one behind them, are in the region, and
    /// there are any.
    #[inline]
    const fn holds(&self, gpa: u64, len: u32) -> bool {
        // CAST: Widening; of no bytes the last would be as far away as can be, which not even the
        // last of the whole address space is less than.
        self.contains(gpa) && (len as u64).wrapping_sub(1) < self.last.wrapping_sub(gpa)
    }

    /// Where `gpa`, which the region contains, is for the owner.
    #[inline]
    const fn translate(&self, gpa: u64) -> u64 {
        self.uaddr.wrapping_add(gpa.wrapping_sub(self.first))
    }
}

/// Sorts regions by their first addresses. What `core` has for that may panic.
///
/// # Errors
///
/// `ENOMEM`, and never for regions that are in order.
fn sorted(mut regions: KVVec<Region>) -> Result<KVVec<Region>> {
    if regions.is_sorted_by_key(|r| r.first) {
        return Ok(regions);
    }
    let mut merged = KVVec::with_capacity(regions.len(), GFP_KERNEL_ACCOUNT)?;
    // Each `run` of them is in order.
    let mut run = 1usize;
    while run < regions.len() {
        let two = run.saturating_mul(2);
        merged.clear();
        for runs in regions.chunks(two) {
            let (left, right) = runs.split_at_checked(run).unwrap_or((runs, &[]));
            merge(left, right, &mut merged)?;
        }
        core::mem::swap(&mut regions, &mut merged);
        run = two;
    }
    Ok(regions)
}

/// Adds what is in either, both of which are in order, in order.
fn merge(mut left: &[Region], mut right: &[Region], merged: &mut KVVec<Region>) -> Result {
    loop {
        let next = match (left.split_first(), right.split_first()) {
            (Some((next, rest)), other) if other.is_none_or(|(r, _)| next.first <= r.first) => {
                left = rest;
                next
            }
            (_, Some((next, rest))) => {
                right = rest;
                next
            }
            _ => return Ok(()),
        };
        merged.push(*next, GFP_KERNEL_ACCOUNT)?;
    }
}

/// Where guest memory is: VHOST_SET_MEM_TABLE.
///
/// Replaced whole and never changed. Where regions overlap, any of them answers.
pub(crate) struct MemTable {
    /// In the order of their first addresses.
    regions: KVVec<Region>,
}

impl MemTable {
    /// Builds the table.
    ///
    /// # Errors
    ///
    /// `EFAULT` for a region that wraps around or is empty; an empty one at zero stands for the
    /// whole address space. `ENOMEM`.
    pub(crate) fn new(regions: KVVec<MemoryRegion>) -> Result<Self> {
        let mut checked = KVVec::with_capacity(regions.len(), GFP_KERNEL_ACCOUNT)?;
        for region in regions.iter() {
            let last = region.gpa.wrapping_add(region.size).wrapping_sub(1);
            if last < region.gpa {
                return Err(EFAULT);
            }
            let region = Region {
                first: region.gpa,
                last,
                uaddr: region.uaddr,
                furthest: 0,
            };
            checked.push(region, GFP_KERNEL_ACCOUNT)?;
        }
        let mut checked = sorted(checked)?;
        let (mut furthest, mut reached) = (0, 0);
        for (at, region) in checked.iter_mut().enumerate() {
            if region.last > reached {
                (furthest, reached) = (at, region.last);
            }
            region.furthest = furthest;
        }
        Ok(Self { regions: checked })
    }

    /// Whether every region lies where `is_user` says that user memory may be.
    pub(crate) fn regions_ok(&self, is_user: impl Fn(u64, u64) -> bool) -> bool {
        self.regions.iter().all(|r| {
            let size = r.last.wrapping_sub(r.first).checked_add(1);
            size.is_some_and(|size| r.uaddr.checked_add(size).is_some() && is_user(r.uaddr, size))
        })
    }

    /// The region with `gpa` in it. `hint` is where one was found last.
    #[inline]
    fn find(&self, hint: &mut usize, gpa: u64) -> Option<&Region> {
        match self.regions.get(*hint) {
            Some(region) if region.contains(gpa) => Some(region),
            _ => self.search(hint, gpa),
        }
    }

    #[cold]
    fn search(&self, hint: &mut usize, gpa: u64) -> Option<&Region> {
        // Those that begin behind `gpa` do not have it. Of the others, that which reaches
        // furthest has it if any has.
        let begun = self.regions.partition_point(|r| r.first <= gpa);
        let at = self.regions.get(begun.checked_sub(1)?)?.furthest;
        let region = self.regions.get(at).filter(|r| r.contains(gpa))?;
        *hint = at;
        Some(region)
    }

    /// Adds the `len` bytes from `gpa` on to `segs`: one segment for each region they touch.
    ///
    /// # Errors
    ///
    /// [`Fault::Unmapped`] when a byte is in no region, [`Fault::TooManySegments`] when `segs` is
    /// full.
    #[inline(always)]
    pub(crate) fn translate(
        &self,
        hint: &mut usize,
        gpa: u64,
        len: u32,
        segs: &mut KVec<IoVec>,
    ) -> Result<usize, Fault> {
        if let Some(seg) = self.near(hint, gpa, len) {
            return match segs.push_within_capacity(seg) {
                Ok(()) => Ok(1),
                Err(_) => Err(Fault::TooManySegments),
            };
        }
        self.translate_far(hint, gpa, len, segs)
    }

    /// The `len` bytes from `gpa` on if they are all in the region of `hint`, and there are any.
    #[inline(always)]
    pub(super) fn near(&self, hint: &usize, gpa: u64, len: u32) -> Option<IoVec> {
        let region = self.regions.get(*hint)?;
        if !region.holds(gpa, len) {
            return None;
        }
        // CAST: Lossless on 64-bit.
        Some(IoVec::new(region.translate(gpa) as usize, len as usize))
    }

    /// [`Self::translate`] for what is not all in the region of `hint`.
    #[cold]
    fn translate_far(
        &self,
        hint: &mut usize,
        gpa: u64,
        len: u32,
        segs: &mut KVec<IoVec>,
    ) -> Result<usize, Fault> {
        self.pieces(hint, gpa, u64::from(len), |uaddr, len| {
            segs.push_within_capacity(IoVec::new(uaddr, len))
                .map_err(|_| Fault::TooManySegments)
        })
    }

    /// Whether the `len` bytes from `gpa` on are all in some region.
    pub(crate) fn covers(&self, hint: &mut usize, gpa: u64, len: u32) -> bool {
        self.pieces(hint, gpa, u64::from(len), |_, _| Ok(()))
            .is_ok()
    }

    /// Reads descriptors, at most as many as `out` has room for, and returns how many: at least
    /// one.
    ///
    /// # Errors
    ///
    /// [`Fault::Unmapped`] and [`Fault::IndirectUnreadable`], both for the first of them.
    pub(super) fn read_descs<M: GuestMemory>(
        &self,
        mem: &M,
        hint: &mut usize,
        gpa: u64,
        out: &mut [Desc],
    ) -> Result<usize, Fault> {
        let region = self.find(hint, gpa).ok_or(Fault::Unmapped)?;
        let len = region.last.wrapping_sub(gpa).saturating_add(1);
        let whole = usize::try_from(len / DESC_SIZE as u64).unwrap_or(usize::MAX);
        let some = out.len().min(whole);
        let some = out.get_mut(..some).unwrap_or_default();
        // CAST: Lossless on 64-bit.
        if !some.is_empty() && mem.read_descs(region.translate(gpa) as usize, some).is_ok() {
            return Ok(some.len());
        }
        // Across the end of a region, or not all of them are readable.
        let first = out.first_mut().ok_or(Fault::IndirectUnreadable)?;
        *first = self.read_desc(mem, hint, gpa)?;
        Ok(1)
    }

    /// Reads a descriptor that need not lie in one region.
    fn read_desc<M: GuestMemory>(
        &self,
        mem: &M,
        hint: &mut usize,
        gpa: u64,
    ) -> Result<Desc, Fault> {
        let mut bytes = [0u8; DESC_SIZE];
        let mut at = 0usize;
        self.pieces(hint, gpa, DESC_SIZE as u64, |uaddr, len| {
            let end = at.wrapping_add(len);
            let now = bytes.get_mut(at..end).ok_or(Fault::IndirectUnreadable)?;
            at = end;
            mem.read_bytes(uaddr, now)
                .map_err(|MemFault| Fault::IndirectUnreadable)
        })?;
        Ok(zerocopy::transmute!(bytes))
    }

    /// Calls `each` with the owner's address and length of each piece, and returns their number.
    #[inline]
    fn pieces(
        &self,
        hint: &mut usize,
        gpa: u64,
        len: u64,
        mut each: impl FnMut(usize, usize) -> Result<(), Fault>,
    ) -> Result<usize, Fault> {
        let (mut gpa, mut left, mut count) = (gpa, len, 0usize);
        while left > 0 {
            let region = self.find(hint, gpa).ok_or(Fault::Unmapped)?;
            // The bytes after this one; a region may be the whole address space.
            let after = region.last.wrapping_sub(gpa);
            let size = if left.wrapping_sub(1) <= after {
                left
            } else {
                after.wrapping_add(1)
            };
            // CAST: Lossless on 64-bit.
            each(region.translate(gpa) as usize, size as usize)?;
            count = count.wrapping_add(1);
            left = left.wrapping_sub(size);
            if left > 0 {
                gpa = gpa.checked_add(size).ok_or(Fault::Unmapped)?;
            }
        }
        Ok(count)
    }
}
