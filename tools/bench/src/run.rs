// SPDX-License-Identifier: GPL-2.0

//! One measurement.

use std::process::Command;
use vhost_selftests::{
    guest::{Memory, Piece, DESC_WRITE},
    net::frame,
    setup::{worker_time, Net, Options, BUFFERS},
    vhost::{F_MRG_RXBUF, F_VERSION_1, RX, TX},
};

/// Buffers for each kick.
const BURST: u32 = 256;
/// An Ethernet type that nobody listens to.
const OTHER_TYPE: [u8; 2] = [0x88, 0xb6];

/// Which way, seen from the guest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    Tx,
    Rx,
}

/// What is measured.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Case {
    pub direction: Direction,
    /// The length of each frame.
    pub len: usize,
}

impl Case {
    pub const fn new(direction: Direction, len: usize) -> Self {
        Self { direction, len }
    }

    pub fn name(&self) -> String {
        let way = match self.direction {
            Direction::Tx => "TX",
            Direction::Rx => "RX",
        };
        format!("{way} {} bytes", self.len)
    }
}

/// The worker's run time for each packet, in nanoseconds.
pub fn measure(path: &str, case: Case, packets: u32) -> f64 {
    let mem = Memory::new();
    let mut net = Net::start(path, &mem, Options::new(F_VERSION_1 | F_MRG_RXBUF));
    let bursts = packets / BURST;
    match case.direction {
        Direction::Tx => {
            drop_at_ingress(&net.tap.name);
            let mut data = vec![0; 12];
            data.extend(frame(1, case.len));
            data[24..26].copy_from_slice(&OTHER_TYPE);
            for i in 0..u64::from(BURST) {
                mem.write(BUFFERS + i * 2048, &data);
            }
            send(&mut net, data.len() as u32);
            let before = worker_time();
            for _ in 0..bursts {
                send(&mut net, data.len() as u32);
            }
            per_packet(before, bursts)
        }
        Direction::Rx => {
            let sent = frame(1, case.len);
            receive(&mut net, &sent);
            let before = worker_time();
            for _ in 0..bursts {
                receive(&mut net, &sent);
            }
            per_packet(before, bursts)
        }
    }
}

fn per_packet(before: std::time::Duration, bursts: u32) -> f64 {
    (worker_time() - before).as_nanos() as f64 / f64::from(bursts * BURST)
}

/// A burst out, and all of its buffers back.
fn send(net: &mut Net<'_>, len: u32) {
    for i in 0..u64::from(BURST) {
        net.ring(TX).add(&[(BUFFERS + i * 2048, len, 0)]);
    }
    net.ring(TX).publish();
    net.kick(TX);
    for _ in 0..BURST {
        net.ring(TX).wait_used().expect("a used entry");
    }
}

/// A burst into the tap, and only then room for it.
fn receive(net: &mut Net<'_>, sent: &[u8]) {
    for _ in 0..BURST {
        net.wire.send(sent).expect("the tap takes it");
    }
    for i in 0..u64::from(BURST) {
        let room: Piece = (BUFFERS + i * 2048, 2048, DESC_WRITE);
        net.ring(RX).add(&[room]);
    }
    net.ring(RX).publish();
    net.kick(RX);
    for _ in 0..BURST {
        let (_, len) = net.ring(RX).wait_used().expect("a used entry");
        assert_eq!(len as usize, 12 + sent.len(), "length of what arrived");
    }
}

/// What the guest sends costs nothing behind the tap: it is dropped where it enters.
fn drop_at_ingress(tap: &str) {
    for words in [
        "qdisc add dev TAP clsact",
        "filter add dev TAP ingress matchall action drop",
    ] {
        let status = Command::new("tc")
            .args(words.split(' ').map(|w| if w == "TAP" { tap } else { w }))
            .status()
            .expect("tc");
        assert!(status.success(), "tc {words}");
    }
}
