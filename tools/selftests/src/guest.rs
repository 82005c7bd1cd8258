// SPDX-License-Identifier: GPL-2.0

//! A split ring, as the guest's driver uses it.

pub use crate::mem::{Memory, Piece, DESC_INDIRECT, DESC_NEXT, DESC_WRITE, GPA, SIZE};
use crate::{
    setup::Way,
    vhost::{VringAddr, VRING_F_LOG},
};
use std::{
    collections::VecDeque,
    sync::atomic::{fence, AtomicU16, Ordering},
    time::{Duration, Instant},
};

/// A split ring, driven as a driver must, or must not.
pub struct Ring<'m> {
    pub mem: &'m Memory,
    pub size: u16,
    /// Its guest address; each part follows the one before, on its own pages.
    base: u64,
    event_idx: bool,
    next_avail: u16,
    last_used: u16,
    next_desc: u16,
    free: u16,
    /// The number of descriptors of each chain, by its head.
    lens: Vec<u16>,
    /// With VIRTIO_F_IN_ORDER, the heads in use in the order of the ring, each with its length in
    /// bytes, and the used entry that was read and stands for all up to its head.
    in_order: Option<VecDeque<(u16, u32)>>,
    batch: Option<(u16, u32)>,
}

impl<'m> Ring<'m> {
    pub fn new(mem: &'m Memory, base: u64, size: u16, event_idx: bool) -> Self {
        let ring = Self {
            mem,
            size,
            base,
            event_idx,
            next_avail: 0,
            last_used: 0,
            next_desc: 0,
            free: size,
            lens: vec![0; usize::from(size)],
            in_order: None,
            batch: None,
        };
        let len = (ring.used() - base) as usize + 8 * usize::from(size) + 8;
        mem.write(base, &vec![0; len]);
        ring
    }

    /// The same for a driver that has negotiated VIRTIO_F_IN_ORDER.
    pub fn in_order(self) -> Self {
        Self {
            in_order: Some(VecDeque::new()),
            ..self
        }
    }

    fn round(addr: u64) -> u64 {
        addr.next_multiple_of(4096)
    }

    pub fn desc(&self) -> u64 {
        self.base
    }

    pub fn avail(&self) -> u64 {
        Self::round(self.base + 16 * u64::from(self.size))
    }

    pub fn used(&self) -> u64 {
        Self::round(self.avail() + 2 * u64::from(self.size) + 6)
    }

    /// Moves it unchanged to another place in guest memory. The caller must tell the device.
    pub fn move_to(&mut self, base: u64) {
        let len = (self.used() - self.base) as usize + 8 * usize::from(self.size) + 8;
        let bytes = self.mem.read(self.base, len);
        // The old place must not be mistaken for the ring.
        self.mem.write(self.base, &vec![0xee; len]);
        self.mem.write(base, &bytes);
        self.base = base;
    }

    /// The addresses in the form of the ioctl.
    pub fn addr(&self, index: u32) -> VringAddr {
        let logged = Way::Logged.is_set();
        let at = |gpa| match Way::Iotlb.is_set() {
            true => gpa,
            false => self.mem.at(gpa) as u64,
        };
        VringAddr {
            index,
            flags: if logged { VRING_F_LOG } else { 0 },
            desc: at(self.desc()),
            avail: at(self.avail()),
            used: at(self.used()),
            log: if logged { self.used() } else { 0 },
        }
    }

    fn word(&self, gpa: u64) -> &AtomicU16 {
        // SAFETY: In the mapping, which lives as long as `mem`, and aligned.
        unsafe { AtomicU16::from_ptr(self.mem.at(gpa).cast()) }
    }

    pub fn set_desc(&self, index: u16, piece: Piece, next: u16) {
        self.write_desc(self.desc() + 16 * u64::from(index), piece, next);
    }

    /// Writes a descriptor to any address, for indirect tables.
    pub fn write_desc(&self, at: u64, piece: Piece, next: u16) {
        self.mem.write_desc(at, piece, next);
    }

    pub fn free(&self) -> u16 {
        self.free
    }

    /// The number of descriptors that are not free.
    pub fn in_use(&self) -> u16 {
        self.size - self.free
    }

    /// Adds a chain of the next free descriptors to the available ring, without updating the
    /// index.
    pub fn add(&mut self, pieces: &[Piece]) -> u16 {
        let head = self.next_desc;
        let count = pieces.len() as u16;
        assert!(count <= self.free, "no descriptor left");
        for (i, &(addr, len, flags)) in pieces.iter().enumerate() {
            let at = (head + i as u16) % self.size;
            let more = if i + 1 < pieces.len() { DESC_NEXT } else { 0 };
            self.set_desc(at, (addr, len, flags | more), (at + 1) % self.size);
        }
        self.next_desc = (head + count) % self.size;
        self.free -= count;
        self.lens[usize::from(head)] = count;
        if let Some(heads) = &mut self.in_order {
            heads.push_back((head, pieces.iter().map(|piece| piece.1).sum()));
        }
        self.push_head(head);
        head
    }

