// SPDX-License-Identifier: GPL-2.0

//! Work, run one item after the other by a thread in the owner's address space.
//!
//! [`Work`] is what is queued: a counted object that holds the list node. [`Worker`] is the
//! list and the way to wake who reads it; any number of holders may queue to it, also after its
//! thread is gone, when queueing does nothing. The thread itself is [`super::thread::Thread`].
//!
//! # Waking
//!
//! A producer pushes (full barrier) and then looks for the thread; the thread first makes itself
//! known and its state "about to sleep" (full barrier) and then looks at the list. So either the
//! producer wakes it or the thread sees the item.

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

/// The workers that are flushed together.
pub(crate) type Domain = domain::Domain<Worker>;

/// Where work is queued.
///
/// # Invariants
///
/// - `task` is null or a task on which this object holds a reference.
/// - From before its thread can run an item until that has run its last, the worker is in its
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

// SAFETY: The list and the task pointer are atomics over things that may be used from any thread
// (a task reference may be dropped anywhere); the rest is `Send`.
unsafe impl Send for Worker {}
// SAFETY: As above; all methods take `&self` and synchronise through the atomics.
unsafe impl Sync for Worker {}

impl Worker {
    /// A worker without a thread yet, on the owner's.
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

    /// Queues `work` unless it is queued already.
    ///
    /// Any context, also with interrupts off. Nothing happens when the worker is gone.
    pub(crate) fn queue<T: Run>(&self, work: &Arc<Work<T>>) {
        if Work::push(work, &self.links) {
            self.wake();
        }
    }

    fn wake(&self) {
        let task = self.task.load(Acquire);
        if !task.is_null() {
            // SAFETY: By the invariant we hold a reference on the task; waking one that has
            // exited does nothing.
            unsafe { ffi::wake_up_process(task) };
        }
    }

    /// Makes the calling thread the one that is woken. First thing on the worker's thread.
    pub(super) fn announce(&self) {
        if !self.task.load(Relaxed).is_null() {
            return;
        }
        // SAFETY: The current task is valid, and so a reference may be taken.
        let task = unsafe { ffi::vnr_get_task_struct(kernel::task::Task::current_raw()) };
        // INVARIANT: The reference taken above. Full barrier, see the module's documentation.
        let old = self.task.xchg(task, Full);
        // SAFETY: Taken out of `task`.
        unsafe { Self::put(old) };
    }

    /// # Safety
    ///
    /// `task` was taken out of the field of that name, with its reference.
    unsafe fn put(task: *mut ffi::task_struct) {
        if !task.is_null() {
            // SAFETY: As the caller promises.
            unsafe { ffi::vnr_put_task_struct(task) };
        }
    }

    /// Takes what is queued; `None` when there is nothing. The thread's state is running then.
    ///
    /// # Safety
    ///
    /// The current thread is this worker's.
    pub(super) unsafe fn take(&self) -> Option<Queued<'_>> {
        let chain = self.links.take();
        if chain.is_empty() {
            return None;
        }
        // SAFETY: Setting the state of the current task to running is always allowed.
        unsafe { ffi::vnr_finish_state(ffi::VNR_TASK_RUNNING as i32) };
        // INVARIANT: As the caller promises.
        Some(Queued {
            worker: self,
            chain,
            _thread: PhantomData,
        })
    }

    /// Takes what is left, and refuses further work.
    ///
    /// # Safety
    ///
    /// As [`Worker::take`].
    pub(super) unsafe fn take_last(&self) -> Queued<'_> {
        // INVARIANT: As the caller promises.
        Queued {
            worker: self,
            chain: self.links.close(),
            _thread: PhantomData,
        }
    }

    /// Refuses further work, gives back what is left, and releases who waits for the worker.
    ///
    /// # Safety
    ///
    /// The worker's thread runs no item any more, or never came to be.
    pub(super) unsafe fn discard(&self) {
        drop(self.links.close());
        self.exited.complete_all();
    }

    /// Whose memory the items may touch.
    pub(super) fn owner(&self) -> &Owner {
        &self.owner
    }

    /// Whose flush waits for this worker.
    pub(super) fn domain(&self) -> &Arc<Domain> {
        &self.domain
    }
}

impl Flush for Worker {
    /// Not from a work item of this worker, which would wait for itself.
    fn flush(&self) {
        pin_init::stack_pin_init!(let marker = Marker::new());
        let link = NonNull::from(&*marker).cast::<Link>();
        // SAFETY: The marker is ours and stays valid: we do not return before it is consumed,
        // which is what completes it.
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
        // SAFETY: Taken out of `task`.
        unsafe { Self::put(self.task.xchg(core::ptr::null_mut(), Full)) };
    }
}

/// What a worker's thread has taken. What is not run is given back, in its order, on drop.
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
    /// Runs it, in the owner's address space.
    pub(super) fn run(mut self, mm: InMm<'_>) {
        let worker = self.worker;
        // SAFETY: By the invariant this is the worker's thread, which takes what is queued meanwhile
        // once it has run these.
        let ctx = unsafe { Context::new(&worker.links, worker.domain.id(), mm) };
        let mut one = || self.chain.consume_one(Some(&ctx));
        while worker.coverage.collect(&mut one) {
            // SAFETY: Process context with nothing held, as `Run::run` left it.
            unsafe { ffi::vnr_cond_resched() };
        }
    }
}

/// What a flush queues: it is consumed after everything queued before.
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

    /// # Safety
    ///
    /// `link` is the first field of a `Marker` whose maker waits for it.
    unsafe fn consume(link: NonNull<Link>, _ctx: Option<&Context<'_>>) {
        // SAFETY: CAST: `Marker` is `repr(C)` with the link first, and valid until completed.
        unsafe { link.cast::<Self>().as_ref() }.done.complete_all();
    }
}
