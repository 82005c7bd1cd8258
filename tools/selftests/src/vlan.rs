// SPDX-License-Identifier: GPL-2.0

//! Tagged frames from a packet socket to the guest: the kernel keeps the tag beside the frame.

use crate::{
    ensure, ensure_eq,
    guest::{Memory, Piece, DESC_WRITE},
    net::{segmented, Tap, Wire, ETH_ALL, ETH_TYPE},
    setup::{Net, Options, BUFFERS},
    tap::{Outcome, Suite},
    vhost::*,
};
use std::{os::fd::AsRawFd, time::Duration};

const TAG: [u8; 4] = [0x81, 0x00, 0x6a, 0xbc];

pub fn run(suite: &mut Suite, path: &str) {
    let lost = "such a frame is lost";
    for (name, cuts) in [
        ("one segment", &[][..]),
        ("segments that end in the tag", &[24, 25, 27]),
        ("segments that end beside the tag", &[24, 28]),
        ("a buffer for each byte", &[1; 64][..]),
    ] {
        suite.case_c_fails(
            &format!("a tagged frame of a packet socket, {name}"),
            lost,
            || tagged(path, cuts),
        );
    }
    suite.case_c_fails("a tagged frame with a checksum to compute", lost, || {
        checksum(path)
    });
}

fn inject(tap: &Tap, bytes: &[u8]) -> Outcome {
    // SAFETY: The bytes are readable.
    let n = unsafe { libc::write(tap.as_raw_fd(), bytes.as_ptr().cast(), bytes.len()) };
    ensure_eq!(n, bytes.len() as isize, "length of what the tap took");
    Ok(())
}

/// The frame with a tag in its place.
fn with_tag(frame: &[u8]) -> Vec<u8> {
    [&frame[..12], &TAG, &frame[12..]].concat()
}

/// A device that receives from a packet socket on a tap.
fn start<'m>(
    path: &str,
    mem: &'m Memory,
    features: u64,
    hdr: bool,
) -> std::result::Result<(Net<'m>, Tap, Wire), String> {
    let options = Options::new(features);
    let net = Net::prepare(Vhost::open(path), mem, options, false);
    let tap = Tap::new(if hdr { 10 } else { 0 });
    let wire = Wire::new(&tap, hdr);
    wire.hear(&tap, ETH_ALL);
    net.set_backend(RX, wire.as_raw_fd())
        .map_err(|e| format!("{e:?}"))?;
    Ok((net, tap, wire))
}

/// Receives into buffers that end at these offsets, or, when the first offset is 1, into as many
/// buffers of one byte as there are offsets. A large buffer follows.
fn received(net: &mut Net<'_>, cuts: &[u32], len: usize) -> std::result::Result<Vec<u8>, String> {
    let bytes = cuts.first() == Some(&1);
    let mut pieces: Vec<Piece> = Vec::new();
    let mut at = 0;
    let ends = cuts.iter().enumerate();
    let ends = ends.map(|(i, &cut)| if bytes { i as u32 + 1 } else { cut });
    for end in ends.chain([4096]) {
        // The buffers are not adjacent.
        let place = BUFFERS + 0x1000 * pieces.len() as u64;
        pieces.push((place, end - at, DESC_WRITE));
        at = end;
    }
    let old = net.ring(RX).avail_idx();
    let buffers: Vec<&[Piece]> = if bytes {
        pieces.chunks(1).collect()
    } else {
        vec![&pieces]
    };
    for buffer in &buffers {
        net.ring(RX).add(buffer);
    }
    net.submit(RX, old);
    let mut got = 0;
    while got < len {
        let entry = net.ring(RX).wait_used_for(Duration::from_secs(2));
        let (_, used) = entry.ok_or("no used entry for RX")?;
        got += used as usize;
    }
    ensure_eq!(got, len, "used length");
    let all = pieces.iter();
    let mut all = all.flat_map(|&(at, len, _)| net.rings[0].mem.read(at, len as usize));
    Ok(all.by_ref().take(len).collect())
}

fn tagged(path: &str, cuts: &[u32]) -> Outcome {
    let mem = Memory::new();
    let features = F_VERSION_1 | F_NET_HDR | F_MRG_RXBUF;
    let (mut net, tap, _wire) = start(path, &mem, features, false)?;
    // Frames without a tag before and behind it, which must not get one.
    for tag in [false, true, false] {
        let mut sent = crate::net::frame(u32::from(tag), 300);
        ensure_eq!(sent[12..14], ETH_TYPE.to_be_bytes(), "type of the frame");
        if tag {
            sent = with_tag(&sent);
        }
        inject(&tap, &sent)?;
        let got = received(&mut net, cuts, 12 + sent.len())?;
        ensure!(got[12..] == sent, "a frame changed, tagged: {tag}");
    }
    Ok(())
}

/// The checksum offset counts from the beginning of the frame, with the tag.
fn checksum(path: &str) -> Outcome {
    let mem = Memory::new();
    let (mut net, tap, _wire) = start(path, &mem, 0, true)?;
    let (mut hdr, frame) = segmented(7, 400, 0);
    hdr[1] = 0;
    let start = 14 + 20 + TAG.len() as u16;
    hdr[6..8].copy_from_slice(&start.to_le_bytes());
    hdr[2..6].fill(0);
    let sent = with_tag(&frame);
    inject(&tap, &[&hdr[..], &sent].concat())?;
    let got = received(&mut net, &[3, 7], 10 + sent.len())?;
    ensure_eq!(got[..10], hdr, "the header");
    ensure!(got[10..] == sent, "the frame changed");
    Ok(())
}
