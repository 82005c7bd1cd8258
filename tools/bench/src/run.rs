// SPDX-License-Identifier: GPL-2.0

//! One measurement.

use std::{fs, process::Command};
use vhost_bench::case::{Case, Layout, Work};
use vhost_selftests::{
    guest::{Memory, Piece, DESC_WRITE},
    net::{frame, segmented},
    setup::{is_worker, worker_time, Net, Options, BUFFERS},
    vhost::{Vhost, F_EVENT_IDX, F_INDIRECT, F_MRG_RXBUF, F_VERSION_1, RX, TX},
};

/// An Ethernet type without a listener.
const OTHER_TYPE: [u8; 2] = [0x88, 0xb6];
/// The length of the header before each frame in the guest's buffers.
const HDR: usize = 12;
/// The headers of a frame with segmentation offload, and the payload of each segment.
const HEADERS: usize = 54;
const MSS: u16 = 1448;
/// The lengths of buffers: for any other frame, and for frames that span several.
const BUFFER: u32 = 2048;
const MERGED: u32 = 4096;
/// The maximum number of receive buffers: the size of a ring.
const ROOM: u32 = 256;
/// The address of indirect tables, behind the buffers.
const TABLES: u64 = BUFFERS + 0x20_0000;

/// The worker's run time per packet, in nanoseconds.
pub fn measure(path: &str, case: &Case, packets: u32) -> f64 {
    let mem = Memory::new();
    let mut run = Run::start(path, &mem, case);
    let at_once = case.at_once();
    let rounds = packets.div_ceil(at_once);
    // Warm-up: allocations with the first packets, and ring positions that differ.
    for _ in 0..ROOM.div_ceil(at_once) {
        run.round();
    }
    let (before, slept) = (worker_time(), sleeps());
    for _ in 0..rounds {
        run.round();
    }
    let (spent, slept) = (worker_time() - before, sleeps() - slept);
    if case.wakes() {
        // Otherwise the measurement is not that of this row.
        let off = slept.abs_diff(u64::from(rounds));
        assert!(
            off <= u64::from(rounds / 20),
            "{slept} sleeps in {rounds} rounds"
        );
    }
    spent.as_nanos() as f64 / f64::from(rounds * at_once)
}

/// The number of times that the worker has gone to sleep.
fn sleeps() -> u64 {
    let tasks = fs::read_dir("/proc/self/task").expect("tasks").flatten();
    let status = tasks.filter_map(|entry| {
        let comm = fs::read_to_string(entry.path().join("comm")).ok()?;
        let status = fs::read_to_string(entry.path().join("status")).ok()?;
        is_worker(&comm).then_some(status)
    });
    let count = |status: String| -> u64 {
        let mut lines = status.lines();
        let line = lines.find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        line.and_then(|n| n.trim().parse().ok()).expect("switches")
    };
    status.map(count).sum()
}

/// A device that is ready for the rounds of a case.
struct Run<'m, 'c> {
    net: Net<'m>,
    case: &'c Case,
    /// The data for the packet socket: a frame, after its header if it uses segmentation offload.
    wire: Vec<u8>,
}

impl<'m, 'c> Run<'m, 'c> {
    fn start(path: &str, mem: &'m Memory, case: &'c Case) -> Self {
        let mut features = F_VERSION_1 | F_MRG_RXBUF | F_INDIRECT;
        if case.event_idx {
            features |= F_EVENT_IDX;
        }
        let mut options = Options::new(features);
        if let Work::Send { layout, at_once } = case.work {
            let size = (layout.descriptors() * at_once).next_power_of_two();
            options.size = options.size.max(size as u16);
        }
        let hdr_on_wire = case.segmented() && case.receives();
        let net = Net::start_with(Vhost::open(path), mem, options, hdr_on_wire);
        let mut run = Self {
            net,
            case,
            wire: Vec::new(),
        };
        if case.receives() {
            run.fill_wire();
        } else {
            drop_at_ingress(&run.net.tap.name);
            run.fill_memory();
        }
        run
    }

    fn fill_wire(&mut self) {
        self.wire = if self.case.segmented() {
            let (hdr, frame) = segmented(1, self.case.len - HEADERS, MSS);
            [&hdr[..], &frame].concat()
        } else {
            frame(1, self.case.len)
        };
    }

