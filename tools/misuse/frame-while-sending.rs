// SPDX-License-Identifier: GPL-2.0
// Error: E0499
// Names: `*filling`
// Names: filling.send()
// A batch is sent while a packet is being added to it.
use crate::kapi::{
    batch::Filling,
    mm::InMm, //
};

pub(crate) fn early(filling: &mut Filling<'_>, mm: &InMm<'_>) {
    if let Ok(frame) = filling.copy_in(mm, &[], 0, 0) {
        let _ = filling.send();
        frame.commit();
    }
}
