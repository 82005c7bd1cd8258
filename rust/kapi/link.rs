// SPDX-License-Identifier: GPL-2.0

//! A lock-less list of queued work that can be closed for good.
//!
//! The kernel's `llist` with one more state: once closed, a push fails and hands the node back,
//! so a producer that races with the end of a worker can neither lose a node nor leave one behind
//! in a list that nobody reads any more.
//!
//! C header: [`include/linux/llist.h`](srctree/include/linux/llist.h)

use core::{
    cell::UnsafeCell,
    ptr::{
        null_mut,
        NonNull, //
    }, //
};
use kernel::sync::atomic::{
    ordering::{
        Full,
        Relaxed, //
    },
    Atomic, //
};

/// A class of nodes, those of one kind of list.
pub(super) trait Class {
    /// What a node is run with.
    type Context<'a>;
}

/// What is done with a node that leaves the list: with a context it is run, without one it is
/// only given back.
pub(super) type Consume<C> = unsafe fn(NonNull<Link<C>>, Option<&<C as Class>::Context<'_>>);

/// A node, embedded as the first field of what is queued.
///
/// # Invariants
///
/// `next` is accessed only by whoever owns the node: the pusher until the push has succeeded, the
/// one who took the list afterwards.
#[repr(C)]
pub(super) struct Link<C: Class> {
    next: UnsafeCell<*mut Link<C>>,
    consume: Consume<C>,
}

impl<C: Class> Link<C> {
    /// A node in no list.
    pub(super) const fn new(consume: Consume<C>) -> Self {
        Self {
            next: UnsafeCell::new(null_mut()),
            consume,
        }
    }
}

/// The address that stands for "closed"; never dereferenced, and no node has it.
const fn closed<C: Class>() -> *mut Link<C> {
    core::ptr::without_provenance_mut(1)
}

/// The list.
///
/// # Invariants
///
/// `head` is null, [`closed`], or the first of a chain of nodes that this list owns.
pub(super) struct Links<C: Class> {
    head: Atomic<*mut Link<C>>,
}

impl<C: Class> Links<C> {
    /// An empty, open list.
    pub(super) const fn new() -> Self {
        // INVARIANT: Null is an allowed value.
        Self {
            head: Atomic::new(null_mut()),
        }
    }

    /// Adds `link`; false when the list is closed, and then the caller keeps the node.
    ///
    /// Any context. A full barrier on success.
    ///
    /// # Safety
    ///
    /// The caller owns `link`, which is valid until it has been consumed, and gives it up when
    /// this returns true.
    pub(super) unsafe fn push(&self, link: NonNull<Link<C>>) -> bool {
        let mut head = self.head.load(Relaxed);
        loop {
            if head == closed() {
                return false;
            }
            // SAFETY: The caller owns the node, so by its invariant `next` is ours to write.
            unsafe { *link.as_ref().next.get() = head };
            // INVARIANT: The chain gains a node that the caller gives to the list.
            match self.head.cmpxchg(head, link.as_ptr(), Full) {
                Ok(_) => return true,
                Err(now) => head = now,
            }
        }
    }

    /// Takes all that is queued, oldest first.
    pub(super) fn take(&self) -> Detached<C> {
        if self.head.load(Relaxed).is_null() {
            return Detached(null_mut());
        }
        self.replace(null_mut())
    }

    /// Takes all that is queued and refuses whatever comes later.
    pub(super) fn close(&self) -> Detached<C> {
        self.replace(closed())
    }

    fn replace(&self, with: *mut Link<C>) -> Detached<C> {
        let mut from = self.head.load(Relaxed);
        loop {
            if from == closed() {
                return Detached(null_mut());
            }
            // INVARIANT: Null and `closed()` are allowed values; the chain now belongs to us.
            match self.head.cmpxchg(from, with, Full) {
                Ok(_) => break,
                Err(now) => from = now,
            }
        }
        let mut first = null_mut();
        while let Some(link) = NonNull::new(from) {
            // SAFETY: The chain was taken from the list, which owned it; so do we now.
            let next = unsafe { link.as_ref().next.get() };
            // SAFETY: As above, `next` is ours to read and write.
            unsafe {
                from = *next;
                *next = first;
            }
            first = link.as_ptr();
        }
        Detached(first)
    }
}

/// Nodes taken from a list; what is not consumed by hand is given back on drop.
///
/// # Invariants
///
/// Null, or the first of a chain of nodes that this value owns.
pub(super) struct Detached<C: Class>(*mut Link<C>);

impl<C: Class> Detached<C> {
    /// Whether there is nothing to consume.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_null()
    }

    /// Consumes the oldest node; false when there is none.
    pub(super) fn consume_one(&mut self, ctx: Option<&C::Context<'_>>) -> bool {
        let Some(link) = NonNull::new(self.0) else {
            return false;
        };
        // SAFETY: By the invariant the node is valid and ours.
        let (next, consume) = unsafe { (*link.as_ref().next.get(), link.as_ref().consume) };
        // INVARIANT: The rest of the chain stays ours.
        self.0 = next;
        // SAFETY: `consume` was stored by the node's maker for exactly this node, which we own
        // and do not touch again.
        unsafe { consume(link, ctx) };
        true
    }
}

impl<C: Class> Drop for Detached<C> {
    fn drop(&mut self) {
        while self.consume_one(None) {}
    }
}