    fn fill_memory(&mut self) {
        let mut data = vec![0; HDR];
        if self.case.segmented() {
            let (hdr, frame) = segmented(1, self.case.len - HEADERS, MSS);
            data[..hdr.len()].copy_from_slice(&hdr);
            data.extend(frame);
            self.net.ring(TX).mem.write(BUFFERS, &data);
            return;
        }
        data.extend(frame(1, self.case.len));
        data[HDR + 12..HDR + 14].copy_from_slice(&OTHER_TYPE);
        for i in 0..self.case.at_once() {
            self.net.ring(TX).mem.write(self.buffer(i), &data);
        }
    }

    /// The length of each receive buffer.
    fn room(&self) -> u32 {
        if self.case.segmented() {
            MERGED
        } else {
            BUFFER
        }
    }

    /// The number of receive buffers for each packet.
    fn buffers(&self) -> u32 {
        ((HDR + self.case.len) as u32).div_ceil(self.room())
    }

    /// The address of buffer `i`. A large packet to send is stored only once.
    fn buffer(&self, i: u32) -> u64 {
        if self.case.segmented() && !self.case.receives() {
            BUFFERS
        } else {
            BUFFERS + u64::from(i * self.room())
        }
    }

    fn round(&mut self) {
        match self.case.work {
            Work::Send { layout, at_once } => self.send(layout, at_once),
            Work::Waiting { at_once } => {
                self.arrive(at_once);
                self.offer(at_once * self.buffers());
                self.receive(at_once);
            }
            Work::Waking { at_once } => {
                if self.net.ring(RX).free() == ROOM as u16 {
                    self.offer(ROOM);
                }
                self.arrive(at_once);
                self.receive(at_once);
            }
        }
    }

    /// Sends frames and takes back all buffers.
    fn send(&mut self, layout: Layout, at_once: u32) {
        let old = self.net.ring(TX).avail_idx();
        for i in 0..at_once {
            self.add(layout, i);
        }
        self.net.submit(TX, old);
        for _ in 0..at_once {
            self.used(TX);
        }
    }

    fn add(&mut self, layout: Layout, i: u32) {
        let (at, len) = (self.buffer(i), self.case.len as u32);
        let (hdr, frame) = (HDR as u32, at + HDR as u64);
        let ring = self.net.ring(TX);
        match layout {
            Layout::One => ring.add(&[(at, hdr + len, 0)]),
            Layout::Two => ring.add(&[(at, hdr, 0), (frame, len, 0)]),
            Layout::Three => {
                let half = len / 2;
                let rest = (frame + u64::from(half), len - half, 0);
                ring.add(&[(at, hdr, 0), (frame, half, 0), rest])
            }
            Layout::Indirect => {
                let table = TABLES + u64::from(i) * 32;
                ring.add_indirect(table, &[(at, hdr, 0), (frame, len, 0)])
            }
        };
    }

    /// Sends that many frames to the tap.
    fn arrive(&self, count: u32) {
        let sent = self.net.wire.send_times(&self.wire, count);
        sent.expect("the tap takes them");
    }

    /// Offers that many receive buffers.
    fn offer(&mut self, count: u32) {
        let old = self.net.ring(RX).avail_idx();
        for i in 0..count {
            let room: Piece = (self.buffer(i), self.room(), DESC_WRITE);
            self.net.ring(RX).add(&[room]);
        }
        self.net.submit(RX, old);
    }

    /// Receives that many packets, in all of their buffers.
    fn receive(&mut self, count: u32) {
        for _ in 0..count {
            let len: u32 = (0..self.buffers()).map(|_| self.used(RX)).sum();
            assert_eq!(len as usize, HDR + self.case.len, "length of what arrived");
        }
    }

    /// The length in the next used entry. While it waits, it yields the processor to the worker
    /// and does not sleep: waking the worker from an idle processor costs more instructions.
    fn used(&mut self, queue: u32) -> u32 {
        loop {
            if let Some((_, len)) = self.net.ring(queue).pop_used() {
                return len;
            }
            std::thread::yield_now();
        }
    }
}

/// Frames from the guest are dropped at the tap's ingress, so that the stack does not count.
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
