// SPDX-License-Identifier: GPL-2.0

//! The vhost side: rings in the owner's memory, and the ioctls that set them up.
//!
//! Knows virtio, and no socket.

mod ahead;
pub(crate) mod chain;
pub(crate) mod device;
pub(crate) mod fault;
pub(crate) mod features;
mod ioctl;
pub(crate) mod iotlb;
pub(crate) mod layout;
pub(crate) mod mem;
pub(crate) mod notify;
pub(crate) mod queue;
mod queues;
mod request;
pub(crate) mod ring;
pub(crate) mod session;
mod state;
pub(crate) mod taken;
pub(crate) mod uapi;
pub(crate) mod used;
mod user;
