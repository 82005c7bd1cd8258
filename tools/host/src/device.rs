// SPDX-License-Identifier: GPL-2.0

//! The device's side: a queue, with the buffers that a worker keeps for it.

use std::ops::Range;

use crate::{
    driver::{
        Driver,
        Event,
        Mem, //
    },
    kapi::iov::{
        IoVec,
        IOV_MAX, //
    },
    prelude::{
        KVec,
        GFP_KERNEL, //
    },
    virtqueue::{
        fault::Fault,
        features::Negotiated,
        mem::{
            GuestMemory,
            MemFault, //
        },
        path::Direct,
        ring::Ring,
        table::MemTable,
        taken::{
            Room,
            Taken, //
        },
        uapi::{
            Desc,
            UsedElem, //
        },
        used::Published,
        vq::Virtqueue, //
    },
};

/// The memory of all queues that are served.
impl<M: GuestMemory> GuestMemory for &M {
    fn read_u16(&self, addr: usize) -> Result<u16, MemFault> {
        M::read_u16(self, addr)
    }

    fn read_u16s(&self, addr: usize, out: &mut [u16]) -> Result<(), MemFault> {
        M::read_u16s(self, addr, out)
    }

    fn read_descs(&self, addr: usize, out: &mut [Desc]) -> Result<(), MemFault> {
        M::read_descs(self, addr, out)
    }

    fn read_bytes(&self, addr: usize, out: &mut [u8]) -> Result<(), MemFault> {
        M::read_bytes(self, addr, out)
    }

    fn write_bytes(&self, addr: usize, data: &[u8]) -> Result<(), MemFault> {
        M::write_bytes(self, addr, data)
    }

    fn write_u16(&self, addr: usize, value: u16) -> Result<(), MemFault> {
        M::write_u16(self, addr, value)
    }

    fn write_used(&self, addr: usize, elems: &[UsedElem]) -> Result<(), MemFault> {
        M::write_used(self, addr, elems)
    }

    fn set_bits(&self, addr: usize, bits: u32) -> Result<(), MemFault> {
        M::set_bits(self, addr, bits)
    }

    fn rmb(&self) {
        M::rmb(self);
    }

    fn wmb(&self) {
        M::wmb(self);
    }

    fn mb(&self) {
        M::mb(self);
    }
}

/// What happens to buffers that were taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Complete,
    Refuse(Fault),
    Drop,
}

/// Buffers that were taken, as seen by the code that fills or empties them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Took {
    pub(crate) segs: Vec<IoVec>,
    pub(crate) writable: usize,
    pub(crate) bytes: usize,
    pub(crate) count: u16,
}

/// The result of asking for room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Got {
    Ready(Took),
    Short,
    Behind,
    TooSmall,
}

/// The result of asking for a plain buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Straight {
    Plain(Took),
    /// There is a buffer, and it is not plain.
    Other,
    None,
}

fn finish(taken: Taken<'_, '_, Direct<'_, &Mem>>, end: End) -> Took {
    let took = Took {
        segs: taken.segs().to_vec(),
        writable: taken.writable(),
        bytes: taken.len(),
        count: taken.count(),
    };
    match end {
        End::Complete => taken.complete(),
        End::Refuse(fault) => assert_eq!(taken.refuse(fault), fault),
        End::Drop => drop(taken),
    }
    took
}

/// A queue of the device.
pub(crate) struct Device {
    pub(crate) ring: Ring,
    table: MemTable,
    hint: usize,
    segs: KVec<IoVec>,
    used: KVec<UsedElem>,
}

/// Room for `len` elements.
fn room<T>(len: usize) -> KVec<T> {
    KVec::with_capacity(len, GFP_KERNEL).unwrap()
}

impl Device {
    /// The queue of `driver`'s ring, starting at position `at`, with as much room as in a worker.
    pub(crate) fn new(driver: &Driver, negotiated: Negotiated, at: u16, table: MemTable) -> Self {
        Self {
            ring: driver.device(negotiated, at),
            table,
            hint: 0,
            segs: room(IOV_MAX),
            used: room(IOV_MAX),
        }
    }

    /// The same with room for that many segments and used entries.
    pub(crate) fn with_room(self, segs: usize, used: usize) -> Self {
        Self {
            segs: room(segs),
            used: room(used),
            ..self
        }
    }

