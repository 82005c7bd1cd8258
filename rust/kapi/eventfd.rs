// SPDX-License-Identifier: GPL-2.0

//! Eventfds that the device signals.
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

/// An owned reference to a `struct eventfd_ctx`. Userspace may close the eventfd at any time;
/// signalling it has no effect then.
///
/// # Invariants
///
/// The pointer refers to a valid context on which this value holds a reference.
pub(crate) struct EventFd(NonNull<ffi::eventfd_ctx>);

// SAFETY: A context may be used and released on any thread.
unsafe impl Send for EventFd {}
// SAFETY: The context's own lock synchronises `signal`.
unsafe impl Sync for EventFd {}

impl EventFd {
    /// Looks up the eventfd of a file descriptor of the current task.
    ///
    /// # Errors
    ///
    /// `EBADF` when the file descriptor is not open, `EINVAL` when it is not an eventfd.
    pub(crate) fn from_fd(fd: i32) -> Result<Self> {
        check_files()?;
        // SAFETY: The task has a table of file descriptors, in which any number may be looked up.
        let ctx = from_err_ptr(unsafe { ffi::eventfd_ctx_fdget(fd) })?;
        // INVARIANT: `eventfd_ctx_fdget` has taken a reference for us.
        NonNull::new(ctx).map(Self).ok_or(EBADF)
    }

    /// Adds 1 to the counter, unless it is at its maximum. May be called in any context.
    #[inline]
    pub(crate) fn signal(&self) {
        // SAFETY: The context is valid by the invariant.
        unsafe { ffi::eventfd_signal_mask(self.0.as_ptr(), 0) };
    }
}

impl Drop for EventFd {
    fn drop(&mut self) {
        // SAFETY: By the invariant the reference is ours.
        unsafe { ffi::eventfd_ctx_put(self.0.as_ptr()) };
    }
}

/// Looks up the file of an eventfd, for waiting on it.
///
/// # Errors
///
/// As for [`EventFd::from_fd`].
pub(crate) fn eventfd_file(fd: i32) -> Result<Pollable> {
    check_files()?;
    // SAFETY: The task has a table of file descriptors, in which any number may be looked up.
    let file = from_err_ptr(unsafe { ffi::eventfd_fget(fd) })?;
    let file = NonNull::new(file).ok_or(EBADF)?;
    // SAFETY: CAST: `File` is a transparent wrapper. `eventfd_fget` has taken a reference for us.
    // An eventfd has no file position, so there is no active `fdget_pos` section on it.
    let file = unsafe { ARef::from_raw(file.cast::<File>()) };
    // SAFETY: The wait queue is a part of the context, on which the file holds a reference.
    Ok(unsafe { Pollable::new(file) })
}
