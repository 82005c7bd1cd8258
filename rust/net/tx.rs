// SPDX-License-Identifier: GPL-2.0

//! Transmit: the guest's buffers to the socket.

use kernel::prelude::*;

use crate::{
    kapi::{
        batch::{
            BatchError,
            TxBatch, //
        },
        mm::InMm,
        socket::Socket, //
    },
    net::hdr,
    stats::QueueStats,
    vhost::{
        budget::Budget,
        session::{
            Next,
            Session,
            BATCH, //
        },
        taken::Taken, //
    },
    virtqueue::{
        fault::Fault,
        features::Negotiated, //
    },
};

/// The transmit side of a device.
pub(crate) struct Tx {
    /// Packets that were copied and not sent yet. Empty between two runs.
    batch: TxBatch,
}

/// What becomes of a buffer.
enum Sent {
    /// It is in the batch, and its buffer is free.
    Batched,
    /// It has been sent, or is lost because of what it says.
    Done,
    /// It has been lost because of what it says.
    Dropped,
    /// It is worth another try: when the socket has room, or there is memory.
    Retry,
}

impl Tx {
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(super) fn new() -> Result<Self> {
        Ok(Self {
            batch: TxBatch::new()?,
        })
    }

    pub(super) fn serve(&mut self, sock: &Socket, session: &mut Session<'_>) -> Next {
        let batched = sock.takes_batches();
        let mut budget = Budget::new();
        let next = loop {
            if let Err(next) = self.one(sock, batched, session, &mut budget) {
                break next;
            }
            if session.pending() >= BATCH {
                Self::flush(&mut self.batch, sock, session.stats());
                session.publish();
            }
            if budget.is_spent() {
                break Next::Budget;
            }
        };
        Self::flush(&mut self.batch, sock, session.stats());
        let (packets, bytes) = budget.moved(session.negotiated().sock_hlen());
        session.stats().moved(packets, bytes);
        next
    }

    /// Sends one packet, or says why not.
    fn one(
        &mut self,
        sock: &Socket,
        batched: bool,
        session: &mut Session<'_>,
        budget: &mut Budget,
    ) -> Result<(), Next> {
        let negotiated = session.negotiated();
        let mm = session.mm();
        let stats = session.stats();
        let Some(mut taken) = session.take().map_err(Next::Fault)? else {
            return Err(Next::Empty);
        };
        if taken.writable() > 0 {
            return Err(Next::Fault(Fault::Direction));
        }
        let len = match taken.len().checked_sub(negotiated.vhost_hlen()) {
            None | Some(0) => return Err(Next::Fault(Fault::NoPacket)),
            Some(len) => len,
        };
        let fits = if batched {
            Self::to_batch(&mut self.batch, sock, &mm, &taken, len, negotiated)
        } else {
            None
        };
        let sent = match fits {
            Some(sent) => sent,
            None => {
                // Packets leave in the guest's order.
                Self::flush(&mut self.batch, sock, stats);
                // In batched runs the packets before are on their way already.
                let more = !batched && budget.has_room_for(len) && taken.has_more();
                Self::alone(sock, &mm, &taken, len, negotiated, more)
            }
        };
        match sent {
            Sent::Retry => return Err(Next::Backend),
            Sent::Dropped => {
                stats.dropped(1);
                budget.lost();
            }
            Sent::Batched | Sent::Done => budget.moved_one(len),
        }
        taken.complete();
        Ok(())
    }
}

impl Tx {
    /// Copies the packet into the batch, and corrects its header there. `None` for one that does
    /// not go into a batch, but may be sent by itself.
    #[inline]
    fn to_batch(
        batch: &mut TxBatch,
        sock: &Socket,
        mm: &InMm<'_>,
        taken: &Taken<'_, '_>,
        len: usize,
        negotiated: Negotiated,
    ) -> Option<Sent> {
        let hlen = negotiated.sock_hlen();
        if len < hlen {
            return Some(Sent::Dropped);
        }
        let skip = negotiated.vhost_hlen();
        let mut frame = match batch.copy_in(sock, mm, taken.segs(), skip, len, hlen) {
            Ok(frame) => frame,
            Err(BatchError::TooBig) => return None,
            Err(BatchError::Fault) => return Some(Sent::Dropped),
            Err(BatchError::NoMemory | BatchError::Full) => return Some(Sent::Retry),
        };
        if hdr::cover_checksum(frame.header(), len).is_err() {
            return Some(Sent::Dropped);
        }
        frame.commit();
        Some(Sent::Batched)
    }

    /// Sends the packet by itself.
    fn alone(
        sock: &Socket,
        mm: &InMm<'_>,
        taken: &Taken<'_, '_>,
        len: usize,
        negotiated: Negotiated,
        more: bool,
    ) -> Sent {
        match sock.send(mm, taken.segs(), negotiated.vhost_hlen(), len, more) {
            Ok(_) => Sent::Done,
            Err(EAGAIN | ENOMEM | ENOBUFS) => Sent::Retry,
            Err(_) => Sent::Dropped,
        }
    }

    /// Sends what waits in the batch. Its buffers are free already: what cannot be sent is lost.
    fn flush(batch: &mut TxBatch, sock: &Socket, stats: &QueueStats) {
        let waiting = batch.len();
        if batch.send(sock).is_err() {
            stats.dropped(waiting);
        }
    }
}
