// SPDX-License-Identifier: GPL-2.0

//! Pieces of pages, as drivers of network devices allocate them.

use core::{
    ffi::c_void,
    mem::ManuallyDrop,
    ptr::NonNull, //
};

use super::{
    ffi,
    iov::IoVec, //
};

/// A piece of a page; freed on drop.
///
/// # Invariants
///
/// `start` is a fragment of `room` bytes, owned by this value.
pub(super) struct Fragment {
    start: NonNull<u8>,
    room: usize,
}

impl Fragment {
    /// `None` when there is no memory for it.
    pub(super) fn alloc(cache: &mut ffi::page_frag_cache, room: usize) -> Option<Self> {
        let size = u32::try_from(room).ok()?;
        // SAFETY: The cache is used by one thread at a time, and the mask is that of a power of
        // two.
        let start = unsafe {
            ffi::__page_frag_alloc_align(
                cache,
                size,
                kernel::bindings::GFP_KERNEL,
                ffi::VNR_CACHE_BYTES.wrapping_neg(),
            )
        };
        // INVARIANT: Just allocated with that size.
        NonNull::new(start.cast::<u8>()).map(|start| Self { start, room })
    }

    /// Where it starts.
    #[inline]
    pub(super) fn start(&self) -> NonNull<u8> {
        self.start
    }

    /// Gives it up: whoever has the pointer frees it.
    #[inline]
    pub(super) fn into_raw(self) -> NonNull<u8> {
        ManuallyDrop::new(self).start
    }

    /// Copies `len` bytes, gathered from `segs` without their first `skip`, to offset `at`.
    ///
    /// # Errors
    ///
    /// They cannot be read, or do not fit.
    pub(super) fn copy_user(
        &self,
        segs: &[IoVec],
        skip: usize,
        at: usize,
        len: usize,
    ) -> Result<(), ()> {
        if at.checked_add(len).is_none_or(|end| end > self.room) {
            return Err(());
        }
        let (mut skip, mut at, mut left) = (skip, at, len);
        for seg in segs {
            if left == 0 {
                break;
            }
            let drop = skip.min(seg.len());
            skip -= drop;
            let take = (seg.len() - drop).min(left);
            if take == 0 {
                continue;
            }
            // SAFETY: `at + take` is at most the end that was compared with `room` above;
            // `copy_from_user` checks the address.
            let missed = unsafe {
                ffi::vnr_copy_from_user(
                    self.start.as_ptr().add(at).cast(),
                    seg.base().wrapping_add(drop) as *const c_void,
                    take,
                )
            };
            if missed != 0 {
                return Err(());
            }
            at += take;
            left -= take;
        }
        if left == 0 {
            Ok(())
        } else {
            Err(())
        }
    }
}

impl Drop for Fragment {
    fn drop(&mut self) {
        // SAFETY: By the invariant ours.
        unsafe { ffi::page_frag_free(self.start.as_ptr().cast()) };
    }
}
