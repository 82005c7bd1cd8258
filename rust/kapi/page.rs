// SPDX-License-Identifier: GPL-2.0

//! Memory for packets that comes back.
//!
//! Packets are copied into compound pages of ours. Whoever is given a piece of a page is given a
//! reference on the page with it, and drops that when done with the packet. So a page on which
//! nobody else holds a reference has no piece in use, and is used again from its start. A fresh
//! page would have to be allocated, and be zeroed where the kernel is told to (`init_on_alloc`),
//! which costs more than the packet.
//!
//! The pages that are kept are the owner's, and accounted to it. One that takes the place of
//! another, which is left to those who hold packets in it, is accounted to nobody, as packets are
//! elsewhere: how much others hold, and for how long, is not up to the owner, and its processes
//! are not to be killed for it.
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

/// The length in bytes of the pages that are asked for: a batch of small packets, or half of the
/// largest one, finds room.
pub(super) const PAGE_LEN: usize = (ffi::VNR_PAGE_SIZE as usize) << ORDER;

const ORDER: u32 = 3;

/// The multiples in which a page is shared out, in bytes; a power of two.
const ALIGN: usize = ffi::VNR_CACHE_BYTES as usize;

/// References on a page that starts anew: more than it has pieces.
const REFS: u32 = 1 << 15;
const _: () = assert!(PAGE_LEN / ALIGN < REFS as usize);

/// `len` rounded up to whole cache lines.
pub(super) const fn align_cache(len: usize) -> usize {
    len.wrapping_add(ALIGN - 1) & !(ALIGN - 1)
}

/// A page that is shared out in pieces.
///
/// # Invariants
///
/// - `start` is the first byte of `len` bytes of a page, compound unless it is a small one, on
///   which this value holds `refs` references.
/// - `refs >= REFS - used / ALIGN`, and `used <= len`; so `refs` is never zero.
/// - Whoever uses some of the bytes, other than through `&mut self`, holds a reference besides.
///   The bytes from `used` on nobody else uses.
pub(super) struct Page {
    start: NonNull<u8>,
    len: usize,
    used: usize,
    refs: u32,
}

// SAFETY: A page may be used, and references on it dropped, by any thread.
unsafe impl Send for Page {}

impl Page {
    /// A page of [`PAGE_LEN`], if there is one without effort. `more` says that it is kept besides
    /// the others, and does not take the place of one.
    pub(super) fn large(more: bool) -> Option<Self> {
        Self::alloc(ORDER, more)
    }

    /// As [`Self::large`], or a small one.
    pub(super) fn any(more: bool) -> Option<Self> {
        Self::large(more).or_else(|| Self::alloc(0, more))
    }

    fn alloc(order: u32, more: bool) -> Option<Self> {
        let account = if more { ffi::VNR_GFP_ACCOUNT } else { 0 };
        let gfp = ffi::VNR_GFP_PACKETS | account;
        // SAFETY: The flags ask for a compound page with an address, and do not sleep.
        let start = NonNull::new(unsafe { ffi::vnr_get_free_pages(gfp, order) } as *mut u8)?;
        // SAFETY: The page is ours, with one reference.
        unsafe { ffi::vnr_page_ref_add(start.as_ptr().cast(), REFS as i32 - 1) };
        // INVARIANT: Just allocated, `REFS` references are ours, and nobody else knows it.
        Some(Self {
            start,
            len: (ffi::VNR_PAGE_SIZE as usize) << order,
            used: 0,
            refs: REFS,
        })
    }

    /// Starts anew if no piece is in use any more.
    pub(super) fn restart(&mut self) -> bool {
        // SAFETY: A page of ours by the invariant.
        if unsafe { ffi::vnr_page_ref_count(self.start.as_ptr().cast()) } != self.refs as i32 {
            return false;
        }
        // Who has dropped the last other reference has done with the bytes before: a full barrier
        // between what was looked at above and what will be written.
        smp_mb(Full);
        let missing = REFS.saturating_sub(self.refs);
        // SAFETY: As above.
        unsafe { ffi::vnr_page_ref_add(self.start.as_ptr().cast(), missing as i32) };
        // INVARIANT: All references are ours, so nobody else uses any byte; `REFS` of them again,
        // or more.
        self.refs = self.refs.saturating_add(missing);
        self.used = 0;
        true
    }

