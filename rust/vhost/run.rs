// SPDX-License-Identifier: GPL-2.0

//! How a run of the worker serves a queue.

use core::cell::Cell;
use kernel::time::{
    Delta,
    Instant,
    Monotonic, //
};

use crate::{
    kapi::{
        mm::InMm,
        uaccess::UserMem,
        wait::Interest,
        work::Context, //
    },
    stats::QueueStats,
    vhost::{
        endpoint::{
            Backend,
            Endpoint, //
        },
        session::{
            Next,
            Session,
            Told, //
        },
        state::State,
        wakers::{
            Served,
            Wakers, //
        },
    },
    virtqueue::{
        general::General,
        path::{
            Direct,
            Path, //
        },
    },
};

/// The longest time for which a run waits without sleeping.
const PATIENCE_MAX: Delta = Delta::from_millis(100);

/// How often one run may continue because a buffer has become available while kicks were being
/// enabled. A guest that adds single buffers at such times must not keep the worker from the other
/// queue.
const ROUNDS: usize = 16;

/// How long a run waits without sleeping for what it would wait for otherwise.
struct Patience<'a> {
    ctx: &'a Context<'a>,
    time: Delta,
    /// When the run began to wait.
    since: Cell<Option<Instant<Monotonic>>>,
}

impl Patience<'_> {
    /// Waits for the guest if the endpoint sends, and for the backend if it receives. Returns
    /// whether there is something to transfer now.
    #[inline(always)]
    fn is_rewarded<E: Endpoint, P: Path>(
        &self,
        next: &Next,
        endpoint: &mut E,
        session: &mut Session<'_, P>,
    ) -> bool {
        if self.time.is_zero() {
            return false;
        }
        match (next, endpoint.interest()) {
            (Next::Guest, Interest::Writable) => self.spin(|| session.has_buffer()),
            (Next::Backend, Interest::Readable) => self.spin(|| endpoint.has_data()),
            _ => false,
        }
    }

    /// Waits until `ready` returns true. All waits of a run end [`PATIENCE_MAX`] after the first
    /// one began, because requests wait for the run.
    #[inline(never)]
    fn spin(&self, ready: impl FnMut() -> bool) -> bool {
        let since = self.since.get().unwrap_or_else(Instant::now);
        self.since.set(Some(since));
        since.elapsed() < PATIENCE_MAX && self.ctx.spin(self.time.min(PATIENCE_MAX), ready)
    }
}

impl<E: Endpoint, Q: Served> State<E, Q> {
    /// Runs the queue until there is nothing to transfer or the budget is used up.
    pub(super) fn serve(&mut self, backend: &E::Backend, ctx: &Context<'_>, stats: &QueueStats) {
        let Some(resources) = self.resources.as_mut() else {
            return;
        };
        let wakers = &mut resources.wakers;
        match wakers.attached() {
            // The backend was replaced while this run waited for the lock.
            Some(file) if file != backend.file() => return wakers.queue(),
            Some(_) => {}
            None => return,
        }
        if self.ring.is_unset() || wakers.is_early() {
            return;
        }
        if !self.memory.is_ring_mapped() && !self.reaches_ring(*ctx.mm(), stats) {
            return;
        }
        if let Some(resources) = &mut self.resources {
            resources.wakers.begin(!self.patience.is_zero());
        }
        stats.run();
        if self.memory.is_common() {
            self.serve_common(backend, ctx, stats);
        } else {
            self.serve_special(backend, ctx, stats);
        }
    }

    /// Runs the queue by the common way to memory.
    #[inline(always)]
    fn serve_common(&mut self, backend: &E::Backend, ctx: &Context<'_>, stats: &QueueStats) {
        let (Some(table), Some(resources)) = (&self.memory.table, &mut self.resources) else {
            return;
        };
        let mm = *ctx.mm();
        let path = Direct::new(UserMem::new(mm), table, &mut self.memory.hint);
        let told = Told {
            call: self.call.as_ref(),
            err: self.err.as_ref(),
            log: None,
        };
        let vq = resources.buffers.queue(path, &mut self.ring);
        let mut session = Session::new(mm, vq, self.negotiated, told, stats);
        let patience = Patience {
            ctx,
            time: self.patience,
            since: Cell::new(None),
        };
        let next = Self::rounds(&mut self.endpoint, backend, &mut session, &patience);
        Self::wait(
            next,
            &mut resources.wakers,
            &self.endpoint,
            &mut session,
            stats,
        );
    }

