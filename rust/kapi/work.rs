// SPDX-License-Identifier: GPL-2.0

//! What is queued to a worker, and the evidence that it is being run.
//!
//! A work function cannot be called by hand: it wants a [`Context`], and only a worker that runs
//! an item has one.

use core::{
    marker::PhantomData,
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
        Arc,
    },
    types::NotThreadSafe, //
};

use super::{
    domain::DomainId,
    link::{
        self,
        Class, //
    },
    mm::InMm,
};

/// The class of what workers run.
pub(super) enum Items {}

impl Class for Items {
    type Context<'a> = Context<'a>;
}

/// A node of what is queued to a worker.
pub(super) type Link = link::Link<Items>;

/// What is queued to a worker.
pub(super) type Links = link::Links<Items>;

/// The evidence that a work item is being run, by whom, and in whose address space.
pub(crate) struct Context<'a> {
    links: &'a Links,
    domain: DomainId,
    mm: InMm<'a>,
    _thread: PhantomData<NotThreadSafe>,
}

impl<'a> Context<'a> {
    /// # Safety
    ///
    /// The current thread is that of a worker of `domain`, reads `links` again before it sleeps
    /// or ends, and uses the result for the items that it has taken and nothing else.
    pub(super) unsafe fn new(links: &'a Links, domain: DomainId, mm: InMm<'a>) -> Self {
        Self {
            links,
            domain,
            mm,
            _thread: PhantomData,
        }
    }

    /// The owner's address space, in which the item runs.
    pub(crate) fn mm(&self) -> &InMm<'a> {
        &self.mm
    }

    /// Queues `work` behind everything that waits already.
    pub(crate) fn requeue<T: Run>(&self, work: &Arc<Work<T>>) {
        // Who would have to be woken is this thread.
        let _ = Work::push(work, self.links);
    }

    /// Whose flush waits for the item that holds this.
    pub(super) fn domain(&self) -> DomainId {
        self.domain
    }
}

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
    queued: Atomic<bool>,
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

    /// Queues `work` to `links`, unless it is queued already or the list is closed; true when it
    /// has been, and who reads the list must know.
    ///
    /// Any context, also with interrupts off.
    pub(super) fn push(work: &Arc<Self>, links: &Links) -> bool {
        // Full barrier: pairs with the one in `consume`.
        if work.queued.xchg(true, Full) {
            return false;
        }
        let raw = Arc::into_raw(work.clone());
        // CAST: `Work<T>` is `repr(C)` with the link first. The pointer is the one that can be
        // turned back into the reference.
        let Some(link) = NonNull::new(raw.cast_mut().cast::<Link>()) else {
            return false;
        };
        // SAFETY: `queued` was false, so nobody else owns the node, and the reference above keeps
        // it valid until `consume` takes it over.
        // INVARIANT: The list owns the reference in `raw`.
        let pushed = unsafe { links.push(link) };
        if !pushed {
            let _ = work.queued.xchg(false, Full);
            // SAFETY: The push failed, so the reference made above is still ours.
            drop(unsafe { Arc::from_raw(raw) });
        }
        pushed
    }

    /// Runs or gives back a queued item.
    ///
    /// # Safety
    ///
    /// `link` is the first field of a `Work<T>` that came out of a list, which gave it up.
    unsafe fn consume(link: NonNull<Link>, ctx: Option<&Context<'_>>) {
        // SAFETY: CAST: `Work<T>` is `repr(C)` with the link first. By the invariant the list
        // owned a reference, made by `Arc::into_raw` in `push`, that is now ours.
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
