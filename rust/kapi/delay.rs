// SPDX-License-Identifier: GPL-2.0

//! Queueing work after a delay.

use kernel::{
    impl_has_hr_timer,
    prelude::*,
    sync::{
        atomic::{
            ordering::{
                Acquire,
                Release, //
            },
            Atomic, //
        },
        Arc,
        ArcBorrow, //
    },
    time::{
        hrtimer::{
            ArcHrTimerHandle,
            HrTimer,
            HrTimerCallback,
            HrTimerCallbackContext,
            HrTimerPointer,
            HrTimerRestart,
            RelativeMode, //
        },
        Delta,
        Monotonic, //
    },
};

use super::{
    work::{
        Run,
        Work, //
    },
    worker::Worker, //
};

/// A timer and what its callback needs.
#[pin_data]
struct Alarm<T: Run> {
    #[pin]
    timer: HrTimer<Self>,
    waiting: Atomic<bool>,
    worker: Arc<Worker>,
    work: Arc<Work<T>>,
}

impl_has_hr_timer! {
    impl{T: Run} HasHrTimer<Self> for Alarm<T> {
        mode: RelativeMode<Monotonic>, field: self.timer
    }
}

impl<T: Run> HrTimerCallback for Alarm<T> {
    type Pointer<'a> = Arc<Self>;

    fn run(this: ArcBorrow<'_, Self>, _ctx: HrTimerCallbackContext<'_, Self>) -> HrTimerRestart {
        this.waiting.store(false, Release);
        this.worker.queue(&this.work);
        HrTimerRestart::NoRestart
    }
}

/// Queues one work item when a delay has expired. Cancelled on drop.
pub(crate) struct Delay<T: Run> {
    alarm: Arc<Alarm<T>>,
    handle: Option<ArcHrTimerHandle<Alarm<T>>>,
}

impl<T: Run> Delay<T> {
    /// Creates a delay that queues `work` to `worker`. It is not started yet.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new(worker: Arc<Worker>, work: Arc<Work<T>>) -> Result<Self> {
        let alarm = Arc::pin_init(
            pin_init!(Alarm {
                timer <- HrTimer::new(),
                waiting: Atomic::new(false),
                worker,
                work,
            }),
            GFP_KERNEL,
        )?;
        Ok(Self {
            alarm,
            handle: None,
        })
    }

    /// Queues the work when `delay` has expired. A delay that was started earlier is cancelled.
    pub(crate) fn start(&mut self, delay: Delta) {
        self.stop();
        self.alarm.waiting.store(true, Release);
        self.handle = Some(self.alarm.clone().start(delay));
    }

    /// Returns whether a delay was started and has not expired.
    pub(crate) fn is_waiting(&self) -> bool {
        self.alarm.waiting.load(Acquire)
    }

    /// Cancels the delay. Waits for a running timer callback, which takes no lock. Work that it has
    /// queued may still run.
    pub(crate) fn stop(&mut self) {
        self.handle = None;
        self.alarm.waiting.store(false, Release);
    }
}
