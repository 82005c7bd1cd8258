// SPDX-License-Identifier: GPL-2.0

//! The event sources of a queue: the guest's kicks, the backend's file, and timers.
//!
//! Some backends report that they are ready when they are not: a socket whose packets another
//! reader takes, or a sender without sufficient room. After a run without progress such a backend
//! is polled again, the first time immediately and then after a delay that doubles each time. No
//! attempt is repeated indefinitely without a delay.

use kernel::{
    prelude::*,
    sync::Arc,
    time::Delta, //
};

use crate::{
    kapi::{
        delay::Delay,
        shrinker::Shrink,
        wait::{
            FilePoll,
            Interest,
            Pollable,
            Ready, //
        },
        work::{
            Run,
            Work, //
        },
        worker::Worker,
    },
    vhost::session::BATCH,
};

/// The longest delay before such a backend is polled again, as a power of two in milliseconds.
const SHIFT_MAX: u32 = 7;

/// How long a queue must be idle before its memory is freed.
const IDLE: Delta = Delta::from_secs(2);

/// The work item of a queue.
pub(super) trait Served: Run + Shrink {
    /// The work item that checks whether the queue is idle.
    type Idle: Run;

    /// Creates the work item that checks whether `work` is idle.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    fn idle(work: &Arc<Work<Self>>) -> Result<Arc<Work<Self::Idle>>>;
}

/// The event sources of a queue; see the [module documentation](self).
pub(super) struct Wakers<T: Served> {
    /// Queues the work when the guest kicks.
    kick: Pin<KBox<FilePoll<T>>>,
    /// Queues the work when the backend's file is ready. Has a file while a backend is attached.
    file: Pin<KBox<FilePoll<T>>>,
    delay: Delay<T>,
    /// Queues [`Served::Idle`]. Set if the endpoint keeps memory.
    idle: Option<Delay<T::Idle>>,
    past: Past,
}

/// What is remembered of the runs with the current backend.
#[derive(Default)]
struct Past {
    /// The time before which the queue must not run, until [`Wakers::delay`] has expired.
    hold: Option<Delta>,
    /// The number of runs when [`Wakers::idle`] was started, or `None` if it is not running.
    watched: Option<u64>,
    /// The number of consecutive runs that transferred nothing although the backend was ready.
    vain: u32,
    /// Whether the last run has transferred at least a batch.
    busy: bool,
}

