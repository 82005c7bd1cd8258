// SPDX-License-Identifier: GPL-2.0
// Error: unused
// Names: `Retired`
// A `Retired` is ignored. A build with a warning fails (scripts/build). A `Retired` that is
// dropped explicitly flushes in its destructor.
#![deny(unused_must_use)]
use crate::kapi::retire::Slot;

pub(crate) fn ignore(slot: &Slot<u32>) {
    slot.swap(None);
}
