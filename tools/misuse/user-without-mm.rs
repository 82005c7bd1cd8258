// SPDX-License-Identifier: GPL-2.0
// Error: E0061
// Names: `InMm<'_>`
// User memory is read without evidence of its address space.
use crate::kapi::uaccess::UserMem;

pub(crate) fn user() -> kernel::prelude::Result<u16> {
    UserMem::new().read_u16(4096)
}
