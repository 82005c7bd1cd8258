// SPDX-License-Identifier: GPL-2.0

//! One run of a queue: takes buffers from the ring and publishes used entries.
//!
//! A [`Session`] exists only while the worker serves an attached queue: the queue's lock is held,
//! the thread runs in the owner's address space, and guest notifications are disabled. Endpoints
//! therefore need no checks of their own.

use kernel::{
    prelude::*,
    time::Delta, //
};

use crate::{
    kapi::{
        eventfd::EventFd,
        iov::IoVec,
        mm::InMm, //
    },
    stats::QueueStats,
    vhost::budget::Budget,
    virtqueue::{
        fault::Fault,
        features::Negotiated,
        iotlb::Miss,
        mem::MemFault,
        path::Path,
        plain::Plain,
        taken::{
            Room,
            Taken, //
        },
        vq::Virtqueue, //
    },
};

/// The number of used entries that are published together.
pub(crate) const BATCH: usize = 64;

/// What a queue waits for after its endpoint has returned.
pub(crate) enum Next {
    /// The guest: there is no suitable buffer in the ring.
    Guest,
    /// The other queues: the budget is used up.
    Turn,
    /// The backend: there is no packet to receive, or no room to send.
    Backend,
    /// Nothing that sends an event: the queue runs again after this time and not before.
    Time(Delta),
    /// Userspace: the ring cannot be trusted. Any event runs the queue again, but kicks stay
    /// disabled.
    Reset,
}

/// What userspace and the guest are told through.
#[derive(Clone, Copy)]
pub(super) struct Told<'q> {
    /// Interrupts the guest.
    pub(super) call: Option<&'q EventFd>,
    /// Reports errors to userspace.
    pub(super) err: Option<&'q EventFd>,
    /// Tells userspace that something was logged.
    pub(super) log: Option<&'q EventFd>,
}

/// A run of a queue; see the [module documentation](self).
pub(crate) struct Session<'q, P> {
    mm: InMm<'q>,
    vq: Virtqueue<'q, P>,
    negotiated: Negotiated,
    told: Told<'q>,
    stats: &'q QueueStats,
    budget: Budget,
    /// Whether kicks have been enabled during this run.
    asked: bool,
}

impl<'q, P: Path> Session<'q, P> {
    /// Starts a run.
    pub(super) fn new(
        mm: InMm<'q>,
        vq: Virtqueue<'q, P>,
        negotiated: Negotiated,
        told: Told<'q>,
        stats: &'q QueueStats,
    ) -> Self {
        Self {
            mm,
            vq,
            negotiated,
            told,
            stats,
            budget: Budget::new(),
            asked: false,
        }
    }

    /// Returns the properties of the negotiated features.
    #[inline]
    pub(crate) fn negotiated(&self) -> Negotiated {
        self.negotiated
    }

