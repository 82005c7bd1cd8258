// SPDX-License-Identifier: GPL-2.0

//! The driver's side: memory made of bytes, and a driver that fills rings in it.
//!
//! Written after the specification, without the module's layout arithmetic, so that each checks
//! the other.

use std::{
    cell::{
        Cell,
        RefCell, //
    },
    ops::Range,
};

use crate::{
    vhost::{
        request,
        uapi::VringAddr, //
    },
    virtqueue::{
        features::Negotiated,
        layout::Layout,
        mem::{
            GuestMemory,
            MemFault, //
        },
        ring::Ring,
        uapi::{
            Desc,
            UsedElem, //
        },
    },
};

/// The owner's address of the memory.
pub(crate) const OWNER: usize = 0x7f00_0000_0000;

/// The accesses to the memory, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Read(Range<usize>),
    Write(Range<usize>),
    Rmb,
    Wmb,
    Mb,
}

/// Memory that records accesses and can be made inaccessible.
pub(crate) struct Mem {
    bytes: RefCell<Vec<u8>>,
    unreadable: RefCell<Vec<Range<usize>>>,
    unwritable: RefCell<Vec<Range<usize>>>,
    events: RefCell<Vec<Event>>,
    keeps_events: Cell<bool>,
}

fn overlap(a: &Range<usize>, b: &Range<usize>) -> bool {
    a.start < b.end && b.start < a.end
}

impl Mem {
    pub(crate) fn new(len: usize) -> Self {
        Self {
            bytes: RefCell::new(vec![0; len]),
            unreadable: RefCell::default(),
            unwritable: RefCell::default(),
            events: RefCell::default(),
            keeps_events: Cell::new(false),
        }
    }

    pub(crate) fn poison_reads(&self, range: Range<usize>) {
        self.unreadable.borrow_mut().push(range);
    }

    pub(crate) fn poison_writes(&self, range: Range<usize>) {
        self.unwritable.borrow_mut().push(range);
    }

    pub(crate) fn heal(&self) {
        self.unreadable.borrow_mut().clear();
        self.unwritable.borrow_mut().clear();
    }

    /// The accesses during `f`.
    pub(crate) fn watch<T>(&self, f: impl FnOnce() -> T) -> (T, Vec<Event>) {
        self.keeps_events.set(true);
        let result = f();
        self.keeps_events.set(false);
        (result, self.events.take())
    }

    fn log(&self, event: Event) {
        if self.keeps_events.get() {
            self.events.borrow_mut().push(event);
        }
    }

    fn slot(
        &self,
        addr: usize,
        len: usize,
        bad: &[Range<usize>],
    ) -> Result<Range<usize>, MemFault> {
        let end = addr.checked_add(len).ok_or(MemFault)?;
        if addr < OWNER || end > OWNER + self.bytes.borrow().len() {
            return Err(MemFault);
        }
        if bad.iter().any(|bad| overlap(bad, &(addr..end))) {
            return Err(MemFault);
        }
        Ok(addr - OWNER..end - OWNER)
    }

    fn read(&self, addr: usize, out: &mut [u8]) -> Result<(), MemFault> {
        self.log(Event::Read(addr..addr.wrapping_add(out.len())));
        let slot = self.slot(addr, out.len(), &self.unreadable.borrow())?;
        out.copy_from_slice(&self.bytes.borrow()[slot]);
        Ok(())
    }

    fn write(&self, addr: usize, data: &[u8]) -> Result<(), MemFault> {
        self.log(Event::Write(addr..addr.wrapping_add(data.len())));
        let slot = self.slot(addr, data.len(), &self.unwritable.borrow())?;
        self.bytes.borrow_mut()[slot].copy_from_slice(data);
        Ok(())
    }

    /// The driver's own accesses: they always succeed and are not recorded.
    pub(crate) fn put(&self, addr: usize, data: &[u8]) {
        self.bytes.borrow_mut()[addr - OWNER..][..data.len()].copy_from_slice(data);
    }

