// SPDX-License-Identifier: GPL-2.0

//! A virtio-net server in the host kernel.

mod kapi;

use kernel::prelude::*;

module! {
    type: VhostNet,
    name: "vhost_net_rs",
    authors: ["The vhost-net-rs developers"],
    description: "Host kernel accelerator for virtio net, in Rust",
    license: "GPL",
}

struct VhostNet;
impl kernel::Module for VhostNet {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        Ok(Self)
    }
}
