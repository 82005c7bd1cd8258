// SPDX-License-Identifier: GPL-2.0

//! The way to memory that can do everything: it logs writes, and translates through an IOTLB.

use core::{
    cell::Cell,
    mem::size_of,
    ops::Range, //
};
use kernel::prelude::*;

use crate::{
    kapi::iov::IoVec,
    virtqueue::{
        fault::Fault,
        features::Negotiated,
        iotlb::{
            Access,
            Iotlb,
            Miss, //
        },
        layout::Layout,
        log::{
            self,
            Logging, //
        },
        mem::{
            GuestMemory,
            MemFault, //
        },
        path::Path,
        table::MemTable,
        uapi::{
            Desc,
            UsedElem,
            DESC_F_WRITE, //
        },
    },
};

/// The memory that a run has: the memory table, and the IOTLB if there is one. With an IOTLB all
/// addresses of the guest, including those of the ring, are I/O virtual.
#[derive(Clone, Copy)]
pub(crate) struct Maps<'q> {
    pub(crate) table: &'q MemTable,
    pub(crate) iotlb: Option<&'q Iotlb>,
}

/// A way that can do everything; see the [module documentation](self).
pub(crate) struct General<'q, M> {
    mem: M,
    maps: Maps<'q>,
    layout: Layout,
    logging: Logging,
    /// The indices of the ranges that were found last for the buffers and for the three parts of
    /// the ring.
    hint: usize,
    desc: Cell<usize>,
    avail: Cell<usize>,
    used: Cell<usize>,
    /// The first address that the IOTLB does not map.
    miss: Cell<Option<Miss>>,
    /// Whether bits were set that userspace has not been told of.
    logged: Cell<bool>,
}

impl<'q, M: GuestMemory> General<'q, M> {
    /// Creates the way to a ring of `layout`.
    pub(crate) fn new(mem: M, maps: Maps<'q>, layout: Layout, logging: Logging) -> Self {
        Self {
            mem,
            maps,
            layout,
            logging,
            hint: 0,
            desc: Cell::new(0),
            avail: Cell::new(0),
            used: Cell::new(0),
            miss: Cell::new(None),
            logged: Cell::new(false),
        }
    }

    /// Checks that the whole ring is mapped for what the device does there.
    ///
    /// # Errors
    ///
    /// [`Fault::Missing`], after which there is a [miss](Path::miss), and [`Fault::Denied`].
    pub(crate) fn check_ring(&self, negotiated: Negotiated) -> Result<(), Fault> {
        let [desc, avail, used] = self.layout.parts(negotiated);
        self.check_part(desc, Access::Read)?;
        self.check_part(avail, Access::Read)?;
        self.check_part(used, Access::Write)
    }

    /// Checks that the used ring is mapped.
    ///
    /// # Errors
    ///
    /// As for [`Self::check_ring`].
    pub(crate) fn check_used(&self, negotiated: Negotiated) -> Result<(), Fault> {
        let [.., used] = self.layout.parts(negotiated);
        self.check_part(used, Access::Write)
    }

    fn check_part(&self, part: (u64, u64), access: Access) -> Result<(), Fault> {
        let Some(iotlb) = self.maps.iotlb else {
            return Ok(());
        };
        let checked = iotlb.pieces(&mut 0, part, access, |_, _| Ok(()));
        checked.map(|_| ()).map_err(|fault| self.missed(fault))
    }

    /// Returns the owner's address of the 16-bit word at `addr` in the ring.
    fn word(&self, hint: &Cell<usize>, addr: usize, access: Access) -> Result<usize, MemFault> {
        let Some(iotlb) = self.maps.iotlb else {
            return Ok(addr);
        };
        let mut at = hint.get();
        let found = iotlb.whole(&mut at, addr as u64, 2, access);
        hint.set(at);
        // CAST: Lossless on 64-bit.
        found.map(|uaddr| uaddr as usize).ok_or(MemFault)
    }

