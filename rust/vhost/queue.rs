// SPDX-License-Identifier: GPL-2.0

//! A queue: a ring, its settings, and the worker that serves it.
//!
//! # Locking
//!
//! The queue's lock protects everything that changes except the statistics and the backend. Work
//! items read the backend before they take the lock. It is replaced through [`Slot`], so that the
//! old one is freed when no work item uses it.
//!
//! The queue's lock may be taken with the device's lock held or without, but never with the lock of
//! another queue held: only the shrinker tries it, under any lock. It must not be held during a
//! flush.

use core::mem::replace;
use kernel::{
    prelude::*,
    sync::{
        Arc,
        Mutex, //
    },
};

use crate::{
    kapi::{
        mm::InMm,
        retire::{
            Domain,
            Retired,
            Slot, //
        },
        shrinker::Shrink,
        wait::Pollable,
        work::{
            Context,
            Run,
            Work, //
        },
        worker::Worker,
    },
    stats::QueueStats,
    vhost::{
        endpoint::{
            Backend,
            Endpoint, //
        },
        messages::Asker,
        resources::{
            Needs,
            Resources, //
        },
        state::State,
        wakers::Served,
    },
};

/// The result of replacing a backend.
#[must_use = "what was replaced is still in use"]
pub(super) enum Attachment<T> {
    /// The backend was attached already.
    Same,
    /// There is no backend, and there was none before.
    None,
    /// The backend was replaced. The old one may be in use until the value is reclaimed.
    Changed(Retired<T>),
}

/// A queue; see the [module documentation](self).
#[pin_data]
pub(crate) struct Queue<E: Endpoint> {
    #[pin]
    pub(super) state: Mutex<State<E, Queue<E>>>,
    backend: Slot<E::Backend>,
    /// The worker that serves the queue, for those who must not wait for a run.
    #[pin]
    serving: Mutex<Option<Arc<Worker>>>,
    pub(super) stats: QueueStats,
}

impl<E: Endpoint> Run for Queue<E> {
    fn run(work: &Arc<Work<Self>>, ctx: &Context<'_>) {
        // The lock is not needed: the backend is kept valid by the flush that precedes its release.
        let Some(backend) = work.backend.read(ctx) else {
            return;
        };
        work.state.lock().serve(backend, ctx, &work.stats);
    }
}

impl<E: Endpoint> Served for Queue<E> {
    type Idle = Idle<E>;

    fn idle(work: &Arc<Work<Self>>) -> Result<Arc<Work<Idle<E>>>> {
        Arc::pin_init(Work::new::<Error>(Ok(Idle(work.clone()))), GFP_KERNEL)
    }
}

impl<E: Endpoint> Shrink for Queue<E> {
    /// A queue that is being served uses its memory, and has none to free.
    fn count(&self) -> usize {
        match self.state.try_lock() {
            Some(state) => state.endpoint.spare(),
            None => 0,
        }
    }

    fn scan(&self) -> usize {
        let Some(mut state) = self.state.try_lock() else {
            return 0;
        };
        state.endpoint.free_spare()
    }
}

/// The work item that checks whether a queue is idle. It does not serve the queue.
pub(super) struct Idle<E: Endpoint>(Arc<Work<Queue<E>>>);

impl<E: Endpoint> Run for Idle<E> {
    fn run(work: &Arc<Work<Self>>, _ctx: &Context<'_>) {
        let queue = &work.0;
        queue.state.lock().look_idle(&queue.stats);
    }
}

