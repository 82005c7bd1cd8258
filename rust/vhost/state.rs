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
        uaccess::{
            access_ok,
            UserMem, //
        },
        work::Work,
        worker::Worker, //
    },
    stats::QueueStats,
    vhost::{
        endpoint::{
            Backend,
            Endpoint, //
        },
        request,
        resources::Resources,
        session::{
            Next,
            Session, //
        },
        uapi::VringAddr,
        wakers::{
            Served,
            Wakers, //
        },
    },
    virtqueue::{
        features::Negotiated,
        path::{
            Direct,
            Path, //
        },
        ring::Ring,
        table::MemTable,
        vq::Virtqueue, //
    },
};

/// How often one run may continue because a buffer has become available while kicks were being
/// enabled. A guest that adds single buffers at such times must not keep the worker from the other
/// queue.
const ROUNDS: usize = 16;

/// The settings of userspace and the state of the ring. `Q` is the queue, whose work is queued.
pub(super) struct State<E, Q: Served> {
    negotiated: Negotiated,
    pub(super) ring: Ring,
    table: Option<Arc<MemTable>>,
    hint: usize,
    /// Set while the device has an owner.
    resources: Option<Resources<Q>>,
    pub(super) call: Option<EventFd>,
    pub(super) err: Option<EventFd>,
    pub(super) endpoint: E,
}

impl<E: Endpoint, Q: Served> State<E, Q> {
    pub(super) fn new(endpoint: E) -> Self {
        Self {
            negotiated: Negotiated::NONE,
            ring: Ring::new(),
            table: None,
            hint: 0,
            resources: None,
            call: None,
            err: None,
            endpoint,
        }
    }

    /// Returns whether a backend is attached.
    pub(super) fn is_attached(&self) -> bool {
        let wakers = self.resources.as_ref().map(|r| &r.wakers);
        wakers.is_some_and(|wakers| wakers.attached().is_some())
    }

    /// Returns the event sources and the endpoint, or `None` if the device has no owner.
    pub(super) fn parts(&mut self) -> Option<(&mut Wakers<Q>, &mut E)> {
        let resources = self.resources.as_mut()?;
        Some((&mut resources.wakers, &mut self.endpoint))
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

    /// Allocates what the queue needs while the device has an owner. Events will queue `work` to
    /// `worker`. On failure nothing changes.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(super) fn allocate(&mut self, worker: &Arc<Worker>, work: &Arc<Work<Q>>) -> Result {
        let resources = Resources::new(&self.endpoint, worker, work)?;
        self.endpoint.allocate()?;
        self.resources = Some(resources);
        Ok(())
    }

    /// Replaces the event sources; see [`Resources::set_wakers`].
    ///
    /// # Errors
    ///
    /// `EPERM` when the device has no owner.
    pub(super) fn set_wakers(&mut self, wakers: Wakers<Q>) -> Result<Wakers<Q>> {
        let resources = self.resources.as_mut().ok_or(EPERM)?;
        Ok(resources.set_wakers(wakers))
    }

    /// Frees the endpoint's part of what [`Self::allocate`] has allocated, and returns the rest.
    /// The queue must be detached.
    pub(super) fn take_resources(&mut self) -> Option<Resources<Q>> {
        self.endpoint.free();
        self.resources.take()
    }

    /// Runs the queue until there is nothing to transfer or the budget is used up.
    pub(super) fn serve(&mut self, backend: &E::Backend, mm: InMm<'_>, stats: &QueueStats) {
        let (Some(table), Some(resources)) = (self.table.as_ref(), self.resources.as_mut()) else {
            return;
        };
        let (wakers, buffers) = (&mut resources.wakers, &mut resources.buffers);
        match wakers.attached() {
            // The backend was replaced while this run waited for the lock.
            Some(file) if file != backend.file() => return wakers.queue(),
            Some(_) => {}
            None => return,
        }
        if self.ring.is_unset() || wakers.is_early() {
            return;
        }
        wakers.begin();
        stats.run();
        let vq = Virtqueue::new(
            Direct::new(UserMem::new(mm), table, &mut self.hint),
            &mut self.ring,
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
                // On the worker that serves the queue now, which may not be this one any more.
                return wakers.queue();
            }
        }
        if !wakers.is_watched() && self.endpoint.holds_memory() {
            wakers.watch(stats.runs());
        }
    }

    /// Called when the idle time has passed: frees memory if the queue has had no run since. Looks
    /// again later if others still use some of it.
    pub(super) fn look_idle(&mut self, stats: &QueueStats) {
        let Some((wakers, endpoint)) = self.parts() else {
            return;
        };
        if wakers.was_idle(stats.runs()) {
            endpoint.free_spare();
            if endpoint.holds_memory() {
                wakers.watch(stats.runs());
            }
        }
    }

    /// Calls the endpoint until it waits for something other than the guest, or no buffer has
    /// become available while kicks were being enabled.
    fn rounds(
        endpoint: &mut E,
        backend: &E::Backend,
        session: &mut Session<'_, impl Path>,
    ) -> Next {
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
