// SPDX-License-Identifier: GPL-2.0

//! What is flushed together.

use kernel::{
    prelude::*,
    sync::{
        Arc,
        Mutex, //
    },
};

/// What can be waited for.
pub(crate) trait Flush {
    /// Waits until all that was queued before has run, or nothing ever runs any more. Sleeps.
    fn flush(&self);
}

/// The workers that a flush waits for.
#[pin_data]
pub(crate) struct Domain<W> {
    #[pin]
    workers: Mutex<KVec<Arc<W>>>,
}

/// Which domain: equal for one and the same, among those that exist.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct DomainId(*const ());

impl<W: Flush> Domain<W> {
    /// A domain without workers.
    pub(crate) fn new() -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                workers <- kernel::new_mutex!(KVec::new(), "vhost_net_rs::Domain::workers"),
            }),
            GFP_KERNEL,
        )
    }

    /// Which one it is.
    pub(super) fn id(&self) -> DomainId {
        DomainId(core::ptr::from_ref(self).cast())
    }

    /// Adds a worker, before its thread can run anything.
    pub(super) fn add(&self, worker: &Arc<W>) -> Result {
        self.workers.lock().push(worker.clone(), GFP_KERNEL)?;
        Ok(())
    }

    /// Removes a worker.
    ///
    /// # Safety
    ///
    /// Its thread runs nothing any more.
    pub(super) unsafe fn remove(&self, worker: &Arc<W>) {
        self.workers.lock().retain(|w| !Arc::ptr_eq(w, worker));
    }

    /// Waits until everything that was queued to any worker has run.
    ///
    /// Sleeps; process context. Not from a work item, which would wait for itself. What the
    /// items lock must not be held, and no item starts or stops a thread of the domain.
    pub(crate) fn flush(&self) {
        for worker in self.workers.lock().iter() {
            worker.flush();
        }
    }
}
