// SPDX-License-Identifier: GPL-2.0

//! Packet memory that is reused: no reader ever sees a byte of another packet, and all of the
//! memory is freed at the end.

mod ends;
mod flow;
pub mod forward;
mod held;
mod leaks;
mod lengths;
mod pattern;
mod pressure;
mod ring;
mod stream;
mod taps;
mod tcp;

use crate::tap::Suite;

pub fn run(suite: &mut Suite, path: &str, c: bool) {
    lengths::run(suite, path);
    held::run(suite, path);
    taps::run(suite, path);
    forward::run(suite, path);
    stream::run(suite, path);
    ends::run(suite, path);
    leaks::run(suite, path);
    pressure::run(suite, path, c);
}
