// SPDX-License-Identifier: GPL-2.0

//! Split virtqueues in guest memory, as the virtio specification defines them (VIRTIO 1.3, 2.7).
//!
//! This module uses nothing of the kernel but its prelude and the segments of [`crate::kapi::iov`].
//! It knows neither ioctls nor threads, and is also built, tested and fuzzed on the host,
//! unchanged.

mod ahead;
pub(crate) mod chain;
pub(crate) mod fault;
pub(crate) mod features;
pub(crate) mod general;
pub(crate) mod iotlb;
pub(crate) mod layout;
pub(crate) mod log;
pub(crate) mod mem;
pub(crate) mod notify;
pub(crate) mod path;
pub(crate) mod plain;
mod ranges;
pub(crate) mod ring;
pub(crate) mod table;
pub(crate) mod taken;
pub(crate) mod uapi;
pub(crate) mod used;
pub(crate) mod vq;
