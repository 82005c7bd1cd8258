// SPDX-License-Identifier: GPL-2.0
// Error: E0505
// Names: Taken<'_, '_>
// A buffer is used after it has been completed.
use crate::vhost::session::Taken;

pub(crate) fn after(taken: Taken<'_, '_>) -> usize {
    let segs = taken.segs();
    taken.complete();
    segs.len()
}
