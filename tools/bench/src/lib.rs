// SPDX-License-Identifier: GPL-2.0

//! What a packet costs a vhost worker: the rows, and what was measured of them.

pub mod case;
pub mod measurements;