impl<T: Served> Wakers<T> {
    /// Creates event sources that queue `work` to `worker`. There are no files yet.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(super) fn new(
        interest: Interest,
        idle: Option<Delay<T::Idle>>,
        worker: &Arc<Worker>,
        work: &Arc<Work<T>>,
    ) -> Result<Self> {
        Ok(Self {
            kick: FilePoll::new(Interest::Readable, worker.clone(), work.clone())?,
            file: FilePoll::new(interest, worker.clone(), work.clone())?,
            delay: Delay::new(worker.clone(), work.clone())?,
            idle,
            past: Past::default(),
        })
    }

    /// Takes the place of `old`, whose files and delays it takes over. The work is queued once,
    /// because events in between may have been missed.
    ///
    /// `old` queues nothing from then on. That comes first: a failing attempt to queue the work to
    /// a worker that has ended would hide the attempts to queue it to another one.
    pub(super) fn replace(&mut self, old: &mut Self) {
        let hold = old.past.hold.filter(|_| old.is_early());
        let vain = old.past.vain;
        old.forget();
        let kick = old.kick.as_mut().set_file(None);
        self.kick.as_mut().set_file(kick);
        let file = old.file.as_mut().set_file(None);
        self.file.as_mut().set_file(file);
        self.past.vain = vain;
        if let Some(delay) = hold {
            self.hold(delay);
        }
        for poll in [&mut self.kick, &mut self.file] {
            // The run that is queued below handles errors.
            let _ = poll.as_mut().start();
        }
        self.queue();
    }

    /// Queues the work now, after everything that is queued to its worker already.
    pub(super) fn queue(&self) {
        self.file.queue();
    }

    /// Replaces the kick file. The first value is true if there was another one before; the work
    /// that it has queued may still run until a flush.
    ///
    /// # Errors
    ///
    /// `EINVAL` when the file reports an error and no kick; the file is installed nevertheless.
    pub(super) fn set_kick(&mut self, file: Option<Pollable>) -> (bool, Result) {
        if self.kick.file() == file.as_ref() {
            return (false, Ok(()));
        }
        let old = self.kick.as_mut().set_file(file);
        (old.is_some(), self.kick.as_mut().start())
    }

    /// Returns the file of the attached backend.
    pub(super) fn attached(&self) -> Option<&Pollable> {
        self.file.file()
    }

    /// Replaces the backend's file and starts waiting for it. Runs must find the new backend
    /// already, because the work may be queued at once.
    pub(super) fn attach(&mut self, file: Pollable) {
        self.forget();
        self.file.as_mut().set_file(Some(file));
        if self.file.as_mut().start().is_err() {
            // The file has failed just now, and no event may come. A run handles that.
            self.queue();
        }
    }

    /// Removes the backend's file. Returns whether there was one.
    pub(super) fn detach(&mut self) -> bool {
        self.forget();
        self.file.as_mut().set_file(None).is_some()
    }

    /// Stops the timers and forgets the runs.
    fn forget(&mut self) {
        self.delay.stop();
        if let Some(idle) = &mut self.idle {
            idle.stop();
        }
        self.past = Past::default();
    }

    /// Returns whether another event has queued the work before the delay has expired.
    pub(super) fn is_early(&self) -> bool {
        self.past.hold.is_some() && self.delay.is_waiting()
    }

    /// Called when a run begins.
    ///
    /// No event is needed during a run. But removing the entry from the file's wait queue and
    /// adding it again costs as much as a small packet, so it stays there while runs are short and
    /// the queue waits for readability; an event then queues the next run. For writability it must
    /// be removed, because a socket only reports room to those who have polled it since it was
    /// full.
    ///
    /// A run that may poll without sleeping, when `polls` is set, must not be woken meanwhile: the
    /// queued work would end the polling.
    #[inline]
    pub(super) fn begin(&mut self, polls: bool) {
        self.past.hold = None;
        if self.past.busy || polls || !self.file.is_for_reading() {
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
        self.hold(delay);
    }

    fn hold(&mut self, delay: Delta) {
        self.past.hold = Some(delay);
        self.delay.start(delay);
    }

    /// Called when a run has ended that transferred or lost `moved` packets, and that waits for the
    /// backend.
    ///
    /// # Errors
    ///
    /// `EINVAL` when the backend's file reports an error and is not ready; see [`FilePoll::arm`].
    #[inline(always)]
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
        if self.past.vain == 0 {
            self.queue();
        } else {
            let shift = self.past.vain.min(SHIFT_MAX);
            self.delay.start(Delta::from_millis(1 << shift));
        }
        self.past.vain = self.past.vain.saturating_add(1);
    }

    fn count(&mut self, moved: usize) {
        self.past.busy = moved >= BATCH;
        if moved > 0 {
            self.past.vain = 0;
        }
    }

    /// Returns whether the idle timer is running.
    #[inline]
    pub(super) fn is_watched(&self) -> bool {
        self.past.watched.is_some()
    }

    /// Starts the idle timer, if there is one. `runs` is the number of runs so far.
    #[cold]
    pub(super) fn watch(&mut self, runs: u64) {
        if let Some(idle) = &mut self.idle {
            self.past.watched = Some(runs);
            idle.start(IDLE);
        }
    }

    /// Called when the idle timer has expired. Returns whether there was no run since it was
    /// started. If there was one, starts it again.
    pub(super) fn was_idle(&mut self, runs: u64) -> bool {
        match self.past.watched {
            Some(then) if then == runs => {
                self.past.watched = None;
                true
            }
            Some(_) => {
                self.watch(runs);
                false
            }
            // The backend or the worker was replaced after the timer had expired, or the backend
            // was detached.
            None => false,
        }
    }
}
