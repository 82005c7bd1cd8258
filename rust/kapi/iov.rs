// SPDX-License-Identifier: GPL-2.0

//! Runs of user memory, as the socket layer wants them.
//!
//! C header: [`include/linux/uio.h`](srctree/include/linux/uio.h)

use super::ffi;
use core::mem::{
    align_of,
    size_of, //
};

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

const _: () = assert!(size_of::<IoVec>() == size_of::<ffi::iovec>());
const _: () = assert!(align_of::<IoVec>() == align_of::<ffi::iovec>());

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
