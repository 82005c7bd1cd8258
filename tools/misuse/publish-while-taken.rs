// SPDX-License-Identifier: GPL-2.0
// Error: E0499
// Names: Taken<'_, '_, P>
// Buffers are published while one of them is being filled.
use crate::vhost::session::Session;
use crate::virtqueue::path::Path;

pub(crate) fn early<P: Path>(session: &mut Session<'_, P>) {
    let _taken = session.take().ok().flatten();
    let _ = session.publish();
}
