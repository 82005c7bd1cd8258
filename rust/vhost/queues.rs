// SPDX-License-Identifier: GPL-2.0

//! The queues of a device, which are shut down together.

use kernel::sync::Arc;

use crate::{
    kapi::work::Work,
    vhost::{
        endpoint::Endpoint,
        queue::{
            Attachment,
            Queue, //
        },
        uapi::QUEUES, //
    },
};

/// The receive and the transmit queue, by index.
pub(super) struct Queues<E: Endpoint>(pub(super) [Arc<Work<Queue<E>>>; QUEUES]);

impl<E: Endpoint> Queues<E> {
    /// Removes all event sources that queue work: first detaches the backends, transmit first, and
    /// waits for the work items that use them; then removes the kick files. The work that these
    /// have queued may still run until a flush.
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
            let kick = queue.state.lock().kick.take();
            drop(kick);
        }
    }
}

impl<E: Endpoint> Drop for Queues<E> {
    /// A queue refers to its event sources and they to the queue; this breaks the cycle.
    fn drop(&mut self) {
        self.let_go();
    }
}
