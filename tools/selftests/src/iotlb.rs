// SPDX-License-Identifier: GPL-2.0

//! The device IOTLB: messages, misses, wake-ups, and what is mapped where.

mod messages;
mod wakes;

use crate::{
    guest::Memory,
    iommu::{Msg, PAGE, RW},
    setup::{Net, Options},
    tap::Suite,
    vhost::*,
};

pub fn run(suite: &mut Suite, path: &str) {
    messages::run(suite, path);
    wakes::run(suite, path);
}

/// A device with an IOTLB that maps nothing. The rings are at their guest addresses.
fn bare<'m>(path: &str, mem: &'m Memory, options: Options) -> Net<'m> {
    let options = Options {
        features: options.features | F_ACCESS_PLATFORM,
        ..options
    };
    let net = Net::prepare(Vhost::open(path), mem, options, false);
    for index in [RX, TX] {
        place(&net, index);
    }
    net
}

/// Tells the device where a ring is.
fn place(net: &Net<'_>, index: u32) {
    let ring = &net.rings[index as usize];
    let mut addr = ring.addr(index);
    (addr.desc, addr.avail, addr.used) = (ring.desc(), ring.avail(), ring.used());
    net.dev.set_addr(addr).expect("addr");
}

/// Maps a page, with these permissions.
fn map(net: &Net<'_>, at: u64, perm: u8) -> Result {
    let page = at / PAGE * PAGE;
    let uaddr = net.rings[0].mem.at(page) as u64;
    net.dev.tell(Msg::update(page, PAGE, uaddr, perm))
}

/// Maps the pages of both rings.
fn map_rings(net: &Net<'_>) -> Result {
    for ring in &net.rings {
        let size = u64::from(ring.size);
        for (at, len) in [
            (ring.desc(), 16 * size),
            (ring.avail(), 2 * size + 6),
            (ring.used(), 8 * size + 6),
        ] {
            for page in 0..len.div_ceil(PAGE) {
                map(net, at + page * PAGE, RW)?;
            }
        }
    }
    Ok(())
}