    /// Returns the proof that the thread may access the owner's memory.
    #[inline]
    pub(crate) fn mm(&self) -> InMm<'q> {
        self.mm
    }

    /// Returns the budget of this run.
    #[inline(always)]
    pub(crate) fn budget(&mut self) -> &mut Budget {
        &mut self.budget
    }

    /// Returns the number of used entries that are not published yet.
    #[inline]
    pub(crate) fn pending(&self) -> usize {
        self.vq.pending()
    }

    /// Takes the next buffer, or returns `None` if there is none.
    ///
    /// # Errors
    ///
    /// The [`Fault`] of the guest, which has been counted and reported. If [`Fault::is_buffer`]
    /// holds, the buffer has been completed with length 0, and the next one can be taken.
    #[inline(always)]
    pub(crate) fn take(&mut self) -> Result<Option<Taken<'_, 'q, P>>, Fault> {
        self.budget.read(self.vq.take_read());
        let taken = self.vq.take();
        if let Err(fault) = &taken {
            Self::tell(*fault, self.stats, self.told.err, &mut self.budget);
        }
        taken
    }

    /// Returns the next buffer if it is readable and plain, or `None` if it is not plain.
    ///
    /// # Errors
    ///
    /// What the queue has to wait for if there is no buffer.
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

    /// Returns the next buffer if it is writable, plain and has one segment, or `None` otherwise.
    ///
    /// # Errors
    ///
    /// As for [`Self::plain`].
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

    /// Returns whether there is a buffer, or the ring has to be looked at because it is unreadable.
    pub(super) fn has_buffer(&mut self) -> bool {
        self.vq.has_buffer()
    }

    /// Reads the next buffer ahead.
    #[inline(never)]
    fn look(&mut self) -> Result<(), Next> {
        // A guest that has made a single buffer available probably waits for the response. The ring
        // is read again after kicks have been enabled.
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

    /// Completes `plain`, of which `len` bytes were written, for a packet with `bytes` of payload.
    /// Callers complete at most [`Self::burst`] buffers, so that there is room for the used entry.
    #[inline(always)]
    pub(crate) fn complete_plain(&mut self, plain: &Plain, len: u32, bytes: usize) {
        self.vq.complete_plain(plain, len);
        self.budget.moved_one(bytes);
    }

    /// Completes `plain`, which is not writable, with length 0, and returns the fault.
    #[cold]
    pub(crate) fn refuse_plain(&mut self, plain: &Plain) -> Fault {
        self.vq.complete_plain(plain, 0);
        Fault::Unwritable
    }

    /// Writes a 16-bit word to the owner's memory, in one access.
    ///
    /// # Errors
    ///
    /// [`MemFault`] when the memory is not writable.
    #[inline(always)]
    pub(crate) fn write_u16(&self, addr: usize, value: u16) -> Result<(), MemFault> {
        self.vq.write_u16(addr, value)
    }

    /// Returns how many packets may be transferred before the batch or the budget of packets is
    /// used up. The budget of bytes may be used up earlier.
    pub(crate) fn burst(&self) -> usize {
        BATCH
            .saturating_sub(self.pending())
            .min(self.budget.packets_left())
    }

    /// Takes at most `max` buffers until they have room for `want` bytes.
    ///
    /// # Errors
    ///
    /// As for [`Self::take`]; the valid buffers before an invalid one are completed as well.
    #[inline(always)]
    pub(crate) fn take_room(
        &mut self,
        want: usize,
        max: usize,
    ) -> Result<Room<Taken<'_, 'q, P>>, Fault> {
        self.budget.read(self.vq.take_read());
        let room = self.vq.take_room(want, max);
        if let Err(fault) = &room {
            Self::tell(*fault, self.stats, self.told.err, &mut self.budget);
        }
        room
    }

    /// Counts and reports `fault`, which the endpoint has found in a buffer and completed.
    #[cold]
    pub(crate) fn refused(&mut self, fault: Fault) {
        Self::tell(fault, self.stats, self.told.err, &mut self.budget);
    }

    /// Counts packets that were lost.
    #[cold]
    pub(crate) fn lost(&mut self, packets: usize) {
        self.stats.dropped(packets);
        self.budget.lost();
    }

    /// Counts packets that were lost after their buffers were completed, and reports it to
    /// userspace.
    #[cold]
    pub(crate) fn failed(&mut self, packets: usize) {
        self.lost(packets);
        if let Some(err) = self.told.err {
            err.signal();
        }
    }

    /// Returns all completed buffers to the guest, and interrupts it if it wants that.
    ///
    /// The order is: used entries, used index, decision, interrupt.
    ///
    /// # Errors
    ///
    /// [`Next::Reset`] when the used ring cannot be written, which has been counted and reported.
    /// The guest does not get these buffers back, and the caller must take no more.
    pub(crate) fn publish(&mut self) -> Result<(), Next> {
        let count = self.vq.pending();
        if count == 0 {
            return Ok(());
        }
        let (packets, bytes) = self.budget.uncounted();
        self.stats.moved(packets, bytes);
        let published = self.vq.publish(self.negotiated, self.told.call.is_some());
        self.stats.published(count, published.signal);
        self.tell_logged();
        if published.signal {
            if let Some(call) = self.told.call {
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

    /// Records that up to `len` bytes were written to `segs`, which are those of a plain buffer.
    #[inline(always)]
    pub(crate) fn wrote(&self, segs: &[IoVec], len: usize) {
        self.vq.wrote(segs, len);
        self.tell_logged();
    }

    /// Tells userspace if something was logged.
    #[inline(always)]
    pub(crate) fn tell_logged(&self) {
        if self.vq.take_logged() {
            if let Some(log) = self.told.log {
                log.signal();
            }
        }
    }

    /// Tells the guest not to kick.
    pub(super) fn disable_notify(&mut self) {
        self.vq.disable_notify();
        self.tell_logged();
    }

    /// Asks the guest for kicks. Returns true if there is a buffer already, for which no kick may
    /// come.
    pub(super) fn enable_notify(&mut self) -> bool {
        self.asked = true;
        let enabled = self.vq.enable_notify();
        self.tell_logged();
        match enabled {
            Ok(more) => more,
            Err(MemFault) => {
                // Without a request the guest may not kick.
                self.refused(Fault::UsedUnwritable);
                false
            }
        }
    }

    /// Returns the address whose translation this run has missed.
    pub(super) fn miss(&self) -> Option<Miss> {
        self.vq.miss()
    }

    /// Returns how many packets were transferred, lost or rejected in this run.
    pub(super) fn moved(&self) -> usize {
        self.budget.packets()
    }

    /// Counts a fault of the guest, and reports it to userspace.
    #[cold]
    fn tell(fault: Fault, stats: &QueueStats, err: Option<&EventFd>, budget: &mut Budget) {
        if fault == Fault::Missing {
            return stats.missed();
        }
        stats.fault(fault.index());
        budget.lost();
        if let Some(err) = err {
            err.signal();
        }
    }
}
