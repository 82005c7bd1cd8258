// SPDX-License-Identifier: GPL-2.0

//! A device with both rings running on a tap, the start of most cases.

use crate::{
    guest::{Memory, Piece, Ring, DESC_WRITE, GPA, SIZE},
    iommu::Mapper,
    net::{Tap, Wire},
    vhost::{
        EventFd, Result, Vhost, EFAULT, F_ACCESS_PLATFORM, F_EVENT_IDX, F_IN_ORDER, F_LOG_ALL,
        F_MRG_RXBUF, F_NET_HDR, F_VERSION_1, RX, TX,
    },
};
use std::{
    fs,
    os::fd::{AsRawFd, RawFd},
    path::Path,
    sync::atomic::{AtomicBool, AtomicU8, Ordering},
    time::{Duration, Instant},
};

/// The guest addresses of the rings and of the buffers.
pub const RING_AT: [u64; 2] = [GPA, GPA + 0x10_0000];
pub const BUFFERS: u64 = GPA + 0x20_0000;

/// The options of a run.
#[derive(Clone, Copy)]
pub struct Options {
    pub features: u64,
    pub size: u16,
}

impl Options {
    pub fn new(features: u64) -> Self {
        Self {
            features,
            size: 256,
        }
    }

    /// New rings at their places.
    fn rings<'m>(&self, mem: &'m Memory) -> [Ring<'m>; 2] {
        let event_idx = self.features & F_EVENT_IDX != 0;
        RING_AT.map(|at| {
            let ring = Ring::new(mem, at, self.size, event_idx);
            if self.features & F_IN_ORDER != 0 {
                ring.in_order()
            } else {
                ring
            }
        })
    }

    /// The length of the header before each packet in the guest's buffers.
    pub fn hdr(&self) -> usize {
        if self.features & (F_MRG_RXBUF | F_VERSION_1) != 0 {
            12
        } else {
            10
        }
    }

    /// The part of it that the tap handles.
    pub fn tap_hdr(&self) -> usize {
        if self.features & F_NET_HDR != 0 {
            0
        } else {
            self.hdr()
        }
    }
}

/// The eventfds of a queue.
pub struct Events {
    pub kick: EventFd,
    pub call: EventFd,
    pub err: EventFd,
}

impl Events {
    fn new() -> Self {
        Self {
            kick: EventFd::new(),
            call: EventFd::new(),
            err: EventFd::new(),
        }
    }
}

/// How the devices of all cases reach guest memory.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Way {
    /// Through the memory table.
    Table,
    /// Through an IOTLB, each page of which is mapped when the device asks for it, and removed
    /// again.
    Iotlb,
    /// Through the memory table, and all writes are logged.
    Logged,
}

static WAY: AtomicU8 = AtomicU8::new(Way::Table as u8);

impl Way {
    /// Sets the way of this process.
    pub fn set(self) {
        WAY.store(self as u8, Ordering::Relaxed);
    }

    pub fn is_set(self) -> bool {
        WAY.load(Ordering::Relaxed) == self as u8
    }

    /// The features that it needs.
    pub fn features() -> u64 {
        if Self::Iotlb.is_set() {
            F_ACCESS_PLATFORM
        } else if Self::Logged.is_set() {
            F_LOG_ALL
        } else {
            0
        }
    }
}

/// The length of a log that contains all of guest memory.
pub const LOG_LEN: usize = ((GPA as usize + SIZE) >> 15) + 1;

/// A running device. Fields are dropped in order: the device before the memory.
pub struct Net<'m> {
    /// Answers misses, with [`Way::Iotlb`].
    pub mapper: Option<Mapper>,
    /// The log, with [`Way::Logged`].
    pub log: Vec<u8>,
    pub dev: Vhost,
    pub options: Options,
    pub rings: [Ring<'m>; 2],
    pub events: [Events; 2],
    pub tap: Tap,
    pub wire: Wire,
}

impl<'m> Net<'m> {
    /// Opens the node, sets the owner, configures the rings, and attaches the backends.
    pub fn start(path: &str, mem: &'m Memory, options: Options) -> Self {
        let dev = Vhost::open(path);
        Self::start_with(dev, mem, options, false)
    }

    pub fn start_with(dev: Vhost, mem: &'m Memory, options: Options, wire_hdr: bool) -> Self {
        let net = Self::prepare(dev, mem, options, wire_hdr);
        net.attach();
        net
    }

