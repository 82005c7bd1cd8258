// SPDX-License-Identifier: GPL-2.0

//! Where a device is put: a guest's memory, eventfds and a tap, made before anything is
//! measured.

use std::os::fd::AsRawFd;
use vhost_selftests::{
    guest::{Memory, Ring, DESC_WRITE},
    net::{frame, segmented, Tap, Wire},
    setup::{BUFFERS, RING_AT},
    vhost::{EventFd, Vhost, F_EVENT_IDX, F_INDIRECT, F_MRG_RXBUF, F_VERSION_1, RX, TX},
};

const FEATURES: u64 = F_VERSION_1 | F_MRG_RXBUF | F_INDIRECT | F_EVENT_IDX;
const SIZE: u16 = 256;
/// The length of the header that the guest puts before each frame.
const HDR: usize = 12;
/// An Ethernet type that nobody listens to.
const OTHER_TYPE: [u8; 2] = [0x88, 0xb6];
/// What is received lies in one place, one frame over the other, and each kind that is sent
/// in one of its own.
const RECEIVED: u64 = BUFFERS;
const SMALL: u64 = BUFFERS + 0x1_0000;
const FULL: u64 = BUFFERS + 0x2_0000;
const LARGE: u64 = BUFFERS + 0x4_0000;
const LARGE_LEN: usize = 65_226;
const HEADERS: usize = 54;
const MSS: u16 = 1448;

pub struct Place {
    mem: Memory,
    tap: Tap,
    /// What the guest sends of the type that it hears waits here until it is read.
    wire: Wire,
    kick: [EventFd; 2],
    call: [EventFd; 2],
    /// For the guest, of a type that nobody hears.
    frames: [Vec<u8>; 2],
}

impl Place {
    pub fn new() -> Self {
        let tap = Tap::new(HDR);
        let place = Self {
            mem: Memory::new(),
            wire: Wire::new(&tap, false),
            tap,
            kick: [EventFd::new(), EventFd::new()],
            call: [EventFd::new(), EventFd::new()],
            frames: [60, 1514].map(unheard),
        };
        let mut small = vec![0; HDR];
        small.extend(unheard(60));
        place.mem.write(SMALL, &small);
        let mut full = vec![0; HDR];
        full.extend(frame(1, 1514));
        place.mem.write(FULL, &full);
        let (hdr, segments) = segmented(1, LARGE_LEN - HEADERS, MSS);
        let mut large = vec![0; HDR];
        large[..hdr.len()].copy_from_slice(&hdr);
        large.extend(segments);
        place.mem.write(LARGE, &large);
        place.mem.write(RECEIVED, &[0; 2048]);
        place.rings();
        place
    }

    /// Fresh ones.
    pub fn rings(&self) -> [Ring<'_>; 2] {
        RING_AT.map(|at| Ring::new(&self.mem, at, SIZE, true))
    }

    /// Between SET_OWNER and the backends, as QEMU does it: features, memory, rings, eventfds.
    pub fn tell(&self, dev: &Vhost, rings: &[Ring<'_>; 2]) {
        dev.set_features(FEATURES).expect("features");
        dev.set_mem_table(&self.mem.regions(), 0)
            .expect("memory table");
        for (index, ring) in (0..).zip(rings) {
            let (kick, call) = (&self.kick[index as usize], &self.call[index as usize]);
            dev.set_num(index, SIZE.into()).expect("num");
            dev.set_base(index, 0).expect("base");
            dev.set_addr(ring.addr(index)).expect("addr");
            dev.set_kick(index, kick.as_raw_fd()).expect("kick");
            dev.set_call(index, call.as_raw_fd()).expect("call");
        }
    }

    /// Sets the backends, after which there may be packets.
    pub fn attach(&self, dev: &Vhost) {
        for index in [RX, TX] {
            dev.set_backend(index, self.tap.as_raw_fd())
                .expect("backend");
        }
    }
}

/// A frame of a type that nobody listens to.
fn unheard(len: usize) -> Vec<u8> {
    let mut frame = frame(1, len);
    frame[12..14].copy_from_slice(&OTHER_TYPE);
    frame
}

/// A device in its place.
pub struct Running<'p> {
    place: &'p Place,
    rings: [Ring<'p>; 2],
}

impl<'p> Running<'p> {
    pub fn start(place: &'p Place, dev: &Vhost) -> Self {
        let rings = place.rings();
        place.tell(dev, &rings);
        place.attach(dev);
        Self { place, rings }
    }

    /// Frames of 60 bytes, both ways.
    pub fn move_small(&mut self) {
        for _ in 0..4 {
            self.send(SMALL, HDR + 60, SIZE);
            self.receive(0, 256);
        }
    }

    /// Packets for segmentation out, and full frames in.
    pub fn move_large(&mut self) {
        for _ in 0..2 {
            self.send(LARGE, HDR + LARGE_LEN, 64);
            self.receive(1, 256);
        }
    }

    /// Full frames out, which nobody reads yet.
    pub fn leave_unread(&mut self) {
        self.send(FULL, HDR + 1514, SIZE);
    }

    /// Reads them.
    pub fn read(&self) {
        for _ in 0..SIZE {
            let frame = self.place.wire.recv(10_000);
            assert!(frame.is_some_and(|f| f.len() == 1514), "a frame is missing");
        }
        assert!(self.place.wire.recv(0).is_none(), "a frame too many");
    }

    fn send(&mut self, at: u64, len: usize, count: u16) {
        let old = self.rings[1].avail_idx();
        for _ in 0..count {
            self.rings[1].add(&[(at, len as u32, 0)]);
        }
        self.submit(TX, old);
        for _ in 0..count {
            self.used(TX);
        }
    }

    fn receive(&mut self, which: usize, count: u32) {
        let frame = &self.place.frames[which];
        let sent = self.place.wire.send_times(frame, count);
        sent.expect("the tap takes them");
        let old = self.rings[0].avail_idx();
        for _ in 0..count {
            self.rings[0].add(&[(RECEIVED, 2048, DESC_WRITE)]);
        }
        self.submit(RX, old);
        for _ in 0..count {
            assert_eq!(self.used(RX), HDR + frame.len(), "length of what arrived");
        }
    }

    fn submit(&mut self, queue: u32, old: u16) {
        let ring = &self.rings[queue as usize];
        ring.publish();
        if ring.needs_kick(old) {
            self.place.kick[queue as usize].signal(1);
        }
    }

    /// The length in the next used entry.
    fn used(&mut self, queue: u32) -> usize {
        let entry = self.rings[queue as usize].wait_used();
        entry.expect("the device goes on").1 as usize
    }
}
