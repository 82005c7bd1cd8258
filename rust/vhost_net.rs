// SPDX-License-Identifier: GPL-2.0

//! A virtio-net device backend in the host kernel, with the ioctl interface of `/dev/vhost-net`.
//!
//! Each layer may use the layers below it and none above: `net` handles packets and sockets,
//! `vhost` the owner of a device, its ioctls and its runs. Below it, `virtqueue` implements the
//! ring without use of the kernel, and `kapi` wraps the kernel's interfaces and is the only layer
//! that may contain `unsafe` code. `stats` is a leaf. See Documentation/architecture.rst.

#![deny(unsafe_code)]

#[allow(unsafe_code)]
mod kapi;
#[forbid(unsafe_code)]
mod net;
#[forbid(unsafe_code)]
mod stats;
#[forbid(unsafe_code)]
mod vhost;
#[forbid(unsafe_code)]
mod virtqueue;

use kernel::prelude::*;

module! {
    type: VhostNet,
    name: "vhost_net_rs",
    authors: ["The vhost-net-rs developers"],
    description: "Host kernel accelerator for virtio net, in Rust",
    license: "GPL",
    alias: ["char-major-10-238", "devname:vhost-net"],
}

#[pin_data]
struct VhostNet {
    #[pin]
    _node: kapi::chardev::Registration<net::device::NetDevice>,
}

impl kernel::InPlaceModule for VhostNet {
    fn init(_module: &'static ThisModule) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            _node <- kapi::chardev::Registration::register(),
        })
    }
}
