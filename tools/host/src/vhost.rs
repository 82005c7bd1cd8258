// SPDX-License-Identifier: GPL-2.0

//! The pure files of the module's `vhost`.

#[path = "../../../rust/vhost/budget.rs"]
pub(crate) mod budget;
#[path = "../../../rust/vhost/iotlb.rs"]
pub(crate) mod iotlb;
#[path = "../../../rust/vhost/request.rs"]
pub(crate) mod request;
#[path = "../../../rust/vhost/uapi.rs"]
pub(crate) mod uapi;

#[cfg(test)]
mod tests;
