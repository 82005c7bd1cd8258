// SPDX-License-Identifier: GPL-2.0
// Error: E0499
// Names: taken::Taken<'_, '_, UserMem<'_>>
// Buffers are published while one of them is being filled.
use crate::vhost::session::Session;

pub(crate) fn early(session: &mut Session<'_>) {
    let _taken = session.take().ok().flatten();
    let _ = session.publish();
}
