// SPDX-License-Identifier: GPL-2.0

//! Who wakes a queue besides the guest: the backend's file, and time.
//!
//! Nothing is tried again without a wait, whatever a backend answers. A backend that says that it
//! is ready and then is not (a socket whose packets go elsewhere, a sender that never has enough
//! room) is asked again after a while, which doubles each time.

use kernel::{
    prelude::*,
    time::Delta, //
};

use crate::{
    kapi::{
        delay::Delay,
        wait::{
            FilePoll,
            Ready, //
        },
        work::Run, //
    },
    vhost::session::BATCH,
};

/// The longest wait for a backend that is never as ready as it says, as a power of two in
/// milliseconds.
const SHIFT_MAX: u32 = 7;

/// How long a queue has nothing to do before its memory is given back.
const IDLE: Delta = Delta::from_secs(2);

/// A file that queues work when it becomes ready.
pub(super) type Poll<T> = Pin<KBox<FilePoll<T>>>;

/// The work of a queue.
pub(super) trait Served: Run {
    /// The work that looks whether the queue is idle.
    type Idle: Run;
}

/// See the [module's documentation](self).
pub(super) struct Wakers<T: Served> {
    /// Waits for the backend's file.
    pub(super) file: Poll<T>,
    delay: Delay<T>,
    /// Whether nothing else is to wake the queue before the delay has passed.
    holds: bool,
    idle: Delay<T::Idle>,
    /// How many runs there were when `idle` was started. `None` while it is not.
    watched: Option<u64>,
    /// How often in a row the backend was ready and the run came to nothing.
    vain: u32,
    /// Whether the last run was a long one.
    busy: bool,
}

impl<T: Served> Wakers<T> {
    /// Those of a queue that has just been attached.
    pub(super) fn new(file: Poll<T>, delay: Delay<T>, idle: Delay<T::Idle>) -> Self {
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

    /// Whether the queue was told to wait, and something else has woken it meanwhile.
    pub(super) fn is_early(&self) -> bool {
        self.holds && self.delay.is_waiting()
    }

    /// A run begins.
    ///
    /// It need not be woken. But to leave the file's wait queue and to come back costs as much as
    /// a small packet, so where runs are short it stays there: what becomes readable meanwhile
    /// queues the next run. Room to write is only told of who has asked since it ran out.
    #[inline]
    pub(super) fn begin(&mut self) {
        self.holds = false;
        if self.busy || !self.file.is_for_reading() {
            self.file.as_mut().stop();
        }
    }

    /// The run is over, in which `moved` packets went through or were lost, and waits for somebody
    /// else.
    pub(super) fn end(&mut self, moved: usize) {
        self.count(moved);
        self.file.as_mut().stop();
    }

    /// The run is over, and the next one is to be when `delay` has passed, whatever else happens.
    pub(super) fn wait_for_time(&mut self, delay: Delta) {
        self.end(0);
        self.holds = true;
        self.delay.start(delay);
    }

    /// The run is over, in which `moved` packets went through or were lost, and waits for the
    /// backend.
    ///
    /// # Errors
    ///
    /// `EINVAL` when the backend's file cannot be waited for.
    pub(super) fn wait_for_backend(&mut self, moved: usize) -> Result {
        self.count(moved);
        if moved == 0 {
            // Woken for nothing: it may have something else to say.
            self.file.as_mut().stop();
        }
        match self.file.as_mut().arm() {
            Ok(Ready::No) => Ok(()),
            Ok(Ready::Yes) => {
                self.try_again();
                Ok(())
            }
            Err(e) => {
                // It will not tell of room; that there is no backend any more is found by trying.
                if !self.file.is_for_reading() {
                    self.try_again();
                }
                Err(e)
            }
        }
    }

    /// Queues another run: the first time at once, since something may have happened after the
    /// last run has looked, and then after a while.
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

    /// Whether it will be found out that the queue is idle.
    #[inline]
    pub(super) fn is_watched(&self) -> bool {
        self.watched.is_some()
    }

    /// Has that found out, of a queue that has had so many runs.
    #[cold]
    pub(super) fn watch(&mut self, runs: u64) {
        self.watched = Some(runs);
        self.idle.start(IDLE);
    }

    /// The time has passed: whether there was no run since. Otherwise it is looked again later.
    pub(super) fn was_idle(&mut self, runs: u64) -> bool {
        if self.watched == Some(runs) {
            self.watched = None;
            return true;
        }
        self.watch(runs);
        false
    }
}
