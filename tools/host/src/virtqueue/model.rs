// SPDX-License-Identifier: GPL-2.0

//! The expected result of taking a buffer, computed simply: each address by itself, each check
//! where the contract has it.

mod queue;

pub(crate) use queue::{
    Queue,
    STOPS, //
};

use crate::{
    driver::Driver,
    kapi::iov::IoVec,
    prelude::{
        KVec,
        GFP_KERNEL, //
    },
    virtqueue::{
        fault::Fault,
        mem::GuestMemory,
        table::{
            MemTable,
            MemoryRegion, //
        },
        uapi::Desc, //
    },
};

pub(crate) const NEXT: u16 = 1;
pub(crate) const WRITE: u16 = 2;
pub(crate) const INDIRECT: u16 = 4;

/// Room for segments.
pub(crate) fn segs(room: usize) -> KVec<IoVec> {
    KVec::with_capacity(room, GFP_KERNEL).unwrap()
}

/// A memory table by bytes: first address, size, owner's address.
pub(crate) struct Table<'a>(&'a [(u64, u64, u64)]);

pub(crate) fn table(regions: &[(u64, u64, u64)]) -> Table<'_> {
    Table(regions)
}

impl Table<'_> {
    /// The module's table with these regions.
    pub(crate) fn build(&self) -> MemTable {
        let mut vec = KVec::with_capacity(self.0.len(), GFP_KERNEL).unwrap();
        for &(gpa, size, uaddr) in self.0 {
            vec.push(MemoryRegion { gpa, size, uaddr }, GFP_KERNEL)
                .unwrap();
        }
        MemTable::new(vec).unwrap()
    }

    fn region(&self, gpa: u64) -> Option<usize> {
        self.0
            .iter()
            .position(|&(first, size, _)| gpa >= first && gpa - first < size)
    }

    /// At most `room` segments, translated byte by byte while bytes are mapped.
    pub(crate) fn translate(&self, gpa: u64, len: u32, room: usize) -> Result<Vec<IoVec>, Fault> {
        let mut found: Vec<(usize, usize, usize)> = Vec::new();
        for at in 0..u64::from(len) {
            let gpa = gpa.checked_add(at).ok_or(Fault::Unmapped)?;
            let region = self.region(gpa).ok_or(Fault::Unmapped)?;
            let count = found.len();
            match found.last_mut() {
                Some((of, _, len)) if *of == region => *len += 1,
                _ if count == room => return Err(Fault::TooManySegments),
                _ => {
                    let (first, _, uaddr) = self.0[region];
                    found.push((region, (uaddr + (gpa - first)) as usize, 1));
                }
            }
        }
        let seg = |(_, base, len)| IoVec::new(base, len);
        Ok(found.into_iter().map(seg).collect())
    }

    /// Writes guest memory byte by byte.
    pub(crate) fn put(&self, driver: &Driver, gpa: u64, data: &[u8]) {
        for (gpa, byte) in (gpa..).zip(data) {
            let seg = self.translate(gpa, 1, 1).unwrap();
            driver.mem.put(seg[0].base(), &[*byte]);
        }
    }

    fn byte(&self, driver: &Driver, gpa: u64) -> Result<u8, Fault> {
        let seg = self.translate(gpa, 1, 1)?;
        let mut byte = [0];
        driver
            .mem
            .read_bytes(seg[0].base(), &mut byte)
            .map_err(|_| Fault::IndirectUnreadable)?;
        Ok(byte[0])
    }

    fn desc(&self, driver: &Driver, gpa: u64) -> Result<Desc, Fault> {
        let mut bytes = [0; 16];
        for (at, byte) in bytes.iter_mut().enumerate() {
            *byte = self.byte(driver, gpa + at as u64)?;
        }
        Ok(Desc {
            addr: u64::from_le_bytes(bytes[..8].try_into().unwrap()),
            len: u32::from_le_bytes(bytes[8..12].try_into().unwrap()),
            flags: u16::from_le_bytes(bytes[12..14].try_into().unwrap()),
            next: u16::from_le_bytes(bytes[14..].try_into().unwrap()),
        })
    }
}

/// The expected contents of a buffer.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Buffer {
    pub(crate) segs: Vec<IoVec>,
    pub(crate) readable: usize,
    pub(crate) writable: usize,
    pub(crate) bytes: usize,
}

impl Buffer {
    fn add(&mut self, table: &Table<'_>, desc: &Desc, room: usize) -> Result<(), Fault> {
        let left = room - self.segs.len();
        let more = table.translate(desc.addr, desc.len, left)?;
        if desc.flags & WRITE != 0 {
            self.writable += more.len();
        } else if self.writable > 0 {
            return Err(Fault::Order);
        } else {
            self.readable += more.len();
        }
        self.bytes += desc.len as usize;
        self.segs.extend(more);
        Ok(())
    }
}

/// Follows the chain that begins at `head`, with room for `room` segments.
pub(crate) fn walk(
    driver: &Driver,
    table: &Table<'_>,
    head: u16,
    room: usize,
) -> Result<Buffer, Fault> {
    let mut buffer = Buffer::default();
    if head >= driver.size {
        return Err(Fault::HeadRange);
    }
    let (mut index, mut found, mut indirect) = (head, 0, 0);
    loop {
        if index >= driver.size {
            return Err(Fault::NextRange);
        }
        found += 1;
        if found > driver.size {
            return Err(Fault::Loop);
        }
        let mut desc = [Desc::default()];
        driver
            .mem
            .read_descs(driver.desc(index), &mut desc)
            .map_err(|_| Fault::DescUnreadable)?;
        let [desc] = desc;
        if desc.flags & INDIRECT == 0 {
            buffer.add(table, &desc, room)?;
        } else {
            if desc.len % 16 != 0 {
                return Err(Fault::IndirectLength);
            }
            indirect += desc.len / 16;
            if indirect > 65536 {
                return Err(Fault::IndirectTooLong);
            }
            table.translate(desc.addr, desc.len, usize::MAX)?;
            let mut at = 0;
            loop {
                if at == desc.len / 16 {
                    return Err(Fault::IndirectLoop);
                }
                let inner = table.desc(driver, desc.addr + 16 * u64::from(at))?;
                if inner.flags & INDIRECT != 0 {
                    return Err(Fault::IndirectNested);
                }
                buffer.add(table, &inner, room)?;
                if inner.flags & NEXT == 0 {
                    break;
                }
                at += 1;
            }
        }
        if desc.flags & NEXT == 0 {
            return Ok(buffer);
        }
        index = desc.next;
    }
}
