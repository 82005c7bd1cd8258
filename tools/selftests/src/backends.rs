// SPDX-License-Identifier: GPL-2.0

//! All kinds of backends: frames in both directions.

use crate::{
    ensure, ensure_eq,
    guest::Memory,
    link::Upper,
    net::{frame, Tap, Wire, ETH_ALL},
    setup::{Net, Options, BUFFERS},
    tap::{Outcome, Suite},
    vhost::*,
};
use std::os::fd::AsRawFd;

pub fn run(suite: &mut Suite, path: &str) {
    suite.case("a packet socket as the backend", || {
        packet_socket(path, F_NET_HDR)
    });
    suite.case("a packet socket with its own header as the backend", || {
        packet_socket(path, 0)
    });
    suite.case_c_fails(
        "a tun of layer 3 as the backend",
        "what is sent is taken for an Ethernet frame",
        || layer3(path),
    );
    suite.case("a macvtap as the backend", || upper(path, Upper::macvtap));
    suite.case("an ipvtap as the backend", || upper(path, Upper::ipvtap));
}

/// The header is that of the device, or of the socket.
fn packet_socket(path: &str, header: u64) -> Outcome {
    let mem = Memory::new();
    // That of the socket has 10 bytes.
    let version = if header == 0 { 0 } else { F_VERSION_1 };
    let mut net = Net::start(path, &mem, Options::new(version | header));
    let hdr = net.options.hdr();
    let tap = Tap::new(0);
    let wire = Wire::new(&tap, header == 0);
    for queue in [RX, TX] {
        net.set_backend(queue, wire.as_raw_fd())
            .map_err(|e| format!("{e:?}"))?;
    }
    for len in [60, 1000, 1514] {
        let sent = frame(len as u32, len);
        net.tx(BUFFERS, &sent);
        net.ring(TX).wait_used().ok_or("no used entry for TX")?;
        let mut got = vec![0u8; 2000];
        // SAFETY: Room for that much.
        let n = unsafe { libc::read(tap.as_raw_fd(), got.as_mut_ptr().cast(), got.len()) };
        ensure_eq!(n, len as isize, "length of what the tap got");
        ensure!(got[..len] == sent, "a sent frame arrived changed");
        net.rx_post(&[&[(BUFFERS + 0x1000, 2048, 0)]]);
        // SAFETY: The frame is readable.
        let n = unsafe { libc::write(tap.as_raw_fd(), sent.as_ptr().cast(), len) };
        ensure_eq!(n, len as isize, "length of what the tap took");
        let (_, used) = net.ring(RX).wait_used().ok_or("no used entry for RX")?;
        ensure_eq!(used as usize, hdr + len, "used length");
        ensure!(
            mem.read(BUFFERS + 0x1000 + hdr as u64, len) == sent,
            "a received frame changed"
        );
    }
    for queue in [RX, TX] {
        net.set_backend(queue, -1).map_err(|e| format!("{e:?}"))?;
    }
    Ok(())
}

/// Packets without an Ethernet header, in both directions.
fn layer3(path: &str) -> Outcome {
    let mem = Memory::new();
    let mut net = Net::prepare(Vhost::open(path), &mem, Options::new(F_VERSION_1), false);
    net.tap = Tap::layer3(12);
    net.wire = Wire::new(&net.tap, false);
    net.wire.hear(&net.tap, ETH_ALL);
    net.attach();
    for len in [60, 200, 1000, 1480] {
        // An IPv4 packet of a protocol that has no handler.
        let mut packet = frame(len as u32, len);
        packet[..20].fill(0);
        packet[0] = 0x45;
        packet[2..4].copy_from_slice(&(len as u16).to_be_bytes());
        packet[8..10].copy_from_slice(&[64, 253]);
        packet[12..20].copy_from_slice(&[10, 99, 0, 1, 10, 99, 0, 2]);
        net.tx(BUFFERS, &packet);
        net.ring(TX).wait_used().ok_or("no used entry for TX")?;
        let got = net.wire.recv(2000).ok_or("what was sent did not arrive")?;
        ensure!(got == packet, "what was sent arrived changed");
        net.rx_post(&[&[(BUFFERS + 0x1000, 2048, 0)]]);
        net.wire.send(&packet).map_err(|e| format!("send: {e:?}"))?;
        let (_, used) = net.ring(RX).wait_used().ok_or("no used entry for RX")?;
        ensure_eq!(used as usize, 12 + len, "used length");
        ensure!(
            mem.read(BUFFERS + 0x1000 + 12, len) == packet,
            "what was received changed"
        );
    }
    Ok(())
}

/// A device on the tap above another interface. What is sent leaves through that interface, and a
/// broadcast that comes in there is received.
fn upper(path: &str, over: fn(&Tap, i32) -> std::result::Result<Upper, String>) -> Outcome {
    let mem = Memory::new();
    let lower = Tap::new(0);
    let upper = over(&lower, 12)?;
    let mut net = Net::prepare(Vhost::open(path), &mem, Options::new(F_VERSION_1), false);
    for queue in [RX, TX] {
        net.set_backend(queue, upper.as_raw_fd())
            .map_err(|e| format!("{e:?}"))?;
    }
    for len in [60, 1000, 1514] {
        let mut sent = frame(len as u32, len);
        sent[..6].fill(0xff);
        net.tx(BUFFERS, &sent);
        net.ring(TX).wait_used().ok_or("no used entry for TX")?;
        let got = std::iter::from_fn(|| lower.recv(5000)).find(|got| got.len() == len);
        ensure!(got.as_ref() == Some(&sent), "a sent frame of {len} bytes");
        net.rx_post(&[&[(BUFFERS + 0x1000, 2048, 0)]]);
        // SAFETY: The frame is readable.
        let n = unsafe { libc::write(lower.as_raw_fd(), sent.as_ptr().cast(), len) };
        ensure_eq!(n, len as isize, "length of what the tap took");
        let (_, used) = net.ring(RX).wait_used().ok_or("no used entry for RX")?;
        ensure_eq!(used as usize, 12 + len, "used length");
        let got = mem.read(BUFFERS + 0x1000 + 12, len);
        ensure!(got == sent, "a received frame of {len} bytes changed");
    }
    Ok(())
}
