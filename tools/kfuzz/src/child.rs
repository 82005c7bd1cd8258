// SPDX-License-Identifier: GPL-2.0

//! Another process with the same files, which is killed.

/// Killed when it is dropped, wherever it is.
pub struct Child(libc::pid_t);

impl Child {
    /// A process that runs `f`, and then waits for its end. It has a copy of all memory.
    pub fn new(f: impl FnOnce()) -> Self {
        // SAFETY: The child uses none of the locks that other threads may hold but the
        // allocator's, which the C library takes care of.
        let pid = unsafe { libc::fork() };
        assert!(pid >= 0, "fork: {}", std::io::Error::last_os_error());
        if pid == 0 {
            f();
            loop {
                // SAFETY: No pointers.
                unsafe { libc::pause() };
            }
        }
        Self(pid)
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let mut status = 0;
        // SAFETY: A child of ours that nobody else waits for.
        let waited = unsafe {
            libc::kill(self.0, libc::SIGKILL);
            loop {
                match libc::waitpid(self.0, &mut status, 0) {
                    // By libFuzzer's timer.
                    -1 if std::io::Error::last_os_error().raw_os_error() == Some(libc::EINTR) => {}
                    waited => break waited,
                }
            }
        };
        assert!(
            waited == self.0
                && libc::WIFSIGNALED(status)
                && libc::WTERMSIG(status) == libc::SIGKILL,
            "the other process, {waited}, ended by itself: {status:#x}"
        );
    }
}