    /// The same with an indirect table at `table`.
    pub fn add_indirect(&mut self, table: u64, pieces: &[Piece]) -> u16 {
        for (i, &(addr, len, flags)) in pieces.iter().enumerate() {
            let more = if i + 1 < pieces.len() { DESC_NEXT } else { 0 };
            self.write_desc(
                table + 16 * i as u64,
                (addr, len, flags | more),
                i as u16 + 1,
            );
        }
        self.add(&[(table, 16 * pieces.len() as u32, DESC_INDIRECT)])
    }

    /// Adds any head to the available ring.
    pub fn push_head(&mut self, head: u16) {
        let slot = self.next_avail % self.size;
        self.word(self.avail() + 4 + 2 * u64::from(slot))
            .store(head, Ordering::Relaxed);
        self.next_avail = self.next_avail.wrapping_add(1);
    }

    /// Updates the available index.
    pub fn publish(&self) {
        self.word(self.avail() + 2)
            .store(self.next_avail, Ordering::Release);
        fence(Ordering::SeqCst);
    }

    /// Makes the same chain available once more, unless `most` are in use.
    pub fn offer_again(&mut self, head: u16, most: u16) {
        if self.avail_idx().wrapping_sub(self.used_idx()) < most {
            self.push_head(head);
            self.publish();
        }
    }

    /// Sets the available index to any value.
    pub fn publish_idx(&self, idx: u16) {
        self.word(self.avail() + 2).store(idx, Ordering::SeqCst);
    }

    pub fn avail_idx(&self) -> u16 {
        self.next_avail
    }

    /// Whether the device requires a kick for the buffers published since `old`.
    pub fn needs_kick(&self, old: u16) -> bool {
        fence(Ordering::SeqCst);
        if self.event_idx {
            let event = self
                .word(self.used() + 4 + 8 * u64::from(self.size))
                .load(Ordering::SeqCst);
            let new = self.next_avail;
            new.wrapping_sub(event).wrapping_sub(1) < new.wrapping_sub(old)
        } else {
            self.word(self.used()).load(Ordering::SeqCst) & 1 == 0
        }
    }

    /// Requests no interrupt, or one with the next used entry.
    pub fn set_interrupts(&self, on: bool) {
        if self.event_idx {
            let event = if on {
                self.last_used
            } else {
                self.last_used.wrapping_sub(0x8000)
            };
            self.word(self.avail() + 4 + 2 * u64::from(self.size))
                .store(event, Ordering::SeqCst);
        } else {
            self.word(self.avail())
                .store(u16::from(!on), Ordering::SeqCst);
        }
    }

    pub fn used_idx(&self) -> u16 {
        self.word(self.used() + 2).load(Ordering::Acquire)
    }

    /// The next used entry, if there is one.
    pub fn pop_used(&mut self) -> Option<(u16, u32)> {
        if self.used_idx() == self.last_used {
            return None;
        }
        let (head, len) = self.used_entry();
        self.last_used = self.last_used.wrapping_add(1);
        self.free += self.lens[usize::from(head)];
        Some((head, len))
    }

    /// The used entry of the next buffer. In order, the device may write one entry for several
    /// buffers, of which all but the last one are full.
    fn used_entry(&mut self) -> (u16, u32) {
        let Some(heads) = &mut self.in_order else {
            return self.read_used();
        };
        let (head, room) = heads.pop_front().expect("a buffer in use");
        let (id, len) = match self.batch {
            Some(batch) => batch,
            None => self.read_used(),
        };
        self.batch = (id != head).then_some((id, len));
        (head, if id == head { len } else { room })
    }

    fn read_used(&self) -> (u16, u32) {
        let slot = u64::from(self.last_used % self.size);
        let bytes = self.mem.read(self.used() + 4 + 8 * slot, 8);
        let id = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        let len = u32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]);
        (u16::try_from(id).expect("a head that was given"), len)
    }

    /// Waits for the next used entry.
    pub fn wait_used(&mut self) -> Option<(u16, u32)> {
        self.wait_used_for(Duration::from_secs(20))
    }

    /// Waits for the next used entry; `None` when there is none in time.
    pub fn wait_used_for(&mut self, time: Duration) -> Option<(u16, u32)> {
        let end = Instant::now() + time;
        loop {
            if let Some(entry) = self.pop_used() {
                return Some(entry);
            }
            if Instant::now() > end {
                return None;
            }
            std::thread::sleep(Duration::from_micros(200));
        }
    }
}
