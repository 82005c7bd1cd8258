// SPDX-License-Identifier: GPL-2.0

//! The workers of a device, and which of them serves which queue.

use core::mem::replace;
use kernel::{
    prelude::*,
    sync::Arc, //
};

use crate::{
    kapi::{
        mm::Owner,
        nospec::array_index_nospec,
        param,
        retire::Domain,
        thread::{
            Thread,
            ThreadKind, //
        },
        worker::Worker, //
    },
    vhost::uapi::QUEUES, //
};

/// The most workers of a device, those included whose thread has ended. More than one for each
/// queue have no use.
const WORKERS_MAX: usize = 64;

/// The end of the name of a thread that serves only one queue, by the index of that queue.
const SUFFIXES: [&CStr; QUEUES] = [c"-rx", c"-tx"];

/// The workers of a device; see the [module documentation](self).
pub(super) struct Workers {
    /// The threads by the ID of their worker.
    threads: KVec<Option<Thread>>,
    /// The ID of the worker that serves each queue.
    serving: [u32; QUEUES],
}

impl Workers {
    /// Starts the first worker, which has the ID 0 and serves all queues; or one worker for each
    /// queue if the module parameter `worker_per_queue` is set. The caller must run in the owner's
    /// address space.
    ///
    /// # Errors
    ///
    /// Those of [`Thread::spawn`].
    pub(super) fn new(kind: ThreadKind, owner: &Owner, domain: &Arc<Domain>) -> Result<Self> {
        let mut workers = Self {
            threads: KVec::new(),
            serving: [0; QUEUES],
        };
        if !param::worker_per_queue() {
            workers.add_named(kind, None, owner, domain)?;
            return Ok(workers);
        }
        for (queue, suffix) in SUFFIXES.into_iter().enumerate() {
            let id = workers.add_named(kind, Some(suffix), owner, domain)?;
            if let Some(serving) = workers.serving.get_mut(queue) {
                *serving = id;
            }
        }
        Ok(workers)
    }

    /// Starts another worker, a thread of the owner's thread group, and returns its ID, the lowest
    /// one that is not in use.
    ///
    /// # Errors
    ///
    /// `ENOMEM` when there are [`WORKERS_MAX`]; those of [`Thread::spawn`].
    pub(super) fn add(&mut self, owner: &Owner, domain: &Arc<Domain>) -> Result<u32> {
        self.add_named(ThreadKind::Task, None, owner, domain)
    }

    fn add_named(
        &mut self,
        kind: ThreadKind,
        suffix: Option<&'static CStr>,
        owner: &Owner,
        domain: &Arc<Domain>,
    ) -> Result<u32> {
        let at = self.threads.iter().position(Option::is_none);
        let at = at.unwrap_or(self.threads.len());
        if at >= WORKERS_MAX {
            return Err(ENOMEM);
        }
        if at == self.threads.len() {
            self.threads.push(None, GFP_KERNEL_ACCOUNT)?;
        }
        let slot = self.threads.get_mut(at).ok_or(ENOMEM)?;
        *slot = Some(Thread::spawn(kind, suffix, owner, domain)?);
        // CAST: Less than `WORKERS_MAX`.
        Ok(at as u32)
    }

    /// Stops a worker that serves no queue.
    ///
    /// # Errors
    ///
    /// `ENODEV` when there is none with this ID, `EBUSY` when it serves a queue.
    pub(super) fn remove(&mut self, id: u32) -> Result {
        self.thread(id)?;
        if self.serving.contains(&id) {
            return Err(EBUSY);
        }
        let at = self.slot(id)?;
        let slot = self.threads.get_mut(at);
        drop(slot.ok_or(ENODEV)?.take());
        Ok(())
    }

    /// Returns the worker with this ID.
    ///
    /// # Errors
    ///
    /// `ENODEV` when there is none.
    pub(super) fn get(&self, id: u32) -> Result<&Arc<Worker>> {
        Ok(self.thread(id)?.worker())
    }

    fn thread(&self, id: u32) -> Result<&Thread> {
        let slot = self.threads.get(self.slot(id)?).ok_or(ENODEV)?;
        slot.as_ref().ok_or(ENODEV)
    }

    /// Returns the position of this ID, which userspace controls.
    fn slot(&self, id: u32) -> Result<usize> {
        let at = usize::try_from(id).map_err(|_| ENODEV)?;
        if at >= self.threads.len() {
            return Err(ENODEV);
        }
        // The bounds check alone does not stop speculation.
        Ok(array_index_nospec(at, self.threads.len()))
    }

    /// Returns the worker that serves each queue.
    ///
    /// # Errors
    ///
    /// `ENODEV` when there is none, which is never the case.
    pub(super) fn of_queues(&self) -> Result<[&Arc<Worker>; QUEUES]> {
        let [rx, tx] = self.serving;
        Ok([self.get(rx)?, self.get(tx)?])
    }

    /// Returns the ID of the worker that serves the queue with this index.
    pub(super) fn serving(&self, queue: usize) -> Option<u32> {
        self.serving.get(queue).copied()
    }

    /// Records that a worker serves the queue with this index from now on, and names the threads
    /// after the queues that they serve alone.
    pub(super) fn set_serving(&mut self, queue: usize, id: u32) {
        let Some(serving) = self.serving.get_mut(queue) else {
            return;
        };
        let old = replace(serving, id);
        for id in [old, id] {
            if let Ok(thread) = self.thread(id) {
                thread.set_suffix(self.suffix(id));
            }
        }
    }

    /// Returns the suffix of the queue that this worker serves alone.
    fn suffix(&self, id: u32) -> Option<&'static CStr> {
        let mut served = self
            .serving
            .iter()
            .zip(SUFFIXES)
            .filter(|(by, _)| **by == id);
        match (served.next(), served.next()) {
            (Some((_, suffix)), None) => Some(suffix),
            _ => None,
        }
    }
}
