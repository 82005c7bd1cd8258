// SPDX-License-Identifier: GPL-2.0

//! Module parameters that sysfs shows, which it does not for those of `module!`.
//!
//! C header: [`include/linux/moduleparam.h`](srctree/include/linux/moduleparam.h)

use super::ffi;

/// Returns the parameter `max_mem_regions`: the most regions that a memory table may have.
pub(crate) fn max_mem_regions() -> u16 {
    // SAFETY: The parameter is written only while the module is being loaded, before any of its
    // code runs.
    unsafe { ffi::vnr_max_mem_regions }
}

/// Returns the parameter `max_iotlb_entries`: the most translations that an IOTLB may have, or 0 if
/// the parameter is not positive.
pub(crate) fn max_iotlb_entries() -> usize {
    // SAFETY: As above.
    usize::try_from(unsafe { ffi::vnr_max_iotlb_entries }).unwrap_or(0)
}

/// Returns the parameter `fork_from_owner_default`: whether workers are threads of the owner unless
/// VHOST_SET_FORK_FROM_OWNER says otherwise.
pub(crate) fn fork_from_owner_default() -> bool {
    // SAFETY: As above.
    unsafe { ffi::vnr_fork_from_owner_default }
}

/// Returns the parameter `worker_per_queue`: whether each queue of a device gets a worker of its
/// own.
pub(crate) fn worker_per_queue() -> bool {
    // SAFETY: As above.
    unsafe { ffi::vnr_worker_per_queue }
}
