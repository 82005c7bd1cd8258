// SPDX-License-Identifier: GPL-2.0
// Error: E0277
// Names: `Said: zerocopy::IntoBytes`
// Names: bound in `UserMem::<'a>::write_slice`
// A type without the promise that all of its bytes are initialised is written to user memory.
use crate::kapi::uaccess::UserMem;
use kernel::prelude::*;

#[repr(C)]
#[derive(zerocopy_derive::Immutable)]
struct Said {
    kind: u8,
    len: u32,
}

pub(crate) fn tell(user: &UserMem<'_>, kind: u8) -> Result {
    user.write_slice(4096, &[Said { kind, len: 1 }])
}
