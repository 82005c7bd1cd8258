// SPDX-License-Identifier: GPL-2.0
// Error: usage of an `unsafe` block
// Names: #[forbid(unsafe_code)]
// Code outside kapi uses `unsafe`.
pub(crate) fn zero(at: *mut u8) {
    unsafe { *at = 0 };
}
