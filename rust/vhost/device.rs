// SPDX-License-Identifier: GPL-2.0

//! A device: an owner, its worker, and the queues.
//!
//! # Locking
//!
//! The device's lock first, then that of a queue; those of two queues are never held together.
//! A flush happens with the device's lock held and no queue's. A work item takes a queue's lock
//! and never the device's, so what waits for it under the device's lock always gets on.

use kernel::{
    fs::File,
    prelude::*,
    sync::{
        poll::{
            PollCondVarBox,
            PollTable, //
        },
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
        retire::Domain,
        thread::{
            Thread,
            ThreadKind, //
        },
        wait::Pollable,
        work::Work, //
    },
    vhost::{
        endpoint::Endpoint,
        iotlb,
        queue::{
            Attachment,
            Queue, //
        },
        queues::Queues,
        session::Buffers,
        uapi::{
            BACKEND_OFFERED,
            QUEUES, //
        },
    },
    virtqueue::{
        features::{
            Negotiated,
            OFFERED, //
        },
        mem::{
            MemTable,
            MemoryRegion, //
        },
    },
};

/// Who owns a device, and the thread that works for it. The thread goes first.
struct Bound {
    thread: Thread,
    owner: Owner,
}

/// What belongs to no queue.
pub(super) struct State {
    bound: Option<Bound>,
    kind: ThreadKind,
}

/// See the [module's documentation](self).
#[pin_data]
pub(crate) struct Device<E: Endpoint> {
    #[pin]
    state: Mutex<State>,
    queues: Queues<E>,
    domain: Arc<Domain>,
    /// Where who polls waits for a message.
    messages: PollCondVarBox,
}

