// SPDX-License-Identifier: GPL-2.0
// Error: E0621
// Names: &'a mut Session<'q>
// A buffer outlives the session that it was taken in.
use crate::vhost::session::{
    Session,
    Taken, //
};

pub(crate) fn escape<'a, 'q>(session: &mut Session<'q>) -> Option<Taken<'a, 'q>> {
    session.take().ok().flatten()
}
