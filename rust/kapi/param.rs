// SPDX-License-Identifier: GPL-2.0

//! Parameters of the module that can be read in sysfs, which those of `module!` cannot.
//!
//! C header: [`include/linux/moduleparam.h`](srctree/include/linux/moduleparam.h)

use super::ffi;

/// `max_mem_regions`: as many regions as a memory table may have, as the administrator has it.
pub(crate) fn max_mem_regions() -> u16 {
    // SAFETY: The parameter is written only while the module is being loaded, before any of its
    // code runs.
    unsafe { ffi::vnr_max_mem_regions }
}
