// SPDX-License-Identifier: GPL-2.0

//! The state of a queue, which its lock protects.

use kernel::{
    prelude::*,
    sync::Arc,
    time::Delta, //
};

use crate::{
    kapi::{
        eventfd::EventFd,
        mm::InMm,
        uaccess::UserMem,
        work::Work,
        worker::Worker, //
    },
    stats::QueueStats,
    vhost::{
        endpoint::Endpoint,
        memory::Memory,
        messages::Asker,
        request,
        resources::Resources,
        uapi::VringAddr,
        wakers::{
            Served,
            Wakers, //
        },
    },
    virtqueue::{
        features::Negotiated,
        general::General,
        iotlb::Iotlb,
        mem::MemFault,
        path::Path,
        ring::Ring,
        table::MemTable, //
    },
};

/// The settings of userspace and the state of the ring. `Q` is the queue, whose work is queued.
pub(super) struct State<E, Q: Served> {
    pub(super) negotiated: Negotiated,
    pub(super) ring: Ring,
    pub(super) memory: Memory,
    /// Set while the device has an owner.
    pub(super) resources: Option<Resources<Q>>,
    pub(super) call: Option<EventFd>,
    pub(super) err: Option<EventFd>,
    /// Signalled when something was logged (VHOST_SET_LOG_FD).
    pub(super) log: Option<Arc<EventFd>>,
    pub(super) endpoint: E,
    pub(super) asker: Asker,
    /// VHOST_SET_VRING_BUSYLOOP_TIMEOUT, as it was set and as a time.
    busyloop: u32,
    pub(super) patience: Delta,
}

impl<E: Endpoint, Q: Served> State<E, Q> {
    pub(super) fn new(endpoint: E, asker: Asker) -> Self {
        Self {
            negotiated: Negotiated::NONE,
            ring: Ring::new(),
            memory: Memory::NONE,
            resources: None,
            call: None,
            err: None,
            log: None,
            endpoint,
            asker,
            busyloop: 0,
            patience: Delta::ZERO,
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

    /// Resets features, ring, memory and eventfds to what they were after open. The queue must be
    /// detached.
    pub(super) fn reset(&mut self) {
        self.negotiated = Negotiated::NONE;
        self.ring = Ring::new();
        self.memory = Memory::NONE;
        self.call = None;
        self.err = None;
        self.log = None;
        self.asker.v2 = false;
        self.set_busyloop(0);
    }

    /// VHOST_SET_VRING_BUSYLOOP_TIMEOUT: sets for how long a run waits without sleeping, in units
    /// of 1024 nanoseconds.
    pub(super) fn set_busyloop(&mut self, timeout: u32) {
        self.busyloop = timeout;
        // OVERFLOW: A number of 32 bits times 1024.
        let nanos = i64::from(timeout).wrapping_mul(1024);
        self.patience = Delta::from_nanos(nanos);
    }

    /// VHOST_GET_VRING_BUSYLOOP_TIMEOUT.
    pub(super) fn busyloop(&self) -> u32 {
        self.busyloop
    }

    /// Checks that the queue can be attached: that its memory is in user space, which is all that can
    /// be checked.
    ///
    /// # Errors
    ///
    /// `EFAULT` when it is not, or when there is no memory table.
    pub(super) fn check_bounds(&self) -> Result {
        self.memory.check_all(self.ring.layout(), self.negotiated)
    }

    /// Checks that `negotiated` can take effect, if the queue is attached.
    ///
    /// # Errors
    ///
    /// `EFAULT` when a part of the log that it asks for is outside user space.
    pub(super) fn check_negotiated(&self, negotiated: Negotiated) -> Result {
        match &self.memory.table {
            Some(table) if self.is_attached() && negotiated.log_all() => {
                self.memory.check_table(table, negotiated)
            }
            _ => Ok(()),
        }
    }

    /// Sets the properties of the negotiated features. If they ask for an IOTLB, that is a new one,
    /// of at most `max` translations. With or without one, the ring's addresses mean something
    /// else, so they are forgotten when that changes.
    pub(super) fn set_negotiated(&mut self, negotiated: Negotiated, max: usize) {
        self.negotiated = negotiated;
        self.ring.set_event_idx(negotiated.event_idx());
        let iotlb = negotiated.access_platform().then(|| Iotlb::new(max));
        if self.memory.set_iotlb(iotlb) {
            let layout = self.ring.layout().without_places();
            self.ring.set_layout(layout);
        }
        self.memory.choose_way(negotiated);
    }

    /// Sets the type of the messages that ask for translations from now on.
    pub(super) fn set_messages_v2(&mut self, v2: bool) {
        self.asker.v2 = v2;
    }

    /// Queues the work, if the device has an owner.
    pub(super) fn queue(&self) {
        if let Some(resources) = &self.resources {
            resources.wakers.queue();
        }
    }

    /// Prepares the ring for a new backend; see [`Ring::attach`].
    ///
    /// # Errors
    ///
    /// `EFAULT` when the used ring cannot be accessed. If it is not mapped yet, userspace is asked
    /// for the translation as well.
    pub(super) fn attach_ring(&mut self, mm: InMm<'_>) -> Result {
        let mem = UserMem::new(mm);
        if self.memory.is_common() {
            return self.ring.attach(&mem).map_err(|MemFault| EFAULT);
        }
        let maps = self.memory.maps().ok_or(EFAULT)?;
        let logging = self.memory.logging(self.negotiated);
        let path = General::new(mem, maps, self.ring.layout(), logging);
        let usable = path.check_used(self.negotiated).map_err(|_| MemFault);
        let attached = usable.and_then(|()| self.ring.attach(&path));
        if path.take_logged() {
            self.log.iter().for_each(|log| log.signal());
        }
        if let Some(miss) = path.miss() {
            self.asker.ask(miss);
            self.err.iter().for_each(|err| err.signal());
        }
        attached.map_err(|MemFault| EFAULT)
    }

    /// Checks that `table` is usable, if the queue is attached.
    ///
    /// # Errors
    ///
    /// `EFAULT` when a region, or its log if it has one, is outside user space.
    pub(super) fn check_table(&self, table: &MemTable) -> Result {
        if self.is_attached() {
            self.memory.check_table(table, self.negotiated)?;
        }
        Ok(())
    }

    /// VHOST_SET_VRING_ADDR: sets the addresses of the ring. Allowed while the queue is attached.
    ///
    /// # Errors
    ///
    /// The errors of [`request::places`]; `EINVAL` when the queue is attached and an address is
    /// outside user space.
    pub(super) fn set_addr(&mut self, addr: &VringAddr) -> Result {
        let (layout, used_log) = request::places(self.ring.layout(), addr)?;
        if self.is_attached() {
            self.memory.check_ring(layout, used_log, self.negotiated)?;
        }
        self.ring.set_layout(layout);
        self.memory.set_used_log(used_log);
        self.memory.choose_way(self.negotiated);
        self.memory.forget_ring();
        Ok(())
    }

    /// VHOST_SET_LOG_BASE: sets the address of the log. Allowed while the queue is attached.
    ///
    /// # Errors
    ///
    /// `EFAULT` when the queue is attached and its log would be outside user space.
    pub(super) fn set_log_base(&mut self, base: u64) -> Result {
        if self.is_attached() {
            let layout = self.ring.layout();
            self.memory.check_log(base, layout, self.negotiated)?;
        }
        self.memory.set_log_base(base);
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
}
