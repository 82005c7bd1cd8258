// SPDX-License-Identifier: GPL-2.0

//! Transmit: copies packets into a batch, by the fast path and the slow path.

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
        Session, //
    },
    virtqueue::{
        fault::Fault,
        features::Negotiated,
        path::Path,
        taken::Taken, //
    },
};

/// The reason why the fast path has ended.
pub(super) enum Stop {
    /// The batch is full, or the budget of the run is used up.
    Due,
    /// There is no packet to send.
    Wait(Next),
    /// The next packet needs the slow path.
    Long,
}

/// The values that do not change during a run.
pub(super) struct Run<'a> {
    pub(super) mm: InMm<'a>,
    pub(super) negotiated: Negotiated,
}

impl<'a> Run<'a> {
    /// Returns the length of a packet in bytes, including the header that the socket expects.
    ///
    /// # Errors
    ///
    /// [`Fault::Direction`] for a writable segment, [`Fault::NoPacket`] if there is nothing behind
    /// the header.
    #[inline(always)]
    pub(super) fn length<P: Path>(&self, taken: &Taken<'_, '_, P>) -> Result<usize, Fault> {
        let (ours, socks) = (self.negotiated.vhost_hlen(), self.negotiated.sock_hlen());
        if taken.writable() > 0 {
            return Err(Fault::Direction);
        }
        match taken.len().checked_sub(ours) {
            Some(len) if len > socks => Ok(len),
            _ => Err(Fault::NoPacket),
        }
    }

    /// Copies a packet into the batch and corrects its header there. Returns `None` for a packet
    /// that cannot be in a batch but can be sent on its own.
    #[inline(always)]
    pub(super) fn batched<P: Path>(
        &self,
        batch: &mut Filling<'_>,
        taken: &Taken<'_, '_, P>,
    ) -> Option<Fate> {
        let len = match self.length(taken) {
            Ok(len) => len,
            Err(fault) => return Some(Fate::Refused(fault)),
        };
        let skip = self.negotiated.vhost_hlen();
        let mut frame = match batch.copy_in(&self.mm, taken.segs(), skip, len) {
            Ok(frame) => frame,
            // When sending a single packet, the socket allocates the memory itself.
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

    /// Copies packets into the batch as long as each is in a plain buffer and valid. The slow path
    /// handles all others, and determines what is wrong with them.
    #[inline(always)]
    pub(super) fn straight<P: Path>(
        &self,
        batch: &mut Filling<'_>,
        session: &mut Session<'_, P>,
    ) -> Stop {
        match (self.negotiated.vhost_hlen(), self.negotiated.sock_hlen()) {
            (0, hdr::LEN) => self.straight_with::<{ hdr::LEN }, P>(batch, session),
            (0, hdr::BASE) => self.straight_with::<{ hdr::BASE }, P>(batch, session),
            (0, hdr::TUNNEL) => self.straight_with::<{ hdr::TUNNEL }, P>(batch, session),
            _ => Stop::Long,
        }
    }

    /// Implements [`Self::straight`] for headers of `HLEN` bytes.
    #[inline(never)]
    fn straight_with<const HLEN: usize, P: Path>(
        &self,
        batch: &mut Filling<'_>,
        session: &mut Session<'_, P>,
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

    /// Returns the number of bytes without header of a packet of `len` bytes.
    #[inline(always)]
    pub(super) fn payload(&self, len: usize) -> usize {
        len.wrapping_sub(self.negotiated.sock_hlen())
    }
}
