// SPDX-License-Identifier: GPL-2.0

//! What is queued to a [`Worker`](super::worker::Worker).

use core::{
    ops::Deref,
    ptr::NonNull, //
};
use kernel::{
    prelude::*,
    sync::{
        atomic::{
            ordering::Full,
            Atomic, //
        },
        Arc, //
    },
};

use super::{
    link::Link,
    worker::Context, //
};

/// What a work item does.
pub(crate) trait Run: Send + Sync + Sized + 'static {
    /// Called by the worker, never twice at the same time for one worker's items, in process
    /// context, with nothing held. Queueing the item again meanwhile makes it run again.
    fn run(work: &Arc<Work<Self>>, ctx: &Context<'_>);
}

/// An object that can be queued to a worker.
///
/// # Invariants
///
/// While `queued` is true a worker's list owns one reference to the [`Arc`] this lives in.
#[repr(C)]
#[pin_data]
pub(crate) struct Work<T> {
    link: Link,
    pub(super) queued: Atomic<bool>,
    #[pin]
    item: T,
}

// SAFETY: `link` is only touched by whoever owns the node, see `Link`; the rest follows `T`.
unsafe impl<T: Send + Sync> Send for Work<T> {}
// SAFETY: As above.
unsafe impl<T: Send + Sync> Sync for Work<T> {}

impl<T: Run> Work<T> {
    /// Makes the object around `item`.
    pub(crate) fn new<E: Into<Error>>(item: impl PinInit<T, E>) -> impl PinInit<Self, Error>
    where
        Error: From<E>,
    {
        // INVARIANT: In no list.
        try_pin_init!(Self {
            link: Link::new(Self::consume),
            queued: Atomic::new(false),
            item <- item,
        }? Error)
    }

    /// Runs or gives back a queued item.
    ///
    /// # Safety
    ///
    /// `link` is the first field of a `Work<T>` that came out of a list, which gave it up.
    unsafe fn consume(link: NonNull<Link>, ctx: Option<&Context<'_>>) {
        // SAFETY: CAST: `Work<T>` is `repr(C)` with the link first. By the invariant the list
        // owned a reference, made by `Arc::into_raw` in `Worker::queue`, that is now ours.
        let work = unsafe { Arc::from_raw(link.as_ptr().cast::<Self>().cast_const()) };
        // Full barrier: what the item reads from here on is at least as new as what a producer
        // wrote before it found the item still queued.
        let _ = work.queued.xchg(false, Full);
        if let Some(ctx) = ctx {
            T::run(&work, ctx);
        }
    }
}

impl<T> Deref for Work<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.item
    }
}
