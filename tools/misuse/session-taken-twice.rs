// SPDX-License-Identifier: GPL-2.0
// Error: E0499
// Names: taken::Taken<'_, '_, UserMem<'_>>
// Two buffers are taken at the same time, and the first is then completed.
use crate::vhost::session::Session;

pub(crate) fn two(session: &mut Session<'_>) {
    let _first = session.take().ok().flatten();
    let _second = session.take().ok().flatten();
}
