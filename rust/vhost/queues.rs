// SPDX-License-Identifier: GPL-2.0

//! The queues of a device, which are shut down together.

use kernel::{
    prelude::*,
    sync::Arc, //
};

use crate::{
    kapi::work::Work,
    vhost::{
        endpoint::Endpoint,
        queue::{
            Attachment,
            Queue, //
        },
        uapi::QUEUES,
        workers::Workers, //
    },
};

/// The receive and the transmit queue, by index.
pub(super) struct Queues<E: Endpoint>(pub(super) [Arc<Work<Queue<E>>>; QUEUES]);

impl<E: Endpoint> Queues<E> {
    /// Allocates what the queues need while the device has an owner. Events will queue their work
    /// to the workers that serve them. On failure nothing changes.
    ///
    /// # Errors
    ///
    /// `ENOMEM`; `ENODEV` when there is no such worker.
    pub(super) fn allocate(&self, workers: &Workers) -> Result {
        let [rx, tx] = &self.0;
        let [rx_worker, tx_worker] = workers.of_queues()?;
        Queue::allocate(rx, rx_worker)?;
        Queue::allocate(tx, tx_worker).inspect_err(|_| rx.free())
    }

    /// Detaches the backends, transmit first, and waits for the work items that use them. Then
    /// frees what [`Self::allocate`] has allocated, which removes all event sources. The work that
    /// kicks have queued may still run until a flush.
    pub(super) fn let_go(&self) {
        let backends = {
            let [rx, tx] = &self.0;
            [tx.detach(), rx.detach()]
        };
        for backend in backends {
            if let Attachment::Changed(retired) = backend {
                drop(retired.reclaim());
            }
        }
        for queue in &self.0 {
            queue.free();
        }
    }
}

impl<E: Endpoint> Drop for Queues<E> {
    /// A queue refers to its event sources and they to the queue; this breaks the cycle.
    fn drop(&mut self) {
        self.let_go();
    }
}
