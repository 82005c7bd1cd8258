// SPDX-License-Identifier: GPL-2.0

//! Runs of user memory, as the socket layer wants them. Pure, so that what uses them is as well.
//!
//! C header: [`include/linux/uio.h`](srctree/include/linux/uio.h)

/// The segments that one packet may have; `UIO_MAXIOV`.
pub(crate) const IOV_MAX: usize = 1024;

/// A run of bytes in the owner's address space; `struct iovec`.
///
/// Plain numbers: nothing is promised about what is mapped there, and every access checks.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct IoVec {
    base: usize,
    len: usize,
}

impl IoVec {
    /// `len` bytes from `base` on.
    #[inline]
    pub(crate) const fn new(base: usize, len: usize) -> Self {
        Self { base, len }
    }

    /// The first byte's address.
    #[inline]
    pub(crate) const fn base(&self) -> usize {
        self.base
    }

    /// The length in bytes.
    #[inline]
    pub(crate) const fn len(&self) -> usize {
        self.len
    }
}

/// Calls `each` for the `len` bytes behind the first `skip` of `segs`, run by run: with the
/// address, how many bytes came before, and the length, which is not zero.
///
/// # Errors
///
/// Those of `each`, and `short` when `segs` have not that many bytes.
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
