// SPDX-License-Identifier: GPL-2.0

//! One run over one queue: buffers out, used entries back, and nothing left to check.
//!
//! A [`Session`] exists only while the worker serves a queue that is live: its lock is held, the
//! owner's memory is this thread's, guest notifications are off.

use kernel::{
    prelude::*,
    time::Delta, //
};

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
    vhost::budget::Budget,
    virtqueue::{
        fault::Fault,
        features::Negotiated,
        mem::MemFault,
        plain::Plain,
        taken,
        uapi::UsedElem,
        vq::Virtqueue, //
    },
};

/// Used entries that may wait to be published.
pub(crate) const BATCH: usize = 64;

/// Used entries of the largest packet behind a batch that is almost due.
const HEADS_MAX: usize = IOV_MAX + BATCH + 1;

/// Whom a queue waits for when its endpoint has stopped.
pub(crate) enum Next {
    /// The guest: the ring has no buffer that would do.
    Guest,
    /// The other queues: it has had its share.
    Turn,
    /// The backend: it has nothing to give, or no room to take.
    Backend,
    /// Nobody who would tell: another try after that time, and not before.
    Time(Delta),
    /// Whoever sets the ring up: it cannot be trusted. It is looked at again when something wakes
    /// the queue, but nobody is asked to.
    Reset,
}

/// Buffers between the ring and an endpoint.
pub(crate) type Taken<'s, 'q> = taken::Taken<'s, 'q, UserMem<'q>>;

/// What came of asking for room for a packet.
pub(crate) type Room<'s, 'q> = taken::Room<Taken<'s, 'q>>;

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
    mm: InMm<'q>,
    vq: Virtqueue<'q, UserMem<'q>>,
    negotiated: Negotiated,
    call: Option<&'q EventFd>,
    err: Option<&'q EventFd>,
    stats: &'q QueueStats,
    budget: Budget,
    /// Whether the guest has been asked for kicks in this run.
    asked: bool,
}

impl<'q> Session<'q> {
    /// A run that begins. `call` and `err` are the eventfds by which guest and userspace are told.
    pub(super) fn new(
        mm: InMm<'q>,
        vq: Virtqueue<'q, UserMem<'q>>,
        negotiated: Negotiated,
        (call, err): (Option<&'q EventFd>, Option<&'q EventFd>),
        stats: &'q QueueStats,
    ) -> Self {
        Self {
            mm,
            vq,
            negotiated,
            call,
            err,
            stats,
            budget: Budget::new(),
            asked: false,
        }
    }

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

    /// What this run may still move.
    #[inline(always)]
    pub(crate) fn budget(&mut self) -> &mut Budget {
        &mut self.budget
    }

    /// How many used entries wait to be published.
    #[inline]
    pub(crate) fn pending(&self) -> usize {
        self.vq.pending()
    }

    /// Takes the next buffer, or `None` when there is none.
    ///
    /// # Errors
    ///
    /// The guest's mistake, which has been told of. A buffer that is wrong in itself has been
    /// completed with length 0, and the next one may be taken.
    #[inline(always)]
    pub(crate) fn take(&mut self) -> Result<Option<Taken<'_, 'q>>, Fault> {
        self.budget.read(self.vq.take_read());
        let taken = self.vq.take();
        if let Err(fault) = &taken {
            Self::tell(*fault, self.stats, self.err, &mut self.budget);
        }
        taken
    }

    /// The next buffer, to be read; `None` if it is not plain.
    ///
    /// # Errors
    ///
    /// Whom to wait for when there is none.
    #[inline(always)]
    pub(crate) fn plain(&mut self) -> Result<Option<Plain>, Next> {
        match self.vq.plain() {
            Some(plain) => Ok(Some(plain)),
            None => {
                self.look()?;
                Ok(self.vq.plain())
            }
        }
    }

    /// The next buffer, in one piece, and to be written; `None` if it is not plain.
    ///
    /// # Errors
    ///
    /// As [`Self::plain`].
    #[inline(always)]
    pub(crate) fn plain_room(&mut self) -> Result<Option<Plain>, Next> {
        match self.vq.plain_room() {
            Some(plain) => Ok(Some(plain)),
            None => {
                self.look()?;
                Ok(self.vq.plain_room())
            }
        }
    }

    /// Has the next buffer read ahead.
    #[inline(never)]
    fn look(&mut self) -> Result<(), Next> {
        // Who has made one buffer available most likely waits for what comes of it, and it is
        // looked again when kicks are asked for.
        if !self.asked && self.budget.packets() == 1 && self.vq.is_drained() {
            return Err(Next::Guest);
        }
        match self.vq.look() {
            Ok(true) => Ok(()),
            Ok(false) => Err(Next::Guest),
            Err(fault) => {
                self.refused(fault);
                Err(Next::Reset)
            }
        }
    }

