// SPDX-License-Identifier: GPL-2.0

//! Receive: moves packets from the socket to the guest's buffers.

use kernel::{
    prelude::*,
    sync::Arc, //
};

use crate::{
    kapi::{
        iov::{
            IoVec,
            IOV_MAX, //
        },
        mm::InMm,
        socket::Socket,
        tun::Receiver, //
    },
    net::hdr,
    vhost::session::{
        Next,
        Session,
        BATCH, //
    },
    virtqueue::{
        fault::Fault,
        features::Negotiated,
        mem::MemFault,
        path::Path,
        taken::{
            Room,
            Taken, //
        },
    },
};

/// The receive endpoint of a device.
pub(crate) struct Rx {
    /// Reads the packets of the attached socket. Set while the device has an owner.
    receiver: Option<Receiver>,
}

/// The result of an attempt to receive a packet.
enum Fate {
    /// The packet is in the guest's buffers. The value is its length in bytes without header.
    Received(usize),
    /// The packet is lost, or another reader of the socket has taken it.
    Lost,
    /// The packet is lost because the guest's buffers are invalid; they are returned to the guest.
    Refused(Fault),
    /// The packet is still in the socket: an invalid buffer has been completed instead.
    Skipped,
    /// The packet is still in the socket: the pending buffers have to be published first.
    Behind,
}

/// The reason why the fast path has ended.
enum Stop {
    /// The batch is full, or the budget of the run is used up.
    Due,
    /// There is no packet to receive, or no buffer for it.
    Wait(Next),
    /// A packet was not received.
    Packet(Fate),
    /// The next packet needs the slow path. The value is its length in bytes without header.
    Long(usize),
}

impl Fate {
    /// Counts the packet in the budget and the statistics.
    ///
    /// # Errors
    ///
    /// What the queue has to wait for.
    #[inline(always)]
    fn count<P: Path>(self, session: &mut Session<'_, P>) -> Result<(), Next> {
        match self {
            Self::Received(bytes) => session.budget().moved_one(bytes),
            Self::Skipped => {}
            Self::Behind => return session.publish(),
            Self::Refused(fault) => {
                session.refused(fault);
                session.lost(1);
            }
            Self::Lost => session.lost(1),
        }
        Ok(())
    }
}

impl Rx {
    /// Creates an endpoint of a device without an owner.
    pub(super) const fn new() -> Self {
        Self { receiver: None }
    }

    pub(super) fn allocate(&mut self) -> Result {
        self.receiver = Some(Receiver::new()?);
        Ok(())
    }

    pub(super) fn free(&mut self) {
        self.receiver = None;
    }

    /// Receives from `sock` from now on. Packets of the previous socket that were not received are
    /// put back.
    pub(super) fn set_socket(&mut self, sock: Option<Arc<Socket>>) {
        if let Some(receiver) = &mut self.receiver {
            receiver.set_socket(sock);
        }
    }

    /// Returns whether there is a packet.
    pub(super) fn has_data(&mut self) -> bool {
        let receiver = self.receiver.as_mut();
        receiver.is_some_and(|receiver| receiver.peek().is_some())
    }

