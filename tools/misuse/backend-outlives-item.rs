// SPDX-License-Identifier: GPL-2.0
// Error: E0621
// Names: &'a work::Context<'_>
// The reference to the backend is kept for longer than the work item runs.
use crate::kapi::{
    retire::Slot,
    work::Context, //
};

pub(crate) fn keep<'a>(slot: &'a Slot<u32>, ctx: &Context<'_>) -> Option<&'a u32> {
    slot.read(ctx)
}
