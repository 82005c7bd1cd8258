// SPDX-License-Identifier: GPL-2.0

//! Numbers, records and messages of the interface, and what a run may move.

mod budget;
mod iotlb;
mod uapi;
