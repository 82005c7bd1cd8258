// SPDX-License-Identifier: GPL-2.0

//! Running work items one after the other on a thread in the owner's address space.
//!
//! [`Work`] is a reference-counted object with a list node. [`Worker`] has the list, and wakes the
//! thread that reads it. There may be any number of references to a worker, and it may outlive its
//! thread; queueing has no effect then. The thread itself is [`super::thread::Thread`].
//!
//! # Waking
//!
//! A producer pushes a node (full barrier) and then reads which thread to wake. The thread
//! publishes itself and sets its state to sleeping (full barrier), and then reads the list. So
//! either the producer wakes the thread, or the thread sees the node.

use core::{
    marker::PhantomData,
    ptr::NonNull, //
};
use kernel::{
    prelude::*,
    sync::{
        atomic::{
            ordering::{
                Acquire,
                Full,
                Relaxed, //
            },
            Atomic, //
        },
        Arc,
        Completion, //
    },
    types::NotThreadSafe, //
};

use super::{
    domain::{
        self,
        Flush, //
    },
    ffi,
    kcov::Coverage,
    link::Detached,
    mm::{
        InMm,
        Owner, //
    },
    work::{
        Context,
        Items,
        Link,
        Links,
        Run,
        Work, //
    },
};

/// A set of workers that are flushed together.
pub(crate) type Domain = domain::Domain<Worker>;

/// A list of queued work, and the thread that runs it.
///
/// # Invariants
///
/// - `task` is null or a task on which this object holds a reference.
/// - From before its thread can run an item until it has run the last one, the worker is in its
///   domain, and `exited` is not completed.
#[pin_data(PinnedDrop)]
pub(crate) struct Worker {
    links: Links,
    task: Atomic<*mut ffi::task_struct>,
    #[pin]
    exited: Completion,
    owner: Owner,
    domain: Arc<Domain>,
    coverage: Coverage,
}

// SAFETY: The list and the task pointer are atomics whose targets may be used from any thread, and
// a task reference may be dropped on any thread. The other fields are `Send`.
unsafe impl Send for Worker {}
// SAFETY: As above; all methods take `&self` and synchronise through the atomics.
unsafe impl Sync for Worker {}

impl Worker {
    /// Creates a worker without a thread, whose items are to run in the owner's address space.
    pub(super) fn new(owner: Owner, domain: Arc<Domain>) -> impl PinInit<Self> {
        // INVARIANT: `task` is null.
        pin_init!(Self {
            links: Links::new(),
            task: Atomic::new(core::ptr::null_mut()),
            exited <- Completion::new(),
            owner,
            domain,
            coverage: Coverage::of_current(),
        })
    }

    /// Queues `work` unless it is queued already, to any worker. Has no effect if the thread has
    /// ended.
    ///
    /// While a worker whose thread has ended refuses an item, the item appears to be queued. So an
    /// item must no longer be queued to such a worker before it is queued to another one.
    ///
    /// May be called in any context, also with interrupts disabled.
    pub(crate) fn queue<T: Run>(&self, work: &Arc<Work<T>>) {
        if Work::push(work, &self.links) {
            self.wake();
        }
    }

    fn wake(&self) {
        let task = self.task.load(Acquire);
        if !task.is_null() {
            // SAFETY: By the invariant we hold a reference on the task. Waking a task that has
            // exited has no effect.
            unsafe { ffi::wake_up_process(task) };
        }
    }

    /// Returns the ID of the thread in the PID namespace of the current task. Returns `None` if the
    /// thread has not run yet or has ended, or if the namespace does not have it.
    pub(crate) fn tid(&self) -> Option<i32> {
        let task = NonNull::new(self.task.load(Acquire))?;
        // SAFETY: By the invariant we hold a reference on the task.
        let tid = unsafe { ffi::vnr_task_pid_vnr(task.as_ptr()) };
        (tid > 0).then_some(tid)
    }

    /// Returns whether the thread has ended, or is about to: no item will be run any more.
    pub(crate) fn has_ended(&self) -> bool {
        self.links.is_closed()
    }

    /// Makes the current thread the one to wake. Must be called first on the worker's thread.
    pub(super) fn announce(&self) {
        if !self.task.load(Relaxed).is_null() {
            return;
        }
        // SAFETY: The current task is valid, so a reference may be taken on it.
        let task = unsafe { ffi::vnr_get_task_struct(kernel::task::Task::current_raw()) };
        // INVARIANT: The reference was taken above. Full barrier; see the module documentation.
        let old = self.task.xchg(task, Full);
        // SAFETY: The pointer was taken out of the field `task`.
        unsafe { Self::put(old) };
    }

