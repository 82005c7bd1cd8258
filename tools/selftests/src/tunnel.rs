// SPDX-License-Identifier: GPL-2.0

//! Packets for segmentation within a UDP tunnel, whose header has 24 bytes.

use crate::{
    ensure, ensure_eq,
    guest::{Memory, DESC_WRITE},
    net::{frame, segmented, Tap, TUNNEL_HDR},
    recycle::forward::Bridge,
    setup::{Net, Options, Way, BUFFERS},
    tap::{Outcome, Suite},
    vhost::*,
};

/// The outer headers: Ethernet, IPv4, UDP and VXLAN.
const OUTER: usize = 14 + 20 + 8 + 8;
const MSS: u16 = 1300;
/// From packets that fit into a page to ones that need several.
const LENS: [usize; 3] = [2000, 12_000, 60_000];
const OUT: u64 = BUFFERS + 0x2_0000;

pub fn run(suite: &mut Suite, path: &str) {
    suite.case("segmentation within a UDP tunnel: sent", || send(path));
    suite.case("segmentation within a UDP tunnel: received", || {
        receive(path)
    });
    suite.case_c_fails(
        "the header of a UDP tunnel is the device's",
        "it leaves half of the header as it was",
        || header_of_ours(path),
    );
}

/// A TCP segment of `payload` bytes in VXLAN, with the header for its segmentation.
fn tunnelled(seed: u32, payload: usize) -> ([u8; TUNNEL_HDR], Vec<u8>) {
    let (inner_hdr, inner) = segmented(seed, payload, MSS);
    let mut outer = frame(seed, 14);
    outer[12..14].copy_from_slice(&0x0800u16.to_be_bytes());
    let udp_len = (8 + 8 + inner.len()) as u16;
    let mut ip = [
        0x45, 0, 0, 0, 0, 2, 0x40, 0, 64, 17, 0, 0, 10, 98, 0, 1, 10, 98, 0, 2,
    ];
    ip[2..4].copy_from_slice(&(20 + udp_len).to_be_bytes());
    let sum = crate::net::ones_sum(&ip, 0);
    ip[10..12].copy_from_slice(&(!sum).to_be_bytes());
    outer.extend(ip);
    for half in [40_000, 4789, udp_len, 0] {
        outer.extend(half.to_be_bytes());
    }
    outer.extend([8, 0, 0, 0, 0, 0, 7, 0]);
    assert_eq!(outer.len(), OUTER);
    outer.extend(inner);

    let mut hdr = [0; TUNNEL_HDR];
    hdr[..10].copy_from_slice(&inner_hdr);
    // TCPv4 in a tunnel through IPv4.
    hdr[1] = 1 | 0x20;
    let inner_len = u16::from_le_bytes([inner_hdr[2], inner_hdr[3]]);
    let inner_start = u16::from_le_bytes([inner_hdr[6], inner_hdr[7]]);
    let outer_len = OUTER as u16;
    hdr[2..4].copy_from_slice(&(outer_len + inner_len).to_le_bytes());
    hdr[6..8].copy_from_slice(&(outer_len + inner_start).to_le_bytes());
    // The offsets of the UDP header and of the inner IP header.
    hdr[20..22].copy_from_slice(&34u16.to_le_bytes());
    hdr[22..24].copy_from_slice(&(outer_len + 14).to_le_bytes());
    (hdr, outer)
}

/// A device with a header of 24 bytes, with a further feature or none.
fn start<'m>(path: &str, mem: &'m Memory, further: u64) -> std::result::Result<Net<'m>, String> {
    let err = |e: Errno| format!("{e:?}");
    let options = Options::new(F_VERSION_1 | further);
    let net = Net::prepare(Vhost::open(path), mem, options, false);
    if further & F_NET_HDR == 0 {
        net.tap.set_hdr(TUNNEL_HDR);
    }
    let high = F_GUEST_UDP_TUNNEL_GSO | F_HOST_UDP_TUNNEL_GSO;
    let words = [F_VERSION_1 | further | Way::features(), high];
    net.dev.set_features_array(&words).map_err(err)?;
    net.attach();
    Ok(net)
}

/// The next packet of this length; others are the bridge's own.
fn arrived(end: &Tap, len: usize) -> Option<Vec<u8>> {
    std::iter::from_fn(|| end.recv(5000)).find(|got| got.len() == len)
}

