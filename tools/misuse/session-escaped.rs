// SPDX-License-Identifier: GPL-2.0
// Error: E0621
// Names: &'a mut Session<'q, P>
// A buffer outlives the session from which it was taken.
use crate::vhost::session::Session;
use crate::virtqueue::{
    path::Path,
    taken::Taken, //
};

pub(crate) fn escape<'a, 'q, P: Path>(session: &mut Session<'q, P>) -> Option<Taken<'a, 'q, P>> {
    session.take().ok().flatten()
}
