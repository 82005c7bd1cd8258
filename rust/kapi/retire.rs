// SPDX-License-Identifier: GPL-2.0

//! Replacing values that work items read: swap, flush, reclaim.
//!
//! A flush of the workers is the grace period. [`Slot::read`] needs a [`Context`], which exists
//! only while a work item runs and cannot leave it. [`Slot::swap`] returns a [`Retired`], from
//! which the old value can be taken only after all workers of the [`Domain`] have been flushed. So
//! no work item can have a reference to a reclaimed value, and users need no memory barriers of
//! their own.

use core::{
    mem::ManuallyDrop,
    ptr::null_mut, //
};
use kernel::sync::{
    atomic::{
        ordering::{
            Acquire,
            Full, //
        },
        Atomic, //
    },
    Arc, //
};

use super::work::Context;

pub(crate) use super::worker::Domain;

/// A value that work items read and other threads replace.
///
/// # Invariants
///
/// `value` is null or a reference from [`Arc::into_raw`] that the slot owns. It is dereferenced
/// only with a context of `domain`. The reference is dropped only after a flush of `domain` that
/// follows its removal, or when the slot is dropped.
pub(crate) struct Slot<T> {
    value: Atomic<*mut T>,
    domain: Arc<Domain>,
}

// SAFETY: A slot gives `&T` to the workers and an `Arc<T>` to the thread that reclaims it.
unsafe impl<T: Send + Sync> Send for Slot<T> {}
// SAFETY: As above.
unsafe impl<T: Send + Sync> Sync for Slot<T> {}

impl<T: Send + Sync> Slot<T> {
    /// Creates an empty slot that the workers of `domain` may read.
    pub(crate) fn new(domain: Arc<Domain>) -> Self {
        // INVARIANT: Null is allowed.
        Self {
            value: Atomic::new(null_mut()),
            domain,
        }
    }

    /// Returns the value, for as long as the work item runs. Returns `None` if the slot is empty,
    /// or if the worker is in another domain, for which a replacement would not wait.
    pub(crate) fn read<'a>(&'a self, ctx: &'a Context<'_>) -> Option<&'a T> {
        if ctx.domain() != self.domain.id() {
            return None;
        }
        // SAFETY: By the invariant the reference to a removed value is dropped only after a flush
        // that follows the removal. The flush waits for the item that `ctx` belongs to, because by
        // the invariant of `Worker` its worker is in the domain and has not exited. The reference
        // outlives neither `ctx` nor the slot.
        unsafe { self.value.load(Acquire).as_ref() }
    }

    /// Replaces the value. Work items may use the old one until the result has been reclaimed.
    pub(crate) fn swap(&self, new: Option<Arc<T>>) -> Retired<T> {
        let new = new.map_or(null_mut(), |new| Arc::into_raw(new).cast_mut());
        // INVARIANT: Null or from `Arc::into_raw`. The `Retired` owns the old reference.
        Retired {
            value: self.value.xchg(new, Full),
            domain: self.domain.clone(),
        }
    }
}

impl<T> Drop for Slot<T> {
    fn drop(&mut self) {
        let value = *self.value.get_mut();
        if !value.is_null() {
            // SAFETY: By the invariant it is a reference of ours. No work item uses it, because
            // what `read` returns borrows the slot, and `&mut self` is exclusive.
            drop(unsafe { Arc::from_raw(value.cast_const()) });
        }
    }
}

/// A value that was removed from a [`Slot`] and that work items may still be reading.
///
/// # Invariants
///
/// `value` is null or a reference from [`Arc::into_raw`] that was in a slot of `domain` and is
/// owned by this value.
#[must_use = "the value is in use until it has been reclaimed"]
pub(crate) struct Retired<T> {
    value: *mut T,
    domain: Arc<Domain>,
}

impl<T> Retired<T> {
    /// Waits until no work item uses the value through the slot, and returns it. Does not wait if
    /// the slot was empty.
    ///
    /// Sleeps; the rules of [`Domain::flush`] apply.
    pub(crate) fn reclaim(self) -> Option<Arc<T>> {
        let this = ManuallyDrop::new(self);
        // SAFETY: `this` is never dropped, so the reference is moved out only once.
        let domain = unsafe { core::ptr::read(&this.domain) };
        if this.value.is_null() {
            return None;
        }
        domain.flush();
        // SAFETY: By the invariant it is a reference of ours. No work item uses it, because the
        // flush came after the swap that removed it.
        Some(unsafe { Arc::from_raw(this.value.cast_const()) })
    }
}

impl<T> Drop for Retired<T> {
    /// Waits for the work items as [`Self::reclaim`] does.
    fn drop(&mut self) {
        if !self.value.is_null() {
            self.domain.flush();
            // SAFETY: As in `reclaim`.
            drop(unsafe { Arc::from_raw(self.value.cast_const()) });
        }
    }
}
