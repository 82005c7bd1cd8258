// SPDX-License-Identifier: GPL-2.0

//! Other processes, which have what this one has.

use std::{
    io::{Error, ErrorKind},
    os::unix::process::ExitStatusExt,
    panic::{catch_unwind, AssertUnwindSafe},
    process::ExitStatus,
};

/// Killed when it is dropped, wherever it is, if it has not ended.
pub struct Child {
    pid: libc::pid_t,
    ended: bool,
}

impl Child {
    /// A process with a copy of all memory that runs `body` and ends with its status.
    pub fn new(body: impl FnOnce() -> i32) -> Self {
        // SAFETY: The child uses none of the locks that other threads may hold but the
        // allocator's, which the C library takes care of.
        let pid = unsafe { libc::fork() };
        assert!(pid >= 0, "fork: {}", Error::last_os_error());
        if pid == 0 {
            // What the caller would do next is the parent's.
            let status = catch_unwind(AssertUnwindSafe(body)).unwrap_or(101);
            // SAFETY: Ends the child.
            unsafe { libc::_exit(status) };
        }
        Self { pid, ended: false }
    }

    /// How it ends.
    pub fn wait(mut self) -> ExitStatus {
        self.reap()
    }

    /// Its number.
    pub fn pid(&self) -> libc::pid_t {
        self.pid
    }

    /// Kills it without waiting for its end.
    pub fn kill(&self) {
        // SAFETY: No pointers; ours until it is waited for.
        unsafe { libc::kill(self.pid, libc::SIGKILL) };
    }

    /// Kills it.
    ///
    /// # Errors
    ///
    /// How it had ended by itself.
    pub fn killed(self) -> Result<(), String> {
        self.kill();
        let status = self.wait();
        if status.signal() == Some(libc::SIGKILL) {
            Ok(())
        } else {
            Err(format!("a child ended by itself: {status}"))
        }
    }

    /// That it has ended. Its number is still its own.
    pub fn reaped(mut self) -> Self {
        self.reap();
        self
    }

    fn reap(&mut self) -> ExitStatus {
        self.ended = true;
        let mut status = 0;
        // SAFETY: A child of ours that nobody else waits for.
        while unsafe { libc::waitpid(self.pid, &mut status, 0) } != self.pid {
            let error = Error::last_os_error();
            assert!(error.kind() == ErrorKind::Interrupted, "waitpid: {error}");
        }
        ExitStatus::from_raw(status)
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if !self.ended {
            self.kill();
            self.reap();
        }
    }
}
