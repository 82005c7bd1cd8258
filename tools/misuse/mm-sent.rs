// SPDX-License-Identifier: GPL-2.0
// Error: E0277
// The evidence of one thread is used on another.
use crate::kapi::mm::InMm;

fn needs_send<T: Send>(_: T) {}

pub(crate) fn send(mm: InMm<'_>) {
    needs_send(mm);
}
