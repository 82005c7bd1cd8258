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

/// What the name of a thread ends with that serves one queue alone, by index.
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
    /// Those of [`Self::add`].
    pub(super) fn new(kind: ThreadKind, owner: &Owner, domain: &Arc<Domain>) -> Result<Self> {
        let mut workers = Self {
            threads: KVec::new(),
            serving: [0; QUEUES],
        };
        workers.add(kind, owner, domain)?;
        if param::worker_per_queue() {
            for queue in 1..QUEUES {
                let id = workers.add(kind, owner, domain)?;
                workers.set_serving(queue, id);
            }
        }
        Ok(workers)
    }

    /// Starts another worker and returns its ID, the lowest one that is not in use.
    ///
    /// # Errors
    ///
    /// Those of [`Thread::spawn`].
    pub(super) fn add(
        &mut self,
        kind: ThreadKind,
        owner: &Owner,
        domain: &Arc<Domain>,
    ) -> Result<u32> {
        let at = self.threads.iter().position(Option::is_none);
        let at = at.unwrap_or(self.threads.len());
        let id = u32::try_from(at).map_err(|_| ENOMEM)?;
        if at == self.threads.len() {
            self.threads.push(None, GFP_KERNEL)?;
        }
        let slot = self.threads.get_mut(at).ok_or(ENOMEM)?;
        *slot = Some(Thread::spawn(kind, owner, domain)?);
        Ok(id)
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
        let at = usize::try_from(id).map_err(|_| ENODEV)?;
        let slot = self.threads.get_mut(at).ok_or(ENODEV)?;
        drop(slot.take());
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
        let at = usize::try_from(id).map_err(|_| ENODEV)?;
        let slot = self.threads.get(at).ok_or(ENODEV)?;
        slot.as_ref().ok_or(ENODEV)
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
