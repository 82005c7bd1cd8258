// SPDX-License-Identifier: GPL-2.0
// Error: E0621
// Names: &'a mut Session<'q>
// A buffer outlives the session from which it was taken.
use crate::vhost::session::{
    Session,
    Taken, //
};

pub(crate) fn escape<'a, 'q>(session: &mut Session<'q>) -> Option<Taken<'a, 'q>> {
    session.take().ok().flatten()
}
