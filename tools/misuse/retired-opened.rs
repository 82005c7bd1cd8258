// SPDX-License-Identifier: GPL-2.0
// Error: E0616
// Names: `value` of struct `Retired`
// The value of a `Retired` is taken out without a flush.
use crate::kapi::retire::Slot;

pub(crate) fn open(slot: &Slot<u32>) -> *mut u32 {
    slot.swap(None).value
}