    /// Runs the queue by the way to memory that can do everything.
    #[inline(never)]
    fn serve_special(&mut self, backend: &E::Backend, ctx: &Context<'_>, stats: &QueueStats) {
        let Some(resources) = &mut self.resources else {
            return;
        };
        let logging = self.memory.logging(self.negotiated);
        let Some(maps) = self.memory.maps() else {
            return;
        };
        let (mm, layout) = (*ctx.mm(), self.ring.layout());
        let path = General::new(UserMem::new(mm), maps, layout, logging);
        let told = Told {
            call: self.call.as_ref(),
            err: self.err.as_ref(),
            log: self.log.as_deref(),
        };
        let vq = resources.buffers.queue(path, &mut self.ring);
        let mut session = Session::new(mm, vq, self.negotiated, told, stats);
        let patience = Patience {
            ctx,
            time: self.patience,
            since: Cell::new(None),
        };
        let next = Self::rounds(&mut self.endpoint, backend, &mut session, &patience);
        Self::wait(
            next,
            &mut resources.wakers,
            &self.endpoint,
            &mut session,
            stats,
        );
        if let Some(miss) = session.miss() {
            self.asker.ask(miss);
        }
    }

    /// Checks whether the whole ring is mapped. If not, userspace is asked for the first missing
    /// translation, and its answer runs the queue again.
    #[cold]
    fn reaches_ring(&mut self, mm: InMm<'_>, stats: &QueueStats) -> bool {
        let Some(maps) = self.memory.maps() else {
            return false;
        };
        let (layout, logging) = (self.ring.layout(), self.memory.logging(self.negotiated));
        let path = General::new(UserMem::new(mm), maps, layout, logging);
        let mapped = path.check_ring(self.negotiated).is_ok();
        if let Some(miss) = path.miss() {
            stats.missed();
            self.asker.ask(miss);
        }
        self.memory.set_ring_mapped(mapped);
        mapped
    }

    /// Waits for `next` after a run.
    #[inline(always)]
    fn wait<P: Path>(
        next: Next,
        wakers: &mut Wakers<Q>,
        endpoint: &E,
        session: &mut Session<'_, P>,
        stats: &QueueStats,
    ) {
        let moved = session.moved();
        match next {
            Next::Backend => {
                if wakers.wait_for_backend(moved).is_err() {
                    // No other event may come. A buffer that is available already stays in the
                    // ring.
                    session.enable_notify();
                }
            }
            Next::Time(delay) => wakers.wait_for_time(delay),
            Next::Guest | Next::Reset => wakers.end(moved),
            Next::Turn => {
                wakers.end(moved);
                // On the worker that serves the queue now, which may not be this one any more.
                return wakers.queue();
            }
        }
        if !wakers.is_watched() && endpoint.holds_memory() {
            wakers.watch(stats.runs());
        }
    }

    /// Calls the endpoint until it waits for something other than the guest, or no buffer has
    /// become available while kicks were being enabled.
    #[inline(always)]
    fn rounds<P: Path>(
        endpoint: &mut E,
        backend: &E::Backend,
        session: &mut Session<'_, P>,
        patience: &Patience<'_>,
    ) -> Next {
        for _ in 0..ROUNDS {
            session.disable_notify();
            let next = endpoint.serve(backend, session);
            if let Err(next) = session.publish() {
                return next;
            }
            match next {
                _ if patience.is_rewarded(&next, endpoint, session) => {}
                Next::Guest if session.enable_notify() => {}
                next => return next,
            }
        }
        session.disable_notify();
        Next::Turn
    }
}
