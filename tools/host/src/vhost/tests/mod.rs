// SPDX-License-Identifier: GPL-2.0

//! Numbers, records and messages of the interface, and the budget of a run.

mod budget;
mod message;
mod misses;
mod uapi;
