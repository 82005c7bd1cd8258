// SPDX-License-Identifier: GPL-2.0

//! Segments of user memory, as the socket layer uses them. Pure, so that its users can be.
//!
//! C header: [`include/linux/uio.h`](srctree/include/linux/uio.h)

/// The most segments of one packet; `UIO_MAXIOV`.
pub(crate) const IOV_MAX: usize = 1024;

/// A segment of the owner's address space; `struct iovec`.
///
/// It consists of plain numbers. Nothing may be mapped there, and every access is checked.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct IoVec {
    base: usize,
    len: usize,
}

impl IoVec {
    /// Creates a segment of `len` bytes at address `base`.
    #[inline]
    pub(crate) const fn new(base: usize, len: usize) -> Self {
        Self { base, len }
    }

    /// Returns the address of the first byte.
    #[inline]
    pub(crate) const fn base(&self) -> usize {
        self.base
    }

    /// Returns the length in bytes.
    #[inline]
    pub(crate) const fn len(&self) -> usize {
        self.len
    }
}

/// Calls `each` for each contiguous part of the `len` bytes of `segs` that follow the first `skip`
/// bytes. The arguments are the address, the number of bytes before this part, and its length,
/// which is not 0.
///
/// # Errors
///
/// Those of `each`, and `short` when `segs` has fewer bytes.
#[inline(always)]
pub(crate) fn runs<E>(
    segs: &[IoVec],
    skip: usize,
    len: usize,
    short: E,
    mut each: impl FnMut(usize, usize, usize) -> Result<(), E>,
) -> Result<(), E> {
    let (mut skip, mut done) = (skip, 0usize);
    for seg in segs {
        let left = len.wrapping_sub(done);
        if left == 0 {
            break;
        }
        let Some(room) = seg.len.checked_sub(skip) else {
            skip = skip.wrapping_sub(seg.len);
            continue;
        };
        let now = room.min(left);
        if now > 0 {
            each(seg.base.wrapping_add(skip), done, now)?;
            done = done.wrapping_add(now);
        }
        skip = 0;
    }
    if done == len {
        Ok(())
    } else {
        Err(short)
    }
}