    pub(crate) fn get<const N: usize>(&self, addr: usize) -> [u8; N] {
        self.bytes.borrow()[addr - OWNER..][..N].try_into().unwrap()
    }

    pub(crate) fn put_u16(&self, addr: usize, value: u16) {
        self.put(addr, &value.to_le_bytes());
    }

    pub(crate) fn get_u16(&self, addr: usize) -> u16 {
        u16::from_le_bytes(self.get(addr))
    }

    pub(crate) fn put_desc(&self, addr: usize, desc: Desc) {
        self.put(addr, &desc.addr.to_le_bytes());
        self.put(addr + 8, &desc.len.to_le_bytes());
        self.put(addr + 12, &desc.flags.to_le_bytes());
        self.put(addr + 14, &desc.next.to_le_bytes());
    }

    pub(crate) fn get_desc(&self, addr: usize) -> Desc {
        Desc {
            addr: u64::from_le_bytes(self.get(addr)),
            len: u32::from_le_bytes(self.get(addr + 8)),
            flags: self.get_u16(addr + 12),
            next: self.get_u16(addr + 14),
        }
    }
}

impl GuestMemory for Mem {
    fn read_u16(&self, addr: usize) -> Result<u16, MemFault> {
        let mut bytes = [0; 2];
        self.read(addr, &mut bytes)?;
        Ok(u16::from_le_bytes(bytes))
    }

    fn read_u16s(&self, addr: usize, out: &mut [u16]) -> Result<(), MemFault> {
        let mut bytes = vec![0; out.len() * 2];
        self.read(addr, &mut bytes)?;
        for (out, bytes) in out.iter_mut().zip(bytes.chunks_exact(2)) {
            *out = u16::from_le_bytes(bytes.try_into().unwrap());
        }
        Ok(())
    }

    fn read_descs(&self, addr: usize, out: &mut [Desc]) -> Result<(), MemFault> {
        let mut bytes = vec![0; out.len() * 16];
        self.read(addr, &mut bytes)?;
        for (i, out) in out.iter_mut().enumerate() {
            *out = self.get_desc(addr + i * 16);
        }
        Ok(())
    }

    fn read_bytes(&self, addr: usize, out: &mut [u8]) -> Result<(), MemFault> {
        self.read(addr, out)
    }

    fn write_bytes(&self, addr: usize, data: &[u8]) -> Result<(), MemFault> {
        self.write(addr, data)
    }

    fn write_u16(&self, addr: usize, value: u16) -> Result<(), MemFault> {
        self.write(addr, &value.to_le_bytes())
    }

    fn write_used(&self, addr: usize, elems: &[UsedElem]) -> Result<(), MemFault> {
        let mut bytes = Vec::new();
        for elem in elems {
            bytes.extend_from_slice(&elem.id.to_le_bytes());
            bytes.extend_from_slice(&elem.len.to_le_bytes());
        }
        self.write(addr, &bytes)
    }

    fn set_bits(&self, addr: usize, bits: u32) -> Result<(), MemFault> {
        let mut bytes = [0; 4];
        self.read(addr, &mut bytes)?;
        let bits = u32::from_le_bytes(bytes) | bits;
        self.write(addr, &bits.to_le_bytes())
    }

    fn rmb(&self) {
        self.log(Event::Rmb);
    }

    fn wmb(&self) {
        self.log(Event::Wmb);
    }

    fn mb(&self) {
        self.log(Event::Mb);
    }
}

/// A driver with one ring: `struct vring` of VIRTIO 1.3, 2.7, at the start of its memory.
pub(crate) struct Driver {
    pub(crate) mem: Mem,
    pub(crate) size: u16,
    /// The number of buffers that it has made available, modulo 2^16.
    pub(crate) avail: u16,
}

