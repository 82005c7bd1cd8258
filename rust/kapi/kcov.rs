// SPDX-License-Identifier: GPL-2.0

//! Coverage of the work that a worker does for its owner; see "Remote coverage collection" in
//! `Documentation/dev-tools/kcov.rst`. Without `CONFIG_KCOV` nothing is collected.

#[cfg(CONFIG_KCOV)]
use super::ffi;

/// The KCOV handle for which the coverage of a worker's items is collected.
#[derive(Clone, Copy)]
pub(super) struct Coverage {
    #[cfg(CONFIG_KCOV)]
    handle: u64,
}

impl Coverage {
    /// Returns the handle of the current task.
    pub(super) fn of_current() -> Self {
        Self {
            #[cfg(CONFIG_KCOV)]
            // SAFETY: Reads a field of the current task.
            handle: unsafe { ffi::vnr_kcov_common_handle() },
        }
    }

    /// Runs `f` and collects its coverage. Must be called in task context, on a thread that
    /// collects no coverage of its own, as workers do not. Calls must not be nested.
    #[inline(always)]
    pub(super) fn collect<T>(self, f: impl FnOnce() -> T) -> T {
        #[cfg(CONFIG_KCOV)]
        // SAFETY: Any handle may be passed, and is looked up. Stopped below on the same thread.
        unsafe {
            ffi::vnr_kcov_remote_start(self.handle)
        };
        let result = f();
        #[cfg(CONFIG_KCOV)]
        // SAFETY: Started above on this thread.
        unsafe {
            ffi::vnr_kcov_remote_stop()
        };
        result
    }
}
