// SPDX-License-Identifier: GPL-2.0

//! The memory table, which maps guest physical addresses to addresses of the owner.

use kernel::prelude::*;

use crate::{
    kapi::iov::IoVec,
    virtqueue::{
        fault::Fault,
        log,
        mem::{
            GuestMemory,
            MemFault, //
        },
        ranges::{
            Range,
            Ranges, //
        },
        uapi::Desc,
    },
};

/// The size of a descriptor in bytes.
const DESC_SIZE: usize = core::mem::size_of::<Desc>();

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

/// The memory table of a device (VHOST_SET_MEM_TABLE).
///
/// A table does not change; userspace replaces the whole table. Where regions overlap, any of them
/// may be used for the translation.
pub(crate) struct MemTable {
    regions: Ranges<()>,
    /// The guest physical addresses by the owner's.
    owners: Ranges<()>,
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
        let mut owners = KVVec::with_capacity(regions.len(), GFP_KERNEL_ACCOUNT)?;
        for region in regions.iter() {
            let range = match (region.gpa, region.size) {
                (0, 0) => Range::all(region.uaddr, ()),
                (gpa, size) => Range::new(gpa, size, region.uaddr, ())?,
            };
            checked.push(range, GFP_KERNEL_ACCOUNT)?;
            // A region that wraps around there is not in user space, and is never used.
            if let Ok(owner) = Range::new(region.uaddr, region.size, region.gpa, ()) {
                owners.push(owner, GFP_KERNEL_ACCOUNT)?;
            }
        }
        Ok(Self {
            regions: Ranges::new(checked)?,
            owners: Ranges::new(owners)?,
        })
    }

    /// Returns whether `is_user(address, length)` is true for each region's range of owner
    /// addresses.
    pub(crate) fn regions_ok(&self, is_user: impl Fn(u64, u64) -> bool) -> bool {
        self.regions.iter().all(|region| {
            let (_, size, uaddr) = region.parts();
            size.is_some_and(|size| uaddr.checked_add(size).is_some() && is_user(uaddr, size))
        })
    }

    /// Returns whether the log at `base` of all regions is in user space; see [`log::is_ok`].
    pub(crate) fn log_ok(&self, base: u64, is_user: impl Fn(u64, u64) -> bool) -> bool {
        self.regions.iter().all(|region| {
            let (gpa, size, _) = region.parts();
            size.is_some_and(|size| log::is_ok(base, gpa, size, &is_user))
        })
    }

    /// Calls `each` with the guest physical address and the length of each part of the guest's
    /// memory that is at the `len` bytes at `uaddr` in the owner's address space. Where regions
    /// share memory of the owner, this is done for all of them.
    pub(super) fn owners(&self, uaddr: u64, len: u64, each: impl FnMut(u64, u64)) {
        self.owners.all_pieces(uaddr, len, each);
    }

    /// Appends the `len` bytes at `gpa` to `segs`, one segment for each region that they touch, and
    /// returns the number of segments added. `hint` is the index of the region that was found last.
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
    /// contains them and the byte that follows. See [`Range::holds`].
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
    #[inline(always)]
    pub(super) fn read_descs<M: GuestMemory>(
        &self,
        mem: &M,
        hint: &mut usize,
        gpa: u64,
        out: &mut [Desc],
    ) -> Result<usize, Fault> {
        let region = self.regions.find(hint, gpa).ok_or(Fault::Unmapped)?;
        let whole = usize::try_from(region.left(gpa) / DESC_SIZE as u64).unwrap_or(usize::MAX);
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
        // CAST: Lossless on 64-bit.
        let each = |_: &Range<()>, uaddr, len| each(uaddr as usize, len as usize);
        self.regions
            .pieces(hint, gpa, len, each, |_| Fault::Unmapped)
    }
}
