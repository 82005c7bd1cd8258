// SPDX-License-Identifier: GPL-2.0

//! The host's side: a tap, and a packet socket on its interface.

use crate::vhost::{readable, Errno};
use std::{
    fs,
    mem::{size_of, zeroed},
    os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd},
    sync::atomic::{AtomicU32, Ordering},
};

/// An experimental Ethernet type, so that no other frames are taken for ours.
pub const ETH_TYPE: u16 = 0x88b5;

/// All types, before the kernel has processed a frame.
pub const ETH_ALL: u16 = libc::ETH_P_ALL as u16;

const TUNSETIFF: u64 = 0x4004_54ca;
const TUNSETOFFLOAD: u64 = 0x4004_54d0;
pub const TUNSETSNDBUF: u64 = 0x4004_54d4;
pub const TUNSETVNETHDRSZ: u64 = 0x4004_54d8;
const IFF_TUN: i16 = 1;
const IFF_TAP: i16 = 2;
const IFF_NAPI: i16 = 0x10;
const IFF_NAPI_FRAGS: i16 = 0x20;
const IFF_NO_PI: i16 = 0x1000;
const IFF_VNET_HDR: i16 = 0x4000;
const TUN_F_CSUM: usize = 1;
const TUN_F_TSO4: usize = 2;
const TUN_F_UDP_TUNNEL_GSO: usize = 0x80;
/// The length of the header with the offsets of a UDP tunnel.
pub const TUNNEL_HDR: usize = 24;
pub const SOL_PACKET: i32 = 263;
const PACKET_VNET_HDR: i32 = 15;
const PACKET_QDISC_BYPASS: i32 = 20;

/// A tap with its interface up; deleted on drop.
pub struct Tap {
    fd: OwnedFd,
    pub name: String,
    flags: i16,
}

impl AsRawFd for Tap {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

fn ioctl<T>(fd: RawFd, cmd: u64, arg: &mut T) {
    // SAFETY: The argument is of the command's type.
    let ret = unsafe { libc::ioctl(fd, cmd as _, std::ptr::from_mut(arg)) };
    assert!(ret >= 0, "ioctl {cmd:#x}: {:?}", Errno::last());
}

fn ifreq(name: &str) -> libc::ifreq {
    // SAFETY: All zero is a valid request.
    let mut request: libc::ifreq = unsafe { zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from as _;
    }
    request
}

impl Tap {
    /// A tap whose frames have a header of `hdr` bytes, or none.
    pub fn new(hdr: usize) -> Self {
        Self::of_kind(IFF_TAP, hdr)
    }

    /// The same for packets without an Ethernet header (tun).
    pub fn layer3(hdr: usize) -> Self {
        Self::of_kind(IFF_TUN, hdr)
    }

    /// A tap with NAPI; with `frags`, one that copies each frame into a buffer with the sender's
    /// segments (`IFF_NAPI_FRAGS`).
    pub fn polled(hdr: usize, frags: bool) -> Self {
        let parts = if frags { IFF_NAPI_FRAGS } else { 0 };
        Self::of_kind(IFF_TAP | IFF_NAPI | parts, hdr)
    }

    fn of_kind(kind: i16, hdr: usize) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        // The name contains the ID of this process, which may be a forked one.
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("vt{}-{number}", std::process::id());
        // SAFETY: A terminated path.
        let fd = unsafe { libc::open(c"/dev/net/tun".as_ptr(), libc::O_RDWR | libc::O_CLOEXEC) };
        assert!(fd >= 0, "/dev/net/tun: {:?}", Errno::last());
        // SAFETY: Just opened.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        let hdr_flag = if hdr > 0 { IFF_VNET_HDR } else { 0 };
        let flags = kind | IFF_NO_PI | hdr_flag;
        let tap = Self { fd, name, flags };
        tap.make(hdr);
        tap
    }

