// SPDX-License-Identifier: GPL-2.0
// Error: E0624
// Names: rust/kapi/mm.rs
// Names: `assume` is private
// The evidence is made up.
use crate::kapi::mm::InMm;

pub(crate) fn made_up() -> InMm<'static> {
    InMm::assume()
}
