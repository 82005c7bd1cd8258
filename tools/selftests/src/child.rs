// SPDX-License-Identifier: GPL-2.0

//! Processes forked from this one.

use std::{
    io::{Error, ErrorKind},
    os::unix::process::ExitStatusExt,
    panic::{catch_unwind, AssertUnwindSafe},
    process::ExitStatus,
};

/// A child process; killed on drop if it has not exited.
pub struct Child {
    pid: libc::pid_t,
    ended: bool,
}

impl Child {
    /// Forks a process that runs `body` and exits with its status.
    pub fn new(body: impl FnOnce() -> i32) -> Self {
        // SAFETY: The child takes no lock that other threads may hold, except the allocator's,
        // which the C library handles at fork.
        let pid = unsafe { libc::fork() };
        assert!(pid >= 0, "fork: {}", Error::last_os_error());
        if pid == 0 {
            // The child must not return to the caller.
            let status = catch_unwind(AssertUnwindSafe(body)).unwrap_or(101);
            // SAFETY: Exits the child.
            unsafe { libc::_exit(status) };
        }
        Self { pid, ended: false }
    }

    /// Waits for its exit and returns the status.
    pub fn wait(mut self) -> ExitStatus {
        self.reap()
    }

    /// Its process ID.
    pub fn pid(&self) -> libc::pid_t {
        self.pid
    }

    /// Kills it without waiting for its exit.
    pub fn kill(&self) {
        // SAFETY: No pointers; the child is ours until it is waited for.
        unsafe { libc::kill(self.pid, libc::SIGKILL) };
    }

    /// Kills it.
    ///
    /// # Errors
    ///
    /// The status with which it had exited by itself.
    pub fn killed(self) -> Result<(), String> {
        self.kill();
        let status = self.wait();
        if status.signal() == Some(libc::SIGKILL) {
            Ok(())
        } else {
            Err(format!("a child ended by itself: {status}"))
        }
    }

    /// Waits for its exit and reaps it. The value keeps its process ID.
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
