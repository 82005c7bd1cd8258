// SPDX-License-Identifier: GPL-2.0

//! An eventfd that we signal.
//!
//! C header: [`include/linux/eventfd.h`](srctree/include/linux/eventfd.h)

use core::ptr::NonNull;
use kernel::{
    error::from_err_ptr,
    fs::File,
    prelude::*,
    sync::aref::ARef, //
};

use super::{
    ffi,
    wait::{
        check_files,
        Pollable, //
    },
};

/// An owned `struct eventfd_ctx`. Its other side may close it at any moment, and then signalling
/// it has no effect.
///
/// # Invariants
///
/// A valid context on which this value holds a reference.
pub(crate) struct EventFd(NonNull<ffi::eventfd_ctx>);

// SAFETY: A context may be used and released on any thread.
unsafe impl Send for EventFd {}
// SAFETY: `signal` synchronises by the context's own lock.
unsafe impl Sync for EventFd {}

impl EventFd {
    /// The eventfd behind a file descriptor of the caller.
    ///
    /// # Errors
    ///
    /// `EBADF` when it is not open, `EINVAL` when it is something else.
    pub(crate) fn from_fd(fd: i32) -> Result<Self> {
        check_files()?;
        // SAFETY: Any number may be asked for where there is a table.
        let ctx = from_err_ptr(unsafe { ffi::eventfd_ctx_fdget(fd) })?;
        // INVARIANT: `eventfd_ctx_fdget` took a reference for us.
        NonNull::new(ctx).map(Self).ok_or(EBADF)
    }

    /// Adds one to the counter, which stays at its maximum once it is there. Any context.
    #[inline]
    pub(crate) fn signal(&self) {
        // SAFETY: Valid by the invariant.
        unsafe { ffi::eventfd_signal_mask(self.0.as_ptr(), 0) };
    }
}

impl Drop for EventFd {
    fn drop(&mut self) {
        // SAFETY: By the invariant the reference is ours.
        unsafe { ffi::eventfd_ctx_put(self.0.as_ptr()) };
    }
}

/// The file of an eventfd, for waiting on it.
///
/// # Errors
///
/// As [`EventFd::from_fd`].
pub(crate) fn eventfd_file(fd: i32) -> Result<Pollable> {
    check_files()?;
    // SAFETY: Any number may be asked for where there is a table.
    let file = from_err_ptr(unsafe { ffi::eventfd_fget(fd) })?;
    let file = NonNull::new(file).ok_or(EBADF)?;
    // SAFETY: CAST: `File` is a transparent wrapper. `eventfd_fget` took a reference for us. An
    // eventfd has no position, so no `fdget_pos` section can be active on it.
    let file = unsafe { ARef::from_raw(file.cast::<File>()) };
    // SAFETY: The wait queue is a part of the context, on which the file has a reference.
    Ok(unsafe { Pollable::new(file) })
}