    pub(super) fn serve<P: Path>(&mut self, session: &mut Session<'_, P>) -> Next {
        let Some(receiver) = self.receiver.as_mut() else {
            return Next::Backend;
        };
        let negotiated = session.negotiated();
        let mm = session.mm();
        loop {
            let counted = match Self::straight(receiver, session, mm, negotiated) {
                Stop::Due => Ok(()),
                Stop::Wait(next) => Err(next),
                Stop::Packet(fate) => fate.count(session),
                Stop::Long(len) => {
                    let fate = Self::one(receiver, session, mm, negotiated, len);
                    session.tell_logged();
                    fate.and_then(|fate| fate.count(session))
                }
            };
            if let Err(next) = counted {
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

    /// Receives packets as long as each fits into a plain buffer, and returns why it has ended.
    #[inline(never)]
    fn straight<P: Path>(
        receiver: &mut Receiver,
        session: &mut Session<'_, P>,
        mm: InMm<'_>,
        negotiated: Negotiated,
    ) -> Stop {
        for _ in 0..session.burst() {
            let Some(len) = receiver.peek() else {
                return Stop::Wait(Next::Backend);
            };
            let want = len.saturating_add(negotiated.sock_hlen());
            let plain = match session.plain_room() {
                Ok(Some(plain)) => plain,
                Ok(None) => return Stop::Long(len),
                Err(next) => return Stop::Wait(next),
            };
            let (room, _) = plain.segs();
            if room.len() < want || negotiated.vhost_hlen() > 0 {
                return Stop::Long(len);
            }
            let received = Self::fill(receiver, session, &mm, room, (want, negotiated));
            session.wrote(&[room], want);
            match received {
                Ok(()) => {}
                Err(EFAULT) => return Stop::Packet(Fate::Refused(session.refuse_plain(&plain))),
                Err(_) => return Stop::Packet(Fate::Lost),
            }
            // CAST: At most the length of the buffer, which is a 32-bit number.
            session.complete_plain(&plain, want as u32, len);
            if session.budget().bytes_left() == 0 {
                break;
            }
        }
        Stop::Due
    }

    /// Receives the next packet, of `len` bytes with header, into one segment, and writes the
    /// device's part of the header.
    ///
    /// # Errors
    ///
    /// `EFAULT` when the segment is not writable; any other when the packet was not received.
    #[inline(always)]
    fn fill<P: Path>(
        receiver: &mut Receiver,
        session: &Session<'_, P>,
        mm: &InMm<'_>,
        room: IoVec,
        (len, negotiated): (usize, Negotiated),
    ) -> Result {
        if receiver.receive(mm, &[room], 0, len)? != len {
            return Err(EMSGSIZE);
        }
        let at = room.base().wrapping_add(hdr::NUM_BUFFERS);
        if negotiated.sets_num_buffers() && session.write_u16(at, 1).is_err() {
            return Err(EFAULT);
        }
        Ok(())
    }

    /// Receives the next packet, of `len` bytes without virtio-net header.
    ///
    /// # Errors
    ///
    /// What the queue has to wait for before the packet can be received.
    #[inline(always)]
    fn one<P: Path>(
        receiver: &mut Receiver,
        session: &mut Session<'_, P>,
        mm: InMm<'_>,
        negotiated: Negotiated,
        len: usize,
    ) -> Result<Fate, Next> {
        let sock_len = len.saturating_add(negotiated.sock_hlen());
        let skip = negotiated.vhost_hlen();
        let most = if negotiated.mergeable() { IOV_MAX } else { 1 };
        match session.take_room(sock_len.saturating_add(skip), most) {
            Ok(Room::Ready(taken)) => {
                let got = receiver.receive(&mm, taken.segs(), skip, sock_len);
                Ok(Self::finish(taken, got, sock_len, negotiated))
            }
            Ok(Room::Short) => Err(Next::Guest),
            Ok(Room::Behind) => Ok(Fate::Behind),
            Ok(Room::TooSmall) => {
                receiver.discard();
                Ok(Fate::Lost)
            }
            Err(fault) if fault.is_buffer() => Ok(Fate::Skipped),
            Err(_) => Err(Next::Reset),
        }
    }

    /// Writes the device's part of the header and completes the buffers if the whole packet was
    /// received. Otherwise the buffers are put back into the ring.
    #[inline(always)]
    fn finish<P: Path>(
        taken: Taken<'_, '_, P>,
        got: Result<usize>,
        sock_len: usize,
        negotiated: Negotiated,
    ) -> Fate {
        let written = match got {
            Ok(got) if got == sock_len => Some(Self::write_header(&taken, negotiated)),
            Err(EFAULT) => Some(Err(MemFault)),
            // Another reader may have taken the packet, so that there was none or a different one.
            _ => None,
        };
        taken.wrote(sock_len.saturating_add(negotiated.vhost_hlen()));
        match written {
            Some(Ok(())) => {
                taken.complete();
                Fate::Received(sock_len.wrapping_sub(negotiated.sock_hlen()))
            }
            Some(Err(MemFault)) => Fate::Refused(taken.refuse(Fault::Unwritable)),
            None => Fate::Lost,
        }
    }

    /// Writes the fields of the header that the socket has not written.
    #[inline(always)]
    fn write_header<P: Path>(
        taken: &Taken<'_, '_, P>,
        negotiated: Negotiated,
    ) -> Result<(), MemFault> {
        let hlen = negotiated.vhost_hlen();
        if hlen > 0 {
            let zeroes = [0; hdr::TUNNEL];
            taken.write_at(0, zeroes.get(..hlen).unwrap_or(&zeroes))?;
        }
        if negotiated.sets_num_buffers() {
            taken.write_u16_at(hdr::NUM_BUFFERS, taken.count())?;
        }
        Ok(())
    }
}
