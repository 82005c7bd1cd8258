// SPDX-License-Identifier: GPL-2.0
// Error: E0382
// Names: `taken::Taken::<'s, 'q, M>::complete` takes ownership
// A buffer is completed twice.
use crate::vhost::session::Taken;

pub(crate) fn twice(taken: Taken<'_, '_>) {
    taken.complete();
    taken.complete();
}
