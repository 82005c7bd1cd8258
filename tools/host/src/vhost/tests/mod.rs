// SPDX-License-Identifier: GPL-2.0

//! Numbers, records and messages of the interface.

mod iotlb;
mod uapi;