    /// Calls `each` with the owner's address and the place of each piece of the `len` bytes at
    /// `addr` in the ring.
    fn pieces(
        &self,
        (hint, access): (&Cell<usize>, Access),
        addr: usize,
        len: usize,
        mut each: impl FnMut(usize, Range<usize>) -> Result<(), MemFault>,
    ) -> Result<(), MemFault> {
        let Some(iotlb) = self.maps.iotlb else {
            return each(addr, 0..len);
        };
        let (mut at, mut done) = (hint.get(), 0usize);
        let result = iotlb.pieces(&mut at, (addr as u64, len as u64), access, |uaddr, len| {
            let end = done.wrapping_add(len);
            each(uaddr, done..end).map_err(|MemFault| Fault::Denied)?;
            done = end;
            Ok(())
        });
        hint.set(at);
        result.map(|_| ()).map_err(|_| MemFault)
    }

    fn read(
        &self,
        way: (&Cell<usize>, Access),
        addr: usize,
        out: &mut [u8],
    ) -> Result<(), MemFault> {
        self.pieces(way, addr, out.len(), |uaddr, range| {
            let now = out.get_mut(range).ok_or(MemFault)?;
            self.mem.read_bytes(uaddr, now)
        })
    }

    /// Sets the bits of the `len` bytes that were written at `addr` in the used ring. Pages of the
    /// log that are not writable are not logged, which is no error.
    fn log_ring(&self, addr: usize, len: usize) {
        let Some(used) = self.logging.used else {
            return;
        };
        self.mem.wmb();
        if self.maps.iotlb.is_none() {
            let offset = addr.wrapping_sub(self.layout.used_flags());
            let gpa = used.wrapping_add(offset as u64);
            let _ = self.set(gpa, len as u64);
        } else {
            let _ = self.pieces((&self.used, Access::Write), addr, len, |uaddr, range| {
                self.log_owner(uaddr, range.len());
                Ok(())
            });
        }
        self.logged.set(true);
    }

    /// Sets the bits of the guest's pages that contain the `len` bytes at `uaddr` in the owner's
    /// address space.
    fn log_owner(&self, uaddr: usize, len: usize) {
        let table = self.maps.table;
        table.owners(uaddr as u64, len as u64, |gpa, len| {
            let _ = self.set(gpa, len);
        });
    }

    /// Reads bytes at `addr` in the guest.
    fn read_mapped(&mut self, iotlb: &Iotlb, addr: u64, out: &mut [u8]) -> Result<(), Fault> {
        let (mem, range) = (&self.mem, (addr, out.len() as u64));
        let mut done = 0usize;
        let read = iotlb.pieces(&mut self.hint, range, Access::Read, |uaddr, len| {
            let end = done.wrapping_add(len);
            let now = out.get_mut(done..end).ok_or(Fault::IndirectUnreadable)?;
            done = end;
            mem.read_bytes(uaddr, now)
                .map_err(|MemFault| Fault::IndirectUnreadable)
        });
        read.map(|_| ()).map_err(|fault| self.missed(fault))
    }

    /// Records a miss.
    fn missed(&self, (fault, miss): (Fault, Option<Miss>)) -> Fault {
        if miss.is_some() {
            self.miss.set(miss);
        }
        fault
    }

    fn set(&self, gpa: u64, len: u64) -> Result<(), MemFault> {
        log::words(self.logging.base, gpa, len, |word, bits| {
            self.mem.set_bits(word, bits)
        })
    }
}

