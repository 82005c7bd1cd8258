// SPDX-License-Identifier: GPL-2.0

//! Safe abstractions of kernel interfaces.
//!
//! This is the only module that may contain `unsafe` code. Its files are written as if they
//! belonged to the `kernel` crate, and are independent of virtio.

pub(crate) mod batch;
pub(crate) mod chardev;
pub(crate) mod delay;
mod domain;
pub(crate) mod eventfd;
mod ffi;
pub(crate) mod iov;
mod kcov;
pub(crate) mod large;
mod link;
mod message;
pub(crate) mod mm;
pub(crate) mod nospec;
mod page;
mod pages;
pub(crate) mod param;
mod pool;
pub(crate) mod retire;
pub(crate) mod shrinker;
pub(crate) mod socket;
pub(crate) mod thread;
pub(crate) mod tun;
pub(crate) mod uaccess;
mod vlan;
pub(crate) mod wait;
pub(crate) mod work;
pub(crate) mod worker;
