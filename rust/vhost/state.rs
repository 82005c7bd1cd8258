// SPDX-License-Identifier: GPL-2.0

//! What is behind a queue's lock, and one run over it.

use kernel::{
    prelude::*,
    sync::Arc, //
};

use crate::{
    kapi::{
        eventfd::EventFd,
        mm::InMm,
        uaccess::{
            access_ok,
            UserMem, //
        },
    },
    stats::QueueStats,
    vhost::{
        endpoint::Endpoint,
        request,
        session::{
            Buffers,
            Next,
            Session, //
        },
        uapi::VringAddr,
        wakers::{
            Poll,
            Served,
            Wakers, //
        },
    },
    virtqueue::{
        features::Negotiated,
        mem::MemTable,
        ring::Ring,
        vq::Virtqueue, //
    },
};

/// How often one run may find that something has slipped in while it asked for kicks. A guest
/// that adds one buffer at a time, just then, must not keep the worker from the other queue.
const ROUNDS: usize = 16;

/// What is left to do after a run.
#[derive(PartialEq, Eq)]
pub(super) enum Outcome {
    /// Nothing, until something wakes the queue.
    Done,
    /// Another run, after everything that waits already.
    Again,
}

/// What userspace has set, and the state of the ring. `Q` is the queue itself, which is woken.
pub(super) struct State<E, Q: Served> {
    negotiated: Negotiated,
    pub(super) ring: Ring,
    table: Option<Arc<MemTable>>,
    hint: usize,
    buffers: Option<Buffers>,
    pub(super) kick: Option<Poll<Q>>,
    pub(super) call: Option<EventFd>,
    pub(super) err: Option<EventFd>,
    /// Who wakes the queue but the guest; there exactly while a backend is attached.
    pub(super) wakers: Option<Wakers<Q>>,
    pub(super) endpoint: E,
}

impl<E: Endpoint, Q: Served> State<E, Q> {
    pub(super) fn new(endpoint: E) -> Self {
        Self {
            negotiated: Negotiated::NONE,
            ring: Ring::new(),
            table: None,
            hint: 0,
            buffers: None,
            kick: None,
            call: None,
            err: None,
            wakers: None,
            endpoint,
        }
    }

    /// Whether a backend is attached.
    pub(super) fn is_attached(&self) -> bool {
        self.wakers.is_some()
    }

    /// Back to what it was after open. The endpoint has been detached before.
    pub(super) fn reset(&mut self) {
        self.negotiated = Negotiated::NONE;
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
    pub(super) fn check_bounds(&self) -> Result {
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
    /// Those of [`request::places`]; `EINVAL` for a place that cannot be user memory when the queue
    /// is served.
    pub(super) fn set_addr(&mut self, addr: &VringAddr) -> Result {
        let layout = request::places(self.ring.layout(), addr)?;
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
    pub(super) fn serve(
        &mut self,
        backend: &E::Backend,
        mm: InMm<'_>,
        stats: &QueueStats,
    ) -> Outcome {
        let (Some(table), Some(buffers)) = (self.table.as_ref(), self.buffers.as_mut()) else {
            return Outcome::Done;
        };
        if self.ring.is_unset() {
            return Outcome::Done;
        }
        let Some(wakers) = self.wakers.as_mut() else {
            return Outcome::Done;
        };
        if wakers.is_early() {
            return Outcome::Done;
        }
        wakers.begin();
        stats.run();
        let vq = Virtqueue::new(
            UserMem::new(mm),
            &mut self.ring,
            (table, &mut self.hint),
            &mut buffers.segs,
            &mut buffers.used,
        );
        let told = (self.call.as_ref(), self.err.as_ref());
        let mut session = Session::new(mm, vq, self.negotiated, told, stats);
        let next = Self::rounds(&mut self.endpoint, backend, &mut session);
        let moved = session.moved();
        match next {
            Next::Backend => {
                if wakers.wait_for_backend(moved).is_err() {
                    // Nothing else may wake the queue. What is there already waits in any case.
                    session.enable_notify();
                }
            }
            Next::Time(delay) => wakers.wait_for_time(delay),
            Next::Guest | Next::Reset => wakers.end(moved),
            Next::Turn => {
                wakers.end(moved);
                return Outcome::Again;
            }
        }
        if !wakers.is_watched() && self.endpoint.holds_memory() {
            wakers.watch(stats.runs());
        }
        Outcome::Done
    }

    /// Some time has passed: gives back memory if the queue was idle.
    pub(super) fn look_idle(&mut self, stats: &QueueStats) {
        let Some(wakers) = self.wakers.as_mut() else {
            return;
        };
        if wakers.was_idle(stats.runs()) {
            self.endpoint.give_back();
        }
    }

    /// Has the endpoint serve until it waits for somebody, and no buffer has slipped in while the
    /// guest was asked for kicks.
    fn rounds(endpoint: &mut E, backend: &E::Backend, session: &mut Session<'_>) -> Next {
        for _ in 0..ROUNDS {
            session.disable_notify();
            let next = endpoint.serve(backend, session);
            if let Err(next) = session.publish() {
                return next;
            }
            match next {
                Next::Guest if session.enable_notify() => {}
                next => return next,
            }
        }
        session.disable_notify();
        Next::Turn
    }
}
