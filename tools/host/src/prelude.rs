// SPDX-License-Identifier: GPL-2.0

//! Replaces the kernel's prelude: the part of it that the pure files use.

use core::{
    cell::Cell,
    ops::{
        Deref,
        DerefMut, //
    },
};

pub use zerocopy::{
    FromBytes,
    IntoBytes, //
};

/// An error number, positive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Error(i32);

pub type Result<T = (), E = Error> = core::result::Result<T, E>;

pub const E2BIG: Error = Error(7);
pub const EAGAIN: Error = Error(11);
pub const ENOMEM: Error = Error(12);
pub const EFAULT: Error = Error(14);
pub const EINVAL: Error = Error(22);
pub const ENOTTY: Error = Error(25);
pub const EBADFD: Error = Error(77);
pub const EOPNOTSUPP: Error = Error(95);
pub const ERESTARTSYS: Error = Error(512);

/// The allocation failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AllocError;

impl From<AllocError> for Error {
    fn from(_: AllocError) -> Self {
        ENOMEM
    }
}

/// Allocation flags; they have no effect on the host.
#[derive(Clone, Copy, Debug)]
pub struct Flags(());

pub const GFP_KERNEL: Flags = Flags(());
pub const GFP_KERNEL_ACCOUNT: Flags = Flags(());

/// There was no room for this value.
#[derive(Debug)]
pub struct PushError<T>(pub T);

/// The kernel's vector, which grows only on request.
#[derive(Debug)]
pub struct KVec<T> {
    items: Vec<T>,
    capacity: usize,
}

/// The kernel's vector for data that may be too large for contiguous pages.
pub type KVVec<T> = KVec<T>;

thread_local! {
    /// The number of elements that this thread has examined in searches of vectors.
    pub static LOOKED_AT: Cell<usize> = const { Cell::new(0) };
}

impl<T> KVec<T> {
    pub fn with_capacity(capacity: usize, _: Flags) -> Result<Self, AllocError> {
        Ok(Self {
            items: Vec::with_capacity(capacity),
            capacity,
        })
    }

    pub fn capacity(&self) -> usize {
        self.capacity
    }

    pub fn push_within_capacity(&mut self, item: T) -> Result<(), PushError<T>> {
        if self.items.len() == self.capacity {
            return Err(PushError(item));
        }
        self.items.push(item);
        Ok(())
    }

    pub fn push(&mut self, item: T, _: Flags) -> Result<(), AllocError> {
        self.capacity = self.capacity.max(self.items.len() + 1);
        self.items.push(item);
        Ok(())
    }

    /// As for slices; counts the elements that it examines.
    pub fn partition_point(&self, mut before: impl FnMut(&T) -> bool) -> usize {
        self.items.partition_point(|item| {
            LOOKED_AT.set(LOOKED_AT.get() + 1);
            before(item)
        })
    }

    pub const fn new() -> Self {
        Self {
            items: Vec::new(),
            capacity: 0,
        }
    }

    pub fn reserve(&mut self, additional: usize, _: Flags) -> Result<(), AllocError> {
        self.capacity = self.capacity.max(self.items.len() + additional);
        Ok(())
    }

    pub fn insert_within_capacity(&mut self, at: usize, item: T) -> Result<(), PushError<T>> {
        if self.items.len() == self.capacity || at > self.items.len() {
            return Err(PushError(item));
        }
        self.items.insert(at, item);
        Ok(())
    }

    pub fn retain(&mut self, mut keep: impl FnMut(&mut T) -> bool) {
        self.items.retain_mut(|item| keep(item));
    }

    pub fn truncate(&mut self, len: usize) {
        self.items.truncate(len);
    }

    pub fn clear(&mut self) {
        self.items.clear();
    }
}

impl<T> Default for KVec<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Deref for KVec<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.items
    }
}

impl<T> DerefMut for KVec<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.items
    }
}