    /// Sets the owner and configures the rings.
    pub fn prepare(dev: Vhost, mem: &'m Memory, options: Options, wire_hdr: bool) -> Self {
        let tap = Tap::new(options.tap_hdr());
        let wire = Wire::new(&tap, wire_hdr);
        let rings = options.rings(mem);
        let options = Options {
            features: options.features | Way::features(),
            ..options
        };
        let mut net = Self {
            mapper: None,
            log: vec![0; if Way::Logged.is_set() { LOG_LEN } else { 0 }],
            dev,
            options,
            rings,
            events: [Events::new(), Events::new()],
            tap,
            wire,
        };
        net.dev.set_owner().expect("SET_OWNER");
        net.configure();
        if Way::Iotlb.is_set() {
            let dev = net.dev.try_clone().expect("dup");
            net.mapper = Some(Mapper::start(dev, mem.regions()));
        }
        net
    }

    /// Everything between SET_OWNER and the backend.
    pub fn configure(&mut self) {
        let dev = &self.dev;
        dev.set_features(self.options.features).expect("features");
        // Memory of more regions is only for devices with an IOTLB, which do not use the table.
        let mut regions = self.rings[0].mem.regions();
        regions.truncate(64);
        dev.set_mem_table(&regions, 0).expect("memory table");
        if Way::Logged.is_set() {
            dev.set_log_base(self.log.as_ptr() as u64).expect("log");
        }
        for (index, (ring, events)) in (0..).zip(self.rings.iter().zip(&self.events)) {
            dev.set_num(index, u32::from(ring.size)).expect("num");
            dev.set_base(index, 0).expect("base");
            dev.set_addr(ring.addr(index)).expect("addr");
            dev.set_call(index, events.call.as_raw_fd()).expect("call");
            dev.set_err(index, events.err.as_raw_fd()).expect("err");
            dev.set_kick(index, events.kick.as_raw_fd()).expect("kick");
        }
    }

    pub fn attach(&self) {
        for index in [RX, TX] {
            self.set_backend(index, self.tap.as_raw_fd())
                .expect("backend");
        }
    }

    /// Attaches another backend, or none.
    pub fn set_backend(&self, index: u32, fd: RawFd) -> Result<()> {
        for _ in 0..100 {
            if fd >= 0 {
                self.map_used(index);
            }
            match self.dev.set_backend(index, fd) {
                // The mapping was removed meanwhile.
                Err(EFAULT) if Way::Iotlb.is_set() => {}
                result => return result,
            }
        }
        Err(EFAULT)
    }

    /// Maps the used ring, which must be mapped when a backend is attached.
    pub fn map_used(&self, index: u32) {
        if Way::Iotlb.is_set() {
            let ring = &self.rings[index as usize];
            let (regions, len) = (ring.mem.regions(), 8 * u64::from(ring.size) + 6);
            self.dev.map(&regions, ring.used(), len).expect("used ring");
        }
    }

    /// New rings on the same device, after a fault.
    pub fn restart(&mut self) {
        for index in [RX, TX] {
            self.dev.set_backend(index, -1).expect("detach");
        }
        let mem = self.rings[0].mem;
        self.rings = self.options.rings(mem);
        self.configure();
        self.attach();
    }

    pub fn kick(&self, queue: u32) {
        self.events[queue as usize].kick.signal(1);
    }

    pub fn ring(&mut self, queue: u32) -> &mut Ring<'m> {
        &mut self.rings[queue as usize]
    }

    /// A counter of the device, by its name in fdinfo. The C module has none.
    pub fn counter(&self, name: &str) -> std::result::Result<u64, String> {
        let path = format!("/proc/self/fdinfo/{}", self.dev.as_raw_fd());
        let text = fs::read_to_string(path).map_err(|e| e.to_string())?;
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|rest| rest.strip_prefix(":\t")?.parse().ok())
            .ok_or_else(|| format!("no {name} in {text:?}"))
    }

    /// Publishes, and kicks if the device requires it.
    pub fn submit(&mut self, queue: u32, old: u16) {
        self.rings[queue as usize].publish();
        if self.rings[queue as usize].needs_kick(old) {
            self.kick(queue);
        }
    }

    /// Sends a frame in one buffer at `at`.
    pub fn tx(&mut self, at: u64, frame: &[u8]) {
        let hdr = self.options.hdr();
        let mut data = vec![0; hdr];
        data.extend(frame);
        let ring = self.ring(TX);
        ring.mem.write(at, &data);
        let old = ring.avail_idx();
        ring.add(&[(at, data.len() as u32, 0)]);
        self.submit(TX, old);
    }

    /// Offers a buffer outside of guest memory, which is a fault.
    pub fn mistake(&mut self, queue: u32) {
        let old = self.ring(queue).avail_idx();
        self.ring(queue).add(&[(8, 100, 0)]);
        self.submit(queue, old);
    }

    /// Offers receive buffers.
    pub fn rx_post(&mut self, pieces: &[&[Piece]]) {
        let old = self.ring(RX).avail_idx();
        for buffer in pieces {
            let writable: Vec<Piece> = buffer.iter().map(|p| (p.0, p.1, DESC_WRITE)).collect();
            self.ring(RX).add(&writable);
        }
        self.submit(RX, old);
    }

    /// Checks that the device works: sends a frame and waits for its arrival.
    pub fn check_tx(&mut self, seed: u32) -> std::result::Result<(), String> {
        let sent = crate::net::frame(seed, 200);
        self.tx(BUFFERS + 0x8_0000, &sent);
        let used = self.ring(TX).wait_used().ok_or("no used entry for TX")?;
        crate::ensure_eq!(used.1, 0, "used length of a sent buffer");
        let got = self.wire.recv(10_000).ok_or("the frame did not arrive")?;
        crate::ensure!(got == sent, "the frame arrived changed");
        Ok(())
    }

    /// Checks that the device works: receives a frame of `len` bytes in one buffer.
    pub fn check_rx(&mut self, seed: u32, len: usize) -> std::result::Result<(), String> {
        let hdr = self.options.hdr();
        let at = BUFFERS + 0xa_0000;
        self.rx_post(&[&[(at, 4096, 0)]]);
        let sent = crate::net::frame(seed, len);
        self.wire.send(&sent).map_err(|e| format!("send: {e:?}"))?;
        let (_, used) = self.ring(RX).wait_used().ok_or("no used entry for RX")?;
        crate::ensure_eq!(used as usize, hdr + len, "used length");
        let got = self.ring(RX).mem.read(at + hdr as u64, len);
        crate::ensure!(got == sent, "the frame arrived changed");
        Ok(())
    }
}