    /// Completes `plain`, of which `len` bytes were written, for a packet whose payload has
    /// `bytes`. No more of them than a [`Self::burst`], so that there is room.
    #[inline(always)]
    pub(crate) fn complete_plain(&mut self, plain: &Plain, len: u32, bytes: usize) {
        self.vq.complete_plain(plain, len);
        self.budget.moved_one(bytes);
    }

    /// Hands back `plain`, which cannot be written, with length 0.
    #[cold]
    pub(crate) fn refuse_plain(&mut self, plain: &Plain) -> Fault {
        self.vq.complete_plain(plain, 0);
        Fault::Unwritable
    }

    /// Writes a word to the owner's memory, in one access.
    ///
    /// # Errors
    ///
    /// [`MemFault`] when that is not possible.
    #[inline(always)]
    pub(crate) fn write_u16(&self, addr: usize, value: u16) -> Result<(), MemFault> {
        self.vq.write_u16(addr, value)
    }

    /// How many packets may go through before a batch is full or the run is over. For large
    /// packets it may be over before.
    pub(crate) fn burst(&self) -> usize {
        BATCH
            .saturating_sub(self.pending())
            .min(self.budget.packets_left())
    }

    /// Takes buffers until they hold `want` bytes, at most `max` of them.
    ///
    /// # Errors
    ///
    /// As [`Self::take`]; the good buffers before a wrong one are completed like it.
    #[inline(always)]
    pub(crate) fn take_room(&mut self, want: usize, max: usize) -> Result<Room<'_, 'q>, Fault> {
        self.budget.read(self.vq.take_read());
        let room = self.vq.take_room(want, max);
        if let Err(fault) = &room {
            Self::tell(*fault, self.stats, self.err, &mut self.budget);
        }
        room
    }

    /// The endpoint has found `fault` in a buffer, and completed it with length 0.
    #[cold]
    pub(crate) fn refused(&mut self, fault: Fault) {
        Self::tell(fault, self.stats, self.err, &mut self.budget);
    }

    /// Packets were lost, by the guest's or the backend's doing.
    #[cold]
    pub(crate) fn lost(&mut self, packets: usize) {
        self.stats.dropped(packets);
        self.budget.lost();
    }

    /// Packets were lost that the guest had been told were sent: userspace is told.
    #[cold]
    pub(crate) fn failed(&mut self, packets: usize) {
        self.lost(packets);
        if let Some(err) = self.err {
            err.signal();
        }
    }

    /// Hands all completed buffers back to the guest, and interrupts it if it wants that.
    ///
    /// The elements, then the index once, then the decision, then the signal.
    ///
    /// # Errors
    ///
    /// [`Next::Reset`] when the used ring cannot be written, which has been told of: the buffers
    /// are lost to the guest, and no more may be taken.
    pub(crate) fn publish(&mut self) -> Result<(), Next> {
        let count = self.vq.pending();
        if count == 0 {
            return Ok(());
        }
        let (packets, bytes) = self.budget.uncounted();
        self.stats.moved(packets, bytes);
        let published = self.vq.publish(self.negotiated, self.call.is_some());
        self.stats.published(count, published.signal);
        if published.signal {
            if let Some(call) = self.call {
                call.signal();
            }
        }
        match published.fault {
            Some(fault) => {
                self.refused(fault);
                Err(Next::Reset)
            }
            None => Ok(()),
        }
    }

    /// Tells the guest that kicks are not needed.
    pub(super) fn disable_notify(&mut self) {
        self.vq.disable_notify();
    }

    /// Asks the guest for kicks; true when there is something already, for which none may come.
    pub(super) fn enable_notify(&mut self) -> bool {
        self.asked = true;
        match self.vq.enable_notify() {
            Ok(more) => more,
            Err(MemFault) => {
                // The guest may not kick, since it has not been asked.
                self.refused(Fault::UsedUnwritable);
                false
            }
        }
    }

    /// How many packets have gone through in this run, were lost or refused.
    pub(super) fn moved(&self) -> usize {
        self.budget.packets()
    }

    /// Counts a mistake, and tells userspace that the guest made one.
    #[cold]
    fn tell(fault: Fault, stats: &QueueStats, err: Option<&EventFd>, budget: &mut Budget) {
        stats.fault(fault.index());
        budget.lost();
        if let Some(err) = err {
            err.signal();
        }
    }
}
