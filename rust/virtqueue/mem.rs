// SPDX-License-Identifier: GPL-2.0

//! Guest memory: the trait through which rings access it, and the memory table.

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

/// The size of a descriptor in bytes.
const DESC_SIZE: usize = core::mem::size_of::<Desc>();

/// An access to guest memory failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MemFault;

/// Access to the memory of the rings, by addresses in the owner's address space.
///
/// Implementations must accept any address. They read and write a 16-bit word in one access. For
/// longer reads they only guarantee that each byte is read once. All accesses return [`MemFault`]
/// when a byte is not accessible.
pub(crate) trait GuestMemory {
    /// Reads a 16-bit word.
    fn read_u16(&self, addr: usize) -> Result<u16, MemFault>;
    /// Reads an array of 16-bit words.
    fn read_u16s(&self, addr: usize, out: &mut [u16]) -> Result<(), MemFault>;
    /// Reads an array of descriptors.
    fn read_descs(&self, addr: usize, out: &mut [Desc]) -> Result<(), MemFault>;
    /// Reads bytes.
    fn read_bytes(&self, addr: usize, out: &mut [u8]) -> Result<(), MemFault>;
    /// Writes bytes.
    fn write_bytes(&self, addr: usize, data: &[u8]) -> Result<(), MemFault>;
    /// Writes a 16-bit word.
    fn write_u16(&self, addr: usize, value: u16) -> Result<(), MemFault>;
    /// Writes an array of used ring entries.
    fn write_used(&self, addr: usize, elems: &[UsedElem]) -> Result<(), MemFault>;
    /// Read memory barrier: orders the reads before it against the reads after it.
    fn rmb(&self);
    /// Write memory barrier: orders the writes before it against the writes after it.
    fn wmb(&self);
    /// Full memory barrier.
    fn mb(&self);
}

/// A region of guest memory, from `struct vhost_memory_region`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MemoryRegion {
    /// The guest physical address of its first byte.
    pub(crate) gpa: u64,
    /// The length in bytes.
    pub(crate) size: u64,
    /// The address of its first byte in the owner's address space.
    pub(crate) uaddr: u64,
}

/// A region with inclusive bounds, so that it may extend to the end of the address space.
#[derive(Clone, Copy, Debug)]
struct Region {
    first: u64,
    last: u64,
    uaddr: u64,
    /// The index of the region with the highest last address among this one and all before it.
    furthest: usize,
}

impl Region {
    #[inline]
    const fn contains(&self, gpa: u64) -> bool {
        self.first <= gpa && gpa <= self.last
    }

    /// Returns whether the region contains the `len` bytes at `gpa` and one more byte after them.
    /// Returns false for an empty range.
    #[inline]
    const fn holds(&self, gpa: u64, len: u32) -> bool {
        // CAST: Widening. For `len == 0` the left side wraps to `u64::MAX`, which is less than no
        // value; this is why the comparison is strict and needs the additional byte.
        self.contains(gpa) && (len as u64).wrapping_sub(1) < self.last.wrapping_sub(gpa)
    }

    /// Returns the owner's address of `gpa`, which the region must contain.
    #[inline]
    const fn translate(&self, gpa: u64) -> u64 {
        self.uaddr.wrapping_add(gpa.wrapping_sub(self.first))
    }
}

