// SPDX-License-Identifier: GPL-2.0

//! The specification's part: split rings in guest memory (VIRTIO 1.3, 2.7).
//!
//! Knows neither ioctls nor threads, uses nothing of the kernel but its prelude and the segments
//! of [`crate::kapi::iov`], and is built, tested and fuzzed on the host as it is.

mod ahead;
pub(crate) mod chain;
pub(crate) mod fault;
pub(crate) mod features;
pub(crate) mod layout;
pub(crate) mod mem;
pub(crate) mod notify;
pub(crate) mod plain;
pub(crate) mod ring;
pub(crate) mod taken;
pub(crate) mod uapi;
pub(crate) mod used;
pub(crate) mod vq;
