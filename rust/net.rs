// SPDX-License-Identifier: GPL-2.0

//! The virtio-net device: exchanges packets between its queues and a packet socket.

pub(crate) mod backend;
pub(crate) mod device;
mod fate;
mod fill;
mod hdr;
mod rx;
mod side;
mod tx;
