// SPDX-License-Identifier: GPL-2.0

//! The operations of an input: requests to two devices on shared taps and eventfds, by one or two
//! processes, and the guest's writes to its memory in the meantime.

use libfuzzer_sys::arbitrary::{Result, Unstructured};
use std::{
    os::fd::{AsRawFd, RawFd},
    time::Duration,
};
use vhost_selftests::{
    child::Child,
    guest::Memory,
    iommu::{Msg, PAGE},
    net::{frame, Tap, Wire},
    setup::{BUFFERS, LOG_LEN, RING_AT},
    vhost::*,
};

const DEVICES: usize = 2;
const STEPS: usize = 120;
/// The size of rings; each part has a page of its own.
const SIZE: u64 = 64;
const AVAIL: u64 = 0x1000;
const USED: u64 = 0x2000;

/// Requests by number, with invalid ones.
const REQUESTS: [u64; 28] = [
    GET_FEATURES,
    SET_FEATURES,
    GET_FEATURES_ARRAY,
    SET_FEATURES_ARRAY,
    SET_OWNER,
    RESET_OWNER,
    SET_MEM_TABLE,
    SET_VRING_NUM,
    SET_VRING_ADDR,
    SET_VRING_BASE,
    GET_VRING_BASE,
    SET_VRING_KICK,
    SET_VRING_CALL,
    SET_VRING_ERR,
    SET_VRING_BUSYLOOP_TIMEOUT,
    GET_VRING_BUSYLOOP_TIMEOUT,
    SET_BACKEND_FEATURES,
    GET_BACKEND_FEATURES,
    NET_SET_BACKEND,
    SET_FORK_FROM_OWNER,
    GET_FORK_FROM_OWNER,
    SET_LOG_BASE,
    SET_LOG_FD,
    NEW_WORKER,
    FREE_WORKER,
    ATTACH_VRING_WORKER,
    GET_VRING_WORKER,
    0x4008_AF7F,
];

/// Kills the other process, if any. Whether there was one.
fn ended(child: Option<Child>) -> bool {
    child.is_some_and(|child| {
        child.killed().unwrap_or_else(|what| panic!("{what}"));
        true
    })
}

/// The resources that outlive an input.
pub struct Program {
    path: String,
    mem: Memory,
    taps: Vec<Tap>,
    wires: Vec<Wire>,
    events: Vec<EventFd>,
    /// The bitmap of dirty pages, of all guest memory.
    log: Vec<u8>,
}

impl Program {
    pub fn new() -> Self {
        let taps: Vec<Tap> = [12, 10, 0].map(Tap::new).into();
        Self {
            path: std::env::var("VNR_NODE").unwrap_or_else(|_| "/dev/vhost-net".into()),
            mem: Memory::new(),
            wires: taps.iter().map(|tap| Wire::new(tap, false)).collect(),
            taps,
            events: (0..3).map(|_| EventFd::new()).collect(),
            log: vec![0; LOG_LEN],
        }
    }

    /// Runs an input on new devices; with `own` this process is their owner.
    pub fn run(&mut self, data: &[u8], own: impl Fn(&Vhost)) {
        for at in RING_AT {
            self.mem.write(at, &[0; 0x3000]);
        }
        for tap in &self.taps {
            tap.drain();
        }
        for wire in &self.wires {
            while wire.recv(0).is_some() {}
        }
        for event in &self.events {
            event.take();
        }
        let devs: Vec<Vhost> = (0..DEVICES).map(|_| Vhost::open(&self.path)).collect();
        let mut child = None;
        self.steps(data, |u| {
            if !u.ratio(1, 24)? {
                return self.step(u, &devs, &own);
            }
            // The other process is killed, while the devices that it owns are active.
            if !ended(child.take()) {
                let len = u.arbitrary_len::<u8>()?.min(200);
                let part = u.bytes(len)?;
                child = Some(Child::new(|| {
                    let own = |dev: &Vhost| {
                        let _ = dev.set_owner();
                    };
                    self.steps(part, |u| self.step(u, &devs, &own));
                    loop {
                        std::thread::park();
                    }
                }));
            }
            Ok(())
        });
        ended(child);
        // Queued work runs before a backend is closed.
        for dev in &devs {
            for queue in [RX, TX] {
                let _ = dev.set_backend(queue, -1);
            }
        }
    }

