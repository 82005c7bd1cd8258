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
//! another queue held: only the shrinker tries it, under any lock. It must not be held during a flush.

use kernel::{
    fs::File,
    prelude::*,
    sync::{
        Arc,
        Mutex, //
    },
};

use crate::{
    kapi::{
        delay::Delay,
        mm::InMm,
        retire::{
            Domain,
            Retired,
            Slot, //
        },
        shrinker::{
            Shrink,
            Shrinker, //
        },
        uaccess::UserMem,
        wait::{
            FilePoll,
            Interest,
            Pollable,
            Ready, //
        },
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
        session::Buffers,
        state::{
            Outcome,
            State, //
        },
        wakers::{
            Served,
            Wakers, //
        },
    },
    virtqueue::mem::MemFault, //
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
    backend: Slot<Arc<E::Backend>>,
    pub(super) stats: QueueStats,
}

impl<E: Endpoint> Run for Queue<E> {
    fn run(work: &Arc<Work<Self>>, ctx: &Context<'_>) {
        // The lock is not needed: the backend is kept valid by the flush that precedes its release.
        let Some(backend) = work.backend.read(ctx) else {
            return;
        };
        let mut state = work.state.lock();
        if state.serve(backend, *ctx.mm(), &work.stats) == Outcome::Again {
            ctx.requeue(work);
        }
    }
}

impl<E: Endpoint> Served for Queue<E> {
    type Idle = Idle<E>;
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

impl<E: Endpoint> Idle<E> {
    fn new(queue: &Arc<Work<Queue<E>>>) -> Result<Arc<Work<Self>>> {
        Arc::pin_init(Work::new::<Error>(Ok(Self(queue.clone()))), GFP_KERNEL)
    }
}

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
    pub(super) fn new(endpoint: E, domain: &Arc<Domain>) -> Result<Arc<Work<Self>>> {
        let backend = Slot::new(domain.clone());
        Arc::pin_init(
            Work::new::<Error>(try_pin_init!(Self {
                state <- kernel::new_mutex!(State::new(endpoint), "vhost_net_rs::Queue::state"),
                backend,
                stats: QueueStats::new(),
            }? Error)),
            GFP_KERNEL,
        )
    }

    /// Returns the statistics of the queue.
    pub(crate) fn stats(&self) -> &QueueStats {
        &self.stats
    }

    /// Allocates the memory for serving the queue that does not depend on the backend.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(super) fn buffers(&self) -> Result<Buffers> {
        let most = self.state.lock().endpoint.buffers_max();
        Buffers::new(most)
    }

    /// Attaches the backend that `open` returns, or detaches the current one if it returns `None`.
    ///
    /// The caller must hold the device's lock. It must reclaim the old backend without the queue's
    /// lock.
    ///
    /// # Errors
    ///
    /// In this order: `EFAULT` when the ring or the memory table is outside user space, the errors
    /// of `open`, `ENOMEM`, `EFAULT` when the used ring cannot be accessed, `EINVAL` when the
    /// backend reports an error and is not ready, and the errors of [`Endpoint::attach`]. The old
    /// backend stays attached then.
    pub(super) fn set_backend(
        work: &Arc<Work<Self>>,
        worker: &Arc<Worker>,
        mm: InMm<'_>,
        open: impl FnOnce() -> Result<Option<E::Backend>>,
    ) -> Result<Attachment<Arc<E::Backend>>> {
        let mut state = work.state.lock();
        state.check_bounds()?;
        let Some(backend) = open()? else {
            return Ok(work.detach_locked(&mut state));
        };
        if state
            .wakers
            .as_ref()
            .is_some_and(|w| same_file(w.file.file(), backend.file()))
        {
            return Ok(Attachment::Same);
        }
        let backend = Arc::new(backend, GFP_KERNEL)?;
        let boxed = KBox::new(backend.clone(), GFP_KERNEL)?;
        let file = backend.file().clone();
        let interest = state.endpoint.interest();
        let mut file = FilePoll::new(file, interest, worker.clone(), work.clone())?;
        let delay = Delay::new(worker.clone(), work.clone())?;
        let keeps = state.endpoint.keeps_memory();
        let idle = keeps.then(|| Delay::new(worker.clone(), Idle::new(work)?));
        let idle = idle.transpose()?;
        let shrinker = (keeps && state.shrinker.is_none()).then(|| Shrinker::new(work.clone()));
        let shrinker = shrinker.transpose()?;
        state
            .ring
            .attach(&UserMem::new(mm))
            .map_err(|MemFault| EFAULT)?;
        let ready = file.as_mut().arm()?;
        state.endpoint.attach(&backend)?;
        let retired = work.backend.swap(Some(boxed));
        // Work that was queued before the swap may have run without a backend, so it is queued
        // again if the backend is ready, and otherwise when it becomes ready.
        if ready == Ready::Yes {
            file.queue();
        }
        state.wakers = Some(Wakers::new(file, delay, idle));
        state.shrinker = state.shrinker.take().or(shrinker);
        Ok(Attachment::Changed(retired))
    }

    /// Detaches the backend, if there is one.
    pub(super) fn detach(&self) -> Attachment<Arc<E::Backend>> {
        self.detach_locked(&mut self.state.lock())
    }

    fn detach_locked(&self, state: &mut State<E, Self>) -> Attachment<Arc<E::Backend>> {
        if state.wakers.take().is_none() {
            return Attachment::None;
        }
        state.shrinker = None;
        state.endpoint.detach();
        Attachment::Changed(self.backend.swap(None))
    }

    /// Replaces the kick file. The first value is true if there was one before; the work that it
    /// has queued may still run until a flush.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, and nothing changes. `EINVAL` when the file reports an error and no kick; the file
    /// is installed nevertheless.
    pub(super) fn set_kick(
        work: &Arc<Work<Self>>,
        worker: &Arc<Worker>,
        file: Option<Pollable>,
    ) -> (bool, Result) {
        let mut state = work.state.lock();
        let installed = state.kick.as_ref().map(|k| core::ptr::from_ref(k.file()));
        if installed == file.as_deref().map(core::ptr::from_ref::<File>) {
            return (false, Ok(()));
        }
        let kick =
            file.map(|file| FilePoll::new(file, Interest::Readable, worker.clone(), work.clone()));
        let mut kick = match kick.transpose() {
            Ok(kick) => kick,
            Err(e) => return (false, Err(e)),
        };
        let replaced = state.kick.take().is_some();
        let started = match kick.as_mut() {
            Some(kick) => kick.as_mut().start(),
            None => Ok(()),
        };
        state.kick = kick;
        (replaced, started)
    }
}

/// Returns whether both refer to the same open file.
fn same_file(a: &File, b: &File) -> bool {
    core::ptr::eq(a, b)
}
