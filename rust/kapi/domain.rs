// SPDX-License-Identifier: GPL-2.0

//! Sets of workers that are flushed together.

use kernel::{
    prelude::*,
    sync::{
        Arc,
        Mutex, //
    },
};

/// An object on which work is queued.
pub(crate) trait Flush {
    /// Waits until all work that was queued before has run, or no work will ever run. Sleeps.
    fn flush(&self);
}

/// A set of workers that one flush waits for.
#[pin_data]
pub(crate) struct Domain<W> {
    #[pin]
    workers: Mutex<KVec<Arc<W>>>,
}

/// The identity of a domain. Of all existing domains only the same one is equal.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct DomainId(*const ());

impl<W: Flush> Domain<W> {
    /// Creates a domain without workers.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new() -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                workers <- kernel::new_mutex!(KVec::new(), "vhost_net_rs::Domain::workers"),
            }),
            GFP_KERNEL,
        )
    }

    /// Returns the identity of this domain.
    pub(super) fn id(&self) -> DomainId {
        DomainId(core::ptr::from_ref(self).cast())
    }

    /// Adds a worker. Must be called before its thread can run work.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(super) fn add(&self, worker: &Arc<W>) -> Result {
        self.workers.lock().push(worker.clone(), GFP_KERNEL)?;
        Ok(())
    }

    /// Removes a worker.
    ///
    /// # Safety
    ///
    /// Its thread must not run any more work.
    pub(super) unsafe fn remove(&self, worker: &Arc<W>) {
        self.workers.lock().retain(|w| !Arc::ptr_eq(w, worker));
    }

    /// Waits until all work that was queued to any of the workers has run. Work that such an item
    /// queues again, perhaps to another worker, is not waited for.
    ///
    /// Sleeps; process context. Must not be called from a work item, which would wait for itself,
    /// or with a lock held that a work item takes. Work items must not start or stop a thread of
    /// the domain.
    pub(crate) fn flush(&self) {
        for worker in self.workers.lock().iter() {
            worker.flush();
        }
    }
}