/// Compares the headers of a packet that was sent and received, but for `hdr_len`, which is only a
/// hint, and `num_buffers`.
fn same_header(got: &[u8], sent: &[u8; TUNNEL_HDR], len: usize) -> Outcome {
    ensure_eq!(got[..2], sent[..2], "flags and type of {len} bytes");
    ensure_eq!(got[4..10], sent[4..10], "header of {len} bytes");
    ensure_eq!(got[12..TUNNEL_HDR], sent[12..], "offsets of {len} bytes");
    Ok(())
}

fn send(path: &str) -> Outcome {
    let mem = Memory::new();
    let mut net = start(path, &mem, 0)?;
    let end = Tap::new(TUNNEL_HDR);
    let _bridge = Bridge::new(&[&net.tap, &end])?;
    for (seed, len) in (1..).zip(LENS) {
        let (hdr, packet) = tunnelled(seed, len);
        let data = [&hdr[..], &packet].concat();
        mem.write_much(OUT, &data);
        let old = net.ring(TX).avail_idx();
        net.ring(TX).add(&[(OUT, data.len() as u32, 0)]);
        net.submit(TX, old);
        net.ring(TX).wait_used().ok_or("no used entry for TX")?;
        let got = arrived(&end, data.len()).ok_or("the packet did not arrive")?;
        same_header(&got, &hdr, len)?;
        ensure!(got[TUNNEL_HDR..] == packet, "{len} bytes arrived changed");
    }
    ensure_eq!(net.events[1].err.take(), 0, "errors signalled");
    Ok(())
}

fn receive(path: &str) -> Outcome {
    let mem = Memory::new();
    let mut net = start(path, &mem, F_MRG_RXBUF)?;
    let start = Tap::new(TUNNEL_HDR);
    let _bridge = Bridge::new(&[&net.tap, &start])?;
    for (seed, len) in (1..).zip(LENS) {
        let (hdr, packet) = tunnelled(seed, len);
        start
            .inject(&[&hdr[..], &packet].concat())
            .map_err(|e| format!("inject: {e:?}"))?;
        let got = received(&mut net, TUNNEL_HDR + packet.len())?;
        same_header(&got, &hdr, len)?;
        ensure!(got[TUNNEL_HDR..] == packet, "{len} bytes arrived changed");
    }
    Ok(())
}

/// The next packet of this length; others are the bridge's own.
fn received(net: &mut Net<'_>, len: usize) -> std::result::Result<Vec<u8>, String> {
    loop {
        net.rx_post(&[&[(OUT, 70_000, DESC_WRITE)]]);
        let (_, used) = net.ring(RX).wait_used().ok_or("no used entry for RX")?;
        if used as usize == len {
            return Ok(net.ring(RX).mem.read_much(OUT, len));
        }
    }
}

fn header_of_ours(path: &str) -> Outcome {
    let mem = Memory::new();
    let mut net = start(path, &mem, F_NET_HDR)?;
    let sent = frame(1, 300);
    mem.write(OUT, &[0xee; 400]);
    net.rx_post(&[&[(OUT, 400, DESC_WRITE)]]);
    net.wire.send(&sent).map_err(|e| format!("send: {e:?}"))?;
    let (_, used) = net.ring(RX).wait_used().ok_or("no used entry for RX")?;
    ensure_eq!(used as usize, TUNNEL_HDR + sent.len(), "used length");
    let got = mem.read(OUT, TUNNEL_HDR + sent.len());
    ensure!(got[TUNNEL_HDR..] == sent, "the frame arrived changed");
    let mut hdr = [0; TUNNEL_HDR];
    hdr[10] = 1;
    ensure_eq!(got[..TUNNEL_HDR], hdr, "header");
    mem.write(OUT, &[&hdr[..], &sent].concat());
    let old = net.ring(TX).avail_idx();
    let len = (TUNNEL_HDR + sent.len()) as u32;
    net.ring(TX).add(&[(OUT, len, 0)]);
    net.submit(TX, old);
    net.ring(TX).wait_used().ok_or("no used entry for TX")?;
    let got = net.wire.recv(2000).ok_or("the frame did not arrive")?;
    ensure!(got == sent, "the frame that was sent arrived changed");
    Ok(())
}
