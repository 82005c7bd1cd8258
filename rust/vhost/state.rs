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
        queue::{
            Endpoint,
            Poll, //
        },
        request,
        session::{
            Buffers,
            Next,
            Session, //
        },
        uapi::VringAddr, //
    },
    virtqueue::{
        features::Negotiated,
        mem::{
            MemFault,
            MemTable, //
        },
        ring::Ring, //
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

/// What userspace has set, and the state of the ring.
pub(super) struct State<E: Endpoint> {
    negotiated: Negotiated,
    pub(super) ring: Ring,
    table: Option<Arc<MemTable>>,
    hint: usize,
    buffers: Option<Buffers>,
    pub(super) kick: Option<Poll<E>>,
    pub(super) call: Option<EventFd>,
    pub(super) err: Option<EventFd>,
    /// Waits for the backend's file; there exactly while a backend is attached.
    pub(super) ready: Option<Poll<E>>,
    pub(super) endpoint: E,
}

impl<E: Endpoint> State<E> {
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
                Next::Empty => match session.ring.enable_notify(&session.mem) {
                    // Something slipped in.
                    Ok(true) => {}
                    Ok(false) => return Outcome::Done,
                    Err(MemFault) => {
                        // The guest may not kick, since it has not been asked.
                        session.fault();
                        return Outcome::Done;
                    }
                },
                Next::Budget => return Outcome::Again,
                Next::Backend => {
                    let ready = self.ready.as_mut();
                    if ready.is_some_and(|ready| ready.as_mut().start().is_err()) {
                        ask_for_kicks(&mut session);
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

/// Asks for kicks of a queue that nothing else may wake. What has been made available meanwhile
/// waits for the backend in any case; only those to come must not be held back.
fn ask_for_kicks(session: &mut Session<'_>) {
    for _ in 0..ROUNDS {
        session.ring.disable_notify(&session.mem);
        match session.ring.enable_notify(&session.mem) {
            // What slipped in was not asked about: by index, what follows it would not be either.
            Ok(true) => {}
            Ok(false) => return,
            Err(MemFault) => return session.fault(),
        }
    }
}
