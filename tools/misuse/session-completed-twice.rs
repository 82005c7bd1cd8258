// SPDX-License-Identifier: GPL-2.0
// Error: E0382
// Names: `Taken::<'s, 'q>::complete` takes ownership
// A buffer is handed back twice.
use crate::vhost::taken::Taken;

pub(crate) fn twice(taken: Taken<'_, '_>) {
    taken.complete();
    taken.complete();
}
