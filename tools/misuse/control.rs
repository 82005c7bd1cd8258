// SPDX-License-Identifier: GPL-2.0
// Compiles: the same things, done as they are meant.
use crate::kapi::{iov::IoVec, mm::InMm, retire::{Retired, Slot}, uaccess::UserMem, worker::Context};
use kernel::prelude::*;

pub(crate) fn read(slot: &Slot<u32>, ctx: &Context<'_>) -> Option<u32> {
    slot.read(ctx).copied()
}

pub(crate) fn swap(slot: &Slot<u32>) -> Option<KBox<u32>> {
    let retired: Retired<u32> = slot.swap(None);
    retired.reclaim()
}

pub(crate) fn user(mm: InMm<'_>, seg: IoVec) -> Result<u16> {
    UserMem::new(mm).read_u16(seg.base())
}
