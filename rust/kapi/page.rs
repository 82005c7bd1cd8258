// SPDX-License-Identifier: GPL-2.0

//! Reusable memory for packets.
//!
//! Packets are copied into compound pages of the device. A page is divided into pieces. Each piece
//! comes with a reference on the page, which its user drops when done with the packet. So if nobody
//! else holds a reference on a page, none of its pieces is in use, and the page is used again from
//! its start. A new page would have to be allocated, and zeroed where `init_on_alloc` is set, which
//! costs more than the packet.
//!
//! C headers: [`include/linux/gfp.h`](srctree/include/linux/gfp.h),
//! [`include/linux/page_ref.h`](srctree/include/linux/page_ref.h)

use core::{
    mem::ManuallyDrop,
    ptr::NonNull, //
};
use kernel::{
    prelude::*,
    sync::barrier::{
        smp_mb,
        Full, //
    },
};

use super::{
    ffi,
    iov::{
        runs,
        IoVec, //
    },
    mm::InMm,
};

/// The preferred size of a page in bytes: it has room for a batch of small packets, or for half of
/// the largest packet.
pub(super) const PAGE_LEN: usize = (ffi::VNR_PAGE_SIZE as usize) << ORDER;

const ORDER: u32 = 3;

/// The alignment of pieces in bytes; a power of two.
const ALIGN: usize = ffi::VNR_CACHE_BYTES as usize;

/// The number of references on a page without pieces: more than it can have pieces.
const REFS: u32 = 1 << 15;
const _: () = assert!(PAGE_LEN / ALIGN < REFS as usize);

/// Rounds `len` up to whole cache lines.
pub(super) const fn align_cache(len: usize) -> usize {
    len.wrapping_add(ALIGN - 1) & !(ALIGN - 1)
}

/// A page that is divided into pieces.
///
/// # Invariants
///
/// - `start` is the first byte of `len` bytes of a page, compound unless it is of order 0, on which
///   this value holds `refs` references.
/// - `refs >= REFS - used / ALIGN`, and `used <= len`; so `refs` is never zero.
/// - Everyone who uses some of the bytes, other than through `&mut self`, holds another reference.
///   Nobody else uses the bytes from `used` on.
pub(super) struct Page {
    start: NonNull<u8>,
    len: usize,
    used: usize,
    refs: u32,
    charged: bool,
}

// SAFETY: Any thread may use a page, and drop references on it.
unsafe impl Send for Page {}

impl Page {
    /// Allocates a page of [`PAGE_LEN`] bytes, without reclaim. If `charge`, it is charged to the
    /// owner's control group.
    pub(super) fn large(charge: bool) -> Option<Self> {
        Self::alloc(ORDER, charge)
    }

    /// Allocates a page as [`Self::large`] does, or else one of order 0.
    pub(super) fn any(charge: bool) -> Option<Self> {
        Self::large(charge).or_else(|| Self::alloc(0, charge))
    }

    fn alloc(order: u32, charge: bool) -> Option<Self> {
        let account = if charge { ffi::VNR_GFP_ACCOUNT } else { 0 };
        let gfp = ffi::VNR_GFP_PACKETS | account;
        // SAFETY: The flags request a compound page with a kernel address, without sleeping.
        let start = NonNull::new(unsafe { ffi::vnr_get_free_pages(gfp, order) } as *mut u8)?;
        // SAFETY: The page is ours, with one reference.
        unsafe { ffi::vnr_page_ref_add(start.as_ptr().cast(), REFS as i32 - 1) };
        // INVARIANT: The page is new: `REFS` references are ours, and nobody else uses it.
        Some(Self {
            start,
            len: (ffi::VNR_PAGE_SIZE as usize) << order,
            used: 0,
            refs: REFS,
            charged: charge,
        })
    }

    /// Returns whether it is charged to the owner's control group.
    pub(super) fn is_charged(&self) -> bool {
        self.charged
    }

    /// Returns whether none of its pieces is in use.
    #[inline]
    fn is_unused(&self) -> bool {
        // SAFETY: This is a page of ours by the invariant.
        unsafe { ffi::vnr_page_ref_count(self.start.as_ptr().cast()) == self.refs as i32 }
    }

    /// Returns the number of small pages that dropping this page now would make available.
    pub(super) fn spare(&self) -> usize {
        if self.is_unused() {
            self.len / ffi::VNR_PAGE_SIZE as usize
        } else {
            0
        }
    }

    /// Starts the page anew if none of its pieces is in use, and returns whether it has.
    pub(super) fn restart(&mut self) -> bool {
        if !self.is_unused() {
            return false;
        }
        // Full barrier: the writes that follow come after the accesses of the one who has dropped
        // the last other reference, which the count read above shows.
        smp_mb(Full);
        let missing = REFS.saturating_sub(self.refs);
        // SAFETY: As above.
        unsafe { ffi::vnr_page_ref_add(self.start.as_ptr().cast(), missing as i32) };
        // INVARIANT: All references are ours, so nobody else uses any byte. There are at least
        // `REFS` of them again.
        self.refs = self.refs.saturating_add(missing);
        self.used = 0;
        true
    }

