// SPDX-License-Identifier: GPL-2.0
// Error: unused
// Names: `Retired`
// What was retired is passed over. A build with a warning fails (scripts/build); what is dropped
// all the same, by its name, waits for the readers in its destructor.
#![deny(unused_must_use)]
use crate::kapi::retire::Slot;

pub(crate) fn ignore(slot: &Slot<u32>) {
    slot.swap(None);
}
