// SPDX-License-Identifier: GPL-2.0

//! Instructions per packet of a vhost worker: the rows, and their measurements.

pub mod case;
pub mod measurements;
