// SPDX-License-Identifier: GPL-2.0

//! The records and numbers of the ioctl interface: `linux/vhost.h`.
//!
//! Records are read as bytes and decoded here, little endian as everything is on the machines
//! this builds for.

use crate::virtqueue::mem::MemoryRegion;

/// Queues of a device: receive is 0 and transmit is 1.
pub(crate) const QUEUES: usize = 2;

/// The features of VHOST_GET_BACKEND_FEATURES.
pub(crate) const BACKEND_OFFERED: u64 = 0;

/// The file descriptor that stands for none; `VHOST_FILE_UNBIND`.
pub(crate) const VHOST_FILE_UNBIND: i32 = -1;

/// The direction bits of an ioctl number.
const NONE: u32 = 0;
const WRITE: u32 = 1;
const READ: u32 = 2;

/// `_IOC` with the type of vhost.
const fn ioc(dir: u32, nr: u32, size: usize) -> u32 {
    // CAST: Sizes here are tiny.
    (dir << 30) | ((size as u32) << 16) | (0xAF << 8) | nr
}

pub(crate) const GET_FEATURES: u32 = ioc(READ, 0x00, 8);
pub(crate) const SET_FEATURES: u32 = ioc(WRITE, 0x00, 8);
pub(crate) const SET_OWNER: u32 = ioc(NONE, 0x01, 0);
pub(crate) const RESET_OWNER: u32 = ioc(NONE, 0x02, 0);
pub(crate) const SET_MEM_TABLE: u32 = ioc(WRITE, 0x03, MemoryHeader::SIZE);
pub(crate) const SET_VRING_NUM: u32 = ioc(WRITE, 0x10, VringState::SIZE);
pub(crate) const SET_VRING_ADDR: u32 = ioc(WRITE, 0x11, VringAddr::SIZE);
pub(crate) const SET_VRING_BASE: u32 = ioc(WRITE, 0x12, VringState::SIZE);
pub(crate) const GET_VRING_BASE: u32 = ioc(READ | WRITE, 0x12, VringState::SIZE);
pub(crate) const SET_VRING_KICK: u32 = ioc(WRITE, 0x20, VringFile::SIZE);
pub(crate) const SET_VRING_CALL: u32 = ioc(WRITE, 0x21, VringFile::SIZE);
pub(crate) const SET_VRING_ERR: u32 = ioc(WRITE, 0x22, VringFile::SIZE);
pub(crate) const SET_BACKEND_FEATURES: u32 = ioc(WRITE, 0x25, 8);
pub(crate) const GET_BACKEND_FEATURES: u32 = ioc(READ, 0x26, 8);
pub(crate) const NET_SET_BACKEND: u32 = ioc(WRITE, 0x30, VringFile::SIZE);
pub(crate) const SET_FORK_FROM_OWNER: u32 = ioc(WRITE, 0x84, 1);
pub(crate) const GET_FORK_FROM_OWNER: u32 = ioc(READ, 0x85, 1);

/// Decodes the fields of a record one after the other.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    /// The next field. Records are as long as their fields, which their asserts check; what is
    /// missing would read as zero.
    fn next<const N: usize>(&mut self) -> [u8; N] {
        match self.0.split_first_chunk::<N>() {
            Some((field, rest)) => {
                self.0 = rest;
                *field
            }
            None => [0; N],
        }
    }

    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.next())
    }

    fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.next())
    }
}

/// `struct vhost_vring_state`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct VringState {
    /// Which queue.
    pub(crate) index: u32,
    /// The value.
    pub(crate) num: u32,
}

impl VringState {
    /// In bytes.
    pub(crate) const SIZE: usize = 8;

    /// Decodes it.
    pub(crate) fn from_bytes(bytes: &[u8; Self::SIZE]) -> Self {
        let mut fields = Fields(bytes);
        Self {
            index: fields.u32(),
            num: fields.u32(),
        }
    }

