// SPDX-License-Identifier: GPL-2.0

//! The pure files of the module's `vhost`.

#[path = "../../../rust/vhost/ahead.rs"]
mod ahead;
#[path = "../../../rust/vhost/chain.rs"]
pub(crate) mod chain;
#[path = "../../../rust/vhost/fault.rs"]
pub(crate) mod fault;
#[path = "../../../rust/vhost/features.rs"]
pub(crate) mod features;
#[path = "../../../rust/vhost/iotlb.rs"]
pub(crate) mod iotlb;
#[path = "../../../rust/vhost/layout.rs"]
pub(crate) mod layout;
#[path = "../../../rust/vhost/mem.rs"]
pub(crate) mod mem;
#[path = "../../../rust/vhost/notify.rs"]
pub(crate) mod notify;
#[path = "../../../rust/vhost/request.rs"]
pub(crate) mod request;
#[path = "../../../rust/vhost/ring.rs"]
pub(crate) mod ring;
#[path = "../../../rust/vhost/uapi.rs"]
pub(crate) mod uapi;
#[path = "../../../rust/vhost/used.rs"]
pub(crate) mod used;

#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
#[cfg(any(test, feature = "fuzz"))]
pub(crate) mod model;
#[cfg(test)]
mod tests;