impl<E: Endpoint> Queue<E> {
    /// Creates a queue whose work is run by the workers of `domain`.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(super) fn new(endpoint: E, asker: Asker, domain: &Arc<Domain>) -> Result<Arc<Work<Self>>> {
        let backend = Slot::new(domain.clone());
        Arc::pin_init(
            Work::new::<Error>(try_pin_init!(Self {
                state <- kernel::new_mutex!(State::new(endpoint, asker), "vhost_net_rs::Queue::state"),
                backend,
                serving <- kernel::new_mutex!(None, "vhost_net_rs::Queue::serving"),
                stats: QueueStats::new(),
            }? Error)),
            GFP_KERNEL,
        )
    }

    /// Returns the statistics of the queue.
    pub(crate) fn stats(&self) -> &QueueStats {
        &self.stats
    }

    /// Allocates what the queue needs while the device has an owner. Events will queue `work` to
    /// `worker`. On failure nothing changes.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(super) fn allocate(work: &Arc<Work<Self>>, worker: &Arc<Worker>) -> Result {
        work.state.lock().allocate(worker, work)?;
        work.set_serving(Some(worker.clone()));
        Ok(())
    }

    /// Lets another worker of the device serve the queue.
    ///
    /// The old one may still serve it until a flush, which the caller must wait for without the
    /// queue's lock.
    ///
    /// # Errors
    ///
    /// `EPERM` when the device has no owner; `ENOMEM`. Nothing changes then.
    pub(super) fn set_worker(work: &Arc<Work<Self>>, worker: &Arc<Worker>) -> Result {
        let needs = Needs::of(&work.state.lock().endpoint);
        let wakers = Resources::wakers(needs, worker, work)?;
        let old = work.state.lock().set_wakers(wakers)?;
        work.set_serving(Some(worker.clone()));
        drop(old);
        Ok(())
    }

    fn set_serving(&self, worker: Option<Arc<Worker>>) {
        let old = replace(&mut *self.serving.lock(), worker);
        drop(old);
    }

    /// Returns the ID of the thread that serves the queue, in the PID namespace of the current
    /// task; see [`Worker::tid`]. Does not wait for runs.
    pub(crate) fn tid(&self) -> Option<i32> {
        let worker = self.serving.lock().clone();
        worker?.tid()
    }

    /// Frees what [`Self::allocate`] has allocated, and removes all event sources. The queue must
    /// be detached. The work that kicks have queued may still run until a flush.
    pub(super) fn free(&self) {
        let resources = self.state.lock().take_resources();
        drop(resources);
        self.set_serving(None);
    }

    /// Attaches the backend that `open` returns, or detaches the current one if it returns `None`.
    ///
    /// The caller must hold the device's lock. It must reclaim the old backend without the queue's
    /// lock.
    ///
    /// # Errors
    ///
    /// In this order: `EFAULT` when the ring or the memory table is outside user space, the errors
    /// of `open`, `EPERM` when the device has no owner, `ENOMEM`, `EFAULT` when the used ring
    /// cannot be accessed, `EINVAL` when the backend reports an error and is not ready. The old
    /// backend stays attached then.
    pub(super) fn set_backend(
        &self,
        mm: InMm<'_>,
        open: impl FnOnce() -> Result<Option<E::Backend>>,
    ) -> Result<Attachment<E::Backend>> {
        let mut state = self.state.lock();
        state.check_bounds()?;
        let Some(backend) = open()? else {
            return Ok(self.detach_locked(&mut state));
        };
        let (wakers, _) = state.parts().ok_or(EPERM)?;
        if wakers.attached() == Some(backend.file()) {
            return Ok(Attachment::Same);
        }
        let backend = Arc::new(backend, GFP_KERNEL)?;
        state.attach_ring(mm)?;
        let file = backend.file().clone();
        let _ = file.poll(state.endpoint.interest())?;
        let (wakers, endpoint) = state.parts().ok_or(EPERM)?;
        endpoint.set_backend(Some(&backend));
        let retired = self.backend.swap(Some(backend));
        // Work that was queued before the swap may have run without a backend. So the new one is
        // polled after the swap, and the work is queued again if it is ready.
        wakers.attach(file);
        Ok(Attachment::Changed(retired))
    }

    /// Detaches the backend, if there is one.
    pub(super) fn detach(&self) -> Attachment<E::Backend> {
        self.detach_locked(&mut self.state.lock())
    }

    fn detach_locked(&self, state: &mut State<E, Self>) -> Attachment<E::Backend> {
        let Some((wakers, endpoint)) = state.parts() else {
            return Attachment::None;
        };
        if !wakers.detach() {
            return Attachment::None;
        }
        endpoint.set_backend(None);
        Attachment::Changed(self.backend.swap(None))
    }

    /// Replaces the kick file; see [`Wakers::set_kick`](super::wakers::Wakers::set_kick).
    ///
    /// # Errors
    ///
    /// `EPERM` when the device has no owner, and those of [`Wakers::set_kick`].
    pub(super) fn set_kick(&self, file: Option<Pollable>) -> (bool, Result) {
        match self.state.lock().parts() {
            Some((wakers, _)) => wakers.set_kick(file),
            None => (false, Err(EPERM)),
        }
    }
}
