// SPDX-License-Identifier: GPL-2.0

//! How a queue reaches its ring and the guest's memory, which is decided once for each run.
//!
//! The data path is generic over [`Path`] and has two instances. [`Direct`] is the common one. The
//! decisions of the other one, [`General`](super::general::General), do not exist in its code.

use kernel::prelude::*;

use crate::{
    kapi::iov::IoVec,
    virtqueue::{
        fault::Fault,
        iotlb::{
            Access,
            Miss, //
        },
        mem::{
            GuestMemory,
            MemFault, //
        },
        table::MemTable,
        uapi::{
            Desc,
            UsedElem, //
        },
    },
};

/// A way to the ring and to the guest's memory.
///
/// As a [`GuestMemory`] it accesses the ring, by the addresses that userspace has set for it. The
/// other methods concern buffers.
pub(crate) trait Path: GuestMemory {
    /// The owner's memory, by the owner's addresses.
    type Owner: GuestMemory;

    /// Returns the owner's memory.
    fn owner(&self) -> &Self::Owner;

    /// Appends the memory of `desc` to `segs`, and returns the number of segments added.
    ///
    /// # Errors
    ///
    /// [`Fault::Unmapped`] when a byte is not mapped, [`Fault::TooManySegments`] when `segs` has no
    /// capacity left; with an IOTLB [`Fault::Missing`] and [`Fault::Denied`].
    fn translate(&mut self, desc: &Desc, segs: &mut KVec<IoVec>) -> Result<usize, Fault>;

    /// Returns the `len` bytes at `addr` in the guest as one segment, if `len` is not 0 and the
    /// mapping that was found last contains them and the byte that follows, and permits `access`.
    fn near(&self, addr: u64, len: u32, access: Access) -> Option<IoVec>;

    /// Checks that each of the `len` bytes at `addr` in the guest is mapped for reading.
    ///
    /// # Errors
    ///
    /// [`Fault::Unmapped`]; with an IOTLB [`Fault::Missing`] and [`Fault::Denied`].
    fn check(&mut self, addr: u64, len: u32) -> Result<(), Fault>;

    /// Reads descriptors of an indirect table from `addr` in the guest on into `out`, and returns
    /// how many were read: at least one, at most `out.len()`.
    ///
    /// # Errors
    ///
    /// [`Fault::Unmapped`] or [`Fault::IndirectUnreadable`] when the first descriptor cannot be
    /// read.
    fn read_table(&mut self, addr: u64, out: &mut [Desc]) -> Result<usize, Fault>;

    /// Called after the first `len` bytes of `segs` were written, or some of them.
    #[inline(always)]
    fn wrote(&self, _segs: &[IoVec], _len: usize) {}

    /// Returns whether writes were logged since the last call.
    #[inline(always)]
    fn take_logged(&self) -> bool {
        false
    }

    /// Returns the address whose translation the run has missed.
    #[inline(always)]
    fn miss(&self) -> Option<Miss> {
        None
    }
}

/// The common way: the ring is at the owner's addresses, and buffers are in the memory table.
pub(crate) struct Direct<'q, M> {
    mem: M,
    table: &'q MemTable,
    /// The index of the region of `table` that was found last.
    hint: &'q mut usize,
}

impl<'q, M: GuestMemory> Direct<'q, M> {
    /// Creates the way through `table`. `hint` is the index of its region that was found last.
    pub(crate) fn new(mem: M, table: &'q MemTable, hint: &'q mut usize) -> Self {
        Self { mem, table, hint }
    }
}

impl<M: GuestMemory> Path for Direct<'_, M> {
    type Owner = M;

    #[inline(always)]
    fn owner(&self) -> &M {
        &self.mem
    }

    #[inline(always)]
    fn translate(&mut self, desc: &Desc, segs: &mut KVec<IoVec>) -> Result<usize, Fault> {
        self.table.translate(self.hint, desc.addr, desc.len, segs)
    }

    #[inline(always)]
    fn near(&self, addr: u64, len: u32, _access: Access) -> Option<IoVec> {
        self.table.near(self.hint, addr, len)
    }

    #[inline]
    fn check(&mut self, addr: u64, len: u32) -> Result<(), Fault> {
        if self.table.covers(self.hint, addr, len) {
            Ok(())
        } else {
            Err(Fault::Unmapped)
        }
    }

    #[inline]
    fn read_table(&mut self, addr: u64, out: &mut [Desc]) -> Result<usize, Fault> {
        self.table.read_descs(&self.mem, self.hint, addr, out)
    }
}

impl<M: GuestMemory> GuestMemory for Direct<'_, M> {
    #[inline]
    fn read_u16(&self, addr: usize) -> Result<u16, MemFault> {
        self.mem.read_u16(addr)
    }

    #[inline]
    fn read_u16s(&self, addr: usize, out: &mut [u16]) -> Result<(), MemFault> {
        self.mem.read_u16s(addr, out)
    }

    #[inline]
    fn read_descs(&self, addr: usize, out: &mut [Desc]) -> Result<(), MemFault> {
        self.mem.read_descs(addr, out)
    }

    #[inline]
    fn read_bytes(&self, addr: usize, out: &mut [u8]) -> Result<(), MemFault> {
        self.mem.read_bytes(addr, out)
    }

    #[inline]
    fn write_bytes(&self, addr: usize, data: &[u8]) -> Result<(), MemFault> {
        self.mem.write_bytes(addr, data)
    }

    #[inline]
    fn write_u16(&self, addr: usize, value: u16) -> Result<(), MemFault> {
        self.mem.write_u16(addr, value)
    }

    #[inline]
    fn write_used(&self, addr: usize, elems: &[UsedElem]) -> Result<(), MemFault> {
        self.mem.write_used(addr, elems)
    }

    #[inline]
    fn set_bits(&self, addr: usize, bits: u32) -> Result<(), MemFault> {
        self.mem.set_bits(addr, bits)
    }

    #[inline]
    fn rmb(&self) {
        self.mem.rmb();
    }

    #[inline]
    fn wmb(&self) {
        self.mem.wmb();
    }

    #[inline]
    fn mb(&self) {
        self.mem.mb();
    }
}
