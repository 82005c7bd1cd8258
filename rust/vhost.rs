// SPDX-License-Identifier: GPL-2.0

//! The vhost device: its owner, its queues, and the ioctls that set them up.
//!
//! This module uses rings through [`crate::virtqueue`] and is independent of sockets.

pub(crate) mod budget;
pub(crate) mod device;
pub(crate) mod endpoint;
mod ioctl;
mod iotlb;
mod memory;
pub(crate) mod message;
mod messages;
pub(crate) mod misses;
pub(crate) mod queue;
mod queues;
mod request;
mod resources;
mod run;
pub(crate) mod session;
mod state;
pub(crate) mod uapi;
mod user;
mod wakers;
mod workers;