    /// Drops a reference on a task.
    ///
    /// # Safety
    ///
    /// The pointer must have been taken out of the field `task`, together with its reference.
    unsafe fn put(task: *mut ffi::task_struct) {
        if !task.is_null() {
            // SAFETY: By the safety requirements of this function the reference is ours.
            unsafe { ffi::vnr_put_task_struct(task) };
        }
    }

    /// Takes all queued items and sets the thread's state to running, or returns `None` if there
    /// are none.
    ///
    /// # Safety
    ///
    /// The current thread must be this worker's.
    pub(super) unsafe fn take(&self) -> Option<Queued<'_>> {
        let chain = self.links.take();
        if chain.is_empty() {
            return None;
        }
        // SAFETY: The current task may always set its state to running.
        unsafe { ffi::vnr_finish_state(ffi::VNR_TASK_RUNNING as i32) };
        // INVARIANT: By the safety requirements of this function.
        Some(Queued {
            worker: self,
            chain,
            _thread: PhantomData,
        })
    }

    /// Takes all items that are left, and closes the list to new ones.
    ///
    /// # Safety
    ///
    /// As for [`Worker::take`].
    pub(super) unsafe fn take_last(&self) -> Queued<'_> {
        // INVARIANT: By the safety requirements of this function.
        Queued {
            worker: self,
            chain: self.links.close(),
            _thread: PhantomData,
        }
    }

    /// Closes the list to new items, releases those that are left, and completes `exited`.
    ///
    /// # Safety
    ///
    /// The worker's thread must have run its last item, or must never have been started.
    pub(super) unsafe fn discard(&self) {
        drop(self.links.close());
        self.exited.complete_all();
    }

    /// Returns the owner, in whose address space the items run.
    pub(super) fn owner(&self) -> &Owner {
        &self.owner
    }

    /// Returns the domain whose flush waits for this worker.
    pub(super) fn domain(&self) -> &Arc<Domain> {
        &self.domain
    }
}

impl Flush for Worker {
    /// Must not be called from a work item of this worker, which would wait for itself.
    fn flush(&self) {
        pin_init::stack_pin_init!(let marker = Marker::new());
        let link = NonNull::from(&*marker).cast::<Link>();
        // SAFETY: The marker is ours and stays valid until it is consumed: we wait for its
        // completion, which only `consume` signals.
        if unsafe { self.links.push(link) } {
            self.wake();
            marker.done.wait_for_completion();
        } else {
            self.exited.wait_for_completion();
        }
    }
}

#[pinned_drop]
impl PinnedDrop for Worker {
    fn drop(self: Pin<&mut Self>) {
        drop(self.links.close());
        // SAFETY: The pointer was taken out of the field `task`.
        unsafe { Self::put(self.task.xchg(core::ptr::null_mut(), Full)) };
    }
}

/// The items that a worker's thread has taken. Those that are not run are released in order on
/// drop.
///
/// # Invariants
///
/// The current thread is the worker's.
pub(super) struct Queued<'a> {
    worker: &'a Worker,
    chain: Detached<Items>,
    _thread: PhantomData<NotThreadSafe>,
}

impl Queued<'_> {
    /// Runs the items in the owner's address space.
    pub(super) fn run(self, mm: InMm<'_>) {
        let worker = self.worker;
        // SAFETY: By the invariant this is the worker's thread.
        let ctx = unsafe { Context::new(worker.domain.id(), mm, &worker.links, &self.chain) };
        let one = || self.chain.consume_one(Some(&ctx));
        while worker.coverage.collect(one) {
            // SAFETY: This is process context, and `Run::run` has left no lock held.
            unsafe { ffi::vnr_cond_resched() };
        }
    }
}

/// The node that a flush queues. It is consumed after everything that was queued before.
#[repr(C)]
#[pin_data]
struct Marker {
    link: Link,
    #[pin]
    done: Completion,
}

impl Marker {
    fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            link: Link::new(Self::consume),
            done <- Completion::new(),
        })
    }

    /// Completes the marker.
    ///
    /// # Safety
    ///
    /// `link` must be the first field of a `Marker` that is valid until it is completed.
    unsafe fn consume(link: NonNull<Link>, _ctx: Option<&Context<'_>>) {
        // SAFETY: CAST: `Marker` is `repr(C)` with the link first, and valid until it is completed.
        unsafe { link.cast::<Self>().as_ref() }.done.complete_all();
    }
}
