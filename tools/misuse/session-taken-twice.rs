// SPDX-License-Identifier: GPL-2.0
// Error: E0499
// Names: Taken<'_, '_, P>
// Two buffers are taken at the same time, and the first is then completed.
use crate::vhost::session::Session;
use crate::virtqueue::path::Path;

pub(crate) fn two<P: Path>(session: &mut Session<'_, P>) {
    let _first = session.take().ok().flatten();
    let _second = session.take().ok().flatten();
}
