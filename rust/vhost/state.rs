// SPDX-License-Identifier: GPL-2.0

//! The state of a queue, which its lock protects, and how a run uses it.

use kernel::{
    prelude::*,
    sync::Arc, //
};

use crate::{
    kapi::{
        eventfd::EventFd,
        mm::InMm,
        shrinker::Shrinker,
        uaccess::{
            access_ok,
            UserMem, //
        },
        work::Work,
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

/// How often one run may continue because a buffer has become available while kicks were being
/// enabled. A guest that adds single buffers at such times must not keep the worker from the other
/// queue.
const ROUNDS: usize = 16;

/// What the worker has to do after a run.
#[derive(PartialEq, Eq)]
pub(super) enum Outcome {
    /// Nothing, until an event queues the work.
    Done,
    /// Queue the work again, after all that is queued already.
    Again,
}

/// The settings of userspace and the state of the ring. `Q` is the queue, whose work is queued.
pub(super) struct State<E, Q: Served> {
    negotiated: Negotiated,
    pub(super) ring: Ring,
    table: Option<Arc<MemTable>>,
    hint: usize,
    buffers: Option<Buffers>,
    pub(super) kick: Option<Poll<Q>>,
    pub(super) call: Option<EventFd>,
    pub(super) err: Option<EventFd>,
    /// The event sources other than kicks. Set while a backend is attached, and only then.
    pub(super) wakers: Option<Wakers<Q>>,
    /// Calls for the endpoint's memory when the kernel is short of it. Set together with `wakers`, if
    /// the endpoint keeps memory.
    pub(super) shrinker: Option<Shrinker<Work<Q>>>,
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
            shrinker: None,
            endpoint,
        }
    }

    /// Returns whether a backend is attached.
    pub(super) fn is_attached(&self) -> bool {
        self.wakers.is_some()
    }

    /// Resets features, ring and eventfds to what they were after open. The queue must be detached.
    pub(super) fn reset(&mut self) {
        self.negotiated = Negotiated::NONE;
        self.ring = Ring::new();
        self.hint = 0;
        self.call = None;
        self.err = None;
    }

    /// Checks that the ring and the memory table are in user space, which is all that can be
    /// checked.
    ///
    /// # Errors
    ///
    /// `EFAULT` when they are not, or when there is no memory table.
    pub(super) fn check_bounds(&self) -> Result {
        let table = self.table.as_ref().ok_or(EFAULT)?;
        if table.regions_ok(access_ok) && self.ring.layout().parts_ok(self.negotiated, access_ok) {
            Ok(())
        } else {
            Err(EFAULT)
        }
    }

    /// Sets the properties of the negotiated features.
    pub(super) fn set_negotiated(&mut self, negotiated: Negotiated) {
        self.negotiated = negotiated;
        self.ring.set_event_idx(negotiated.event_idx());
    }

    /// Checks that `table` is usable, if the queue is attached.
    ///
    /// # Errors
    ///
    /// `EFAULT` when a region is outside user space.
    pub(super) fn check_table(&self, table: &MemTable) -> Result {
        if self.is_attached() && !table.regions_ok(access_ok) {
            return Err(EFAULT);
        }
        Ok(())
    }

    /// Replaces the memory table. The old one is not in use when this returns.
    pub(super) fn set_table(&mut self, table: Option<Arc<MemTable>>) {
        self.table = table;
        self.hint = 0;
    }

    /// VHOST_SET_VRING_ADDR: sets the addresses of the ring. Allowed while the queue is attached.
    ///
    /// # Errors
    ///
    /// The errors of [`request::places`]; `EINVAL` when the queue is attached and an address is
    /// outside user space.
    pub(super) fn set_addr(&mut self, addr: &VringAddr) -> Result {
        let layout = request::places(self.ring.layout(), addr)?;
        if self.is_attached() && !layout.parts_ok(self.negotiated, access_ok) {
            return Err(EINVAL);
        }
        self.ring.set_layout(layout);
        Ok(())
    }

    /// Sets the memory that runs need. There is none without a worker.
    pub(super) fn set_buffers(&mut self, buffers: Option<Buffers>) {
        self.buffers = buffers;
    }

    /// Runs the queue until there is nothing to transfer or the budget is used up.
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
                    // No other event may come. A buffer that is available already stays in the
                    // ring.
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

    /// Called when the idle time has passed: frees memory if the queue has had no run since. Looks
    /// again later if others still use some of it.
    pub(super) fn look_idle(&mut self, stats: &QueueStats) {
        let Some(wakers) = self.wakers.as_mut() else {
            return;
        };
        if wakers.was_idle(stats.runs()) {
            self.endpoint.free_spare();
            if self.endpoint.holds_memory() {
                wakers.watch(stats.runs());
            }
        }
    }

    /// Calls the endpoint until it waits for something other than the guest, or no buffer has
    /// become available while kicks were being enabled.
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
