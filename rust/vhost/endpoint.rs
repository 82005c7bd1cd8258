// SPDX-License-Identifier: GPL-2.0

//! What a queue is served by, whatever kind of device it is.

use kernel::{
    prelude::*,
    sync::Arc, //
};

use crate::{
    kapi::wait::{
        Interest,
        Pollable, //
    },
    vhost::session::{
        Next,
        Session, //
    },
};

/// What is on the other side of a queue.
pub(crate) trait Backend: Send + Sync + 'static {
    /// The file that becomes ready when it has something to give or room to take.
    fn file(&self) -> &Pollable;
}

/// Who moves data between a queue and its backend.
pub(crate) trait Endpoint: Send + Unpin + Sized + 'static {
    /// Its backend.
    type Backend: Backend;

    /// What of the backend's file it waits for.
    fn interest(&self) -> Interest;

    /// Prepares for a new backend; on failure nothing changes.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    fn attach(&mut self, backend: &Arc<Self::Backend>) -> Result;

    /// Gives back what it holds of the backend.
    fn detach(&mut self);

    /// Whether it holds memory that it could do without while there is nothing to move.
    fn holds_memory(&self) -> bool;

    /// Gives that back.
    fn give_back(&mut self);

    /// Moves data until one side has nothing more, or it has had its share.
    fn serve(&mut self, backend: &Self::Backend, session: &mut Session<'_>) -> Next;
}
