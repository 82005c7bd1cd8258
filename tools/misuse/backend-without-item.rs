// SPDX-License-Identifier: GPL-2.0
// Error: cannot construct
// Names: work::Context<'_>
// The backend is read outside a work item, with a made-up context.
use crate::kapi::{
    mm::InMm,
    retire::Slot,
    work::Context, //
};

pub(crate) fn read(slot: &Slot<u32>, mm: InMm<'_>) -> Option<u32> {
    let ctx = Context { mm };
    slot.read(&ctx).copied()
}
