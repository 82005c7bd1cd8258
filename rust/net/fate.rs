// SPDX-License-Identifier: GPL-2.0

//! What becomes of the packets that a guest sends.

use crate::{
    vhost::session::{
        Next,
        Session, //
    },
    virtqueue::fault::Fault,
};

/// What becomes of a packet.
pub(super) enum Fate {
    /// It is on its way: its length in bytes without header.
    Sent(usize),
    /// It is lost, for what it says or what the socket says to it.
    Dropped,
    /// Its buffer is wrong in itself, and goes back.
    Refused(Fault),
    /// That of a buffer that has been refused before.
    Skipped,
    /// The socket has no room, and tells when it has.
    Full,
    /// There is no memory, or no room that anybody would tell of: it is worth another try.
    Again,
    /// It stays in the ring until then.
    Stays(Next),
}

impl Fate {
    /// That of a buffer that could not be taken because of `fault`.
    pub(super) fn after(fault: Fault) -> Self {
        if fault.is_buffer() {
            Self::Skipped
        } else {
            Self::Stays(Next::Reset)
        }
    }

    /// Counts the packet.
    ///
    /// # Errors
    ///
    /// Whom it has to wait for.
    #[inline(always)]
    pub(super) fn count(self, session: &mut Session<'_>) -> Result<(), Next> {
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
