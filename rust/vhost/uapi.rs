// SPDX-License-Identifier: GPL-2.0

//! The structures and numbers of the ioctl interface, from `linux/vhost.h`.
//!
//! Structures are read as bytes and decoded as little endian, which is the byte order of all
//! supported architectures.

use crate::virtqueue::table::MemoryRegion;

/// The number of queues of a device: receive is 0, transmit is 1.
pub(crate) const QUEUES: usize = 2;

/// The features that VHOST_GET_BACKEND_FEATURES returns.
pub(crate) const BACKEND_OFFERED: u64 = BACKEND_F_IOTLB_MSG_V2;

/// `1 << VHOST_BACKEND_F_IOTLB_MSG_V2`: messages that ask for translations are `struct
/// vhost_msg_v2`.
pub(crate) const BACKEND_F_IOTLB_MSG_V2: u64 = 1 << 1;

/// `VHOST_FILE_UNBIND`: the file descriptor that means "no file".
pub(crate) const VHOST_FILE_UNBIND: i32 = -1;

/// `1 << VHOST_VRING_F_LOG`: the flag of [`VringAddr`] that asks for logging of the used ring.
pub(crate) const VRING_F_LOG: u32 = 1;

/// The direction bits of an ioctl number, from `linux/ioctl.h`.
const NONE: u32 = 0;
const WRITE: u32 = 1;
const READ: u32 = 2;

/// `_IOC()` with `VHOST_VIRTIO` as its type.
const fn ioc(dir: u32, nr: u32, size: usize) -> u32 {
    // CAST: All sizes are less than 100.
    (dir << 30) | ((size as u32) << 16) | (0xAF << 8) | nr
}

pub(crate) const GET_FEATURES: u32 = ioc(READ, 0x00, 8);
pub(crate) const SET_FEATURES: u32 = ioc(WRITE, 0x00, 8);
pub(crate) const SET_OWNER: u32 = ioc(NONE, 0x01, 0);
pub(crate) const RESET_OWNER: u32 = ioc(NONE, 0x02, 0);
pub(crate) const SET_MEM_TABLE: u32 = ioc(WRITE, 0x03, MemoryHeader::SIZE);
pub(crate) const SET_LOG_BASE: u32 = ioc(WRITE, 0x04, 8);
pub(crate) const SET_LOG_FD: u32 = ioc(WRITE, 0x07, 4);
pub(crate) const NEW_WORKER: u32 = ioc(READ, 0x08, 4);
pub(crate) const FREE_WORKER: u32 = ioc(WRITE, 0x09, 4);
pub(crate) const SET_VRING_NUM: u32 = ioc(WRITE, 0x10, VringState::SIZE);
pub(crate) const SET_VRING_ADDR: u32 = ioc(WRITE, 0x11, VringAddr::SIZE);
pub(crate) const SET_VRING_BASE: u32 = ioc(WRITE, 0x12, VringState::SIZE);
pub(crate) const GET_VRING_BASE: u32 = ioc(READ | WRITE, 0x12, VringState::SIZE);
pub(crate) const ATTACH_VRING_WORKER: u32 = ioc(WRITE, 0x15, VringWorker::SIZE);
pub(crate) const GET_VRING_WORKER: u32 = ioc(READ | WRITE, 0x16, VringWorker::SIZE);
pub(crate) const SET_VRING_KICK: u32 = ioc(WRITE, 0x20, VringFile::SIZE);
pub(crate) const SET_VRING_CALL: u32 = ioc(WRITE, 0x21, VringFile::SIZE);
pub(crate) const SET_VRING_ERR: u32 = ioc(WRITE, 0x22, VringFile::SIZE);
pub(crate) const SET_VRING_BUSYLOOP_TIMEOUT: u32 = ioc(WRITE, 0x23, VringState::SIZE);
pub(crate) const GET_VRING_BUSYLOOP_TIMEOUT: u32 = ioc(WRITE, 0x24, VringState::SIZE);
pub(crate) const SET_BACKEND_FEATURES: u32 = ioc(WRITE, 0x25, 8);
pub(crate) const GET_BACKEND_FEATURES: u32 = ioc(READ, 0x26, 8);
pub(crate) const NET_SET_BACKEND: u32 = ioc(WRITE, 0x30, VringFile::SIZE);
pub(crate) const GET_FEATURES_ARRAY: u32 = ioc(READ, 0x83, FEATURES_ARRAY_SIZE);
pub(crate) const SET_FEATURES_ARRAY: u32 = ioc(WRITE, 0x83, FEATURES_ARRAY_SIZE);
pub(crate) const SET_FORK_FROM_OWNER: u32 = ioc(WRITE, 0x84, 1);
pub(crate) const GET_FORK_FROM_OWNER: u32 = ioc(READ, 0x85, 1);

