// SPDX-License-Identifier: GPL-2.0

//! The queues of a device, which are let go of together.

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

/// Both, by index.
pub(super) struct Queues<E: Endpoint>(pub(super) [Arc<Work<Queue<E>>>; QUEUES]);

impl<E: Endpoint> Queues<E> {
    /// Lets go of all that queues work: backends, transmit first, are detached and what was queued
    /// for them has run; then the kicks, and what they have queued may still run until a flush.
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
    /// A queue's files refer to the queue: without this they would keep each other.
    fn drop(&mut self) {
        self.let_go();
    }
}
