// SPDX-License-Identifier: GPL-2.0

//! Sends frames into a tap as fast as it can, until it is killed.

use clap::Parser;
use vhost_selftests::net::{frame, Wire};

#[derive(Parser)]
struct Args {
    /// The interface of the tap.
    interface: String,
    /// The length of each frame.
    len: usize,
    /// The number of flows. A tap with several queues picks one for each flow.
    #[arg(default_value_t = 1)]
    flows: u16,
}

/// A frame of UDP on IPv4 whose source port depends on the flow. Nobody receives it.
fn flow(number: u16, len: usize) -> Vec<u8> {
    let mut frame = frame(1, len);
    frame[12..14].copy_from_slice(&0x0800u16.to_be_bytes());
    let ip_len = (len - 14) as u16;
    let mut ip = [
        0x45, 0, 0, 0, 0, 1, 0x40, 0, 64, 17, 0, 0, 10, 99, 0, 1, 10, 99, 0, 2,
    ];
    ip[2..4].copy_from_slice(&ip_len.to_be_bytes());
    frame[14..34].copy_from_slice(&ip);
    frame[34..36].copy_from_slice(&(1000 + number).to_be_bytes());
    frame[36..38].copy_from_slice(&2000u16.to_be_bytes());
    frame[38..40].copy_from_slice(&(ip_len - 20).to_be_bytes());
    frame[40..42].fill(0);
    frame
}

fn main() {
    let args = Args::parse();
    let wire = Wire::onto(&args.interface);
    let frames: Vec<_> = match args.flows {
        1 => vec![frame(1, args.len)],
        flows => (0..flows).map(|n| flow(n, args.len)).collect(),
    };
    // 64 frames of all flows together, as with one.
    let count = (64 / u32::from(args.flows)).max(1);
    loop {
        for frame in &frames {
            // The tap drops frames that it has no room for, as any wire does.
            let _ = wire.send_times(frame, count);
        }
    }
}
