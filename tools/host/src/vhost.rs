// SPDX-License-Identifier: GPL-2.0

//! The pure files of the module's `vhost`.

#[path = "../../../rust/vhost/budget.rs"]
pub(crate) mod budget;
#[path = "../../../rust/vhost/message.rs"]
pub(crate) mod message;
#[path = "../../../rust/vhost/misses.rs"]
pub(crate) mod misses;
#[path = "../../../rust/vhost/request.rs"]
pub(crate) mod request;
#[path = "../../../rust/vhost/uapi.rs"]
pub(crate) mod uapi;

#[cfg(test)]
mod tests;
