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
        wait::Ready, //
    },
    vhost::queue::{
        Endpoint,
        Poll,
        Queue, //
    },
};

/// The longest wait for a backend that is never as ready as it says, as a power of two in
/// milliseconds.
const SHIFT_MAX: u32 = 7;

/// See the [module's documentation](self).
pub(super) struct Wakers<E: Endpoint> {
    /// Waits for the backend's file.
    pub(super) file: Poll<E>,
    delay: Delay<Queue<E>>,
    /// Whether nothing else is to wake the queue before the delay has passed.
    holds: bool,
    /// How often in a row the backend was ready and the run came to nothing.
    vain: u32,
}

impl<E: Endpoint> Wakers<E> {
    /// Those of a queue that has just been attached.
    pub(super) fn new(file: Poll<E>, delay: Delay<Queue<E>>) -> Self {
        Self {
            file,
            delay,
            holds: false,
            vain: 0,
        }
    }

    /// Whether the queue was told to wait, and something else has woken it meanwhile.
    pub(super) fn is_early(&self) -> bool {
        self.holds && self.delay.is_waiting()
    }

    /// A run begins: it need not be woken.
    #[inline]
    pub(super) fn stop(&mut self) {
        self.holds = false;
        self.file.as_mut().stop();
    }

    /// Waits until `delay` has passed, whatever else happens.
    pub(super) fn wait_for_time(&mut self, delay: Delta) {
        self.holds = true;
        self.delay.start(delay);
    }

    /// Waits for the backend, after a run that has `moved` something or not.
    ///
    /// # Errors
    ///
    /// `EINVAL` when the backend's file cannot be waited for.
    pub(super) fn wait_for_backend(&mut self, moved: bool) -> Result {
        if moved {
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