    /// Fills the page from its start with `len` bytes, gathered from `segs` without their first
    /// `skip`. False when pieces of it are still in use, and then nothing has changed.
    ///
    /// # Errors
    ///
    /// `EFAULT` when they cannot be read, are not so many, or do not fit.
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
        // SAFETY: Just started anew: by the invariant nobody else uses any of its `len` bytes.
        unsafe { copy_user(self.start, mm, segs, skip, len) }?;
        Ok(true)
    }

    /// The first `len` bytes, as the socket layer wants them.
    pub(super) fn vec(&self, len: usize) -> ffi::bio_vec {
        ffi::bio_vec {
            // SAFETY: A page of ours by the invariant.
            bv_page: unsafe { ffi::vnr_virt_to_page(self.start.as_ptr().cast()) },
            bv_len: len.min(self.len) as u32,
            bv_offset: 0,
        }
    }

    /// A piece of `len` bytes, while there is room.
    #[inline(always)]
    pub(super) fn piece(&mut self, len: usize) -> Option<Piece> {
        let used = self.used.wrapping_add(align_cache(len));
        if len == 0 || len > PAGE_LEN || used > self.len {
            return None;
        }
        // SAFETY: `self.used < self.len`.
        let start = unsafe { self.start.add(self.used) };
        // INVARIANT: One reference and at least `ALIGN` bytes less are ours; both are the piece's.
        self.used = used;
        self.refs = self.refs.wrapping_sub(1);
        Some(Piece { start, len })
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        // SAFETY: By the invariant our references on a page of ours. Pieces have their own.
        unsafe { ffi::vnr_page_drop(self.start.as_ptr().cast(), self.refs) };
    }
}

/// A piece of a page; given back on drop.
///
/// # Invariants
///
/// `start` is the first of `len` bytes of a page, which nobody else uses, and this value holds a
/// reference on the page.
pub(super) struct Piece {
    start: NonNull<u8>,
    len: usize,
}

impl Piece {
    /// Where it starts.
    #[inline]
    pub(super) fn start(&self) -> NonNull<u8> {
        self.start
    }

    /// Gives it up: whoever has the pointer drops the reference.
    #[inline]
    pub(super) fn into_raw(self) -> NonNull<u8> {
        ManuallyDrop::new(self).start
    }

    /// Copies `len` bytes, gathered from `segs` without their first `skip`, to offset `at`.
    ///
    /// # Errors
    ///
    /// `EFAULT` when they cannot be read, are not so many, or do not fit.
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

    /// Copies both, one behind the other, to offset `at`.
    ///
    /// # Errors
    ///
    /// `EFAULT` when they cannot be read.
    ///
    /// # Safety
    ///
    /// The piece has as many bytes from `at` on.
    #[inline(always)]
    pub(super) unsafe fn copy_pair(
        &mut self,
        _mm: &InMm<'_>,
        first: IoVec,
        second: IoVec,
        at: usize,
    ) -> Result {
        // SAFETY: In bounds as the caller promises, and by the invariant nobody else uses these
        // bytes.
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

/// Copies `len` bytes, gathered from `segs` without their first `skip`, to `to`.
///
/// # Errors
///
/// `EFAULT` when they cannot be read, or are not so many.
///
/// # Safety
///
/// `to` is valid for writes of `len` bytes, which nobody else uses.
#[inline(always)]
unsafe fn copy_user(
    to: NonNull<u8>,
    _mm: &InMm<'_>,
    segs: &[IoVec],
    skip: usize,
    len: usize,
) -> Result {
    runs(segs, skip, len, EFAULT, |addr, done, now| {
        // SAFETY: `done + now <= len`, which are valid as the caller promises.
        unsafe { copy_run(to.add(done), addr, now) }
    })
}

/// Copies `len` bytes at the user address `addr` to `to`.
///
/// # Errors
///
/// `EFAULT` when they cannot be read.
///
/// # Safety
///
/// `to` is valid for writes of `len` bytes, which nobody else uses.
#[inline(always)]
unsafe fn copy_run(to: NonNull<u8>, addr: usize, len: usize) -> Result {
    // SAFETY: Valid as the caller promises, so there is nothing to learn from a look at the object
    // that the bytes are in; the address is checked.
    match unsafe { ffi::_copy_from_user(to.as_ptr().cast(), addr as *const _, len) } {
        0 => Ok(()),
        _ => Err(EFAULT),
    }
}