/// The run time of this process's vhost workers, as accounted by the scheduler. There must be a
/// worker: otherwise a missing worker would look like one that sleeps.
pub fn worker_time() -> Duration {
    let mut times = Vec::new();
    for entry in fs::read_dir("/proc/self/task").expect("tasks").flatten() {
        // Any thread may have exited meanwhile.
        let comm = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
        if is_worker(&comm) {
            let stat = fs::read_to_string(entry.path().join("schedstat")).expect("schedstat");
            times.push(first_number(&stat));
        }
    }
    assert!(!times.is_empty(), "there is no worker");
    Duration::from_nanos(times.iter().sum())
}

/// Whether a thread of this name is a vhost worker. A worker is named after the thread that
/// created it, and after the queue that it serves alone. A name may be cut.
pub fn is_worker(comm: &str) -> bool {
    let Some(name) = comm.trim_end().strip_prefix("vhost-") else {
        return false;
    };
    let (id, queue) = name.split_once('-').unwrap_or((name, ""));
    id.bytes().all(|b| b.is_ascii_digit()) && ["", "rx", "tx", "r", "t"].contains(&queue)
}

/// The number of workers among the tasks of a process, which are in this directory.
pub fn workers_among(tasks: impl AsRef<Path>) -> usize {
    let comm = |task: fs::DirEntry| fs::read_to_string(task.path().join("comm"));
    // The process, or any thread, may have exited meanwhile.
    let tasks = fs::read_dir(tasks).into_iter().flatten().flatten();
    tasks
        .filter_map(|task| comm(task).ok())
        .filter(|comm| is_worker(comm))
        .count()
}

fn first_number(text: &str) -> u64 {
    let first = text.split_whitespace().next();
    first.and_then(|s| s.parse().ok()).expect("a number")
}

/// The time for which a worker is observed.
pub const WHILE: Duration = Duration::from_millis(400);

/// The part of it that a worker may use when it has nothing to do, or its queue has stopped.
pub const IDLE: Duration = Duration::from_millis(100);

/// The worker's run time during this time.
pub fn worker_time_in_a_while() -> Duration {
    let before = worker_time();
    std::thread::sleep(WHILE);
    worker_time() - before
}

/// Set on a slow kernel, where endurance tests are shortened.
pub static SLOW: AtomicBool = AtomicBool::new(false);

/// Rounds that wait for other threads: `count`, or on a slow kernel as many as fit into four
/// seconds.
pub fn endurance(count: u32) -> impl Iterator<Item = u32> {
    let end = SLOW
        .load(Ordering::Relaxed)
        .then(|| Instant::now() + Duration::from_secs(4));
    (0..count).take_while(move |_| end.is_none_or(|end| Instant::now() < end))
}

/// The time for which traffic is observed that goes on by itself: longer on a slow kernel, where
/// little moves.
pub fn observed() -> Duration {
    Duration::from_secs(if SLOW.load(Ordering::Relaxed) { 6 } else { 2 })
}

/// The number of rounds, reduced on a slow kernel.
pub fn rounds(count: u32) -> u32 {
    if SLOW.load(Ordering::Relaxed) {
        count / 64
    } else {
        count
    }
}