    /// Creates the interface, also after it has been deleted.
    pub fn make(&self, hdr: usize) {
        let (raw, name) = (self.as_raw_fd(), &self.name);
        let mut request = ifreq(name);
        request.ifr_ifru.ifru_flags = self.flags;
        ioctl(raw, TUNSETIFF, &mut request);
        if hdr > 0 {
            self.set_hdr(hdr);
        }
        let _ = fs::write(format!("/proc/sys/net/ipv6/conf/{name}/disable_ipv6"), "1");
        self.set_up(true);
    }

    /// Sets the length of the header, and the offloads that it can describe.
    pub fn set_hdr(&self, hdr: usize) {
        let raw = self.as_raw_fd();
        ioctl(raw, TUNSETVNETHDRSZ, &mut (hdr as i32));
        let tunnel = if hdr < TUNNEL_HDR {
            0
        } else {
            TUN_F_UDP_TUNNEL_GSO
        };
        let offloads = TUN_F_CSUM | TUN_F_TSO4 | tunnel;
        // SAFETY: The argument is a number.
        let ret = unsafe { libc::ioctl(raw, TUNSETOFFLOAD as _, offloads) };
        assert!(ret >= 0, "TUNSETOFFLOAD: {:?}", Errno::last());
    }

    /// Another file descriptor of the same tap.
    pub fn again(&self) -> Self {
        Self {
            fd: self.fd.try_clone().expect("dup"),
            name: self.name.clone(),
            flags: self.flags,
        }
    }

    pub fn set_up(&self, up: bool) {
        // SAFETY: No pointers.
        let sock = unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM, 0) };
        let mut request = ifreq(&self.name);
        request.ifr_ifru.ifru_flags = if up { libc::IFF_UP as i16 } else { 0 };
        ioctl(sock, libc::SIOCSIFFLAGS, &mut request);
        // SAFETY: Ours.
        unsafe { libc::close(sock) };
    }

    /// Deletes the interface, also while others have its file open.
    pub fn delete(&self) -> bool {
        std::process::Command::new("ip")
            .args(["link", "del", &self.name])
            .status()
            .is_ok_and(|status| status.success())
    }

    /// Limits the send buffer, so that the sender must wait.
    pub fn set_sndbuf(&self, bytes: i32) {
        ioctl(self.as_raw_fd(), TUNSETSNDBUF, &mut { bytes });
    }

    /// Discards the frames that wait to be received. The tap must not be attached.
    pub fn drain(&self) {
        let raw = self.as_raw_fd();
        let mut buf = [0u8; 2048];
        // SAFETY: A buffer of that length; frames are cut to it.
        unsafe {
            libc::fcntl(raw, libc::F_SETFL, libc::O_NONBLOCK);
            while libc::read(raw, buf.as_mut_ptr().cast(), buf.len()) > 0 {}
        }
    }

    /// Injects a frame with its header, as if the interface had received it. The tap must not be
    /// attached.
    pub fn inject(&self, frame: &[u8]) -> Result<(), Errno> {
        // SAFETY: The frame is readable.
        let n = unsafe { libc::write(self.as_raw_fd(), frame.as_ptr().cast(), frame.len()) };
        if n == frame.len() as isize {
            Ok(())
        } else {
            Err(Errno::last())
        }
    }

    /// Waits for the next frame that the tap's file returns. The tap must not be attached.
    pub fn recv(&self, millis: i32) -> Option<Vec<u8>> {
        let mut buf = vec![0; 70_000];
        if !readable(self, millis) {
            return None;
        }
        // SAFETY: A buffer of that length.
        let len = unsafe { libc::read(self.as_raw_fd(), buf.as_mut_ptr().cast(), buf.len()) };
        buf.truncate(usize::try_from(len).ok()?);
        Some(buf)
    }

    pub fn stat(&self, what: &str) -> u64 {
        let path = format!("/sys/class/net/{}/statistics/{what}", self.name);
        fs::read_to_string(path)
            .ok()
            .and_then(|s| s.trim().parse().ok())
            .unwrap_or(0)
    }
}

/// A packet socket on the interface of a tap: it receives what the guest sends, and the reverse.
pub struct Wire(OwnedFd);

