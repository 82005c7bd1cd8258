// SPDX-License-Identifier: GPL-2.0

//! Access to guest memory through the owner's address space.

use kernel::{
    prelude::*,
    sync::barrier::{
        smp_mb,
        Full,
        Read,
        Write, //
    },
};

use crate::{
    kapi::uaccess::UserMem,
    virtqueue::{
        mem::{
            GuestMemory,
            MemFault, //
        },
        uapi::{
            Desc,
            UsedElem, //
        },
    },
};

impl From<Error> for MemFault {
    fn from(_: Error) -> Self {
        MemFault
    }
}

impl GuestMemory for UserMem<'_> {
    #[inline]
    fn read_u16(&self, addr: usize) -> Result<u16, MemFault> {
        Ok(UserMem::read_u16(self, addr)?)
    }

    #[inline]
    fn read_u16s(&self, addr: usize, out: &mut [u16]) -> Result<(), MemFault> {
        Ok(self.read_slice(addr, out)?)
    }

    #[inline]
    fn read_descs(&self, addr: usize, out: &mut [Desc]) -> Result<(), MemFault> {
        Ok(self.read_slice(addr, out)?)
    }

    #[inline]
    fn read_bytes(&self, addr: usize, out: &mut [u8]) -> Result<(), MemFault> {
        Ok(UserMem::read_bytes(self, addr, out)?)
    }

    #[inline]
    fn write_bytes(&self, addr: usize, data: &[u8]) -> Result<(), MemFault> {
        Ok(UserMem::write_bytes(self, addr, data)?)
    }

    #[inline]
    fn write_u16(&self, addr: usize, value: u16) -> Result<(), MemFault> {
        Ok(UserMem::write_u16(self, addr, value)?)
    }

    #[inline]
    fn write_used(&self, addr: usize, elems: &[UsedElem]) -> Result<(), MemFault> {
        Ok(self.write_slice(addr, elems)?)
    }

    #[inline]
    fn set_bits(&self, addr: usize, bits: u32) -> Result<(), MemFault> {
        Ok(UserMem::set_bits(self, addr, bits)?)
    }

    #[inline]
    fn rmb(&self) {
        smp_mb(Read);
    }

    #[inline]
    fn wmb(&self) {
        smp_mb(Write);
    }

    #[inline]
    fn mb(&self) {
        smp_mb(Full);
    }
}
