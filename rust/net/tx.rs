// SPDX-License-Identifier: GPL-2.0

//! Transmit: sends the packets in the guest's buffers to the socket.

use kernel::{
    prelude::*,
    time::Delta, //
};

use crate::{
    kapi::{
        batch::{
            Filling,
            TxBatch, //
        },
        large::LargePages,
        socket::Socket, //
    },
    net::{
        fate::Fate,
        fill::{
            Run,
            Stop, //
        },
    },
    vhost::session::{
        Next,
        Session,
        BATCH, //
    },
    virtqueue::{
        fault::Fault,
        path::Path,
        taken::Taken, //
    },
};

/// How often a packet is retried after `ENOMEM` or `ENOBUFS`, whose end no event reports. The first
/// wait is [`RETRY_FIRST`] and each further one twice as long, about half a second in total.
const RETRIES_MAX: u32 = 7;

/// The first wait before a retry, in milliseconds.
const RETRY_FIRST: i64 = 4;

/// Packets of at least this length in bytes are copied into whole pages of the device. Shorter ones
/// would use much more memory than is charged to the socket.
const LARGE: usize = 16 << 10;

/// The transmit endpoint of a device.
pub(crate) struct Tx {
    /// The packets that were copied and not sent yet, while the device has an owner. Empty between
    /// two runs.
    batch: Option<TxBatch>,
    sender: Sender,
}

/// Sends single packets.
struct Sender {
    large: LargePages,
    /// Whether the socket accepts pages, as far as is known.
    pages_taken: bool,
    /// How often the next packet has been retried.
    retries: u32,
}

impl Tx {
    /// Creates an endpoint of a device without an owner.
    pub(super) const fn new() -> Self {
        Self {
            batch: None,
            sender: Sender::new(),
        }
    }

    pub(super) fn allocate(&mut self) -> Result {
        self.batch = Some(TxBatch::new()?);
        Ok(())
    }

    pub(super) fn free(&mut self) {
        *self = Self::new();
    }

    /// Prepares for another socket, or none: discards what was learned about the previous one, and
    /// frees all pages.
    pub(super) fn reset(&mut self) {
        if let Some(batch) = &mut self.batch {
            batch.reset();
        }
        self.sender = Sender::new();
    }

    /// Returns whether it holds pages for future packets.
    pub(super) fn holds_memory(&self) -> bool {
        self.batch.as_ref().is_some_and(TxBatch::holds_pages) || self.sender.large.holds_pages()
    }

    /// Returns the number of small pages that [`Self::free_spare`] would make available now.
    pub(super) fn spare(&self) -> usize {
        let batch = self.batch.as_ref().map_or(0, TxBatch::spare);
        batch.saturating_add(self.sender.large.spare())
    }

    /// Frees those of these pages that are not in use, and returns the number of small pages that
    /// this makes available.
    pub(super) fn free_spare(&mut self) -> usize {
        let batch = self.batch.as_mut().map_or(0, TxBatch::free_spare);
        batch.saturating_add(self.sender.large.free_spare())
    }

    pub(super) fn serve<P: Path>(&mut self, sock: &Socket, session: &mut Session<'_, P>) -> Next {
        let Some(batch) = self.batch.as_mut() else {
            return Next::Backend;
        };
        let run = Run {
            mm: session.mm(),
            negotiated: session.negotiated(),
        };
        match batch.open(sock, run.negotiated.sock_hlen()) {
            Some(batch) => self.sender.in_batches(batch, &run, session),
            None => self.sender.one_by_one(sock, &run, session),
        }
    }
}

impl Sender {
    /// Creates a sender for a socket of which nothing is known yet.
    const fn new() -> Self {
        Self {
            large: LargePages::new(),
            pages_taken: true,
            retries: 0,
        }
    }

