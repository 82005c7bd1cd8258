// SPDX-License-Identifier: GPL-2.0

//! Replacing what queued work reads: swap, flush, reclaim.
//!
//! A work queue flush is the grace period. [`Slot::read`] wants a [`Context`], which exists only
//! while a work item runs and cannot leave it; [`Slot::swap`] yields a [`Retired`], whose value
//! comes out only after every worker of the [`Domain`] has been flushed. So no item can still
//! hold a reference to what is reclaimed, and there is no barrier to get wrong by hand.

use core::{
    mem::ManuallyDrop,
    ptr::null_mut, //
};
use kernel::{
    prelude::*,
    sync::{
        atomic::{
            ordering::{
                Acquire,
                Full, //
            },
            Atomic, //
        },
        Arc, //
    },
};

use super::work::Context;

pub(crate) use super::worker::Domain;

/// A value that work items read and others replace.
///
/// # Invariants
///
/// `value` is null or comes from [`KBox::into_raw`]. It is dereferenced only through a context
/// of `domain`, and freed only after a flush of `domain` that came after it was taken out.
pub(crate) struct Slot<T> {
    value: Atomic<*mut T>,
    domain: Arc<Domain>,
}

// SAFETY: A slot hands out `&T` on the workers and the `T` itself to whoever reclaims it.
unsafe impl<T: Send + Sync> Send for Slot<T> {}
// SAFETY: As above.
unsafe impl<T: Send + Sync> Sync for Slot<T> {}

impl<T: Send + Sync> Slot<T> {
    /// An empty slot, read by the workers of `domain`.
    pub(crate) fn new(domain: Arc<Domain>) -> Self {
        // INVARIANT: Null.
        Self {
            value: Atomic::new(null_mut()),
            domain,
        }
    }

    /// The value, for as long as the work item runs. `None` when empty, and to a worker of some
    /// other domain, for which nobody would wait.
    pub(crate) fn read<'a>(&'a self, ctx: &'a Context<'_>) -> Option<&'a T> {
        if ctx.domain() != self.domain.id() {
            return None;
        }
        // SAFETY: By the invariant the value is freed only after a flush that follows its
        // removal. A flush waits for the item that `ctx` belongs to, since by the invariant of
        // `Worker` that is in the domain and has not exited, and the reference cannot outlive
        // `ctx`.
        unsafe { self.value.load(Acquire).as_ref() }
    }

    /// Replaces the value. Readers may hold the old one until the result has been reclaimed.
    pub(crate) fn swap(&self, new: Option<KBox<T>>) -> Retired<T> {
        let new = new.map_or(null_mut(), KBox::into_raw);
        // INVARIANT: Null or from `KBox::into_raw`; the old value goes to the `Retired`.
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
            // SAFETY: By the invariant it is a box, and `&mut self` says that no reader is left,
            // because what `read` returned borrows the slot.
            drop(unsafe { KBox::from_raw(value) });
        }
    }
}

/// A value that was taken out of a [`Slot`] and that work items may still be reading.
///
/// # Invariants
///
/// `value` is null or a box that was in a slot of `domain`, and nobody else will free it.
#[must_use = "the value is in use until it has been reclaimed"]
pub(crate) struct Retired<T> {
    value: *mut T,
    domain: Arc<Domain>,
}

impl<T> Retired<T> {
    /// Waits for the readers and returns the value. Nothing is waited for if the slot was empty.
    ///
    /// Sleeps; the rules of [`Domain::flush`] apply.
    pub(crate) fn reclaim(self) -> Option<KBox<T>> {
        let this = ManuallyDrop::new(self);
        // SAFETY: `this` is not dropped, so the reference is moved out once.
        let domain = unsafe { core::ptr::read(&this.domain) };
        if this.value.is_null() {
            return None;
        }
        domain.flush();
        // SAFETY: By the invariant a box of ours; no reader is left, since the flush came after
        // the swap that made this value.
        Some(unsafe { KBox::from_raw(this.value) })
    }
}

impl<T> Drop for Retired<T> {
    /// A retired value that is only dropped is flushed for all the same.
    fn drop(&mut self) {
        if !self.value.is_null() {
            self.domain.flush();
            // SAFETY: As in `reclaim`.
            drop(unsafe { KBox::from_raw(self.value) });
        }
    }
}
