// SPDX-License-Identifier: GPL-2.0

//! A lock-less list of queued work that can be closed permanently.
//!
//! This is the kernel's `llist` with one more state: a push to a closed list fails, and the caller
//! keeps the node. So when a producer races with the end of a worker, no node is lost or left in a
//! list that is not read any more.
//!
//! C header: [`include/linux/llist.h`](srctree/include/linux/llist.h)

use core::{
    cell::{
        Cell,
        UnsafeCell, //
    },
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

/// A class of nodes that may be in the same list.
pub(super) trait Class {
    /// The argument with which the nodes are run.
    type Context<'a>;
}

/// Consumes a node that was taken from a list: runs it if there is a context, and otherwise only
/// releases it.
pub(super) type Consume<C> = unsafe fn(NonNull<Link<C>>, Option<&<C as Class>::Context<'_>>);

/// A list node, which must be the first field of the object that is queued.
///
/// # Invariants
///
/// `next` is accessed only by the owner of the node: the one who pushes it until the push has
/// succeeded, and afterwards the one who has taken the list.
#[repr(C)]
pub(super) struct Link<C: Class> {
    next: UnsafeCell<*mut Link<C>>,
    consume: Consume<C>,
}

impl<C: Class> Link<C> {
    /// Creates a node that is in no list.
    pub(super) const fn new(consume: Consume<C>) -> Self {
        Self {
            next: UnsafeCell::new(null_mut()),
            consume,
        }
    }
}

/// Returns the address that marks a closed list. It is never dereferenced, and no node has it.
const fn closed<C: Class>() -> *mut Link<C> {
    core::ptr::without_provenance_mut(1)
}

/// A lock-less list.
///
/// # Invariants
///
/// `head` is null, [`closed`], or the first of a chain of nodes that this list owns.
pub(super) struct Links<C: Class> {
    head: Atomic<*mut Link<C>>,
}

impl<C: Class> Links<C> {
    /// Creates an empty, open list.
    pub(super) const fn new() -> Self {
        // INVARIANT: Null is allowed.
        Self {
            head: Atomic::new(null_mut()),
        }
    }

    /// Adds `link` to the list. Returns false if the list is closed; the caller keeps the node
    /// then.
    ///
    /// May be called in any context. A full barrier on success.
    ///
    /// # Safety
    ///
    /// The caller must own `link`, which must be valid until it has been consumed. The ownership
    /// passes to the list when this returns true.
    pub(super) unsafe fn push(&self, link: NonNull<Link<C>>) -> bool {
        let mut head = self.head.load(Relaxed);
        loop {
            if head == closed() {
                return false;
            }
            // SAFETY: The caller owns the node, so by its invariant we may write to `next`.
            unsafe { *link.as_ref().next.get() = head };
            // INVARIANT: The chain gains a node whose ownership passes to the list.
            match self.head.cmpxchg(head, link.as_ptr(), Full) {
                Ok(_) => return true,
                Err(now) => head = now,
            }
        }
    }

    /// Returns whether the list is closed, which is final.
    pub(super) fn is_closed(&self) -> bool {
        self.head.load(Relaxed) == closed()
    }

    /// Returns whether there are no nodes.
    pub(super) fn is_empty(&self) -> bool {
        self.head.load(Relaxed).is_null()
    }

    /// Takes all nodes, in the order in which they were pushed.
    pub(super) fn take(&self) -> Detached<C> {
        if self.head.load(Relaxed).is_null() {
            return Detached(Cell::new(null_mut()));
        }
        self.replace(null_mut())
    }

    /// Takes all nodes and closes the list.
    pub(super) fn close(&self) -> Detached<C> {
        self.replace(closed())
    }

    fn replace(&self, with: *mut Link<C>) -> Detached<C> {
        let mut from = self.head.load(Relaxed);
        loop {
            if from == closed() {
                return Detached(Cell::new(null_mut()));
            }
            // INVARIANT: Null and `closed()` are allowed, and the chain is ours now.
            match self.head.cmpxchg(from, with, Full) {
                Ok(_) => break,
                Err(now) => from = now,
            }
        }
        let mut first = null_mut();
        while let Some(link) = NonNull::new(from) {
            // SAFETY: The list owned the nodes of the chain, and we have taken it.
            let next = unsafe { link.as_ref().next.get() };
            // SAFETY: As above, we may read and write `next`.
            unsafe {
                from = *next;
                *next = first;
            }
            first = link.as_ptr();
        }
        Detached(Cell::new(first))
    }
}

/// Nodes that were taken from a list. Those that are not consumed are released on drop.
///
/// # Invariants
///
/// Null, or the first of a chain of nodes that this value owns.
pub(super) struct Detached<C: Class>(Cell<*mut Link<C>>);

impl<C: Class> Detached<C> {
    /// Returns whether there are no nodes.
    pub(super) fn is_empty(&self) -> bool {
        self.0.get().is_null()
    }

    /// Consumes the oldest node. Returns false if there is none.
    pub(super) fn consume_one(&self, ctx: Option<&C::Context<'_>>) -> bool {
        let Some(link) = NonNull::new(self.0.get()) else {
            return false;
        };
        // SAFETY: By the invariant the node is valid and ours.
        let (next, consume) = unsafe { (*link.as_ref().next.get(), link.as_ref().consume) };
        // INVARIANT: The rest of the chain is still ours.
        self.0.set(next);
        // SAFETY: `consume` was set for this node by its creator. We own the node and do not use it
        // again.
        unsafe { consume(link, ctx) };
        true
    }
}

impl<C: Class> Drop for Detached<C> {
    fn drop(&mut self) {
        while self.consume_one(None) {}
    }
}
