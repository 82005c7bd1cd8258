// SPDX-License-Identifier: GPL-2.0

//! A virtio-net server in the host kernel, behind the ioctl interface of `/dev/vhost-net`.
//!
//! Layers, of which each may use those below it and never one above: `net` knows sockets and what
//! a packet is, `vhost` knows who set a queue up and who serves it. Below it, `virtqueue` is the
//! ring itself and pure, and `kapi` knows the kernel and is the only one where `unsafe_code` is
//! allowed. `stats` is a leaf. See Documentation/architecture.

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
