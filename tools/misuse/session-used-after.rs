// SPDX-License-Identifier: GPL-2.0
// Error: E0505
// Names: Taken<'_, '_, P>
// A buffer is used after it has been completed.
use crate::virtqueue::{
    path::Path,
    taken::Taken, //
};

pub(crate) fn after<P: Path>(taken: Taken<'_, '_, P>) -> usize {
    let segs = taken.segs();
    taken.complete();
    segs.len()
}
