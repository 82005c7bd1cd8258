// SPDX-License-Identifier: GPL-2.0

//! The interface between a queue and the kind of device that serves it.

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
    virtqueue::path::Path,
};

/// What a queue exchanges data with, such as a socket.
pub(crate) trait Backend: Send + Sync + 'static {
    /// Returns the file that becomes readable or writable when data can be transferred.
    fn file(&self) -> &Pollable;
}

/// Transfers data between a queue and its backend. Called with the queue's lock held.
pub(crate) trait Endpoint: Send + Unpin + Sized + 'static {
    /// The type of its backends.
    type Backend: Backend;

    /// Returns the event of the backend's file to wait for.
    fn interest(&self) -> Interest;

    /// Returns the largest number of buffers that it takes for one packet.
    fn buffers_max(&self) -> usize;

    /// Allocates what it needs while the device has an owner. On failure nothing changes.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    fn allocate(&mut self) -> Result;

    /// Frees everything that [`Self::allocate`] has allocated.
    fn free(&mut self);

    /// Releases everything that belongs to the previous backend, and prepares for the new one.
    /// Called only after [`Self::allocate`].
    fn set_backend(&mut self, backend: Option<&Arc<Self::Backend>>);

    /// Returns whether it ever holds memory that it does not need while the queue is idle.
    fn keeps_memory(&self) -> bool;

    /// Returns whether it holds such memory now.
    fn holds_memory(&self) -> bool;

    /// Returns the number of small pages that [`Self::free_spare`] would make available now.
    fn spare(&self) -> usize;

    /// Frees the part of this memory that others do not use, and returns the number of small pages
    /// that this makes available.
    fn free_spare(&mut self) -> usize;

    /// Returns whether an endpoint that waits for readability has something to receive.
    fn has_data(&mut self) -> bool;

    /// Transfers data until one side has no more or the session's budget is used up, and returns
    /// what the queue has to wait for.
    fn serve<P: Path>(&mut self, backend: &Self::Backend, session: &mut Session<'_, P>) -> Next;
}