/// The size in bytes of `struct vhost_features_array` without its words.
pub(crate) const FEATURES_ARRAY_SIZE: usize = 8;

/// Decodes the fields of a structure one after the other.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    /// Returns the next field, or zeroes at the end of the structure. The end is never reached: the
    /// callers' arrays have the size of all fields.
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
    /// The index of the queue.
    pub(crate) index: u32,
    /// The value to set or to return.
    pub(crate) num: u32,
}

impl VringState {
    /// The size in bytes.
    pub(crate) const SIZE: usize = 8;

    /// Decodes the structure.
    pub(crate) fn from_bytes(bytes: &[u8; Self::SIZE]) -> Self {
        let mut fields = Fields(bytes);
        Self {
            index: fields.u32(),
            num: fields.u32(),
        }
    }

    /// Encodes the structure.
    pub(crate) fn to_bytes(self) -> [u8; Self::SIZE] {
        let ([a, b, c, d], [e, f, g, h]) = (self.index.to_le_bytes(), self.num.to_le_bytes());
        [a, b, c, d, e, f, g, h]
    }
}

/// `struct vhost_vring_worker`: `num` is the ID of a worker.
pub(crate) type VringWorker = VringState;

/// `struct vhost_vring_file`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct VringFile {
    /// The index of the queue.
    pub(crate) index: u32,
    /// The file descriptor, or [`VHOST_FILE_UNBIND`].
    pub(crate) fd: i32,
}

impl VringFile {
    /// The size in bytes.
    pub(crate) const SIZE: usize = 8;

    /// Decodes the structure.
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
    /// The index of the queue.
    pub(crate) index: u32,
    /// The `VHOST_VRING_F_*` flags.
    pub(crate) flags: u32,
    /// The address of the descriptor table in the owner's address space.
    pub(crate) desc: u64,
    /// The address of the used ring.
    pub(crate) used: u64,
    /// The address of the available ring.
    pub(crate) avail: u64,
    /// The guest physical address of the used ring, for logging.
    pub(crate) log_guest_addr: u64,
}

impl VringAddr {
    /// The size in bytes.
    pub(crate) const SIZE: usize = 40;

    /// Decodes the structure.
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

/// The fixed part of `struct vhost_memory`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MemoryHeader {
    /// The number of regions that follow.
    pub(crate) nregions: u32,
    /// Must be 0.
    pub(crate) padding: u32,
}

impl MemoryHeader {
    /// The size in bytes.
    pub(crate) const SIZE: usize = 8;

    /// Decodes the structure.
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
    /// The size in bytes.
    pub(crate) const SIZE: usize = 32;

    /// Decodes the structure. The last field, `flags_padding`, is ignored.
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
const _: () = assert!(SET_LOG_BASE == 0x4008_AF04 && SET_LOG_FD == 0x4004_AF07);
const _: () = assert!(SET_VRING_ADDR == 0x4028_AF11 && SET_VRING_BASE == 0x4008_AF12);
const _: () = assert!(GET_VRING_BASE == 0xC008_AF12 && SET_VRING_KICK == 0x4008_AF20);
const _: () = assert!(SET_VRING_CALL == 0x4008_AF21 && SET_VRING_ERR == 0x4008_AF22);
const _: () = assert!(NEW_WORKER == 0x8004_AF08 && FREE_WORKER == 0x4004_AF09);
const _: () = assert!(ATTACH_VRING_WORKER == 0x4008_AF15 && GET_VRING_WORKER == 0xC008_AF16);
const _: () = assert!(SET_VRING_BUSYLOOP_TIMEOUT == 0x4008_AF23);
const _: () = assert!(GET_VRING_BUSYLOOP_TIMEOUT == 0x4008_AF24);
const _: () = assert!(SET_BACKEND_FEATURES == 0x4008_AF25);
const _: () = assert!(GET_BACKEND_FEATURES == 0x8008_AF26);
const _: () = assert!(NET_SET_BACKEND == 0x4008_AF30);
const _: () = assert!(GET_FEATURES_ARRAY == 0x8008_AF83);
const _: () = assert!(SET_FEATURES_ARRAY == 0x4008_AF83);
const _: () = assert!(SET_FORK_FROM_OWNER == 0x4001_AF84);
const _: () = assert!(GET_FORK_FROM_OWNER == 0x8001_AF85);