    /// Sends packets in batches until the queue has to wait or the budget is used up. Packets that
    /// cannot be in a batch are sent singly.
    fn in_batches<P: Path>(
        &mut self,
        mut batch: Filling<'_>,
        run: &Run<'_>,
        session: &mut Session<'_, P>,
    ) -> Next {
        let next = loop {
            let moved = session.budget().packets();
            let stop = run.straight(&mut batch, session);
            if session.budget().packets() > moved {
                self.retries = 0;
            }
            if session.pending() >= BATCH {
                send(&mut batch, session);
                if let Err(next) = session.publish() {
                    break next;
                }
            }
            match stop {
                Stop::Wait(next) => break next,
                _ if session.budget().is_spent() => break Next::Turn,
                Stop::Due => continue,
                Stop::Long => {}
            }
            let mut lost = 0;
            let fate = match session.take() {
                Ok(Some(taken)) => match run.batched(&mut batch, &taken) {
                    Some(fate) => self.settle(fate, taken),
                    None => {
                        // Packets must leave in the order of the ring, so the batch is sent first.
                        lost = flush(&mut batch);
                        let fate = self.alone(batch.socket(), run, &taken, false);
                        self.settle(fate, taken)
                    }
                },
                Ok(None) => break Next::Guest,
                Err(fault) => Fate::after(fault),
            };
            if lost > 0 {
                session.failed(lost);
            }
            if let Err(next) = fate.count(session) {
                break next;
            }
        };
        send(&mut batch, session);
        next
    }

    /// Sends each packet on its own.
    fn one_by_one<P: Path>(
        &mut self,
        sock: &Socket,
        run: &Run<'_>,
        session: &mut Session<'_, P>,
    ) -> Next {
        loop {
            let room = session.budget().bytes_left();
            let fate = match session.take() {
                Ok(Some(mut taken)) => {
                    let more = taken.len() < room && taken.has_more();
                    let fate = self.alone(sock, run, &taken, more);
                    self.settle(fate, taken)
                }
                Ok(None) => return Next::Guest,
                Err(fault) => Fate::after(fault),
            };
            if let Err(next) = fate.count(session) {
                return next;
            }
            if session.pending() >= BATCH {
                if let Err(next) = session.publish() {
                    return next;
                }
            }
            if session.budget().is_spent() {
                return Next::Turn;
            }
        }
    }

    /// Sends a packet on its own. `more` tells the socket that another one follows at once.
    fn alone<P: Path>(
        &mut self,
        sock: &Socket,
        run: &Run<'_>,
        taken: &Taken<'_, '_, P>,
        more: bool,
    ) -> Fate {
        let len = match run.length(taken) {
            Ok(len) => len,
            Err(fault) => return Fate::Refused(fault),
        };
        let (mm, skip) = (&run.mm, run.negotiated.vhost_hlen());
        let copied = if len >= LARGE && self.pages_taken && sock.takes_pages() {
            self.large.copy_in(mm, taken.segs(), skip, len)
        } else {
            Ok(None)
        };
        let sent = match copied.map(|large| large.map(|large| large.send(sock, more))) {
            Ok(Some(Err(EINVAL))) => {
                // EINVAL: the packet is invalid, or this queue of the tap accepts no pages.
                let sent = sock.send(mm, taken.segs(), skip, len, more);
                self.pages_taken = sent.is_err();
                sent
            }
            Ok(Some(sent)) => sent,
            Ok(None) => sock.send(mm, taken.segs(), skip, len, more),
            Err(e) => Err(e),
        };
        match sent {
            Ok(()) => Fate::Sent(run.payload(len)),
            Err(EAGAIN) => Fate::Full,
            Err(ENOMEM | ENOBUFS) => Fate::Again,
            Err(EFAULT) => Fate::Refused(Fault::Unreadable),
            Err(_) => Fate::Dropped,
        }
    }

    /// Completes the packet's buffer, or puts it back into the ring to be sent later.
    #[inline(always)]
    fn settle<P: Path>(&mut self, fate: Fate, taken: Taken<'_, '_, P>) -> Fate {
        match fate {
            Fate::Full => return Fate::Stays(Next::Backend),
            Fate::Again if self.retries < RETRIES_MAX => {
                let delay = Delta::from_millis(RETRY_FIRST << self.retries);
                self.retries = self.retries.wrapping_add(1);
                return Fate::Stays(Next::Time(delay));
            }
            _ => self.retries = 0,
        }
        taken.complete();
        fate
    }
}

/// Sends the packets of the batch. Their buffers are completed already, so packets that cannot be
/// sent are lost, which is counted and reported to userspace.
fn send<P: Path>(batch: &mut Filling<'_>, session: &mut Session<'_, P>) {
    let lost = flush(batch);
    if lost > 0 {
        session.failed(lost);
    }
}

/// Sends the packets of the batch and returns the number of packets lost.
fn flush(batch: &mut Filling<'_>) -> usize {
    let waiting = batch.len();
    match batch.send() {
        Ok(()) => 0,
        Err(_) => waiting,
    }
}
