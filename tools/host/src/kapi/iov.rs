// SPDX-License-Identifier: GPL-2.0

//! Stands in for the module's `kapi::iov`: the same record, without the C one to compare with.

/// A run of bytes in the owner's address space.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct IoVec {
    base: usize,
    len: usize,
}

impl IoVec {
    /// `len` bytes from `base` on.
    pub(crate) const fn new(base: usize, len: usize) -> Self {
        Self { base, len }
    }

    /// The first byte's address.
    pub(crate) const fn base(&self) -> usize {
        self.base
    }

    /// The length in bytes.
    pub(crate) const fn len(&self) -> usize {
        self.len
    }
}
