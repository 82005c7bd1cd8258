// SPDX-License-Identifier: GPL-2.0
// Error: E0277
// Names: within `InMm<'_>`, the trait `Send`
// The evidence of one thread is used on another.
use crate::kapi::mm::InMm;

fn needs_send<T: Send>(_: T) {}

pub(crate) fn send(mm: InMm<'_>) {
    needs_send(mm);
}
