// SPDX-License-Identifier: GPL-2.0

//! Receive: packets of the socket into the guest's buffers.

use kernel::{
    prelude::*,
    sync::Arc, //
};

use crate::{
    kapi::{
        iov::IOV_MAX,
        socket::Socket,
        tun::Receiver, //
    },
    net::hdr,
    vhost::{
        budget::Budget,
        session::{
            Next,
            Room,
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

/// The receive side of a device.
pub(crate) struct Rx {
    /// Takes the packets of the attached socket.
    receiver: Option<Receiver>,
}

/// What became of one packet.
enum Received {
    /// It is in the guest's buffers: its length as the guest sees it.
    Whole(usize),
    /// It is lost.
    Lost,
    /// The guest's memory could not be written where the header belongs.
    BadMemory,
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
        let mut budget = Budget::new();
        let next = loop {
            match Self::one(receiver, session, &mut budget) {
                Ok(()) => {}
                Err(next) => break next,
            }
            if session.pending() > BATCH {
                session.publish();
            }
            if budget.is_spent() {
                break Next::Budget;
            }
        };
        let negotiated = session.negotiated();
        let hlen = negotiated
            .sock_hlen()
            .saturating_add(negotiated.vhost_hlen());
        let (packets, bytes) = budget.moved(hlen);
        session.stats().moved(packets, bytes);
        next
    }

    /// Receives one packet, or says why not.
    fn one(
        receiver: &mut Receiver,
        session: &mut Session<'_>,
        budget: &mut Budget,
    ) -> Result<(), Next> {
        let negotiated = session.negotiated();
        let Some(len) = receiver.peek() else {
            return Err(Next::Backend);
        };
        let sock_len = len.saturating_add(negotiated.sock_hlen());
        let want = sock_len.saturating_add(negotiated.vhost_hlen());
        let most = if negotiated.mergeable() { IOV_MAX } else { 1 };
        let mm = session.mm();
        let stats = session.stats();
        match session.take_room(want, most).map_err(Next::Fault)? {
            Room::Short => Err(Next::Empty),
            Room::TooSmall => {
                receiver.discard();
                stats.dropped(1);
                budget.lost();
                Ok(())
            }
            Room::Ready(taken) => {
                let skip = negotiated.vhost_hlen();
                let got = receiver.receive(&mm, taken.segs(), skip, sock_len);
                match Self::finish(taken, got, sock_len, negotiated) {
                    Received::Whole(bytes) => budget.moved_one(bytes),
                    Received::Lost => {
                        stats.dropped(1);
                        budget.lost();
                    }
                    Received::BadMemory => {
                        stats.dropped(1);
                        return Err(Next::Fault(Fault::HeaderUnwritable));
                    }
                }
                Ok(())
            }
        }
    }

    /// Completes the header; the buffers go back to the ring unless the packet is whole.
    fn finish(
        taken: Taken<'_, '_>,
        got: Result<usize>,
        sock_len: usize,
        negotiated: Negotiated,
    ) -> Received {
        // Somebody else may have read the packet meanwhile, or it is another by now.
        if got != Ok(sock_len) {
            return Received::Lost;
        }
        let vhost_hlen = negotiated.vhost_hlen();
        if vhost_hlen > 0 {
            let zero = [0; hdr::BASE];
            if taken.write_at(0, &zero).is_err() {
                return Received::BadMemory;
            }
        }
        if negotiated.sets_num_buffers() {
            let count = u16::try_from(taken.count()).unwrap_or(u16::MAX);
            if taken
                .write_at(hdr::NUM_BUFFERS, &count.to_le_bytes())
                .is_err()
            {
                return Received::BadMemory;
            }
        }
        let bytes = taken.len();
        taken.complete();
        Received::Whole(bytes)
    }
}
