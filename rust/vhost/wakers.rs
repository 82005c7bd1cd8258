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
    vhost::session::BATCH, //
};

/// The longest wait for a backend that is never as ready as it says, as a power of two in
/// milliseconds.
const SHIFT_MAX: u32 = 7;

/// How long a queue has nothing to do before its memory is given back.
const IDLE: Delta = Delta::from_secs(2);

/// Queues an item when a file becomes ready.
pub(super) type Poll<T> = Pin<KBox<FilePoll<T>>>;

/// See the [module's documentation](self).
pub(super) struct Wakers<T: Run> {
    /// Waits for the backend's file.
    pub(super) file: Poll<T>,
    delay: Delay<T>,
    /// Whether nothing else is to wake the queue before the delay has passed.
    holds: bool,
    /// Wakes a queue that has been idle, or has not: once for each [`IDLE`].
    idle: Delay<T>,
    /// Whether there was no run since that was started. `None` while it is not.
    quiet: Option<bool>,
    /// How often in a row the backend was ready and the run came to nothing.
    vain: u32,
    /// Whether the last run was a long one.
    busy: bool,
}

impl<T: Run> Wakers<T> {
    /// Those of a queue that has just been attached.
    pub(super) fn new(file: Poll<E>, [delay, idle]: [Delay<T>; 2]) -> Self {

    pub(super) fn new(file: Poll<T>, delay: Delay<T>) -> Self {
        Self {
            file,
            delay,
            holds: false,
            idle,
            quiet: None,
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

    /// Whether the queue has been idle for so long that its memory is to be given back. For the
    /// beginning of a run.
    #[inline]
    pub(super) fn was_idle(&mut self) -> bool {
        match self.quiet {
            Some(quiet) if !self.idle.is_waiting() => {
                self.quiet = None;
                quiet
            }
            Some(_) => {
                self.quiet = Some(false);
                false
            }
            None => false,
        }
    }

    /// Whether it will be found out that the queue is idle.
    #[inline]
    pub(super) fn is_watched(&self) -> bool {
        self.quiet.is_some()
    }

    /// Has that found out: the queue holds memory.
    #[cold]
    pub(super) fn watch(&mut self) {
        self.quiet = Some(true);
        self.idle.start(IDLE);
    }

    /// The run is over, in which `moved` packets went through or were lost, and waits for somebody
    /// else.
    pub(super) fn end(&mut self, moved: usize) {
        self.busy = moved >= BATCH;
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
        self.busy = moved >= BATCH;
        if moved > 0 {
            self.vain = 0;
        }
        if self.file.as_mut().arm()? == Ready::No {
            return Ok(());
        }
        // The first time it may have become ready since the run has looked.
        if self.vain == 0 {
            self.file.queue();
        } else {
            let shift = self.vain.min(SHIFT_MAX);
            self.delay.start(Delta::from_millis(1 << shift));
        }
        self.vain = self.vain.saturating_add(1);
        Ok(())
    }
}
