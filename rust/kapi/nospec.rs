// SPDX-License-Identifier: GPL-2.0

//! Indices that a processor cannot be led to use before they are checked.
//!
//! C header: [`include/linux/nospec.h`](srctree/include/linux/nospec.h)

use super::ffi;

/// `index` if it is less than `size`, else 0, also while the check before it is speculated past.
pub(crate) fn array_index_nospec(index: usize, size: usize) -> usize {
    // SAFETY: Pure arithmetic.
    unsafe { ffi::vnr_array_index_nospec(index, size) }
}
