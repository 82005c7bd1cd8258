// SPDX-License-Identifier: GPL-2.0

//! Array indices that are safe under speculative execution.
//!
//! C header: [`include/linux/nospec.h`](srctree/include/linux/nospec.h)

use super::ffi;

/// Returns `index` if it is less than `size`, else 0, even if a preceding check is mispredicted.
pub(crate) fn array_index_nospec(index: usize, size: usize) -> usize {
    // SAFETY: Pure arithmetic on the arguments.
    unsafe { ffi::vnr_array_index_nospec(index, size) }
}
