// SPDX-License-Identifier: GPL-2.0

//! The pure files of the module's `virtqueue`.

#[path = "../../../rust/virtqueue/ahead.rs"]
mod ahead;
#[path = "../../../rust/virtqueue/chain.rs"]
pub(crate) mod chain;
#[path = "../../../rust/virtqueue/fault.rs"]
pub(crate) mod fault;
#[path = "../../../rust/virtqueue/features.rs"]
pub(crate) mod features;
#[path = "../../../rust/virtqueue/general.rs"]
pub(crate) mod general;
#[path = "../../../rust/virtqueue/iotlb.rs"]
pub(crate) mod iotlb;
#[path = "../../../rust/virtqueue/layout.rs"]
pub(crate) mod layout;
#[path = "../../../rust/virtqueue/log.rs"]
pub(crate) mod log;
#[path = "../../../rust/virtqueue/mem.rs"]
pub(crate) mod mem;
#[path = "../../../rust/virtqueue/notify.rs"]
pub(crate) mod notify;
#[path = "../../../rust/virtqueue/path.rs"]
pub(crate) mod path;
#[path = "../../../rust/virtqueue/plain.rs"]
pub(crate) mod plain;
#[path = "../../../rust/virtqueue/ranges.rs"]
mod ranges;
#[path = "../../../rust/virtqueue/ring.rs"]
pub(crate) mod ring;
#[path = "../../../rust/virtqueue/table.rs"]
pub(crate) mod table;
#[path = "../../../rust/virtqueue/taken.rs"]
pub(crate) mod taken;
#[path = "../../../rust/virtqueue/uapi.rs"]
pub(crate) mod uapi;
#[path = "../../../rust/virtqueue/used.rs"]
pub(crate) mod used;
#[path = "../../../rust/virtqueue/vq.rs"]
pub(crate) mod vq;

#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
#[cfg(any(test, feature = "fuzz"))]
pub(crate) mod model;
#[cfg(test)]
mod tests;
