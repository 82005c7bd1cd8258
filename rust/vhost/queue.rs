// SPDX-License-Identifier: GPL-2.0

//! A queue: a ring, what userspace has set for it, and who serves it.
//!
//! # Locking
//!
//! Everything that can change is behind the queue's lock, but for the backend: that one is read
//! by work items, before they take the lock, and replaced through [`Slot`], so that whoever
//! replaces it knows when the old one is not in use any more. The lock is taken with the device's lock held or without, never
//! together with that of another queue. Nobody flushes while holding it.

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
        uaccess::UserMem,
        wait::{
            FilePoll,
            Interest,
            Pollable, //
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

/// What became of the backend.
#[must_use = "what was replaced is still in use"]
pub(super) enum Attachment<T> {
    /// It is the one that was there.
    Same,
    /// There was none and there is none.
    None,
    /// It has changed; the old one is in use until this is reclaimed.
    Changed(Retired<T>),
}

/// See the [module's documentation](self).
#[pin_data]
pub(crate) struct Queue<E: Endpoint> {
    #[pin]
    pub(super) state: Mutex<State<E, Queue<E>>>,
    backend: Slot<Arc<E::Backend>>,
    pub(super) stats: QueueStats,
}

impl<E: Endpoint> Run for Queue<E> {
    fn run(work: &Arc<Work<Self>>, ctx: &Context<'_>) {
        // Without the lock: that the backend stays is what the flush is for.
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

/// Looks whether a queue is idle, without serving it.
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
    /// A fresh queue, whose work is run by the workers of `domain`.
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

    /// What the queue has done so far.
    pub(crate) fn stats(&self) -> &QueueStats {
        &self.stats
    }

    /// Attaches what `open` yields, or detaches.
    ///
    /// With the device's lock held. The caller reclaims what was replaced without the queue's.
    ///
    /// # Errors
    ///
    /// In this order: `EFAULT` when the ring or the memory table is out of bounds, those of
    /// `open`, `ENOMEM`, `EFAULT` when the ring cannot be accessed, `EINVAL` when the backend
    /// reports an error and is not ready. The old backend stays attached then.
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
        let idle = Delay::new(worker.clone(), Idle::new(work)?)?;
        state
            .ring
            .attach(&UserMem::new(mm))
            .map_err(|MemFault| EFAULT)?;
        // What this and kicks have queued up to here may have run without a backend.
        file.as_mut().arm()?;
        state.endpoint.attach(&backend)?;
        let retired = work.backend.swap(Some(boxed));
        file.queue();
        state.wakers = Some(Wakers::new(file, delay, idle));
        Ok(Attachment::Changed(retired))
    }

    /// Detaches, whatever is set.
    pub(super) fn detach(&self) -> Attachment<Arc<E::Backend>> {
        self.detach_locked(&mut self.state.lock())
    }

    fn detach_locked(&self, state: &mut State<E, Self>) -> Attachment<Arc<E::Backend>> {
        if state.wakers.take().is_none() {
            return Attachment::None;
        }
        state.endpoint.detach();
        Attachment::Changed(self.backend.swap(None))
    }

    /// Replaces the kick file; true when there was one, and then what it has queued may still
    /// run until a flush.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, and then nothing changes; `EINVAL` when the file reports an error and no
    /// kick, and then it is installed all the same.
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

/// Whether both are one open file.
fn same_file(a: &File, b: &File) -> bool {
    core::ptr::eq(a, b)
}
