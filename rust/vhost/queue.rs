// SPDX-License-Identifier: GPL-2.0

//! A queue: a ring, what userspace has set for it, and who serves it.
//!
//! # Locking
//!
//! Everything that can change is behind the queue's lock, but for the backend: that one is read
//! by work items and replaced through [`Slot`], so that whoever replaces it knows when the old
//! one is not in use any more. The lock is taken with the device's lock held or without, never
//! together with that of another queue. Nobody flushes while holding it.

use kernel::{
    fs::File,
    prelude::*,
    sync::{
        aref::ARef,
        Arc,
        Mutex, //
    },
};

use crate::{
    kapi::{
        eventfd::EventFd,
        mm::InMm,
        retire::{
            Domain,
            Retired,
            Slot, //
        },
        uaccess::{
            access_ok,
            UserMem, //
        },
        wait::{
            FilePoll,
            Interest, //
        },
        worker::{
            Context,
            Run,
            Work,
            Worker, //
        },
    },
    stats::QueueStats,
    vhost::{
        features::Negotiated,
        mem::{
            MemFault,
            MemTable, //
        },
        ring::Ring,
        session::{
            Buffers,
            Next,
            Session, //
        },
        uapi::VringAddr, //
    },
};

/// What is on the other side of a queue.
pub(crate) trait Backend: Send + Sync + 'static {
    /// The file that becomes ready when it has something to give or room to take.
    fn file(&self) -> &ARef<File>;
}

/// Who moves data between a queue and its backend.
pub(crate) trait Endpoint: Send + Unpin + Sized + 'static {
    /// Its backend.
    type Backend: Backend;

    /// What of the backend's file it waits for.
    fn interest(&self) -> Interest;

    /// Prepares for a new backend; on failure nothing changes.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    fn attach(&mut self, backend: &Arc<Self::Backend>) -> Result;

    /// Gives back what it holds of the backend.
    fn detach(&mut self);

    /// Moves data until one side has nothing more, or it has had its share.
    fn serve(&mut self, backend: &Self::Backend, session: &mut Session<'_>) -> Next;
}

/// How often one run may find that something has slipped in while it asked for kicks. A guest
/// that adds one buffer at a time, just then, must not keep the worker from the other queue.
const ROUNDS: usize = 16;

/// What is left to do after a run.
#[derive(PartialEq, Eq)]
enum Outcome {
    /// Nothing, until something wakes the queue.
    Done,
    /// Another run, after everything that waits already.
    Again,
}

/// What became of the backend.
pub(super) enum Attachment<T> {
    /// It is the one that was there.
    Same,
    /// There was none and there is none.
    None,
    /// It has changed; the old one is in use until this is reclaimed.
    Changed(Retired<T>),
}

/// The kick file, and its place in a wait queue.
type Kick<E> = Pin<KBox<FilePoll<Queue<E>>>>;

/// What userspace has set, and the state of the ring.
pub(super) struct State<E: Endpoint> {
    pub(super) features: u64,
    negotiated: Negotiated,
    pub(super) backend_features: u64,
    pub(super) ring: Ring,
    table: Option<Arc<MemTable>>,
    hint: usize,
    buffers: Option<Buffers>,
    pub(super) kick: Option<Kick<E>>,
    pub(super) call: Option<EventFd>,
    pub(super) err: Option<EventFd>,
    /// Waits for the backend's file; there exactly while a backend is attached.
    ready: Option<Kick<E>>,
    endpoint: E,
}

/// See the [module's documentation](self).
#[pin_data]
pub(crate) struct Queue<E: Endpoint> {
    #[pin]
    pub(super) state: Mutex<State<E>>,
    backend: Slot<Arc<E::Backend>>,
    pub(super) stats: QueueStats,
}

impl<E: Endpoint> State<E> {
    fn new(endpoint: E) -> Self {
        Self {
            features: 0,
            negotiated: Negotiated::NONE,
            backend_features: 0,
            ring: Ring::new(),
            table: None,
            hint: 0,
            buffers: None,
            kick: None,
            call: None,
            err: None,
            ready: None,
            endpoint,
        }
    }

    /// Whether a backend is attached.
    pub(super) fn is_attached(&self) -> bool {
        self.ready.is_some()
    }

    /// Back to what it was after open. The endpoint has been detached before.
    pub(super) fn reset(&mut self) {
        self.features = 0;
        self.negotiated = Negotiated::NONE;
        self.backend_features = 0;
        self.ring = Ring::new();
        self.hint = 0;
        self.call = None;
        self.err = None;
    }

    /// Whether the ring and the memory table lie in user space, as far as that can be known.
    ///
    /// # Errors
    ///
    /// `EFAULT` when they do not, or when there is no table.
    fn check_bounds(&self) -> Result {
        let table = self.table.as_ref().ok_or(EFAULT)?;
        if table.regions_ok(access_ok) && self.ring.layout().parts_ok(self.negotiated, access_ok) {
            Ok(())
        } else {
            Err(EFAULT)
        }
    }

    /// What follows from the features that were set.
    pub(super) fn set_negotiated(&mut self, negotiated: Negotiated) {
        self.negotiated = negotiated;
        self.ring.set_event_idx(negotiated.event_idx());
    }