impl State {
    /// The evidence that the caller is the owner.
    ///
    /// # Errors
    ///
    /// `EPERM` when it is not, or when there is none.
    pub(super) fn check_owner(&self) -> Result<InMm<'_>> {
        self.bound.as_ref().ok_or(EPERM)?.owner.check_current()
    }

    fn bound(&self) -> Result<&Bound> {
        self.bound.as_ref().ok_or(EPERM)
    }

    /// The kind of thread that the next owner gets.
    pub(super) fn kind(&self) -> ThreadKind {
        self.kind
    }

    /// Chooses it.
    ///
    /// # Errors
    ///
    /// `EBUSY` once there is an owner.
    pub(super) fn set_kind(&mut self, kind: ThreadKind) -> Result {
        self.check_unowned()?;
        self.kind = kind;
        Ok(())
    }

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
    /// A fresh device with these endpoints: no owner, no memory, no thread.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new(endpoints: [E; QUEUES]) -> Result<Pin<KBox<Self>>> {
        let domain = Domain::new()?;
        let [rx, tx] = endpoints;
        let messages = PollCondVarBox::new(
            c"vhost_net_rs::Device::messages",
            kernel::static_lock_class!(),
        )?;
        let queues = Queues([Queue::new(rx, &domain)?, Queue::new(tx, &domain)?]);
        KBox::pin_init(
            pin_init!(Self {
                state <- kernel::new_mutex!(
                    State {
                        bound: None,
                        kind: ThreadKind::Task,
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

    /// The events that are pending, for which `table` waits. Nobody is ever woken: there is no
    /// message, see [`iotlb`].
    pub(crate) fn poll(&self, file: &File, table: &PollTable<'_>) -> u32 {
        table.register_wait(file, &self.messages);
        iotlb::poll()
    }

    /// The lock under which everything but data moves.
    pub(super) fn state(&self) -> &Mutex<State> {
        &self.state
    }

    /// The queues, by index.
    pub(crate) fn queues(&self) -> &[Arc<Work<Queue<E>>>; QUEUES] {
        &self.queues.0
    }

    /// Waits for everything that is queued. With the device's lock held.
    pub(super) fn flush(&self, _state: &State) {
        self.domain.flush();
    }

    /// VHOST_SET_OWNER.
    ///
    /// # Errors
    ///
    /// `EBUSY` when there is an owner, `ENOMEM` for whatever goes wrong; then there is none.
    pub(super) fn set_owner(&self) -> Result {
        let mut state = self.state.lock();
        state.check_unowned()?;
        let buffers = [Buffers::new()?, Buffers::new()?];
        let owner = Owner::current().map_err(|_| ENOMEM)?;
        let thread = Thread::spawn(state.kind, &owner, &self.domain).map_err(|_| ENOMEM)?;
        for (queue, buffers) in self.queues.0.iter().zip(buffers) {
            queue.state.lock().set_buffers(Some(buffers));
        }
        state.bound = Some(Bound { thread, owner });
        Ok(())
    }

    /// VHOST_RESET_OWNER: everything as after open, but for an empty memory table.
    ///
    /// # Errors
    ///
    /// `EPERM` for anybody but the owner; `ENOMEM`, and then nothing has changed.
    pub(super) fn reset_owner(&self) -> Result {
        let mut state = self.state.lock();
        state.check_owner()?;
        let empty = Arc::new(MemTable::new(KVVec::new())?, GFP_KERNEL)?;
        self.stop(&mut state);
        state.kind = ThreadKind::Task;
        for queue in &self.queues.0 {
            queue.state.lock().set_table(Some(empty.clone()));
        }
        Ok(())
    }

    /// Ends everything: no thread, no files, no memory of the owner is left. For the last close.
    pub(crate) fn shut_down(&self) {
        self.stop(&mut self.state.lock());
    }

    /// Backends, transmit first, are detached and what was queued for them has run; then the
    /// same for the kicks; then nothing can queue work, and the thread is stopped.
    fn stop(&self, state: &mut State) {
        self.queues.let_go();
        self.domain.flush();
        for queue in &self.queues.0 {
            let mut queue = queue.state.lock();
            queue.reset();
            queue.set_buffers(None);
            queue.set_table(None);
        }
        state.bound = None;
    }

    /// VHOST_SET_FEATURES, for both queues together. They act from the next run on.
    ///
    /// # Errors
    ///
    /// `EOPNOTSUPP` for what is not offered.
    pub(super) fn set_features(&self, features: u64) -> Result {
        if features & !OFFERED != 0 {
            return Err(EOPNOTSUPP);
        }
        let _state = self.state.lock();
        for queue in &self.queues.0 {
            queue.state.lock().set_negotiated(Negotiated::new(features));
        }
        Ok(())
    }

    /// VHOST_SET_BACKEND_FEATURES: there is none yet that would change anything.
    ///
    /// # Errors
    ///
    /// `EOPNOTSUPP` for what is not offered.
    pub(super) fn set_backend_features(&self, features: u64) -> Result {
        if features & !BACKEND_OFFERED != 0 {
            return Err(EOPNOTSUPP);
        }
        Ok(())
    }

    /// VHOST_SET_MEM_TABLE, with the regions as they were read.
    ///
    /// # Errors
    ///
    /// `EFAULT` for regions that are out of bounds, `ENOMEM`; the old table stays then.
    pub(super) fn set_mem_table(&self, _state: &State, regions: KVVec<MemoryRegion>) -> Result {
        let table = Arc::new(MemTable::new(regions)?, GFP_KERNEL)?;
        for queue in &self.queues.0 {
            queue.state.lock().check_table(&table)?;
        }
        for queue in &self.queues.0 {
            queue.state.lock().set_table(Some(table.clone()));
        }
        Ok(())
    }

    /// VHOST_NET_SET_BACKEND for a queue, see [`Queue::set_backend`].
    pub(super) fn set_backend(
        &self,
        state: &State,
        queue: &Arc<Work<Queue<E>>>,
        open: impl FnOnce() -> Result<Option<E::Backend>>,
    ) -> Result {
        let bound = state.bound()?;
        let mm = bound.owner.check_current()?;
        match Queue::set_backend(queue, bound.thread.worker(), mm, open)? {
            Attachment::Same => self.domain.flush(),
            Attachment::None => {}
            Attachment::Changed(retired) => drop(retired.reclaim()),
        }
        Ok(())
    }

    /// VHOST_SET_VRING_KICK for a queue, see [`Queue::set_kick`].
    pub(super) fn set_kick(
        &self,
        state: &State,
        queue: &Arc<Work<Queue<E>>>,
        file: Option<Pollable>,
    ) -> Result {
        let (replaced, result) = Queue::set_kick(queue, state.bound()?.thread.worker(), file);
        if replaced {
            self.domain.flush();
        }
        result
    }
}
