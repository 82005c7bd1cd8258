// SPDX-License-Identifier: GPL-2.0

//! The guest's end of a TCP connection to the host, as far as needed to send.

use super::{flow::Flow, forward::ip, pattern::fill};
use crate::{
    ensure,
    guest::{Memory, Piece},
    net::{ones_sum, Tap},
    tap::Outcome,
    vhost::*,
};
use std::{
    fs,
    net::{TcpListener, TcpStream},
    os::fd::{AsRawFd, RawFd},
    result::Result,
    time::{Duration, Instant},
};
use vhost_selftests::guest::{GPA, SIZE};

const HOST: [u8; 4] = [10, 77, 1, 1];
const GUEST: [u8; 4] = [10, 77, 1, 2];
const GUEST_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
const GUEST_PORT: u16 = 1000;
const MSS: usize = 1448;
/// The length of the headers, without options.
const HEADERS: usize = 14 + 20 + 20;

const SYN: u8 = 0x02;
const ACK: u8 = 0x10;

/// The guest's end, which also sends numbered frames.
pub struct Guest<'m> {
    pub flow: Flow<'m>,
    host_mac: [u8; 6],
    host_port: u16,
    /// The sequence numbers of the first byte of the stream, and of the next byte from the host.
    start: u32,
    ack: u32,
    /// The number of bytes that the host has taken.
    pub sent: usize,
}

/// `len` bytes of the stream, from `from` on.
pub fn bytes(from: usize, len: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(len + 8);
    fill(&mut bytes, 77, from as u64, len);
    bytes
}

fn option(fd: RawFd, name: i32, value: [i32; 2], len: u32) {
    let at = value.as_ptr().cast();
    // SAFETY: One number, or two.
    let ret = unsafe { libc::setsockopt(fd, libc::SOL_SOCKET, name, at, len) };
    assert!(ret == 0, "socket option {name}: {:?}", Errno::last());
}

impl<'m> Guest<'m> {
    /// Connects through this tap, and returns the host's end as well.
    pub fn connect(path: &str, mem: &'m Memory, tap: Tap) -> Result<(Self, TcpStream), String> {
        let name = tap.name.clone();
        ip(&format!(
            "addr add 10.77.1.1/24 dev {name}\n\
             neigh add 10.77.1.2 lladdr 02:00:00:00:00:01 dev {name} nud permanent\n"
        ))?;
        let text = |e: &dyn std::fmt::Display| e.to_string();
        let mac = fs::read_to_string(format!("/sys/class/net/{name}/address"));
        let mac = mac.map_err(|e| text(&e))?;
        let mut host_mac = [0; 6];
        for (to, from) in host_mac.iter_mut().zip(mac.trim().split(':')) {
            *to = u8::from_str_radix(from, 16).map_err(|e| text(&e))?;
        }
        let listener = TcpListener::bind("10.77.1.1:0").map_err(|e| text(&e))?;
        option(listener.as_raw_fd(), libc::SO_RCVBUFFORCE, [8 << 20, 0], 4);
        let host_port = listener.local_addr().map_err(|e| text(&e))?.port();
        let mut guest = Self {
            flow: Flow::on(path, mem, 1, tap),
            host_mac,
            host_port,
            start: 1000,
            ack: 0,
            sent: 0,
        };
        guest.handshake()?;
        let (host, _) = listener.accept().map_err(|e| text(&e))?;
        // No message is sent when it is closed.
        option(host.as_raw_fd(), libc::SO_LINGER, [1, 0], 8);
        let wait = Some(Duration::from_secs(10));
        host.set_read_timeout(wait).map_err(|e| text(&e))?;
        Ok((guest, host))
    }

