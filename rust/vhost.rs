// SPDX-License-Identifier: GPL-2.0

//! The vhost side: who owns a device, its queues, and the ioctls that set them up.
//!
//! Knows rings by [`crate::virtqueue`], and no socket.

pub(crate) mod budget;
pub(crate) mod device;
pub(crate) mod endpoint;
mod ioctl;
pub(crate) mod iotlb;
pub(crate) mod queue;
mod queues;
mod request;
pub(crate) mod session;
mod state;
pub(crate) mod uapi;
mod user;
mod wakers;
