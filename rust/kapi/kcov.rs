// SPDX-License-Identifier: GPL-2.0

//! Coverage of what a worker runs for its owner: `Documentation/dev-tools/kcov.rst`, "Remote
//! coverage collection". Without `CONFIG_KCOV` there is nothing of it.

#[cfg(CONFIG_KCOV)]
use super::ffi;

/// Whose coverage that of a worker's items is.
#[derive(Clone, Copy)]
pub(super) struct Coverage {
    #[cfg(CONFIG_KCOV)]
    handle: u64,
}

impl Coverage {
    /// That of the calling thread.
    pub(super) fn of_current() -> Self {
        Self {
            #[cfg(CONFIG_KCOV)]
            // SAFETY: Reads a field of the current task.
            handle: unsafe { ffi::vnr_kcov_common_handle() },
        }
    }

    /// Runs `f`, in task context, on a thread that collects no coverage of its own, as a worker's
    /// does not. Not nested.
    #[inline(always)]
    pub(super) fn collect<T>(self, f: impl FnOnce() -> T) -> T {
        #[cfg(CONFIG_KCOV)]
        // SAFETY: Any handle may be given, and is looked up; stopped below on the same thread.
        unsafe {
            ffi::vnr_kcov_remote_start(self.handle)
        };
        let result = f();
        #[cfg(CONFIG_KCOV)]
        // SAFETY: Started above, on this thread.
        unsafe {
            ffi::vnr_kcov_remote_stop()
        };
        result
    }
}
