// SPDX-License-Identifier: GPL-2.0

//! The network side: what a virtio-net queue exchanges with a packet socket.

pub(crate) mod backend;
pub(crate) mod device;
mod fate;
mod fill;
mod hdr;
mod rx;
mod side;
mod tx;
