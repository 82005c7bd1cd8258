// SPDX-License-Identifier: GPL-2.0
// Error: E0277
// Names: `Loose` has 3 total byte(s) of padding
// Names: bound in `UserMem::<'a>::write_slice`
// A type with padding, which has uninitialised bytes, is written to user memory.
use crate::kapi::uaccess::UserMem;
use kernel::prelude::*;

#[repr(C)]
#[derive(FromBytes, IntoBytes, zerocopy_derive::Immutable)]
struct Loose {
    kind: u8,
    len: u32,
}

pub(crate) fn tell(user: &UserMem<'_>, kind: u8) -> Result {
    user.write_slice(4096, &[Loose { kind, len: 1 }])
}