impl AsRawFd for Wire {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl Wire {
    /// With `hdr`, frames have a virtio header of 10 bytes here, and may be longer than the MTU.
    pub fn new(tap: &Tap, hdr: bool) -> Self {
        Self::on(&tap.name, hdr)
    }

    /// The same on any interface.
    pub fn on(name: &str, hdr: bool) -> Self {
        let wire = Self::unbound();
        if hdr {
            wire.option(SOL_PACKET, PACKET_VNET_HDR, 1);
        }
        // A frame with segmentation offload needs the Ethernet type of its protocol, so all types
        // are received.
        wire.bind(name, if hdr { ETH_ALL } else { ETH_TYPE });
        wire
    }

    /// Sends to any interface and receives nothing. Frames that the interface has no room for
    /// are dropped.
    pub fn onto(name: &str) -> Self {
        let wire = Self::unbound();
        wire.option(SOL_PACKET, PACKET_QDISC_BYPASS, 1);
        wire.bind(name, 0);
        wire
    }

    fn unbound() -> Self {
        let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        // SAFETY: No pointers. With no protocol yet, nothing arrives before it is bound.
        let fd = unsafe { libc::socket(libc::AF_PACKET, kind, 0) };
        assert!(fd >= 0, "packet socket: {:?}", Errno::last());
        // SAFETY: Just made.
        let wire = Self(unsafe { OwnedFd::from_raw_fd(fd) });
        wire.option(libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, 32 << 20);
        wire.option(libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, 32 << 20);
        wire
    }

    /// Receives frames of this type only, on the interface of a tap.
    pub fn hear(&self, tap: &Tap, eth_type: u16) {
        self.bind(&tap.name, eth_type);
    }

    fn bind(&self, name: &str, eth_type: u16) {
        let name = std::ffi::CString::new(name).expect("a name");
        // SAFETY: All zero is a valid address.
        let mut addr: libc::sockaddr_ll = unsafe { zeroed() };
        addr.sll_family = libc::AF_PACKET as u16;
        addr.sll_protocol = eth_type.to_be();
        // SAFETY: Terminated.
        addr.sll_ifindex = unsafe { libc::if_nametoindex(name.as_ptr()) as i32 };
        // SAFETY: An address of that length.
        let ret = unsafe {
            libc::bind(
                self.as_raw_fd(),
                std::ptr::from_ref(&addr).cast(),
                size_of::<libc::sockaddr_ll>() as u32,
            )
        };
        assert!(ret == 0, "bind: {:?}", Errno::last());
    }

    pub fn option<T>(&self, level: i32, name: i32, value: T) {
        // SAFETY: A value of that length.
        let ret = unsafe {
            libc::setsockopt(
                self.as_raw_fd(),
                level,
                name,
                std::ptr::from_ref(&value).cast(),
                size_of::<T>() as u32,
            )
        };
        assert!(ret == 0, "socket option {name}: {:?}", Errno::last());
    }

    pub fn send(&self, frame: &[u8]) -> Result<(), Errno> {
        // SAFETY: The frame is readable.
        let ret = unsafe { libc::send(self.as_raw_fd(), frame.as_ptr().cast(), frame.len(), 0) };
        if ret == frame.len() as isize {
            Ok(())
        } else {
            Err(Errno::last())
        }
    }

    /// Sends the same frame several times in one call, so that nothing comes between.
    pub fn send_times(&self, frame: &[u8], count: u32) -> Result<(), Errno> {
        let mut part = libc::iovec {
            iov_base: frame.as_ptr().cast_mut().cast(),
            iov_len: frame.len(),
        };
        // SAFETY: All zero is a valid message.
        let mut message: libc::mmsghdr = unsafe { zeroed() };
        message.msg_hdr.msg_iov = &mut part;
        message.msg_hdr.msg_iovlen = 1;
        let mut messages = vec![message; count as usize];
        // SAFETY: So many messages, each of the frame, which is only read.
        let ret = unsafe { libc::sendmmsg(self.as_raw_fd(), messages.as_mut_ptr(), count, 0) };
        if ret == count as i32 {
            Ok(())
        } else {
            Err(Errno::last())
        }
    }