    /// Whether `table` would do, for a queue that is served already.
    ///
    /// # Errors
    ///
    /// `EFAULT` when it would not.
    pub(super) fn check_table(&self, table: &MemTable) -> Result {
        if self.is_attached() && !table.regions_ok(access_ok) {
            return Err(EFAULT);
        }
        Ok(())
    }

    /// Replaces the memory table; the old one is not used any more when this returns.
    pub(super) fn set_table(&mut self, table: Option<Arc<MemTable>>) {
        self.table = table;
        self.hint = 0;
    }

    /// VHOST_SET_VRING_ADDR, also while the queue is served.
    ///
    /// # Errors
    ///
    /// Those of [`super::layout::Layout::with_addr`]; `EINVAL` for a place that cannot be user memory when the
    /// queue is served.
    pub(super) fn set_addr(&mut self, addr: &VringAddr) -> Result {
        let layout = self.ring.layout().with_addr(addr)?;
        if self.is_attached() && !layout.parts_ok(self.negotiated, access_ok) {
            return Err(EINVAL);
        }
        self.ring.set_layout(layout);
        Ok(())
    }

    /// Allocates what serving needs; with a worker, and until there is none.
    pub(super) fn set_buffers(&mut self, buffers: Option<Buffers>) {
        self.buffers = buffers;
    }

    /// Serves the queue until there is nothing to do or it is another's turn.
    fn serve(&mut self, backend: &E::Backend, mm: InMm<'_>, stats: &QueueStats) -> Outcome {
        let (Some(table), Some(buffers)) = (self.table.as_ref(), self.buffers.as_mut()) else {
            return Outcome::Done;
        };
        if self.ring.layout().is_unset() {
            return Outcome::Done;
        }
        if let Some(ready) = self.ready.as_mut() {
            ready.as_mut().stop();
        }
        stats.run();
        let mut session = Session {
            mm,
            mem: UserMem::new(mm),
            ring: &mut self.ring,
            table,
            hint: &mut self.hint,
            buffers,
            negotiated: self.negotiated,
            call: self.call.as_ref(),
            err: self.err.as_ref(),
            stats,
        };
        for _ in 0..ROUNDS {
            session.ring.disable_notify(&session.mem);
            let next = self.endpoint.serve(backend, &mut session);
            session.publish();
            match next {
                Next::Empty => {
                    if !session.ring.enable_notify(&session.mem) {
                        return Outcome::Done;
                    }
                    // Something slipped in.
                }
                Next::Budget => return Outcome::Again,
                Next::Backend => {
                    if let Some(ready) = self.ready.as_mut() {
                        // An error of the backend leaves the queue waiting for a kick.
                        let _ = ready.as_mut().start();
                    }
                    return Outcome::Done;
                }
                Next::Fault(fault) => {
                    if fault.is_reported() {
                        session.fault();
                    }
                    return Outcome::Done;
                }
            }
        }
        session.ring.disable_notify(&session.mem);
        Outcome::Again
    }
}

impl<E: Endpoint> Run for Queue<E> {
    fn run(work: &Arc<Work<Self>>, ctx: &Context<'_>) {
        let mut state = work.state.lock();
        let Some(backend) = work.backend.read(ctx) else {
            return;
        };
        if state.serve(backend, *ctx.mm(), &work.stats) == Outcome::Again {
            ctx.requeue(work);
        }
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
    /// reports an error. The old backend stays attached then.
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
            .ready
            .as_ref()
            .is_some_and(|r| same_file(r.file(), backend.file()))
        {
            return Ok(Attachment::Same);
        }
        let backend = Arc::new(backend, GFP_KERNEL)?;
        let boxed = KBox::new(backend.clone(), GFP_KERNEL)?;
        let mut ready = FilePoll::new(
            backend.file().clone(),
            state.endpoint.interest(),
            worker.clone(),
            work.clone(),
        )?;
        state
            .ring
            .attach(&UserMem::new(mm))
            .map_err(|MemFault| EFAULT)?;
        ready.as_mut().start()?;
        state.endpoint.attach(&backend)?;
        state.ready = Some(ready);
        Ok(Attachment::Changed(work.backend.swap(Some(boxed))))
    }

    /// Detaches, whatever is set.
    pub(super) fn detach(&self) -> Attachment<Arc<E::Backend>> {
        self.detach_locked(&mut self.state.lock())
    }

    fn detach_locked(&self, state: &mut State<E>) -> Attachment<Arc<E::Backend>> {
        if state.ready.take().is_none() {
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
    /// `ENOMEM`, and then nothing changes; `EINVAL` when the file reports an error, and then it
    /// is installed all the same.
    pub(super) fn set_kick(
        work: &Arc<Work<Self>>,
        worker: &Arc<Worker>,
        file: Option<ARef<File>>,
    ) -> (bool, Result) {
        let mut state = work.state.lock();
        let installed = state.kick.as_ref().map(|k| core::ptr::from_ref(k.file()));
        if installed == file.as_ref().map(|f| core::ptr::from_ref::<File>(f)) {
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