    /// Encodes it.
    pub(crate) fn to_bytes(self) -> [u8; Self::SIZE] {
        let ([a, b, c, d], [e, f, g, h]) = (self.index.to_le_bytes(), self.num.to_le_bytes());
        [a, b, c, d, e, f, g, h]
    }
}

/// `struct vhost_vring_file`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct VringFile {
    /// Which queue.
    pub(crate) index: u32,
    /// A file descriptor, or [`VHOST_FILE_UNBIND`].
    pub(crate) fd: i32,
}

impl VringFile {
    /// In bytes.
    pub(crate) const SIZE: usize = 8;

    /// Decodes it.
    pub(crate) fn from_bytes(bytes: &[u8; Self::SIZE]) -> Self {
        let mut fields = Fields(bytes);
        Self {
            index: fields.u32(),
            fd: i32::from_le_bytes(fields.next()),
        }
    }
}

/// `struct vhost_vring_addr`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct VringAddr {
    /// Which queue.
    pub(crate) index: u32,
    /// `VHOST_VRING_F_*`.
    pub(crate) flags: u32,
    /// Where the descriptors are.
    pub(crate) desc: u64,
    /// Where the used ring is.
    pub(crate) used: u64,
    /// Where the available ring is.
    pub(crate) avail: u64,
    /// Where the used ring is for the guest, for logging.
    pub(crate) log_guest_addr: u64,
}

impl VringAddr {
    /// In bytes.
    pub(crate) const SIZE: usize = 40;

    /// Decodes it.
    pub(crate) fn from_bytes(bytes: &[u8; Self::SIZE]) -> Self {
        let mut fields = Fields(bytes);
        Self {
            index: fields.u32(),
            flags: fields.u32(),
            desc: fields.u64(),
            used: fields.u64(),
            avail: fields.u64(),
            log_guest_addr: fields.u64(),
        }
    }
}

/// The head of `struct vhost_memory`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MemoryHeader {
    /// How many regions follow.
    pub(crate) nregions: u32,
    /// Must be zero.
    pub(crate) padding: u32,
}

impl MemoryHeader {
    /// In bytes.
    pub(crate) const SIZE: usize = 8;

    /// Decodes it.
    pub(crate) fn from_bytes(bytes: &[u8; Self::SIZE]) -> Self {
        let mut fields = Fields(bytes);
        Self {
            nregions: fields.u32(),
            padding: fields.u32(),
        }
    }
}

/// `struct vhost_memory_region`.
impl MemoryRegion {
    /// In bytes.
    pub(crate) const SIZE: usize = 32;

    /// Decodes it; the last field, flags, means nothing.
    pub(crate) fn from_bytes(bytes: &[u8; Self::SIZE]) -> Self {
        let mut fields = Fields(bytes);
        Self {
            gpa: fields.u64(),
            size: fields.u64(),
            uaddr: fields.u64(),
        }
    }
}

const _: () = assert!(GET_FEATURES == 0x8008_AF00 && SET_FEATURES == 0x4008_AF00);
const _: () = assert!(SET_OWNER == 0x0000_AF01 && RESET_OWNER == 0x0000_AF02);
const _: () = assert!(SET_MEM_TABLE == 0x4008_AF03 && SET_VRING_NUM == 0x4008_AF10);
const _: () = assert!(SET_VRING_ADDR == 0x4028_AF11 && SET_VRING_BASE == 0x4008_AF12);
const _: () = assert!(GET_VRING_BASE == 0xC008_AF12 && SET_VRING_KICK == 0x4008_AF20);
const _: () = assert!(SET_VRING_CALL == 0x4008_AF21 && SET_VRING_ERR == 0x4008_AF22);
const _: () = assert!(SET_BACKEND_FEATURES == 0x4008_AF25);
const _: () = assert!(GET_BACKEND_FEATURES == 0x8008_AF26);
const _: () = assert!(NET_SET_BACKEND == 0x4008_AF30);
const _: () = assert!(SET_FORK_FROM_OWNER == 0x4001_AF84);
const _: () = assert!(GET_FORK_FROM_OWNER == 0x8001_AF85);