    fn steps(&self, data: &[u8], mut step: impl FnMut(&mut Unstructured<'_>) -> Result<()>) {
        let mut u = Unstructured::new(data);
        for _ in 0..STEPS {
            if u.is_empty() || step(&mut u).is_err() {
                break;
            }
        }
    }

    fn step(&self, u: &mut Unstructured<'_>, devs: &[Vhost], own: &dyn Fn(&Vhost)) -> Result<()> {
        let dev = u.choose(devs)?;
        let queue = u.int_in_range(0..=1)?;
        match u.int_in_range(0..=15)? {
            0..=2 => self.set_up(u, dev, own)?,
            3 | 4 => self.request(u, dev)?,
            5..=7 => self.post(u)?,
            8 => self.raw_ring(u)?,
            9 => {
                self.events[u.choose_index(3)?].signal(u.int_in_range(1..=3)?);
            }
            10 => {
                let len = u.int_in_range(14..=1600)?;
                let _ = u.choose(&self.wires)?.send(&frame(1, len));
            }
            11 => {
                let _ = dev.set_backend(queue, self.backend(u)?);
            }
            12 if u.arbitrary()? => self.messages(u, dev)?,
            12 => self.translations(u, dev)?,
            13 => std::thread::sleep(Duration::from_micros(u.int_in_range(0..=2000)?)),
            14 => {
                let _ = dev.base(queue);
            }
            _ => self.taps[u.choose_index(3)?].set_up(u.arbitrary()?),
        }
        Ok(())
    }

    fn event(&self, u: &mut Unstructured<'_>) -> Result<RawFd> {
        Ok(if u.ratio(1, 10)? {
            u.int_in_range(-2..=40)?
        } else {
            u.choose(&self.events)?.as_raw_fd()
        })
    }

    fn backend(&self, u: &mut Unstructured<'_>) -> Result<RawFd> {
        Ok(match u.int_in_range(0..=7)? {
            0 => -1,
            1 => u.int_in_range(-2..=40)?,
            2 => u.choose(&self.wires)?.as_raw_fd(),
            _ => u.choose(&self.taps)?.as_raw_fd(),
        })
    }

    /// Sets up a device so that it mostly works.
    fn set_up(&self, u: &mut Unstructured<'_>, dev: &Vhost, own: &dyn Fn(&Vhost)) -> Result<()> {
        if u.ratio(1, 4)? {
            let _ = dev.set_fork_from_owner(u.int_in_range(0..=2)?);
        }
        own(dev);
        let mut features = 0;
        for bit in [15, 24, 26, 27, 28, 29, 32, 33, 35] {
            features |= u64::from(u.arbitrary::<bool>()?) << bit;
        }
        let _ = dev.set_features(features);
        let _ = dev.set_mem_table(&self.mem.regions(), 0);
        let _ = dev.set_log_base(self.log.as_ptr() as u64);
        for queue in [RX, TX] {
            let at = RING_AT[queue as usize];
            let _ = dev.set_num(queue, SIZE as u32);
            let _ = dev.set_base(queue, if u.ratio(1, 8)? { u.arbitrary()? } else { 0 });
            // With an IOTLB the ring is at its guest address.
            let place = |at| match features & F_ACCESS_PLATFORM {
                0 => self.mem.at(at) as u64,
                _ => at,
            };
            let _ = dev.set_addr(VringAddr {
                index: queue,
                flags: u.arbitrary::<bool>()?.into(),
                desc: place(at),
                avail: place(at + AVAIL),
                used: place(at + USED),
                log: at + USED,
            });
            if features & F_ACCESS_PLATFORM != 0 {
                let _ = dev.map(&self.mem.regions(), at, 3 * PAGE);
            }
            let _ = dev.set_kick(queue, self.event(u)?);
            let _ = dev.set_call(queue, self.event(u)?);
            let _ = dev.set_err(queue, self.event(u)?);
            let _ = dev.set_backend(queue, self.backend(u)?);
        }
        Ok(())
    }

    /// Any request with an argument of any bytes, or none.
    fn request(&self, u: &mut Unstructured<'_>, dev: &Vhost) -> Result<()> {
        let cmd = *u.choose(&REQUESTS)?;
        let mut words: [u64; 13] = [0; 13];
        for word in &mut words[..5] {
            *word = match u.int_in_range(0..=3)? {
                0 => u.arbitrary()?,
                1 => self.mem.at(BUFFERS) as u64,
                _ => u.int_in_range(0..=70)?,
            };
        }
        if cmd == GET_FEATURES_ARRAY {
            // The kernel writes as many words, and clears those that it does not have.
            words[0] %= words.len() as u64;
        }
        let arg = if u.ratio(1, 16)? {
            8
        } else {
            words.as_mut_ptr() as usize
        };
        let _ = dev.raw(cmd, arg);
        Ok(())
    }

    /// Makes a chain available, valid or not.
    fn post(&self, u: &mut Unstructured<'_>) -> Result<()> {
        let at = *u.choose(&RING_AT)?;
        let head = u.int_in_range(0..=SIZE - 1)?;
        let count = u.int_in_range(1..=4)?;
        for nth in 0..count {
            let index = (head + nth) % SIZE;
            let last = nth + 1 == count;
            self.descriptor(
                u,
                at + index * 16,
                (index + 1) % SIZE,
                last,
                at == RING_AT[0],
            )?;
        }
        self.mem.announce(at + AVAIL, SIZE as u16, head as u16);
        Ok(())
    }

    fn descriptor(
        &self,
        u: &mut Unstructured<'_>,
        at: u64,
        next: u64,
        last: bool,
        write: bool,
    ) -> Result<()> {
        let wild = u.ratio(1, 12)?;
        let indirect = u.ratio(1, 10)?;
        let addr = if wild {
            u.arbitrary()?
        } else {
            BUFFERS + u.int_in_range(0..=0x4000)?
        };
        let len = if wild {
            u.arbitrary()?
        } else {
            u.int_in_range(0..=3000u32)?
        };
        let mut flags = u16::from(!last) | (u16::from(write) << 1);
        if indirect {
            flags |= 4;
        }
        if wild {
            flags = u.arbitrary()?;
        }
        let len = if indirect && !wild {
            len / 16 * 16
        } else {
            len
        };
        self.mem.write_desc(at, (addr, len, flags), next as u16);
        if indirect {
            let entries = u.int_in_range(1..=3)?;
            for nth in 0..entries {
                let len = u.int_in_range(0..=2000u32)?;
                let flags = u16::from(nth + 1 != entries) | (u16::from(write) << 1);
                if (BUFFERS..BUFFERS + 0x8000).contains(&addr) {
                    let piece = (BUFFERS + 0x8000, len, flags);
                    self.mem.write_desc(addr + nth * 16, piece, nth as u16 + 1);
                }
            }
        }
        Ok(())
    }

    /// Writes any bytes anywhere in a ring.
    fn raw_ring(&self, u: &mut Unstructured<'_>) -> Result<()> {
        let at = *u.choose(&RING_AT)? + u.int_in_range(0..=0x2400)?;
        let len = u.int_in_range(1..=16)?;
        let bytes = u.bytes(len)?;
        self.mem.write(at, bytes);
        Ok(())
    }

    /// Maps or unmaps some pages, or answers a miss.
    fn translations(&self, u: &mut Unstructured<'_>, dev: &Vhost) -> Result<()> {
        let page = RING_AT[0] + u.int_in_range(0..=0x210)? * PAGE;
        let size = match u.int_in_range(0..=3)? {
            0 => u.arbitrary()?,
            pages => pages * PAGE,
        };
        let uaddr = match u.int_in_range(0..=7)? {
            0 => u.arbitrary()?,
            _ => self.mem.at(page) as u64,
        };
        match u.int_in_range(0..=3)? {
            0 => {
                let _ = dev.tell(Msg::invalidate(page, size));
            }
            1 => {
                let _ = dev.tell(Msg::update(page, size, uaddr, u.arbitrary()?));
            }
            _ => {
                if let Ok(Some((_, msg))) = dev.asked(0) {
                    let _ = dev.map(&self.mem.regions(), msg.iova, 1);
                }
            }
        }
        Ok(())
    }

    fn messages(&self, u: &mut Unstructured<'_>, dev: &Vhost) -> Result<()> {
        let fd = dev.as_raw_fd();
        let mut buf = [0u8; 128];
        let len = u.int_in_range(0..=128)?;
        buf[..len.min(16)].copy_from_slice(u.bytes(len.min(16))?);
        let mut poll = libc::pollfd {
            fd,
            events: libc::POLLIN | libc::POLLOUT,
            revents: 0,
        };
        // SAFETY: A buffer of that length, and one entry.
        unsafe {
            libc::fcntl(fd, libc::F_SETFL, libc::O_NONBLOCK);
            match u.int_in_range(0..=2)? {
                0 => libc::write(fd, buf.as_ptr().cast(), len),
                1 => libc::read(fd, buf.as_mut_ptr().cast(), len),
                _ => libc::poll(&mut poll, 1, 0) as isize,
            }
        };
        Ok(())
    }
}