    /// The same with one used entry pending.
    pub(crate) fn with_pending(mut self, elem: UsedElem) -> Self {
        self.used.push_within_capacity(elem).unwrap();
        self
    }

    /// The queue, while it is served.
    pub(crate) fn queue<'q>(&'q mut self, mem: &'q Mem) -> Virtqueue<'q, Direct<'q, &'q Mem>> {
        Virtqueue::new(
            Direct::new(mem, &self.table, &mut self.hint),
            &mut self.ring,
            &mut self.segs,
            &mut self.used,
        )
    }

    /// Takes a buffer and treats it as `end` says.
    pub(crate) fn take(&mut self, mem: &Mem, end: End) -> Result<Option<Took>, Fault> {
        let mut queue = self.queue(mem);
        let taken = queue.take()?;
        Ok(taken.map(|taken| finish(taken, end)))
    }

    /// Takes room and treats it as `end` says.
    pub(crate) fn take_room(
        &mut self,
        mem: &Mem,
        (want, max): (usize, usize),
        end: End,
    ) -> Result<Got, Fault> {
        let mut queue = self.queue(mem);
        let room = queue.take_room(want, max)?;
        Ok(match room {
            Room::Ready(taken) => Got::Ready(finish(taken, end)),
            Room::Short => Got::Short,
            Room::Behind => Got::Behind,
            Room::TooSmall => Got::TooSmall,
        })
    }

    /// Takes the next buffer if it is plain and writable, or readable. Completes it with `len`, if
    /// given.
    pub(crate) fn straight(
        &mut self,
        mem: &Mem,
        write: bool,
        len: Option<u32>,
    ) -> Result<Straight, Fault> {
        let room = self.used.len() < self.used.capacity();
        let mut queue = self.queue(mem);
        let ask = |queue: &Virtqueue<'_, Direct<'_, &Mem>>| {
            if write {
                queue.plain_room()
            } else {
                queue.plain()
            }
        };
        let mut plain = ask(&queue);
        if plain.is_none() {
            if !queue.look()? {
                return Ok(Straight::None);
            }
            plain = ask(&queue);
        }
        let Some(plain) = plain else {
            return Ok(Straight::Other);
        };
        if let Some(len) = len {
            assert_eq!(queue.complete_plain(&plain, len), room);
        }
        let (first, second) = plain.segs();
        let segs = [first, second].into_iter().filter(|seg| seg.len() > 0);
        Ok(Straight::Plain(Took {
            segs: segs.collect(),
            writable: usize::from(write),
            bytes: plain.len(),
            count: 1,
        }))
    }

    /// Takes a buffer and completes it. Returns its head and contents.
    pub(crate) fn next(&mut self, mem: &Mem) -> Result<Option<(u16, Took)>, Fault> {
        let took = self.take(mem, End::Complete)?;
        let head = self.used.last().map_or(0, |elem| elem.id);
        Ok(took.map(|took| (u16::try_from(head).unwrap(), took)))
    }

    /// Returns completed buffers to the driver, without an interrupt.
    pub(crate) fn publish(&mut self, mem: &Mem) -> Published {
        self.queue(mem).publish(Negotiated::NONE, false)
    }

    /// The room for used entries.
    pub(crate) fn entries(&self) -> usize {
        self.used.capacity()
    }

    /// The position of the next buffer, and the pending used entries: all that the driver could
    /// observe.
    pub(crate) fn state(&self) -> (u16, Vec<UsedElem>) {
        (self.ring.base(), self.used.to_vec())
    }
}

/// Whether an access is a read inside a part of the ring or inside a region.
pub(crate) fn stays_inside(driver: &Driver, regions: &[(u64, u64, u64)], event: &Event) -> bool {
    let Event::Read(read) = event else {
        return *event == Event::Rmb;
    };
    let region = |&(_, size, uaddr): &(u64, u64, u64)| uaddr as usize..(uaddr + size) as usize;
    let parts = [
        driver.desc(0)..driver.avail_flags(),
        driver.avail_idx()..driver.avail_entry(0),
        driver.avail_entry(0)..driver.used_event(),
    ];
    let mut all = parts.into_iter().chain(regions.iter().map(region));
    all.any(|part: Range<usize>| part.start <= read.start && read.end <= part.end)
}
