// SPDX-License-Identifier: GPL-2.0
// Error: E0382
// Names: ::complete` takes ownership
// A buffer is completed twice.
use crate::virtqueue::{
    path::Path,
    taken::Taken, //
};

pub(crate) fn twice<P: Path>(taken: Taken<'_, '_, P>) {
    taken.complete();
    taken.complete();
}
