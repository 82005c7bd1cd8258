// SPDX-License-Identifier: GPL-2.0

//! Transmit: packets into a batch, the straight path and the long one.

use crate::{
    kapi::{
        batch::{
            BatchError,
            Filling, //
        },
        mm::InMm, //
    },
    net::{
        fate::Fate,
        hdr, //
    },
    vhost::session::{
        Next,
        Session,
        Taken, //
    },
    virtqueue::{
        fault::Fault,
        features::Negotiated, //
    },
};

/// Why the straight path ends.
pub(super) enum Stop {
    /// A batch is full, or the run over.
    Due,
    /// There is nothing to send.
    Wait(Next),
    /// The next packet has to go the long way.
    Long,
}

/// What is settled for a run.
pub(super) struct Run<'a> {
    pub(super) mm: InMm<'a>,
    pub(super) negotiated: Negotiated,
}

impl<'a> Run<'a> {
    /// The length of a packet in bytes, with the header that the socket takes.
    #[inline(always)]
    pub(super) fn length(&self, taken: &Taken<'_, '_>) -> Result<usize, Fault> {
        let (ours, socks) = (self.negotiated.vhost_hlen(), self.negotiated.sock_hlen());
        if taken.writable() > 0 {
            return Err(Fault::Direction);
        }
        match taken.len().checked_sub(ours) {
            Some(len) if len > socks => Ok(len),
            _ => Err(Fault::NoPacket),
        }
    }

    /// Copies the packet into the batch, and corrects its header there. `None` for one that does
    /// not go into a batch, but may be sent by itself.
    #[inline(always)]
    pub(super) fn batched(&self, batch: &mut Filling<'_>, taken: &Taken<'_, '_>) -> Option<Fate> {
        let len = match self.length(taken) {
            Ok(len) => len,
            Err(fault) => return Some(Fate::Refused(fault)),
        };
        let skip = self.negotiated.vhost_hlen();
        let mut frame = match batch.copy_in(&self.mm, taken.segs(), skip, len) {
            Ok(frame) => frame,
            // The socket has other memory, as much as it needs for one at a time.
            Err(BatchError::TooBig | BatchError::NoMemory) => return None,
            Err(BatchError::Fault) => return Some(Fate::Refused(Fault::Unreadable)),
            Err(BatchError::Full) => return Some(Fate::Again),
        };
        if hdr::cover_checksum(frame.header(), len).is_err() {
            return Some(Fate::Dropped);
        }
        frame.commit();
        Some(Fate::Sent(self.payload(len)))
    }

    /// Copies packets into the batch as long as each is in a plain buffer and as it should be.
    /// What is not is left to the long way, which finds out why.
    #[inline(always)]
    pub(super) fn straight(&self, batch: &mut Filling<'_>, session: &mut Session<'_>) -> Stop {
        match (self.negotiated.vhost_hlen(), self.negotiated.sock_hlen()) {
            (0, hdr::LEN) => self.straight_with::<{ hdr::LEN }>(batch, session),
            (0, hdr::BASE) => self.straight_with::<{ hdr::BASE }>(batch, session),
            _ => Stop::Long,
        }
    }

    /// [`Self::straight`] for headers of `HLEN` bytes.
    #[inline(never)]
    fn straight_with<const HLEN: usize>(
        &self,
        batch: &mut Filling<'_>,
        session: &mut Session<'_>,
    ) -> Stop {
        for _ in 0..session.burst() {
            let plain = match session.plain() {
                Ok(Some(plain)) => plain,
                Ok(None) => return Stop::Long,
                Err(next) => return Stop::Wait(next),
            };
            let bytes = plain.len().saturating_sub(HLEN);
            if bytes == 0 {
                return Stop::Long;
            }
            let Ok(mut frame) = batch.copy_pair::<HLEN>(&self.mm, plain.segs()) else {
                return Stop::Long;
            };
            if hdr::cover_checksum(frame.header(), plain.len()).is_err() {
                return Stop::Long;
            }
            frame.commit();
            session.complete_plain(&plain, 0, bytes);
            if session.budget().bytes_left() == 0 {
                break;
            }
        }
        Stop::Due
    }

    /// The bytes of a packet of `len` without its header.
    #[inline(always)]
    pub(super) fn payload(&self, len: usize) -> usize {
        len.wrapping_sub(self.negotiated.sock_hlen())
    }
}
