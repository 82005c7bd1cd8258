// SPDX-License-Identifier: GPL-2.0

//! The results of sending a guest's packets.

use crate::{
    vhost::session::{
        Next,
        Session, //
    },
    virtqueue::{
        fault::Fault,
        path::Path, //
    },
};

/// The result of an attempt to send a packet.
pub(super) enum Fate {
    /// The packet was sent or added to a batch. The value is its length in bytes without header.
    Sent(usize),
    /// The packet is lost: its header is invalid, or the socket has rejected it.
    Dropped,
    /// The buffer is invalid. It is returned to the guest, and its fault is still to be counted.
    Refused(Fault),
    /// The buffer was invalid. It has been completed and its fault has been counted already.
    Skipped,
    /// The socket has no room, and its file becomes writable when it has.
    Full,
    /// A shortage that no event will end (`ENOMEM`, `ENOBUFS`). To be retried after a wait.
    Again,
    /// The packet stays in the ring while the queue waits.
    Stays(Next),
}

impl Fate {
    /// Returns the result for a buffer that could not be taken because of `fault`.
    pub(super) fn after(fault: Fault) -> Self {
        if fault.is_buffer() {
            Self::Skipped
        } else {
            Self::Stays(Next::Reset)
        }
    }

    /// Counts the packet in the budget and the statistics.
    ///
    /// # Errors
    ///
    /// What the queue has to wait for before the packet can be sent.
    #[inline(always)]
    pub(super) fn count<P: Path>(self, session: &mut Session<'_, P>) -> Result<(), Next> {
        match self {
            Self::Sent(bytes) => session.budget().moved_one(bytes),
            Self::Skipped => {}
            Self::Refused(fault) => session.refused(fault),
            Self::Dropped | Self::Again => session.lost(1),
            Self::Full => return Err(Next::Backend),
            Self::Stays(next) => return Err(next),
        }
        Ok(())
    }
}