/// Returns a descriptor.
pub(crate) const fn desc(addr: u64, len: u32, flags: u16, next: u16) -> Desc {
    Desc {
        addr,
        len,
        flags,
        next,
    }
}

impl Driver {
    /// With `len` bytes of memory behind the ring.
    pub(crate) fn new(size: u16, len: usize) -> Self {
        let mut new = Self {
            mem: Mem::new(0),
            size,
            avail: 0,
        };
        new.mem = Mem::new(new.data() - OWNER + len);
        new
    }

    pub(crate) fn desc(&self, index: u16) -> usize {
        OWNER + 16 * usize::from(index)
    }

    pub(crate) fn avail_flags(&self) -> usize {
        self.desc(0) + 16 * usize::from(self.size)
    }

    pub(crate) fn avail_idx(&self) -> usize {
        self.avail_flags() + 2
    }

    pub(crate) fn avail_entry(&self, at: u16) -> usize {
        self.avail_flags() + 4 + 2 * usize::from(at % self.size)
    }

    pub(crate) fn used_event(&self) -> usize {
        self.avail_flags() + 4 + 2 * usize::from(self.size)
    }

    /// On the next boundary of 4096 bytes behind the available ring, as in `vring_init`.
    pub(crate) fn used_flags(&self) -> usize {
        (self.used_event() + 2).next_multiple_of(4096)
    }

    pub(crate) fn used_idx(&self) -> usize {
        self.used_flags() + 2
    }

    pub(crate) fn used_entry(&self, at: u16) -> usize {
        self.used_flags() + 4 + 8 * usize::from(at % self.size)
    }

    pub(crate) fn avail_event(&self) -> usize {
        self.used_flags() + 4 + 8 * usize::from(self.size)
    }

    /// The address of its memory behind the ring.
    pub(crate) fn data(&self) -> usize {
        (self.avail_event() + 2).next_multiple_of(4096)
    }

    pub(crate) fn used(&self, at: u16) -> (u32, u32) {
        let addr = self.used_entry(at);
        (
            u32::from_le_bytes(self.mem.get(addr)),
            u32::from_le_bytes(self.mem.get(addr + 4)),
        )
    }

    /// Adds the chain that begins at `head` to the available ring, without updating the index.
    pub(crate) fn queue(&mut self, head: u16) {
        self.mem.put_u16(self.avail_entry(self.avail), head);
        self.avail = self.avail.wrapping_add(1);
    }

    /// Updates the available index.
    pub(crate) fn tell(&self) {
        self.mem.put_u16(self.avail_idx(), self.avail);
    }

    /// Makes a chain available.
    pub(crate) fn post(&mut self, head: u16) {
        self.queue(head);
        self.tell();
    }

    /// Sets the available index to `idx`, whatever is in the ring.
    pub(crate) fn lie(&self, idx: u16) {
        self.mem.put_u16(self.avail_idx(), idx);
    }

    pub(crate) fn layout(&self) -> Layout {
        let addr = VringAddr {
            index: 0,
            flags: 0,
            desc: self.desc(0) as u64,
            used: self.used_flags() as u64,
            avail: self.avail_flags() as u64,
            log_guest_addr: 0,
        };
        let layout = Layout::UNSET.with_size(u32::from(self.size)).unwrap();
        request::places(layout, &addr).unwrap().0
    }

    /// Starts at position `at`, with nothing available and nothing used.
    pub(crate) fn start(&mut self, at: u16) {
        self.avail = at;
        self.tell();
        self.mem.put_u16(self.used_idx(), at);
    }

    /// The device's side of this ring, attached, starting at position `at`.
    pub(crate) fn device(&self, negotiated: Negotiated, at: u16) -> Ring {
        let mut ring = Ring::new();
        ring.set_layout(self.layout());
        ring.set_event_idx(negotiated.event_idx());
        ring.set_base(at);
        ring.attach(&self.mem).unwrap();
        ring
    }
}
