// SPDX-License-Identifier: GPL-2.0

//! What a queue needs to be served, allocated when its device gets an owner.
//!
//! Later requests replace files and backends without allocating any of it. Only another worker
//! needs new event sources.

use core::mem::replace;
use kernel::{
    prelude::*,
    sync::Arc, //
};

use crate::{
    kapi::{
        delay::Delay,
        iov::{
            IoVec,
            IOV_MAX, //
        },
        shrinker::Shrinker,
        wait::Interest,
        work::Work,
        worker::Worker, //
    },
    vhost::{
        endpoint::Endpoint,
        session::BATCH,
        wakers::{
            Served,
            Wakers, //
        },
    },
    virtqueue::{
        path::Path,
        ring::Ring,
        uapi::UsedElem,
        vq::Virtqueue, //
    },
};

/// Memory for the segments of one packet and the used entries of a batch.
pub(super) struct Buffers {
    /// The segments of the buffers that are taken.
    segs: KVec<IoVec>,
    /// The used entries that are not published yet.
    used: KVec<UsedElem>,
}

impl Buffers {
    /// Returns the queue with this memory, to be served through `path`.
    #[inline]
    pub(super) fn queue<'q, P: Path>(
        &'q mut self,
        path: P,
        ring: &'q mut Ring,
    ) -> Virtqueue<'q, P> {
        Virtqueue::new(path, ring, &mut self.segs, &mut self.used)
    }

    /// Allocates the memory for batches, and for packets of at most `heads` buffers.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    fn new(heads: usize) -> Result<Self> {
        Ok(Self {
            segs: KVec::with_capacity(IOV_MAX, GFP_KERNEL)?,
            used: KVec::with_capacity(heads.max(BATCH + 1), GFP_KERNEL)?,
        })
    }
}

/// What an endpoint waits for, which never changes.
#[derive(Clone, Copy)]
pub(super) struct Needs {
    interest: Interest,
    /// Whether it keeps memory, to be freed when the queue is idle.
    idle: bool,
}

impl Needs {
    pub(super) fn of<E: Endpoint>(endpoint: &E) -> Self {
        Self {
            interest: endpoint.interest(),
            idle: endpoint.keeps_memory(),
        }
    }
}

/// The resources of a queue; see the [module documentation](self). `Q` is the queue, whose work is
/// queued.
pub(super) struct Resources<Q: Served> {
    pub(super) buffers: Buffers,
    pub(super) wakers: Wakers<Q>,
    /// Calls for the endpoint's memory when the kernel is short of it. Set if the endpoint keeps
    /// memory.
    _shrinker: Option<Shrinker<Work<Q>>>,
}

impl<Q: Served> Resources<Q> {
    /// Allocates the resources for `endpoint`. Events will queue `work` to `worker`.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(super) fn new<E: Endpoint>(
        endpoint: &E,
        worker: &Arc<Worker>,
        work: &Arc<Work<Q>>,
    ) -> Result<Self> {
        let needs = Needs::of(endpoint);
        let shrinker = needs.idle.then(|| Shrinker::new(work.clone()));
        Ok(Self {
            buffers: Buffers::new(endpoint.buffers_max())?,
            wakers: Self::wakers(needs, worker, work)?,
            _shrinker: shrinker.transpose()?,
        })
    }

    /// Lets all events queue the work through `wakers`, and queues it once. Returns the old ones,
    /// to be dropped without the queue's lock.
    pub(super) fn set_wakers(&mut self, wakers: Wakers<Q>) -> Wakers<Q> {
        let mut old = replace(&mut self.wakers, wakers);
        self.wakers.replace(&mut old);
        old
    }

    /// Creates event sources that queue `work` to `worker`.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(super) fn wakers(
        needs: Needs,
        worker: &Arc<Worker>,
        work: &Arc<Work<Q>>,
    ) -> Result<Wakers<Q>> {
        let idle = needs
            .idle
            .then(|| Delay::new(worker.clone(), Q::idle(work)?));
        Wakers::new(needs.interest, idle.transpose()?, worker, work)
    }
}
