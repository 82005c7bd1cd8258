// SPDX-License-Identifier: GPL-2.0

//! Interfaces with an XDP program, or with a macvtap on top.

use crate::{
    net::{Tap, TUNSETSNDBUF, TUNSETVNETHDRSZ},
    vhost::Errno,
};
use std::{
    ffi::CString,
    fs,
    mem::size_of_val,
    os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd},
    sync::atomic::{AtomicU32, Ordering},
};

const BPF_PROG_LOAD: i32 = 5;
const BPF_LINK_CREATE: i32 = 28;
const PROG_TYPE_XDP: u32 = 6;
const ATTACH_XDP: u32 = 37;
/// XDP in the driver, not in the generic stack.
const XDP_FLAGS_DRV_MODE: u32 = 1 << 2;

/// The verdict of the program on a frame.
#[derive(Clone, Copy)]
#[repr(u32)]
pub enum Verdict {
    Drop = 1,
    Pass = 2,
    /// Sent back to its sender.
    Tx = 3,
}

/// `BPF_PROG_LOAD`, as far as needed.
#[repr(C)]
struct ProgLoad {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
}

/// `BPF_LINK_CREATE`, as far as needed.
#[repr(C)]
struct LinkCreate {
    prog_fd: u32,
    target_ifindex: u32,
    attach_type: u32,
    flags: u32,
}

/// # Safety
///
/// `attr` must be the command's, and what it points to readable.
unsafe fn bpf<T>(cmd: i32, attr: &T) -> Result<OwnedFd, String> {
    // SAFETY: By the contract of this function.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            cmd,
            std::ptr::from_ref(attr),
            size_of_val(attr),
        )
    };
    if fd < 0 {
        return Err(format!("bpf command {cmd}: {:?}", Errno::last()));
    }
    // SAFETY: Both commands return a file descriptor.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// An XDP program on an interface; removed on drop.