impl<M: GuestMemory> Path for General<'_, M> {
    type Owner = M;

    #[inline]
    fn owner(&self) -> &M {
        &self.mem
    }

    fn translate(&mut self, desc: &Desc, segs: &mut KVec<IoVec>) -> Result<usize, Fault> {
        let Desc {
            addr, len, flags, ..
        } = *desc;
        let access = if flags & DESC_F_WRITE != 0 {
            Access::Write
        } else {
            Access::Read
        };
        let Some(iotlb) = self.maps.iotlb else {
            return self.maps.table.translate(&mut self.hint, addr, len, segs);
        };
        let found = iotlb.pieces(
            &mut self.hint,
            (addr, len.into()),
            access,
            |uaddr, len| match segs.push_within_capacity(IoVec::new(uaddr, len)) {
                Ok(()) => Ok(()),
                Err(_) => Err(Fault::TooManySegments),
            },
        );
        found.map_err(|fault| self.missed(fault))
    }

    #[inline]
    fn near(&self, addr: u64, len: u32, access: Access) -> Option<IoVec> {
        match self.maps.iotlb {
            None => self.maps.table.near(&self.hint, addr, len),
            Some(iotlb) => iotlb.near(&self.hint, addr, len, access),
        }
    }

    fn check(&mut self, addr: u64, len: u32) -> Result<(), Fault> {
        let Some(iotlb) = self.maps.iotlb else {
            return if self.maps.table.covers(&mut self.hint, addr, len) {
                Ok(())
            } else {
                Err(Fault::Unmapped)
            };
        };
        iotlb
            .pieces(&mut self.hint, (addr, len.into()), Access::Read, |_, _| {
                Ok(())
            })
            .map(|_| ())
            .map_err(|fault| self.missed(fault))
    }

    fn read_table(&mut self, addr: u64, out: &mut [Desc]) -> Result<usize, Fault> {
        let Some(iotlb) = self.maps.iotlb else {
            let (table, hint) = (self.maps.table, &mut self.hint);
            return table.read_descs(&self.mem, hint, addr, out);
        };
        let first = out.len().min(1);
        for count in [out.len(), first] {
            let some = out.get_mut(..count).unwrap_or_default();
            match self.read_mapped(iotlb, addr, some.as_mut_bytes()) {
                // Not all of them may be readable.
                Err(Fault::IndirectUnreadable) if count > first => {}
                read => return read.map(|()| count),
            }
        }
        Err(Fault::IndirectUnreadable)
    }

    fn wrote(&self, segs: &[IoVec], len: usize) {
        if !self.logging.data {
            return;
        }
        self.mem.wmb();
        let mut left = len;
        for seg in segs {
            let now = seg.len().min(left);
            self.log_owner(seg.base(), now);
            left = left.wrapping_sub(now);
        }
        self.logged.set(true);
    }

    fn take_logged(&self) -> bool {
        self.logged.replace(false)
    }

    fn miss(&self) -> Option<Miss> {
        self.miss.get()
    }
}

/// Accesses to the ring.
impl<M: GuestMemory> GuestMemory for General<'_, M> {
    fn read_u16(&self, addr: usize) -> Result<u16, MemFault> {
        // Of the used ring, only the index is read, and a mapping for writing is sufficient.
        let uaddr = if addr == self.layout.used_idx() {
            self.word(&self.used, addr, Access::Write)?
        } else {
            self.word(&self.avail, addr, Access::Read)?
        };
        self.mem.read_u16(uaddr)
    }

    fn read_u16s(&self, addr: usize, out: &mut [u16]) -> Result<(), MemFault> {
        self.read((&self.avail, Access::Read), addr, out.as_mut_bytes())
    }

    fn read_descs(&self, addr: usize, out: &mut [Desc]) -> Result<(), MemFault> {
        self.read((&self.desc, Access::Read), addr, out.as_mut_bytes())
    }

    fn read_bytes(&self, addr: usize, out: &mut [u8]) -> Result<(), MemFault> {
        self.read((&self.avail, Access::Read), addr, out)
    }

    fn write_bytes(&self, addr: usize, data: &[u8]) -> Result<(), MemFault> {
        let way = (&self.used, Access::Write);
        let written = self.pieces(way, addr, data.len(), |uaddr, range| {
            let now = data.get(range).ok_or(MemFault)?;
            self.mem.write_bytes(uaddr, now)
        });
        // A part may have been written.
        self.log_ring(addr, data.len());
        written
    }

    fn write_u16(&self, addr: usize, value: u16) -> Result<(), MemFault> {
        let uaddr = self.word(&self.used, addr, Access::Write)?;
        self.mem.write_u16(uaddr, value)?;
        self.log_ring(addr, size_of::<u16>());
        Ok(())
    }

    fn write_used(&self, addr: usize, elems: &[UsedElem]) -> Result<(), MemFault> {
        self.write_bytes(addr, elems.as_bytes())
    }

    fn set_bits(&self, addr: usize, bits: u32) -> Result<(), MemFault> {
        self.mem.set_bits(addr, bits)
    }

    fn rmb(&self) {
        self.mem.rmb();
    }

    fn wmb(&self) {
        self.mem.wmb();
    }

    fn mb(&self) {
        self.mem.mb();
    }
}
