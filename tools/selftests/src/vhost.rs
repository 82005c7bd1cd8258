// SPDX-License-Identifier: GPL-2.0

//! The ioctls, without checks: arguments in, errno out.

use std::{
    ffi::CString,
    io,
    os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd, RawFd},
};

pub const F_MRG_RXBUF: u64 = 1 << 15;
pub const F_NOTIFY_ON_EMPTY: u64 = 1 << 24;
pub const F_LOG_ALL: u64 = 1 << 26;
pub const F_NET_HDR: u64 = 1 << 27;
pub const F_INDIRECT: u64 = 1 << 28;
pub const F_EVENT_IDX: u64 = 1 << 29;
pub const F_VERSION_1: u64 = 1 << 32;
pub const F_ACCESS_PLATFORM: u64 = 1 << 33;
pub const F_IN_ORDER: u64 = 1 << 35;
pub const F_RING_RESET: u64 = 1 << 40;
/// Those of the second word.
pub const F_GUEST_UDP_TUNNEL_GSO: u64 = 1 << (65 - 64);
pub const F_HOST_UDP_TUNNEL_GSO: u64 = 1 << (67 - 64);

pub const GET_FEATURES: u64 = 0x8008_AF00;
pub const SET_FEATURES: u64 = 0x4008_AF00;
pub const SET_OWNER: u64 = 0xAF01;
pub const RESET_OWNER: u64 = 0xAF02;
pub const SET_MEM_TABLE: u64 = 0x4008_AF03;
pub const SET_LOG_BASE: u64 = 0x4008_AF04;
pub const SET_LOG_FD: u64 = 0x4004_AF07;
pub const SET_VRING_NUM: u64 = 0x4008_AF10;
pub const SET_VRING_ADDR: u64 = 0x4028_AF11;
pub const SET_VRING_BASE: u64 = 0x4008_AF12;
pub const GET_VRING_BASE: u64 = 0xC008_AF12;
pub const SET_VRING_KICK: u64 = 0x4008_AF20;
pub const SET_VRING_CALL: u64 = 0x4008_AF21;
pub const SET_VRING_ERR: u64 = 0x4008_AF22;
pub const NEW_WORKER: u64 = 0x8004_AF08;
pub const FREE_WORKER: u64 = 0x4004_AF09;
pub const ATTACH_VRING_WORKER: u64 = 0x4008_AF15;
pub const GET_VRING_WORKER: u64 = 0xC008_AF16;
pub const SET_VRING_BUSYLOOP_TIMEOUT: u64 = 0x4008_AF23;
pub const GET_VRING_BUSYLOOP_TIMEOUT: u64 = 0x4008_AF24;
pub const SET_BACKEND_FEATURES: u64 = 0x4008_AF25;
pub const GET_FEATURES_ARRAY: u64 = 0x8008_AF83;
pub const SET_FEATURES_ARRAY: u64 = 0x4008_AF83;
pub const GET_BACKEND_FEATURES: u64 = 0x8008_AF26;
pub const NET_SET_BACKEND: u64 = 0x4008_AF30;
pub const SET_FORK_FROM_OWNER: u64 = 0x4001_AF84;
pub const GET_FORK_FROM_OWNER: u64 = 0x8001_AF85;

/// The indices of the receive and the transmit queue.
pub const RX: u32 = 0;
pub const TX: u32 = 1;

/// The flag of SET_VRING_ADDR that asks for logging of the used ring.
pub const VRING_F_LOG: u32 = 1;

pub const BACKEND_F_IOTLB_MSG_V2: u64 = 1 << 1;

/// An errno.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Errno(pub i32);

impl std::fmt::Debug for Errno {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", io::Error::from_raw_os_error(self.0))
    }
}

impl Errno {
    pub fn last() -> Self {
        Self(io::Error::last_os_error().raw_os_error().unwrap_or(0))
    }
}

pub const EPERM: Errno = Errno(libc::EPERM);
pub const E2BIG: Errno = Errno(libc::E2BIG);
pub const EBADF: Errno = Errno(libc::EBADF);
pub const EAGAIN: Errno = Errno(libc::EAGAIN);
pub const ENODEV: Errno = Errno(libc::ENODEV);
pub const ENOMEM: Errno = Errno(libc::ENOMEM);
pub const EFAULT: Errno = Errno(libc::EFAULT);
pub const EBUSY: Errno = Errno(libc::EBUSY);
pub const EINVAL: Errno = Errno(libc::EINVAL);
pub const ENFILE: Errno = Errno(libc::ENFILE);
pub const EMFILE: Errno = Errno(libc::EMFILE);
pub const ENOTTY: Errno = Errno(libc::ENOTTY);
pub const EBADFD: Errno = Errno(libc::EBADFD);
pub const ENOTSOCK: Errno = Errno(libc::ENOTSOCK);
pub const EOPNOTSUPP: Errno = Errno(libc::EOPNOTSUPP);
pub const ENOBUFS: Errno = Errno(libc::ENOBUFS);

