// SPDX-License-Identifier: GPL-2.0

//! Receive: packets of the socket into the guest's buffers.

use kernel::{
    prelude::*,
    sync::Arc, //
};

use crate::{
    kapi::{
        iov::IOV_MAX,
        mm::InMm,
        socket::Socket,
        tun::Receiver, //
    },
    net::hdr,
    vhost::session::{
        Next,
        Room,
        Session,
        Taken,
        BATCH, //
    },
    virtqueue::{
        fault::Fault,
        features::Negotiated,
        mem::MemFault, //
    },
};

/// The receive side of a device.
pub(crate) struct Rx {
    /// Takes the packets of the attached socket.
    receiver: Option<Receiver>,
}

/// What becomes of a packet.
enum Fate {
    /// It is in the guest's buffers: its length in bytes without header.
    Received(usize),
    /// It is lost, or has gone elsewhere.
    Lost,
    /// It is lost, since the guest's buffers for it are wrong in themselves, and go back.
    Refused(Fault),
    /// It waits: a buffer has been refused before it.
    Skipped,
}

impl Rx {
    /// Not attached.
    pub(super) const fn new() -> Self {
        Self { receiver: None }
    }

    pub(super) fn attach(&mut self, sock: &Arc<Socket>) -> Result {
        self.receiver = Some(Receiver::new(sock.clone())?);
        Ok(())
    }

    pub(super) fn detach(&mut self) {
        self.receiver = None;
    }

    pub(super) fn serve(&mut self, session: &mut Session<'_>) -> Next {
        let Some(receiver) = self.receiver.as_mut() else {
            return Next::Backend;
        };
        let negotiated = session.negotiated();
        let mm = session.mm();
        loop {
            let fate = match Self::straight(receiver, session, mm, negotiated) {
                Some(fate) => fate,
                None => {
                    let Some(len) = receiver.peek() else {
                        return Next::Backend;
                    };
                    match Self::one(receiver, session, mm, negotiated, len) {
                        Ok(fate) => fate,
                        Err(next) => return next,
                    }
                }
            };
            match fate {
                Fate::Received(bytes) => session.budget().moved_one(bytes),
                Fate::Skipped => {}
                Fate::Refused(fault) => {
                    session.refused(fault);
                    session.lost(1);
                }
                Fate::Lost => session.lost(1),
            }
            if session.pending() >= BATCH {
                session.publish();
            }
            if session.budget().is_spent() {
                return Next::Turn;
            }
        }
    }

    /// Receives packets as long as each has room in a plain buffer, and a batch is not full. What
    /// has not is left to the long way; what goes wrong is told of.
    #[inline(never)]
    fn straight(
        receiver: &mut Receiver,
        session: &mut Session<'_>,
        mm: InMm<'_>,
        negotiated: Negotiated,
    ) -> Option<Fate> {
        if negotiated.vhost_hlen() > 0 {
            return None;
        }
        for _ in 0..session.burst() {
            let len = receiver.peek()?;
            if session.budget().bytes_left() == 0 {
                return None;
            }
            let want = len.saturating_add(negotiated.sock_hlen());
            let plain = session.plain_room()?;
            let (room, _) = plain.segs();
            if room.len() < want {
                return None;
            }
            match receiver.receive(&mm, &[room], 0, want) {
                Ok(got) if got == want => {}
                Err(EFAULT) => return Some(Fate::Refused(session.refuse_plain(&plain))),
                _ => return Some(Fate::Lost),
            }
            if negotiated.sets_num_buffers() {
                let at = room.base().wrapping_add(hdr::NUM_BUFFERS);
                if session.write_u16(at, 1).is_err() {
                    return Some(Fate::Refused(session.refuse_plain(&plain)));
                }
            }
            // CAST: No more than there was room, of a 32-bit length.
            session.complete_plain(&plain, want as u32, len);
        }
        None
    }

    /// Receives the next packet, of `len` bytes without any virtio header, or says whom it waits
    /// for.
    #[inline(always)]
    fn one(
        receiver: &mut Receiver,
        session: &mut Session<'_>,
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
            Ok(Room::TooSmall) => {
                receiver.discard();
                Ok(Fate::Lost)
            }
            Err(fault) if fault.is_buffer() => Ok(Fate::Skipped),
            Err(_) => Err(Next::Reset),
        }
    }

    /// Completes the header; the buffers go back to the ring unless the packet is whole.
    #[inline(always)]
    fn finish(
        taken: Taken<'_, '_>,
        got: Result<usize>,
        sock_len: usize,
        negotiated: Negotiated,
    ) -> Fate {
        match got {
            Ok(got) if got == sock_len => {}
            Err(EFAULT) => return Fate::Refused(taken.refuse(Fault::Unwritable)),
            // Somebody else may have read the packet meanwhile, or it is another by now.
            _ => return Fate::Lost,
        }
        match Self::write_header(&taken, negotiated) {
            Ok(()) => {
                taken.complete();
                Fate::Received(sock_len.wrapping_sub(negotiated.sock_hlen()))
            }
            Err(MemFault) => Fate::Refused(taken.refuse(Fault::Unwritable)),
        }
    }

    /// Writes what of the header is not the socket's.
    #[inline(always)]
    fn write_header(taken: &Taken<'_, '_>, negotiated: Negotiated) -> Result<(), MemFault> {
        if negotiated.vhost_hlen() > 0 {
            taken.write_at(0, &[0; hdr::BASE])?;
        }
        if negotiated.sets_num_buffers() {
            taken.write_u16_at(hdr::NUM_BUFFERS, taken.count())?;
        }
        Ok(())
    }
}
