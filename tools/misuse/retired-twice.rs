// SPDX-License-Identifier: GPL-2.0
// Error: E0382
// Names: `Retired::<T>::reclaim` takes ownership
// A `Retired` is reclaimed twice.
use crate::kapi::retire::Slot;

pub(crate) fn twice(slot: &Slot<u32>) {
    let retired = slot.swap(None);
    drop(retired.reclaim());
    drop(retired.reclaim());
}