    fn handshake(&mut self) -> Outcome {
        let at = GPA + SIZE as u64 / 2;
        let buffers: Vec<[Piece; 1]> = (0..8).map(|i| [(at + i * 4096, 4096, 0)]).collect();
        self.flow
            .net
            .rx_post(&buffers.iter().map(|b| &b[..]).collect::<Vec<_>>());
        // The maximum segment size, and windows in units of 1024.
        let options = [2, 4, 5, 0xb4, 1, 3, 3, 10];
        self.segment(self.start - 1, SYN, &options, &[])?;
        self.flow.flush()?;
        loop {
            let used = self.flow.net.ring(RX).wait_used();
            let (head, len) = used.ok_or("no answer to a SYN")?;
            let got = self
                .flow
                .net
                .ring(RX)
                .mem
                .read(at + u64::from(head) * 4096, len as usize);
            let tcp = &got[12 + 14 + 20..];
            if got[24..26] == [8, 0] && tcp.len() >= 20 && tcp[13] & (SYN | ACK) == SYN | ACK {
                let seq = u32::from_be_bytes([tcp[4], tcp[5], tcp[6], tcp[7]]);
                self.ack = seq.wrapping_add(1);
                break;
            }
        }
        self.segment(self.start, ACK, &[], &[])?;
        self.flow.flush()
    }

    /// Adds a segment to the ring, to be segmented further if it is longer than the maximum.
    fn segment(&mut self, seq: u32, flags: u8, options: &[u8], payload: &[u8]) -> Outcome {
        let tcp_len = 20 + options.len() + payload.len();
        let mut ip = [
            0x45, 0, 0, 0, 0, 1, 0x40, 0, 64, 6, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        ];
        ip[2..4].copy_from_slice(&(20 + tcp_len as u16).to_be_bytes());
        ip[12..16].copy_from_slice(&GUEST);
        ip[16..20].copy_from_slice(&HOST);
        let sum = ones_sum(&ip, 0);
        ip[10..12].copy_from_slice(&(!sum).to_be_bytes());
        let mut pseudo = ip[12..20].to_vec();
        pseudo.extend([0, 6]);
        pseudo.extend((tcp_len as u16).to_be_bytes());
        let mut frame = self.host_mac.to_vec();
        frame.extend(GUEST_MAC);
        frame.extend([8, 0]);
        frame.extend(ip);
        frame.extend(GUEST_PORT.to_be_bytes());
        frame.extend(self.host_port.to_be_bytes());
        frame.extend(seq.to_be_bytes());
        frame.extend(self.ack.to_be_bytes());
        frame.extend([(20 + options.len() as u8) << 2, flags, 0xff, 0xff]);
        frame.extend(ones_sum(&pseudo, 0).to_be_bytes());
        frame.extend([0, 0]);
        frame.extend(options);
        frame.extend(payload);
        // The checksum is partial.
        let mut hdr = [1, 0, 0, 0, 0, 0, 34, 0, 16, 0, 0, 0];
        if payload.len() > MSS {
            hdr[1] = 1;
            hdr[2] = HEADERS as u8;
            hdr[4..6].copy_from_slice(&(MSS as u16).to_le_bytes());
        }
        self.flow.put(&hdr, &frame)
    }

    /// Sends the next bytes in segments of these lengths, while the host has room. `read` is the
    /// number of bytes that the host has read.
    pub fn send(&mut self, host: &TcpStream, read: usize, lens: &[usize]) -> Outcome {
        for &len in lens {
            let payload = bytes(self.sent, len);
            let seq = self.start.wrapping_add(self.sent as u32);
            self.segment(seq, ACK | 8, &[], &payload)?;
            self.flow.flush()?;
            let all = self.sent + len;
            let end = Instant::now() + Duration::from_millis(300);
            loop {
                self.sent = read + waiting(host)?;
                ensure!(self.sent <= all, "{} bytes instead of {all}", self.sent);
                if self.sent == all {
                    break;
                }
                if Instant::now() > end {
                    return Ok(());
                }
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        Ok(())
    }
}

/// The number of bytes that wait to be read.
fn waiting(host: &TcpStream) -> Result<usize, String> {
    let mut count = 0i32;
    let at = std::ptr::from_mut(&mut count);
    // SAFETY: A number.
    match unsafe { libc::ioctl(host.as_raw_fd(), libc::FIONREAD, at) } {
        0 => Ok(count as usize),
        _ => Err(format!("FIONREAD: {:?}", Errno::last())),
    }
}
