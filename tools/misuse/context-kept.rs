// SPDX-License-Identifier: GPL-2.0
// Error: E0277
// Names: within `work::Context<'_>`, the trait `Sync`
// The context of a work item is used on another thread.
use crate::kapi::work::Context;

fn needs_sync<T: Sync>(_: &T) {}

pub(crate) fn share(ctx: &Context<'_>) {
    needs_sync(ctx);
}
