// SPDX-License-Identifier: GPL-2.0

//! One run over one queue: buffers out, used entries back, and nothing left to check.
//!
//! A [`Session`] exists only while the worker serves a queue that is live: its lock is held, the
//! owner's memory is this thread's, guest notifications are off. Buffers that are taken and not
//! completed go back to the ring when they are dropped, so no count of them travels by hand.

use kernel::prelude::*;

use crate::{
    kapi::{
        eventfd::EventFd,
        iov::{
            IoVec,
            IOV_MAX, //
        },
        mm::InMm,
        uaccess::UserMem, //
    },
    stats::QueueStats,
    vhost::taken::Taken,
    virtqueue::{
        chain::{
            self,
            Chain,
            Collected, //
        },
        fault::Fault,
        features::Negotiated,
        mem::MemTable,
        ring::Ring,
        uapi::UsedElem,
        used, //
    },
};

/// Used entries that may wait to be published.
pub(crate) const BATCH: usize = 64;

/// Used entries of the largest packet behind a batch that is almost due.
const HEADS_MAX: usize = IOV_MAX + BATCH + 1;

/// Why an endpoint stopped, and so what the queue waits for.
pub(crate) enum Next {
    /// The ring has no buffer that would do: a kick.
    Empty,
    /// It has had its share for now: its turn.
    Budget,
    /// The backend has nothing to give, or no room to take: the backend.
    Backend,
    /// The guest made a mistake: a kick, and until then nothing.
    Fault(Fault),
}

/// Room for what one packet and one batch may need, allocated with the worker.
pub(crate) struct Buffers {
    /// Segments of the buffers that are being filled or emptied.
    pub(super) segs: KVec<IoVec>,
    /// Used entries that are not published yet.
    pub(super) used: KVec<UsedElem>,
}

impl Buffers {
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(super) fn new() -> Result<Self> {
        Ok(Self {
            segs: KVec::with_capacity(IOV_MAX, GFP_KERNEL)?,
            used: KVec::with_capacity(HEADS_MAX, GFP_KERNEL)?,
        })
    }
}

/// See the [module's documentation](self).
pub(crate) struct Session<'q> {
    pub(super) mm: InMm<'q>,
    pub(super) mem: UserMem<'q>,
    pub(super) ring: &'q mut Ring,
    pub(super) table: &'q MemTable,
    pub(super) hint: &'q mut usize,
    pub(super) buffers: &'q mut Buffers,
    pub(super) negotiated: Negotiated,
    pub(super) call: Option<&'q EventFd>,
    pub(super) err: Option<&'q EventFd>,
    pub(super) stats: &'q QueueStats,
}

/// What came of asking for room for a packet.
pub(crate) enum Room<'s, 'q> {
    /// Enough.
    Ready(Taken<'s, 'q>),
    /// The ring ran dry: more buffers may come.
    Short,
    /// As many buffers as one packet may have do not hold it.
    TooSmall,
}

impl<'q> Session<'q> {
    /// What was negotiated, as yes or no.
    #[inline]
    pub(crate) fn negotiated(&self) -> Negotiated {
        self.negotiated
    }

    /// The evidence for touching the owner's memory.
    #[inline]
    pub(crate) fn mm(&self) -> InMm<'q> {
        self.mm
    }

    /// The counters of this queue.
    #[inline]
    pub(crate) fn stats(&self) -> &'q QueueStats {
        self.stats
    }

    /// How many used entries wait to be published.
    #[inline]
    pub(crate) fn pending(&self) -> usize {
        self.buffers.used.len()
    }

    /// Takes the next buffer, or `None` when there is none.
    ///
    /// # Errors
    ///
    /// The guest's mistake; the buffer stays where it is.
    #[inline]
    pub(crate) fn take(&mut self) -> Result<Option<Taken<'_, 'q>>, Fault> {
        self.buffers.segs.clear();
        let chain = chain::take(
            self.ring,
            &self.mem,
            self.table,
            self.hint,
            &mut self.buffers.segs,
        )?;
        let Some(chain) = chain else {
            return Ok(None);
        };
        let Chain {
            head,
            writable,
            bytes,
            ..
        } = chain;
        let from = self.buffers.used.len();
        let elem = UsedElem {
            id: u32::from(head),
            len: 0,
        };
        let pushed = self.buffers.used.push_within_capacity(elem).is_ok();
        let taken = Taken::new(self, from, 1, writable, bytes);
        // Publishing in time is the endpoint's part; a buffer that finds no room goes back.
        if pushed {
            Ok(Some(taken))
        } else {
            Err(Fault::TooManySegments)
        }
    }

    /// Takes buffers until they hold `want` bytes, at most `max` of them.
    ///
    /// # Errors
    ///
    /// The guest's mistake; all buffers stay where they are.
    #[inline]
    pub(crate) fn take_room(&mut self, want: usize, max: usize) -> Result<Room<'_, 'q>, Fault> {
        self.buffers.segs.clear();
        let from = self.buffers.used.len();
        let collected = chain::collect(
            self.ring,
            &self.mem,
            self.table,
            self.hint,
            &mut self.buffers.segs,
            &mut self.buffers.used,
            want,
            max,
        )?;
        Ok(match collected {
            Collected::Ready { heads } => {
                let writable = self.buffers.segs.len();
                Room::Ready(Taken::new(self, from, heads, writable, want))
            }
            Collected::Short => Room::Short,
            Collected::TooSmall => Room::TooSmall,
        })
    }

    /// Hands all completed buffers back to the guest, and interrupts it if it wants that.
    ///
    /// The elements, then the index once, then the decision, then the signal.
    pub(crate) fn publish(&mut self) {
        if self.buffers.used.is_empty() {
            return;
        }
        let count = self.buffers.used.len();
        let published = used::publish(
            self.ring,
            &self.mem,
            self.negotiated,
            &self.buffers.used,
            self.call.is_some(),
        );
        self.buffers.used.clear();
        self.stats.published(count, published.signal);
        if published.fault.is_some() {
            self.fault();
        }
        if published.signal {
            if let Some(call) = self.call {
                call.signal();
            }
        }
    }

    /// Tells userspace that the guest made a mistake.
    pub(super) fn fault(&self) {
        self.stats.fault();
        if let Some(err) = self.err {
            err.signal();
        }
    }
}
