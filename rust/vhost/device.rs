// SPDX-License-Identifier: GPL-2.0

//! A device: an owner, workers, and the queues.
//!
//! # Locking
//!
//! The device's lock is taken before a queue's lock. The locks of two queues are never held
//! together, except that the shrinker of a queue tries its lock under any other. A flush needs the
//! device's lock and must not be called with a queue's lock held. Work items take a queue's lock
//! and never the device's lock, so a flush under the device's lock cannot deadlock.

use kernel::{
    fs::File,
    prelude::*,
    sync::{
        poll::PollTable,
        Arc,
        Mutex, //
    },
};

use crate::{
    kapi::{
        mm::{
            InMm,
            Owner, //
        },
        param,
        retire::Domain,
        thread::ThreadKind,
        wait::Pollable,
        work::Work, //
    },
    vhost::{
        endpoint::Endpoint,
        messages::{
            Asker,
            Messages, //
        },
        queue::{
            Attachment,
            Queue, //
        },
        queues::Queues,
        uapi::{
            BACKEND_F_IOTLB_MSG_V2,
            BACKEND_OFFERED,
            QUEUES, //
        },
        workers::Workers, //
    },
    virtqueue::{
        features::{
            Negotiated,
            OFFERED, //
        },
        table::{
            MemTable,
            MemoryRegion, //
        },
    },
};

/// The owner of a device and the workers that work for it. The workers are dropped first.
struct Bound {
    workers: Workers,
    owner: Owner,
}

/// The state of the device that belongs to no queue.
pub(super) struct State {
    bound: Option<Bound>,
    kind: ThreadKind,
}

/// A device; see the [module documentation](self).
#[pin_data]
pub(crate) struct Device<E: Endpoint> {
    #[pin]
    state: Mutex<State>,
    queues: Queues<E>,
    domain: Arc<Domain>,
    messages: Arc<Messages>,
}

impl State {
    /// Returns the proof that the caller runs in the owner's address space.
    ///
    /// # Errors
    ///
    /// `EPERM` when it does not, or when there is no owner.
    pub(super) fn check_owner(&self) -> Result<InMm<'_>> {
        self.bound.as_ref().ok_or(EPERM)?.owner.check_current()
    }

    fn bound(&self) -> Result<&Bound> {
        self.bound.as_ref().ok_or(EPERM)
    }

    /// Returns the kind of thread that the next owner gets.
    pub(super) fn kind(&self) -> ThreadKind {
        self.kind
    }

    /// Sets the kind of thread that the next owner gets.
    ///
    /// # Errors
    ///
    /// `EBUSY` when there is an owner.
    pub(super) fn set_kind(&mut self, kind: ThreadKind) -> Result {
        self.check_unowned()?;
        self.kind = kind;
        Ok(())
    }

    /// Checks that there is no owner.
    ///
    /// # Errors
    ///
    /// `EBUSY` when there is an owner.
    pub(super) fn check_unowned(&self) -> Result {
        match self.bound {
            Some(_) => Err(EBUSY),
            None => Ok(()),
        }
    }
}