pub type Result<T = ()> = std::result::Result<T, Errno>;

#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct VringState {
    pub index: u32,
    pub num: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct VringFile {
    pub index: u32,
    pub fd: i32,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct VringAddr {
    pub index: u32,
    pub flags: u32,
    pub desc: u64,
    pub used: u64,
    pub avail: u64,
    pub log: u64,
}

#[repr(C)]
#[derive(Clone, Copy, Default, Debug)]
pub struct Region {
    pub gpa: u64,
    pub size: u64,
    pub uaddr: u64,
    pub flags: u64,
}

/// An open node.
pub struct Vhost(OwnedFd);

impl AsRawFd for Vhost {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl IntoRawFd for Vhost {
    fn into_raw_fd(self) -> RawFd {
        self.0.into_raw_fd()
    }
}

impl Vhost {
    pub fn open(path: &str) -> Self {
        Self::open_with(path, 0).unwrap_or_else(|e| panic!("{path}: {e:?}"))
    }

    pub fn open_with(path: &str, flags: i32) -> Result<Self> {
        let path = CString::new(path).expect("a path");
        // SAFETY: The path is terminated.
        let fd = unsafe { libc::open(path.as_ptr(), libc::O_RDWR | libc::O_CLOEXEC | flags) };
        if fd < 0 {
            return Err(Errno::last());
        }
        // SAFETY: Just opened.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Another descriptor of the same open file.
    pub fn try_clone(&self) -> Result<Self> {
        self.0.try_clone().map(Self).map_err(|_| Errno::last())
    }

    /// An ioctl with any argument, valid or not.
    pub fn raw(&self, cmd: u64, arg: usize) -> Result {
        // SAFETY: The kernel's handling of the argument is under test.
        match unsafe { libc::ioctl(self.as_raw_fd(), cmd as _, arg) } {
            0 => Ok(()),
            _ => Err(Errno::last()),
        }
    }

    fn with<T>(&self, cmd: u64, arg: &mut T) -> Result {
        self.raw(cmd, std::ptr::from_mut(arg) as usize)
    }

    pub fn features(&self) -> Result<u64> {
        let mut value = 0u64;
        self.with(GET_FEATURES, &mut value).map(|()| value)
    }

    pub fn set_features(&self, mut value: u64) -> Result {
        self.with(SET_FEATURES, &mut value)
    }

    /// The first `N` words of the features.
    pub fn features_array<const N: usize>(&self) -> Result<[u64; N]> {
        let mut array = [u64::MAX; 16];
        array[0] = N as u64;
        self.with(GET_FEATURES_ARRAY, &mut array)?;
        Ok(std::array::from_fn(|at| array[1 + at]))
    }

    pub fn set_features_array(&self, words: &[u64]) -> Result {
        let array = [&[words.len() as u64], words].concat();
        self.raw(SET_FEATURES_ARRAY, array.as_ptr() as usize)
    }

    pub fn backend_features(&self) -> Result<u64> {
        let mut value = 0u64;
        self.with(GET_BACKEND_FEATURES, &mut value).map(|()| value)
    }

    pub fn set_backend_features(&self, mut value: u64) -> Result {
        self.with(SET_BACKEND_FEATURES, &mut value)
    }

    /// Starts a worker and returns its ID.
    pub fn new_worker(&self) -> Result<u32> {
        let mut id = 0u32;
        self.with(NEW_WORKER, &mut id).map(|()| id)
    }

    pub fn free_worker(&self, mut id: u32) -> Result {
        self.with(FREE_WORKER, &mut id)
    }

    pub fn attach_worker(&self, index: u32, id: u32) -> Result {
        self.with(ATTACH_VRING_WORKER, &mut VringState { index, num: id })
    }

    /// The ID of the worker that serves a queue.
    pub fn worker(&self, index: u32) -> Result<u32> {
        let mut state = VringState { index, num: 0 };
        self.with(GET_VRING_WORKER, &mut state).map(|()| state.num)
    }

    pub fn set_owner(&self) -> Result {
        self.raw(SET_OWNER, 0)
    }

    pub fn reset_owner(&self) -> Result {
        self.raw(RESET_OWNER, 0)
    }

    pub fn set_fork_from_owner(&self, mut value: u8) -> Result {
        self.with(SET_FORK_FROM_OWNER, &mut value)
    }

    pub fn fork_from_owner(&self) -> Result<u8> {
        let mut value = 0xffu8;
        self.with(GET_FORK_FROM_OWNER, &mut value).map(|()| value)
    }

    /// The table as bytes, with any padding word.
    pub fn set_mem_table(&self, regions: &[Region], padding: u32) -> Result {
        let mut words = vec![regions.len() as u64 | (u64::from(padding) << 32)];
        for r in regions {
            words.extend([r.gpa, r.size, r.uaddr, r.flags]);
        }
        self.raw(SET_MEM_TABLE, words.as_ptr() as usize)
    }

    pub fn set_log_base(&self, mut base: u64) -> Result {
        self.with(SET_LOG_BASE, &mut base)
    }

    pub fn set_log_fd(&self, mut fd: RawFd) -> Result {
        self.with(SET_LOG_FD, &mut fd)
    }

    /// Writes a message of the IOTLB, and returns the result of write().
    pub fn write(&self, bytes: &[u8]) -> Result<usize> {
        // SAFETY: The bytes are readable.
        let done = unsafe { libc::write(self.as_raw_fd(), bytes.as_ptr().cast(), bytes.len()) };
        usize::try_from(done).map_err(|_| Errno::last())
    }

    /// Reads a message of the IOTLB, and returns the result of read().
    pub fn read(&self, room: &mut [u8]) -> Result<usize> {
        // SAFETY: The bytes are writable.
        let done = unsafe { libc::read(self.as_raw_fd(), room.as_mut_ptr().cast(), room.len()) };
        usize::try_from(done).map_err(|_| Errno::last())
    }

    pub fn set_num(&self, index: u32, num: u32) -> Result {
        self.with(SET_VRING_NUM, &mut VringState { index, num })
    }

    pub fn set_base(&self, index: u32, num: u32) -> Result {
        self.with(SET_VRING_BASE, &mut VringState { index, num })
    }

    pub fn base(&self, index: u32) -> Result<u32> {
        let mut state = VringState { index, num: !0 };
        self.with(GET_VRING_BASE, &mut state).map(|()| state.num)
    }

    pub fn set_busyloop(&self, index: u32, num: u32) -> Result {
        self.with(SET_VRING_BUSYLOOP_TIMEOUT, &mut VringState { index, num })
    }

    pub fn busyloop(&self, index: u32) -> Result<u32> {
        let mut state = VringState { index, num: !0 };
        let got = self.with(GET_VRING_BUSYLOOP_TIMEOUT, &mut state);
        got.map(|()| state.num)
    }

    pub fn set_addr(&self, mut addr: VringAddr) -> Result {
        self.with(SET_VRING_ADDR, &mut addr)
    }

    fn file(&self, cmd: u64, index: u32, fd: RawFd) -> Result {
        self.with(cmd, &mut VringFile { index, fd })
    }

    pub fn set_kick(&self, index: u32, fd: RawFd) -> Result {
        self.file(SET_VRING_KICK, index, fd)
    }

    pub fn set_call(&self, index: u32, fd: RawFd) -> Result {
        self.file(SET_VRING_CALL, index, fd)
    }

    pub fn set_err(&self, index: u32, fd: RawFd) -> Result {
        self.file(SET_VRING_ERR, index, fd)
    }

    pub fn set_backend(&self, index: u32, fd: RawFd) -> Result {
        self.file(NET_SET_BACKEND, index, fd)
    }
}

/// Waits until a file is readable.
pub fn readable(file: &impl AsRawFd, millis: i32) -> bool {
    let mut poll = libc::pollfd {
        fd: file.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: One entry.
    unsafe { libc::poll(&mut poll, 1, millis) == 1 }
}

/// A non-blocking eventfd.
pub struct EventFd(OwnedFd);

impl AsRawFd for EventFd {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl Default for EventFd {
    fn default() -> Self {
        Self::new()
    }
}

impl EventFd {
    pub fn new() -> Self {
        // SAFETY: No pointers.
        let fd = unsafe { libc::eventfd(0, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC) };
        assert!(fd >= 0, "eventfd: {:?}", Errno::last());
        // SAFETY: Just made.
        Self(unsafe { OwnedFd::from_raw_fd(fd) })
    }

    pub fn signal(&self, by: u64) -> bool {
        // SAFETY: Eight bytes are read from `by`.
        unsafe { libc::write(self.as_raw_fd(), std::ptr::from_ref(&by).cast(), 8) == 8 }
    }

    /// The number of signals since the last call.
    pub fn take(&self) -> u64 {
        let mut count = 0u64;
        // SAFETY: Eight bytes are written to `count`.
        match unsafe { libc::read(self.as_raw_fd(), std::ptr::from_mut(&mut count).cast(), 8) } {
            8 => count,
            _ => 0,
        }
    }

    /// Waits until it has been signalled.
    pub fn wait(&self, millis: i32) -> bool {
        readable(self, millis)
    }
}