/// Sorts regions by their first addresses. The sort functions of `core` are not used because they
/// may panic.
///
/// # Errors
///
/// `ENOMEM`. Regions that are already in order need no memory.
fn sorted(mut regions: KVVec<Region>) -> Result<KVVec<Region>> {
    if regions.is_sorted_by_key(|r| r.first) {
        return Ok(regions);
    }
    let mut merged = KVVec::with_capacity(regions.len(), GFP_KERNEL_ACCOUNT)?;
    // Invariant of the loop: each group of `run` regions is sorted.
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

/// Merges two sorted slices and appends the result to `merged`.
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

/// The memory table of a device (VHOST_SET_MEM_TABLE): maps guest physical addresses to addresses
/// of the owner.
///
/// A table does not change; userspace replaces the whole table. Where regions overlap, any of them
/// may be used for the translation.
pub(crate) struct MemTable {
    /// Sorted by first address.
    regions: KVVec<Region>,
}

impl MemTable {
    /// Builds a table from the regions that userspace has set.
    ///
    /// # Errors
    ///
    /// `EFAULT` when a region is empty or wraps around. An empty region at address 0 is valid and
    /// stands for the whole address space. `ENOMEM`.
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

    /// Returns whether `is_user(address, length)` is true for each region's range of owner
    /// addresses.
    pub(crate) fn regions_ok(&self, is_user: impl Fn(u64, u64) -> bool) -> bool {
        self.regions.iter().all(|r| {
            let size = r.last.wrapping_sub(r.first).checked_add(1);
            size.is_some_and(|size| r.uaddr.checked_add(size).is_some() && is_user(r.uaddr, size))
        })
    }

    /// Returns a region that contains `gpa`. `hint` is the index of the region that was found last.
    #[inline]
    fn find(&self, hint: &mut usize, gpa: u64) -> Option<&Region> {
        match self.regions.get(*hint) {
            Some(region) if region.contains(gpa) => Some(region),
            _ => self.search(hint, gpa),
        }
    }

    #[cold]
    fn search(&self, hint: &mut usize, gpa: u64) -> Option<&Region> {
        // Regions that begin after `gpa` do not contain it. Of the others, the one with the highest
        // last address contains `gpa` if any of them does.
        let begun = self.regions.partition_point(|r| r.first <= gpa);
        let at = self.regions.get(begun.checked_sub(1)?)?.furthest;
        let region = self.regions.get(at).filter(|r| r.contains(gpa))?;
        *hint = at;
        Some(region)
    }

    /// Appends the `len` bytes at `gpa` to `segs`, one segment for each region that they touch, and
    /// returns the number of segments added.
    ///
    /// # Errors
    ///
    /// [`Fault::Unmapped`] when a byte is in no region, [`Fault::TooManySegments`] when `segs` has
    /// no capacity left.
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

    /// Returns the `len` bytes at `gpa` as one segment if `len` is not 0 and the region `hint`
    /// contains them and the byte that follows. See [`Region::holds`].
    #[inline(always)]
    pub(super) fn near(&self, hint: &usize, gpa: u64, len: u32) -> Option<IoVec> {
        let region = self.regions.get(*hint)?;
        if !region.holds(gpa, len) {
            return None;
        }
        // CAST: Lossless on 64-bit.
        Some(IoVec::new(region.translate(gpa) as usize, len as usize))
    }

    /// The slow path of [`Self::translate`], for ranges that [`Self::near`] does not translate.
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

    /// Returns whether each of the `len` bytes at `gpa` is in a region.
    pub(crate) fn covers(&self, hint: &mut usize, gpa: u64, len: u32) -> bool {
        self.pieces(hint, gpa, u64::from(len), |_, _| Ok(()))
            .is_ok()
    }

    /// Reads descriptors from `gpa` on into `out` and returns how many were read: at least one, at
    /// most `out.len()`.
    ///
    /// # Errors
    ///
    /// [`Fault::Unmapped`] or [`Fault::IndirectUnreadable`] when the first descriptor cannot be
    /// read.
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
        // The first descriptor crosses the end of its region, or not all of them are readable.
        let first = out.first_mut().ok_or(Fault::IndirectUnreadable)?;
        *first = self.read_desc(mem, hint, gpa)?;
        Ok(1)
    }

    /// Reads one descriptor, which may cross the boundaries of regions.
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

    /// Splits the `len` bytes at `gpa` at the boundaries of regions, calls `each` with the owner's
    /// address and the length of each piece, and returns the number of pieces.
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
            // The number of bytes after `gpa` in the region. Their number including `gpa` may
            // overflow.
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
