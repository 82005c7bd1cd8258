// SPDX-License-Identifier: GPL-2.0
// Error: E0515
// Names: `owner`
// The evidence outlives the owner.
use crate::kapi::mm::{
    InMm,
    Owner, //
};
use kernel::prelude::*;

pub(crate) fn outlive() -> Result<InMm<'static>> {
    let owner = Owner::current()?;
    owner.check_current()
}