    /// Waits for the next frame that this socket has not sent.
    pub fn recv(&self, millis: i32) -> Option<Vec<u8>> {
        let mut buf = vec![0; 70_000];
        loop {
            if !readable(self, millis) {
                return None;
            }
            // SAFETY: All zero is a valid address.
            let mut from: libc::sockaddr_ll = unsafe { zeroed() };
            let mut from_len = size_of::<libc::sockaddr_ll>() as u32;
            // SAFETY: Buffer and address of those lengths.
            let len = unsafe {
                libc::recvfrom(
                    self.as_raw_fd(),
                    buf.as_mut_ptr().cast(),
                    buf.len(),
                    0,
                    std::ptr::from_mut(&mut from).cast(),
                    &mut from_len,
                )
            };
            if len < 0 {
                return None;
            }
            if from.sll_pkttype != libc::PACKET_OUTGOING {
                buf.truncate(len as usize);
                return Some(buf);
            }
        }
    }
}

/// A frame of `len` bytes in total, whose content identifies it.
pub fn frame(seed: u32, len: usize) -> Vec<u8> {
    let mut frame = vec![0xff; 6];
    frame.extend([2, 0, 0, 0, 0, 1]);
    frame.extend(ETH_TYPE.to_be_bytes());
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(len as u32) | 1;
    while frame.len() < len {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        frame.push(state as u8);
    }
    frame
}

/// An IPv4 TCP segment of `payload` bytes, to be segmented into pieces of `mss` bytes, with the
/// virtio header for this.
pub fn segmented(seed: u32, payload: usize, mss: u16) -> ([u8; 10], Vec<u8>) {
    const HEADERS: usize = 14 + 20 + 20;
    let mut frame = frame(seed, HEADERS + payload);
    frame[12..14].copy_from_slice(&0x0800u16.to_be_bytes());
    let ip_len = (20 + 20 + payload) as u16;
    let mut ip = [
        0x45, 0, 0, 0, 0, 1, 0x40, 0, 64, 6, 0, 0, 10, 99, 0, 1, 10, 99, 0, 2,
    ];
    ip[2..4].copy_from_slice(&ip_len.to_be_bytes());
    let sum = ones_sum(&ip, 0);
    ip[10..12].copy_from_slice(&(!sum).to_be_bytes());
    frame[14..34].copy_from_slice(&ip);
    let mut tcp = [0u8; 20];
    tcp[0..2].copy_from_slice(&1000u16.to_be_bytes());
    tcp[2..4].copy_from_slice(&2000u16.to_be_bytes());
    tcp[12] = 5 << 4;
    tcp[13] = 0x10;
    // The checksum field holds the checksum of the pseudo header, as for any partial checksum.
    let mut pseudo = ip[12..20].to_vec();
    pseudo.extend([0, 6]);
    pseudo.extend((20 + payload as u16).to_be_bytes());
    tcp[16..18].copy_from_slice(&ones_sum(&pseudo, 0).to_be_bytes());
    frame[34..54].copy_from_slice(&tcp);
    let mut hdr = [0u8; 10];
    hdr[0] = 1;
    hdr[1] = 1;
    hdr[2..4].copy_from_slice(&(HEADERS as u16).to_le_bytes());
    hdr[4..6].copy_from_slice(&mss.to_le_bytes());
    hdr[6..8].copy_from_slice(&34u16.to_le_bytes());
    hdr[8..10].copy_from_slice(&16u16.to_le_bytes());
    (hdr, frame)
}

/// The sum of which the Internet checksum is the complement, from `start` on.
pub fn ones_sum(bytes: &[u8], start: u32) -> u16 {
    let mut sum = start;
    for pair in bytes.chunks(2) {
        sum += u32::from(u16::from_be_bytes([pair[0], *pair.get(1).unwrap_or(&0)]));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}
