// SPDX-License-Identifier: GPL-2.0

//! Guest memory: the trait through which rings and buffers are accessed.

use crate::virtqueue::uapi::{
    Desc,
    UsedElem, //
};

/// An access to guest memory failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MemFault;

/// Access to the memory of the rings, by addresses in the owner's address space.
///
/// Implementations must accept any address. They read and write a 16-bit word in one access. For
/// longer reads they only guarantee that each byte is read once. All accesses return [`MemFault`]
/// when a byte is not accessible.
pub(crate) trait GuestMemory {
    /// Reads a 16-bit word.
    fn read_u16(&self, addr: usize) -> Result<u16, MemFault>;
    /// Reads an array of 16-bit words.
    fn read_u16s(&self, addr: usize, out: &mut [u16]) -> Result<(), MemFault>;
    /// Reads an array of descriptors.
    fn read_descs(&self, addr: usize, out: &mut [Desc]) -> Result<(), MemFault>;
    /// Reads bytes.
    fn read_bytes(&self, addr: usize, out: &mut [u8]) -> Result<(), MemFault>;
    /// Writes bytes.
    fn write_bytes(&self, addr: usize, data: &[u8]) -> Result<(), MemFault>;
    /// Writes a 16-bit word.
    fn write_u16(&self, addr: usize, value: u16) -> Result<(), MemFault>;
    /// Writes an array of used ring entries.
    fn write_used(&self, addr: usize, elems: &[UsedElem]) -> Result<(), MemFault>;
    /// Sets bits of an aligned 32-bit word, whose other bits do not change. The word is accessed
    /// atomically.
    fn set_bits(&self, addr: usize, bits: u32) -> Result<(), MemFault>;
    /// Read memory barrier: orders the reads before it against the reads after it.
    fn rmb(&self);
    /// Write memory barrier: orders the writes before it against the writes after it.
    fn wmb(&self);
    /// Full memory barrier.
    fn mb(&self);
}
