// SPDX-License-Identifier: GPL-2.0

//! Work items, and the proof that one is being run.
//!
//! A work function cannot be called directly: it needs a [`Context`], which only a worker has, and
//! only while it runs an item.

use core::{
    hint::spin_loop,
    marker::PhantomData,
    ops::Deref,
    ptr::NonNull, //
};
use kernel::{
    current,
    prelude::*,
    sync::{
        atomic::{
            ordering::Full,
            Atomic, //
        },
        Arc,
    },
    time::{
        Delta,
        Instant,
        Monotonic, //
    },
    types::NotThreadSafe, //
};

use super::{
    domain::DomainId,
    ffi,
    link::{
        self,
        Class,
        Detached, //
    },
    mm::InMm,
};

/// The class of the list nodes that are queued to workers.
pub(super) enum Items {}

impl Class for Items {
    type Context<'a> = Context<'a>;
}

/// A list node that can be queued to a worker.
pub(super) type Link = link::Link<Items>;

/// The list of nodes that are queued to a worker.
pub(super) type Links = link::Links<Items>;

/// The proof that the current thread is running a work item, with its domain and address space.
pub(crate) struct Context<'a> {
    domain: DomainId,
    mm: InMm<'a>,
    /// The list of items that the worker has not taken yet.
    links: &'a Links,
    /// The items that it has taken and that come after the one that is being run.
    rest: &'a Detached<Items>,
    _thread: PhantomData<NotThreadSafe>,
}

impl<'a> Context<'a> {
    /// Creates the proof.
    ///
    /// # Safety
    ///
    /// The current thread must be that of a worker of `domain`, and must use the result only for
    /// the items that it has taken.
    pub(super) unsafe fn new(
        domain: DomainId,
        mm: InMm<'a>,
        links: &'a Links,
        rest: &'a Detached<Items>,
    ) -> Self {
        Self {
            domain,
            mm,
            links,
            rest,
            _thread: PhantomData,
        }
    }

    /// Returns the proof that the item runs in the owner's address space.
    pub(crate) fn mm(&self) -> &InMm<'a> {
        &self.mm
    }

    /// Waits without sleeping until `ready` returns true, and returns whether it did.
    ///
    /// Gives up after `time`, and when anything else can be done: the worker has another item, the
    /// thread has a signal, or the processor has another task.
    pub(crate) fn spin(&self, time: Delta, mut ready: impl FnMut() -> bool) -> bool {
        let started = Instant::<Monotonic>::now();
        loop {
            if ready() {
                return true;
            }
            // SAFETY: This function may be called in any context.
            let needs_resched = unsafe { ffi::vnr_need_resched() };
            if needs_resched
                || !self.rest.is_empty()
                || !self.links.is_empty()
                || current!().signal_pending()
                || started.elapsed() >= time
            {
                return false;
            }
            spin_loop();
        }
    }

    /// Returns the domain whose flush waits for the item that is being run.
    pub(super) fn domain(&self) -> DomainId {
        self.domain
    }
}

/// The function of a work item.
pub(crate) trait Run: Send + Sync + Sized + 'static {
    /// Runs the item. Called by a worker in process context with no lock held. The items of one
    /// worker do not run concurrently. An item that is queued while it runs will run again, on
    /// another worker perhaps at the same time: `run` must not rely on being alone.
    fn run(work: &Arc<Work<Self>>, ctx: &Context<'_>);
}

/// An object that can be queued to a worker.
///
/// # Invariants
///
/// While `queued` is true, one reference to the [`Arc`] that contains this value is owned by the
/// [`Work::push`] that is adding it, by a worker's list, or by the one who took it from the list.
#[repr(C)]
#[pin_data]
pub(crate) struct Work<T> {
    link: Link,
    queued: Atomic<bool>,
    #[pin]
    item: T,
}

// SAFETY: `link` is only accessed by the owner of the node, see `Link`; the rest depends on `T`.
unsafe impl<T: Send + Sync> Send for Work<T> {}
// SAFETY: As above.
unsafe impl<T: Send + Sync> Sync for Work<T> {}

impl<T: Run> Work<T> {
    /// Creates a work item that contains `item`.
    pub(crate) fn new<E: Into<Error>>(item: impl PinInit<T, E>) -> impl PinInit<Self, Error>
    where
        Error: From<E>,
    {
        // INVARIANT: `queued` is false.
        try_pin_init!(Self {
            link: Link::new(Self::consume),
            queued: Atomic::new(false),
            item <- item,
        }? Error)
    }

    /// Queues `work` to `links`, unless it is queued to any list already or this one is closed.
    /// Returns true if it was added to the list; the caller must then wake the thread that reads
    /// the list.
    ///
    /// May be called in any context, also with interrupts disabled.
    pub(super) fn push(work: &Arc<Self>, links: &Links) -> bool {
        // Full barrier; pairs with the one in `consume`.
        if work.queued.xchg(true, Full) {
            return false;
        }
        let raw = Arc::into_raw(work.clone());
        // CAST: `Work<T>` is `repr(C)` with the link first. The pointer comes from `Arc::into_raw`,
        // so `consume` can turn it back into the reference.
        let Some(link) = NonNull::new(raw.cast_mut().cast::<Link>()) else {
            return false;
        };
        // SAFETY: `queued` was false, so nobody else owns the node, and the reference above keeps
        // it valid until `consume` takes the reference over.
        // INVARIANT: The list owns the reference in `raw`.
        let pushed = unsafe { links.push(link) };
        if !pushed {
            let _ = work.queued.xchg(false, Full);
            // SAFETY: The push has failed, so we still own the reference in `raw`.
            drop(unsafe { Arc::from_raw(raw) });
        }
        pushed
    }

    /// Runs a queued item, or only releases it if there is no context.
    ///
    /// # Safety
    ///
    /// `link` must be the first field of a `Work<T>` that was taken from a list and is owned by the
    /// caller.
    unsafe fn consume(link: NonNull<Link>, ctx: Option<&Context<'_>>) {
        // SAFETY: CAST: `Work<T>` is `repr(C)` with the link first. By the invariant the node comes
        // with the reference that `push` has made with `Arc::into_raw`, which is ours now.
        let work = unsafe { Arc::from_raw(link.as_ptr().cast::<Self>().cast_const()) };
        // Full barrier; pairs with the one in `push`. The item sees what a producer has written
        // before it found the item still queued.
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
