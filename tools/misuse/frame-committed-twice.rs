// SPDX-License-Identifier: GPL-2.0
// Error: E0382
// Names: `Frame::<'_>::commit` takes ownership
// A packet is added to a batch twice, so that the batch would free its memory twice.
use crate::kapi::{
    batch::Filling,
    mm::InMm, //
};

pub(crate) fn twice(filling: &mut Filling<'_>, mm: &InMm<'_>) {
    if let Ok(frame) = filling.copy_in(mm, &[], 0, 0) {
        frame.commit();
        frame.commit();
    }
}