pub struct Xdp(#[allow(dead_code)] OwnedFd);

/// An instruction: its code, destination and source, offset and value.
fn insn(code: u8, dst: u8, src: u8, off: i16, imm: u32) -> u64 {
    let [low, high] = off.to_le_bytes();
    let [a, b, c, d] = imm.to_le_bytes();
    u64::from_le_bytes([code, dst | (src << 4), low, high, a, b, c, d])
}

impl Xdp {
    /// The same verdict for all frames.
    pub fn attach(tap: &Tap, verdict: Verdict) -> Result<Self, String> {
        // r0 = verdict; exit.
        Self::load(
            tap,
            &[insn(0xb7, 0, 0, 0, verdict as u32), insn(0x95, 0, 0, 0, 0)],
        )
    }

    /// Inserts these words before each frame, in its headroom, and lets it pass.
    pub fn push(tap: &Tap, words: [u32; 4]) -> Result<Self, String> {
        const ADJUST_HEAD: u32 = 44;
        Self::load(
            tap,
            &[
                // r6 = context; r0 = bpf_xdp_adjust_head(r6, -16); unless that is 0, drop.
                insn(0xbf, 6, 1, 0, 0),
                insn(0xb7, 2, 0, 0, (-16i32) as u32),
                insn(0x85, 0, 0, 0, ADJUST_HEAD),
                insn(0x55, 0, 0, 11, 0),
                // r2 = data, r3 = its end; unless 16 bytes are there, drop.
                insn(0x61, 2, 6, 0, 0),
                insn(0x61, 3, 6, 4, 0),
                insn(0xbf, 4, 2, 0, 0),
                insn(0x07, 4, 0, 0, 16),
                insn(0x2d, 4, 3, 6, 0),
                // The words, and pass.
                insn(0x62, 2, 0, 0, words[0]),
                insn(0x62, 2, 0, 4, words[1]),
                insn(0x62, 2, 0, 8, words[2]),
                insn(0x62, 2, 0, 12, words[3]),
                insn(0xb7, 0, 0, 0, Verdict::Pass as u32),
                insn(0x95, 0, 0, 0, 0),
                insn(0xb7, 0, 0, 0, Verdict::Drop as u32),
                insn(0x95, 0, 0, 0, 0),
            ],
        )
    }

    fn load(tap: &Tap, insns: &[u64]) -> Result<Self, String> {
        let load = ProgLoad {
            prog_type: PROG_TYPE_XDP,
            insn_cnt: insns.len() as u32,
            insns: insns.as_ptr() as u64,
            license: c"GPL".as_ptr() as u64,
        };
        // SAFETY: Instructions and licence live until it returns.
        let prog = unsafe { bpf(BPF_PROG_LOAD, &load) }?;
        let link = LinkCreate {
            prog_fd: prog.as_raw_fd() as u32,
            target_ifindex: index(&tap.name)?,
            attach_type: ATTACH_XDP,
            flags: XDP_FLAGS_DRV_MODE,
        };
        // SAFETY: No pointers.
        unsafe { bpf(BPF_LINK_CREATE, &link) }.map(Self)
    }
}

fn index(name: &str) -> Result<u32, String> {
    let name = CString::new(name).expect("a name");
    // SAFETY: Terminated.
    match unsafe { libc::if_nametoindex(name.as_ptr()) } {
        0 => Err(format!("{name:?}: {:?}", Errno::last())),
        index => Ok(index),
    }
}

/// An interface on top of a tap's, and its file; deleted with the tap's.
pub struct Upper {
    fd: OwnedFd,
    name: String,
}

impl AsRawFd for Upper {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

const IFLA_MACVLAN_MODE: u16 = 1;
const MACVLAN_MODE_PASSTHRU: u32 = 8;
const IFLA_IPVLAN_MODE: u16 = 1;
const IPVLAN_MODE_L2: u16 = 0;

/// An attribute of a message: length, type, value, padding.
fn attr(kind: u16, value: &[u8]) -> Vec<u8> {
    let len = 4 + value.len();
    let mut bytes = (len as u16).to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(len.next_multiple_of(4), 0);
    bytes
}

/// Makes an rtnetlink request about a link and waits for the answer. The program `ip` takes
/// seconds on an emulated processor.
fn link(kind: u16, create: i32, index: u32, up: bool, attrs: &[u8]) -> Result<(), String> {
    let flags = if up { libc::IFF_UP as u32 } else { 0 };
    let mut ask = (32 + attrs.len() as u32).to_ne_bytes().to_vec();
    ask.extend(kind.to_ne_bytes());
    ask.extend(((libc::NLM_F_REQUEST | libc::NLM_F_ACK | create) as u16).to_ne_bytes());
    // Number and port, then family and type, are 0.
    ask.resize(20, 0);
    for word in [index, flags, flags] {
        ask.extend(word.to_ne_bytes());
    }
    ask.extend(attrs);
    // SAFETY: No pointers.
    let sock = unsafe {
        let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC;
        libc::socket(libc::AF_NETLINK, kind, libc::NETLINK_ROUTE)
    };
    if sock < 0 {
        return Err(format!("netlink: {:?}", Errno::last()));
    }
    // SAFETY: Just made.
    let sock = unsafe { OwnedFd::from_raw_fd(sock) };
    let mut answer = [0u8; 1024];
    // SAFETY: Buffers of those lengths.
    let got = unsafe {
        libc::send(sock.as_raw_fd(), ask.as_ptr().cast(), ask.len(), 0);
        libc::recv(sock.as_raw_fd(), answer.as_mut_ptr().cast(), 1024, 0)
    };
    let error = i32::from_ne_bytes([answer[16], answer[17], answer[18], answer[19]]);
    match (got, error) {
        (20.., 0) => Ok(()),
        (20.., _) => Err(format!("link message {kind}: {:?}", Errno(-error))),
        _ => Err(format!("link message {kind}: {:?}", Errno::last())),
    }
}

/// Deletes an interface, also while others have its file open.
pub fn delete(name: &str) -> Result<(), String> {
    link(libc::RTM_DELLINK, 0, index(name)?, false, &[])
}

/// Creates an interface of `kind` on top of another one. Disables its IPv6, so that it sends
/// nothing by itself, and then sets it up.
fn add_over(lower: &str, name: &str, kind: &[u8], data: &[u8]) -> Result<(), String> {
    let info = [
        attr(libc::IFLA_INFO_KIND, kind),
        attr(libc::IFLA_INFO_DATA, data),
    ];
    let attrs = [
        attr(libc::IFLA_IFNAME, name.as_bytes()),
        attr(libc::IFLA_LINK, &index(lower)?.to_ne_bytes()),
        attr(libc::IFLA_LINKINFO, &info.concat()),
    ];
    let create = libc::NLM_F_CREATE | libc::NLM_F_EXCL;
    link(libc::RTM_NEWLINK, create, 0, false, &attrs.concat())?;
    // Without IPv6 it sends nothing anyway.
    let _ = fs::write(format!("/proc/sys/net/ipv6/conf/{name}/disable_ipv6"), "1");
    link(libc::RTM_NEWLINK, 0, index(name)?, true, &[])
}

impl Upper {
    /// The only macvtap. Its frames have a header of `hdr` bytes, and the number of frames in
    /// flight is not limited.
    pub fn macvtap(lower: &Tap, hdr: i32) -> Result<Self, String> {
        let mode = attr(IFLA_MACVLAN_MODE, &MACVLAN_MODE_PASSTHRU.to_ne_bytes());
        Self::over(lower, b"macvtap", &mode, hdr)
    }

    /// The same with an ipvtap.
    pub fn ipvtap(lower: &Tap, hdr: i32) -> Result<Self, String> {
        let mode = attr(IFLA_IPVLAN_MODE, &IPVLAN_MODE_L2.to_ne_bytes());
        Self::over(lower, b"ipvtap", &mode, hdr)
    }

    fn over(lower: &Tap, kind: &[u8], mode: &[u8], hdr: i32) -> Result<Self, String> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("vm{}-{number}", std::process::id());
        add_over(&lower.name, &name, kind, mode)?;
        let path = format!("/dev/tap{}", index(&name)?);
        let file = fs::File::options().read(true).write(true).open(&path);
        let fd = file.map_err(|e| format!("{path}: {e}"))?.into();
        let tap = Self { fd, name };
        tap.set(TUNSETVNETHDRSZ, hdr)?;
        tap.set(TUNSETSNDBUF, i32::MAX)?;
        Ok(tap)
    }

    fn set(&self, cmd: u64, mut value: i32) -> Result<(), String> {
        let at = std::ptr::from_mut(&mut value);
        // SAFETY: Both take a number.
        match unsafe { libc::ioctl(self.as_raw_fd(), cmd as _, at) } {
            0 => Ok(()),
            _ => Err(format!("ioctl {cmd:#x}: {:?}", Errno::last())),
        }
    }

    pub fn delete(&self) -> Result<(), String> {
        delete(&self.name)
    }
}