impl<E: Endpoint> Device<E> {
    /// Creates a device with these endpoints. It has no owner, memory table or thread.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new(endpoints: [E; QUEUES]) -> Result<Pin<KBox<Self>>> {
        let domain = Domain::new()?;
        let [rx, tx] = endpoints;
        let messages = Messages::new()?;
        let queues = Queues([
            Queue::new(rx, Asker::new(&messages, 0), &domain)?,
            Queue::new(tx, Asker::new(&messages, 1), &domain)?,
        ]);
        KBox::pin_init(
            pin_init!(Self {
                state <- kernel::new_mutex!(
                    State {
                        bound: None,
                        kind: ThreadKind::from_param(),
                    },
                    "vhost_net_rs::Device::state"
                ),
                queues,
                domain,
                messages,
            }),
            GFP_KERNEL,
        )
    }

    /// Returns the pending events and registers for more.
    pub(crate) fn poll(&self, file: &File, table: &PollTable<'_>) -> u32 {
        self.messages.poll(file, table)
    }

    /// Reads a message; see [`Messages::read`].
    ///
    /// # Errors
    ///
    /// Those of [`Messages::read`].
    pub(crate) fn read_message(
        &self,
        room: usize,
        nonblocking: bool,
        copy: impl FnOnce(&[u8]) -> usize,
    ) -> Result<usize> {
        self.messages.read(room, nonblocking, copy)
    }

    /// Returns the messages of the IOTLB.
    pub(super) fn messages(&self) -> &Messages {
        &self.messages
    }

    /// Returns the device's lock, which ioctls take.
    pub(super) fn state(&self) -> &Mutex<State> {
        &self.state
    }

    /// Returns the queues, by index.
    pub(crate) fn queues(&self) -> &[Arc<Work<Queue<E>>>; QUEUES] {
        &self.queues.0
    }

    /// Waits until all queued work has run. The caller must hold the device's lock and no queue's.
    pub(super) fn flush(&self, _state: &State) {
        self.domain.flush();
    }

    /// VHOST_SET_OWNER: makes the caller's address space the owner, and starts the
    /// workers.
    ///
    /// # Errors
    ///
    /// `EBUSY` when there is an owner, `ENOMEM` on any other failure. Nothing changes then.
    pub(super) fn set_owner(&self) -> Result {
        let mut state = self.state.lock();
        state.check_unowned()?;
        let owner = Owner::current().map_err(|_| ENOMEM)?;
        let all = Workers::new(state.kind, &owner, &self.domain).map_err(|_| ENOMEM)?;
        self.queues.allocate(&all)?;
        state.bound = Some(Bound {
            workers: all,
            owner,
        });
        Ok(())
    }

    /// VHOST_NEW_WORKER: starts another worker and returns its ID.
    ///
    /// # Errors
    ///
    /// `EFAULT` when workers are kernel threads, which no limit of the owner applies to; `ENOMEM`.
    pub(super) fn new_worker(&self, state: &mut State) -> Result<u32> {
        if state.kind != ThreadKind::Task {
            return Err(EFAULT);
        }
        let Bound { workers, owner } = state.bound.as_mut().ok_or(EPERM)?;
        let id = workers.add(owner, &self.domain);
        id.map_err(|_| ENOMEM)
    }

    /// VHOST_FREE_WORKER: stops a worker; see [`Workers::remove`].
    pub(super) fn free_worker(&self, state: &mut State, id: u32) -> Result {
        state.bound.as_mut().ok_or(EPERM)?.workers.remove(id)
    }

    /// VHOST_ATTACH_VRING_WORKER: lets a worker serve the queue with this index. The previous one
    /// no longer serves it when this returns.
    ///
    /// # Errors
    ///
    /// `EPERM` when there is no owner; `ENODEV` when there is no worker with this ID, or its thread
    /// has ended; `ENOBUFS` when there is no such queue; `ENOMEM`. Nothing changes then.
    pub(super) fn attach_worker(&self, state: &mut State, queue: usize, id: u32) -> Result {
        let Bound { workers, .. } = state.bound.as_mut().ok_or(EPERM)?;
        let worker = workers.get(id)?;
        if worker.has_ended() {
            return Err(ENODEV);
        }
        if workers.serving(queue) == Some(id) {
            return Ok(());
        }
        Queue::set_worker(self.queues.0.get(queue).ok_or(ENOBUFS)?, worker)?;
        workers.set_serving(queue, id);
        self.domain.flush();
        Ok(())
    }

    /// VHOST_GET_VRING_WORKER: returns the ID of the worker that serves the queue with this index.
    pub(super) fn worker_of(&self, state: &State, queue: usize) -> Result<u32> {
        state.bound()?.workers.serving(queue).ok_or(ENOBUFS)
    }

    /// VHOST_RESET_OWNER: resets the device to its state after open, with an empty memory table.
    ///
    /// # Errors
    ///
    /// `EPERM` when the caller is not the owner; `ENOMEM`, and nothing changes.
    pub(super) fn reset_owner(&self) -> Result {
        let mut state = self.state.lock();
        state.check_owner()?;
        if param::max_iotlb_entries() == 0 {
            return Err(ENOMEM);
        }
        let empty = Arc::new(MemTable::new(KVVec::new())?, GFP_KERNEL)?;
        self.stop(&mut state);
        state.kind = ThreadKind::from_param();
        for queue in &self.queues.0 {
            queue.state.lock().memory.set_table(Some(empty.clone()));
        }
        Ok(())
    }

    /// Stops the device when its file is released: no thread, file or memory of the owner remains.
    pub(crate) fn shut_down(&self) {
        self.stop(&mut self.state.lock());
    }

    /// Removes the event sources, waits until the work that they have queued has run, and then
    /// stops the workers. See [`Queues::let_go`].
    fn stop(&self, state: &mut State) {
        self.queues.let_go();
        self.messages.close();
        self.domain.flush();
        for queue in &self.queues.0 {
            queue.state.lock().reset();
        }
        state.bound = None;
    }

    /// VHOST_SET_FEATURES and VHOST_SET_FEATURES_ARRAY for both queues. The features take effect
    /// with the next run.
    ///
    /// # Errors
    ///
    /// `EOPNOTSUPP` for a feature that is not offered; `EFAULT` when a queue is attached and its log
    /// would be outside user space.
    pub(super) fn set_features(&self, features: u128) -> Result {
        if features & !OFFERED != 0 {
            return Err(EOPNOTSUPP);
        }
        let negotiated = Negotiated::new(features);
        let _state = self.state.lock();
        for queue in &self.queues.0 {
            queue.state.lock().check_negotiated(negotiated)?;
        }
        let max = param::max_iotlb_entries();
        if negotiated.access_platform() && max == 0 {
            return Err(EFAULT);
        }
        if negotiated.access_platform() {
            self.messages.open();
        }
        for queue in &self.queues.0 {
            queue.state.lock().set_negotiated(negotiated, max);
        }
        if !negotiated.access_platform() {
            self.messages.close();
        }
        Ok(())
    }

    /// VHOST_SET_BACKEND_FEATURES.
    ///
    /// # Errors
    ///
    /// `EOPNOTSUPP` for a feature that is not offered.
    pub(super) fn set_backend_features(&self, features: u64) -> Result {
        if features & !BACKEND_OFFERED != 0 {
            return Err(EOPNOTSUPP);
        }
        let _state = self.state.lock();
        for queue in &self.queues.0 {
            let v2 = features & BACKEND_F_IOTLB_MSG_V2 != 0;
            queue.state.lock().set_messages_v2(v2);
        }
        Ok(())
    }

    /// VHOST_SET_MEM_TABLE with the regions that were read.
    ///
    /// # Errors
    ///
    /// `EFAULT` when a region is invalid or outside user space, `ENOMEM`. The old table is kept
    /// then.
    pub(super) fn set_mem_table(&self, _state: &State, regions: KVVec<MemoryRegion>) -> Result {
        let table = Arc::new(MemTable::new(regions)?, GFP_KERNEL)?;
        for queue in &self.queues.0 {
            queue.state.lock().check_table(&table)?;
        }
        for queue in &self.queues.0 {
            queue.state.lock().memory.set_table(Some(table.clone()));
        }
        Ok(())
    }

    /// VHOST_NET_SET_BACKEND for a queue; see [`Queue::set_backend`].
    pub(super) fn set_backend(
        &self,
        state: &State,
        queue: &Queue<E>,
        open: impl FnOnce() -> Result<Option<E::Backend>>,
    ) -> Result {
        let bound = state.bound()?;
        let mm = bound.owner.check_current()?;
        match queue.set_backend(mm, open)? {
            Attachment::Same => self.domain.flush(),
            Attachment::None => {}
            Attachment::Changed(retired) => drop(retired.reclaim()),
        }
        Ok(())
    }

    /// VHOST_SET_VRING_KICK for a queue; see [`Queue::set_kick`].
    pub(super) fn set_kick(
        &self,
        state: &State,
        queue: &Queue<E>,
        file: Option<Pollable>,
    ) -> Result {
        state.bound()?;
        let (replaced, result) = queue.set_kick(file);
        if replaced {
            self.domain.flush();
        }
        result
    }
}
