// SPDX-License-Identifier: GPL-2.0

//! What the pure files must do, and what no guest can make them do.

mod chain;
mod collect;
mod features;
mod hostile;
mod mem;
mod notify;
mod prefetch;
mod ring;
mod used;

pub(crate) use super::model;