    /// Copies `len` bytes of `segs`, after their first `skip` bytes, to the start of the page.
    /// Returns false, without any change, if pieces of the page are still in use.
    ///
    /// # Errors
    ///
    /// `EFAULT` when they are not readable, when `segs` has fewer, or when they do not fit.
    pub(super) fn fill(
        &mut self,
        mm: &InMm<'_>,
        segs: &[IoVec],
        skip: usize,
        len: usize,
    ) -> Result<bool> {
        if !self.restart() {
            return Ok(false);
        }
        if len > self.len {
            return Err(EFAULT);
        }
        // The bytes are for others, which take references on the page: no pieces of it until then.
        self.used = self.len;
        // SAFETY: Just started anew: by the invariant nobody else uses any of its `self.len` bytes.
        unsafe { copy_user(self.start, mm, segs, skip, len) }?;
        Ok(true)
    }

    /// Returns the first `len` bytes as a `struct bio_vec`.
    pub(super) fn vec(&self, len: usize) -> ffi::bio_vec {
        ffi::bio_vec {
            // SAFETY: This is a page of ours by the invariant.
            bv_page: unsafe { ffi::vnr_virt_to_page(self.start.as_ptr().cast()) },
            bv_len: len.min(self.len) as u32,
            bv_offset: 0,
        }
    }

    /// Returns a piece of `len` bytes, or `None` if there is no room.
    #[inline(always)]
    pub(super) fn piece(&mut self, len: usize) -> Option<Piece> {
        let used = self.used.wrapping_add(align_cache(len));
        if len == 0 || len > PAGE_LEN || used > self.len {
            return None;
        }
        // SAFETY: `self.used < self.len`.
        let start = unsafe { self.start.add(self.used) };
        // INVARIANT: The piece takes over one reference and at least `ALIGN` bytes.
        self.used = used;
        self.refs = self.refs.wrapping_sub(1);
        Some(Piece { start, len })
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        // SAFETY: By the invariant these are our references on a page of ours. Pieces have their
        // own.
        unsafe { ffi::vnr_page_drop(self.start.as_ptr().cast(), self.refs) };
    }
}

/// A piece of a page. Released on drop.
///
/// # Invariants
///
/// `start` is the first of `len` bytes of a page that nobody else uses, and this value holds a
/// reference on the page.
pub(super) struct Piece {
    start: NonNull<u8>,
    len: usize,
}

impl Piece {
    /// Returns the address of its first byte.
    #[inline]
    pub(super) fn start(&self) -> NonNull<u8> {
        self.start
    }

    /// Gives up the ownership: the one who has the pointer must drop the reference.
    #[inline]
    pub(super) fn into_raw(self) -> NonNull<u8> {
        ManuallyDrop::new(self).start
    }

    /// Copies `len` bytes of `segs`, after their first `skip` bytes, to offset `at`.
    ///
    /// # Errors
    ///
    /// `EFAULT` when they are not readable, when `segs` has fewer, or when they do not fit.
    #[inline(always)]
    pub(super) fn copy_user(
        &mut self,
        mm: &InMm<'_>,
        segs: &[IoVec],
        skip: usize,
        at: usize,
        len: usize,
    ) -> Result {
        if at.checked_add(len).is_none_or(|end| end > self.len) {
            return Err(EFAULT);
        }
        // SAFETY: By the invariant nobody else uses the bytes, and `at + len` of them are there.
        unsafe { copy_user(self.start.add(at), mm, segs, skip, len) }
    }

    /// Copies `first`, and `second` after it, to offset `at`.
    ///
    /// # Errors
    ///
    /// `EFAULT` when they are not readable.
    ///
    /// # Safety
    ///
    /// The piece must have room for both segments from offset `at` on.
    #[inline(always)]
    pub(super) unsafe fn copy_pair(
        &mut self,
        _mm: &InMm<'_>,
        first: IoVec,
        second: IoVec,
        at: usize,
    ) -> Result {
        // SAFETY: In bounds by the safety requirements of this function, and by the invariant
        // nobody else uses these bytes.
        unsafe {
            let to = self.start.add(at);
            copy_run(to, first.base(), first.len())?;
            if second.len() > 0 {
                copy_run(to.add(first.len()), second.base(), second.len())?;
            }
        }
        Ok(())
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        // SAFETY: By the invariant the reference is ours.
        unsafe { ffi::page_frag_free(self.start.as_ptr().cast()) };
    }
}

/// Copies `len` bytes of `segs`, after their first `skip` bytes, to `to`.
///
/// # Errors
///
/// `EFAULT` when they are not readable, or when `segs` has fewer.
///
/// # Safety
///
/// `to` must be valid for writes of `len` bytes, which nobody else uses.
#[inline(always)]
unsafe fn copy_user(
    to: NonNull<u8>,
    _mm: &InMm<'_>,
    segs: &[IoVec],
    skip: usize,
    len: usize,
) -> Result {
    runs(segs, skip, len, EFAULT, |addr, done, now| {
        // SAFETY: `done + now <= len`, for which `to` is valid by the safety requirements.
        unsafe { copy_run(to.add(done), addr, now) }
    })
}

/// Copies `len` bytes at the user address `addr` to `to`.
///
/// # Errors
///
/// `EFAULT` when they are not readable.
///
/// # Safety
///
/// `to` must be valid for writes of `len` bytes, which nobody else uses.
#[inline(always)]
unsafe fn copy_run(to: NonNull<u8>, addr: usize, len: usize) -> Result {
    // SAFETY: `to` is valid by the safety requirements, so the object size check that this function
    // omits is not needed. The user address is checked.
    match unsafe { ffi::_copy_from_user(to.as_ptr().cast(), addr as *const _, len) } {
        0 => Ok(()),
        _ => Err(EFAULT),
    }
}
