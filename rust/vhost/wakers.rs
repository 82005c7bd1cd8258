// SPDX-License-Identifier: GPL-2.0

//! The event sources of a queue other than the guest: the backend's file, and timers.
//!
//! Some backends report that they are ready when they are not: a socket whose packets another
//! reader takes, or a sender without sufficient room. After a run without progress such a backend
//! is polled again, the first time immediately and then after a delay that doubles each time. No
//! attempt is repeated indefinitely without a delay.

use kernel::{
    prelude::*,
    time::Delta, //
};

use crate::{
    kapi::{
        delay::Delay,
        shrinker::Shrink,
        wait::{
            FilePoll,
            Ready, //
        },
        work::Run, //
    },
    vhost::session::BATCH,
};

/// The longest delay before such a backend is polled again, as a power of two in milliseconds.
const SHIFT_MAX: u32 = 7;

/// How long a queue must be idle before its memory is freed.
const IDLE: Delta = Delta::from_secs(2);

/// Queues work when a file becomes ready.
pub(super) type Poll<T> = Pin<KBox<FilePoll<T>>>;

/// The work item of a queue.
pub(super) trait Served: Run + Shrink {
    /// The work item that checks whether the queue is idle.
    type Idle: Run;
}

/// The event sources of an attached queue; see the [module documentation](self).
pub(super) struct Wakers<T: Served> {
    /// Queues the work when the backend's file is ready.
    pub(super) file: Poll<T>,
    delay: Delay<T>,
    /// Whether the queue must not run before `delay` has expired.
    holds: bool,
    /// Queues [`Served::Idle`]. Set if the endpoint keeps memory.
    idle: Option<Delay<T::Idle>>,
    /// The number of runs when `idle` was started, or `None` if it is not running.
    watched: Option<u64>,
    /// The number of consecutive runs that transferred nothing although the backend was ready.
    vain: u32,
    /// Whether the last run has transferred at least a batch.
    busy: bool,
}

impl<T: Served> Wakers<T> {
    /// Creates the event sources of a queue that is being attached.
    pub(super) fn new(file: Poll<T>, delay: Delay<T>, idle: Option<Delay<T::Idle>>) -> Self {
        Self {
            file,
            delay,
            holds: false,
            idle,
            watched: None,
            vain: 0,
            busy: false,
        }
    }

    /// Returns whether another event has queued the work before the delay has expired.
    pub(super) fn is_early(&self) -> bool {
        self.holds && self.delay.is_waiting()
    }

    /// Called when a run begins.
    ///
    /// No event is needed during a run. But removing the entry from the file's wait queue and
    /// adding it again costs as much as a small packet, so it stays there while runs are short and
    /// the queue waits for readability; an event then queues the next run. For writability it must
    /// be removed, because a socket only reports room to those who have polled it since it was
    /// full.
    #[inline]
    pub(super) fn begin(&mut self) {
        self.holds = false;
        if self.busy || !self.file.is_for_reading() {
            self.file.as_mut().stop();
        }
    }

    /// Called when a run has ended that transferred or lost `moved` packets, and that waits for
    /// something other than the backend.
    pub(super) fn end(&mut self, moved: usize) {
        self.count(moved);
        self.file.as_mut().stop();
    }

    /// Called when a run has ended and the next one must be after `delay`, even if there are
    /// events.
    pub(super) fn wait_for_time(&mut self, delay: Delta) {
        self.end(0);
        self.holds = true;
        self.delay.start(delay);
    }

    /// Called when a run has ended that transferred or lost `moved` packets, and that waits for the
    /// backend.
    ///
    /// # Errors
    ///
    /// `EINVAL` when the backend's file reports an error and is not ready; see [`FilePoll::arm`].
    pub(super) fn wait_for_backend(&mut self, moved: usize) -> Result {
        self.count(moved);
        if moved == 0 {
            // The event was spurious. Removing the entry makes `arm` poll the file again.
            self.file.as_mut().stop();
        }
        match self.file.as_mut().arm() {
            Ok(Ready::No) => Ok(()),
            Ok(Ready::Yes) => {
                self.try_again();
                Ok(())
            }
            Err(e) => {
                // No event will report room, and only a send shows that the backend is gone.
                if !self.file.is_for_reading() {
                    self.try_again();
                }
                Err(e)
            }
        }
    }

    /// Queues another run: immediately the first time, because the file may have become ready after
    /// the endpoint had looked, and after a delay from then on.
    fn try_again(&mut self) {
        if self.vain == 0 {
            self.file.queue();
        } else {
            let shift = self.vain.min(SHIFT_MAX);
            self.delay.start(Delta::from_millis(1 << shift));
        }
        self.vain = self.vain.saturating_add(1);
    }

    fn count(&mut self, moved: usize) {
        self.busy = moved >= BATCH;
        if moved > 0 {
            self.vain = 0;
        }
    }

    /// Returns whether the idle timer is running.
    #[inline]
    pub(super) fn is_watched(&self) -> bool {
        self.watched.is_some()
    }

    /// Starts the idle timer, if there is one. `runs` is the number of runs so far.
    #[cold]
    pub(super) fn watch(&mut self, runs: u64) {
        if let Some(idle) = &mut self.idle {
            self.watched = Some(runs);
            idle.start(IDLE);
        }
    }

    /// Called when the idle timer has expired. Returns whether there was no run since it was
    /// started; otherwise starts it again.
    pub(super) fn was_idle(&mut self, runs: u64) -> bool {
        if self.watched == Some(runs) {
            self.watched = None;
            return true;
        }
        self.watch(runs);
        false
    }
}
