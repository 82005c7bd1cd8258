// SPDX-License-Identifier: GPL-2.0

//! Requests of the host to the guest, results, and the transfers that both ends do.

use std::{
    io::{self, Read, Write},
    net::{TcpStream, UdpSocket},
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

/// Where the guest listens.
pub const PORT: u16 = 7100;
/// The length of one write to a stream.
pub const CHUNK: usize = 1 << 16;
/// The longest payload of a datagram that an Ethernet frame holds.
pub const MOST: usize = 1472;
/// The receiver answers each datagram of this number, and the sender waits for the answer. Without
/// a window the sender would only measure how many datagrams the other end drops.
const WINDOW: u64 = 64;
/// After this time without an answer a datagram was lost.
const LOST: Duration = Duration::from_millis(50);
/// The timeout of every read and write of a stream.
const PATIENCE: Duration = Duration::from_secs(20);

/// A request to the guest. A stream uses the connection of its request.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Read a stream and report the result.
    Take,
    /// Write a stream.
    Give,
    /// Return each message.
    Answer,
    /// Receive datagrams at a port that the guest chooses and reports, until the host sends a
    /// byte, and report the result.
    TakeDatagrams,
    /// Send datagrams to a port of the host's.
    GiveDatagrams,
}

/// A request: the kind, the duration, the length of each message, and a port.
#[derive(Clone, Copy)]
pub struct Request {
    pub kind: Kind,
    pub millis: u32,
    pub len: u16,
    pub port: u16,
}

impl Request {
    pub fn time(&self) -> Duration {
        Duration::from_millis(self.millis.into())
    }

    pub fn send(&self, to: &mut TcpStream) -> io::Result<()> {
        let mut bytes = vec![self.kind as u8];
        bytes.extend(self.millis.to_le_bytes());
        bytes.extend(self.len.to_le_bytes());
        bytes.extend(self.port.to_le_bytes());
        to.write_all(&bytes)
    }

    pub fn receive(from: &mut TcpStream) -> io::Result<Self> {
        let mut bytes = [0; 9];
        from.read_exact(&mut bytes)?;
        let [kind, a, b, c, d, e, f, g, h] = bytes;
        let kinds = [
            Kind::Take,
            Kind::Give,
            Kind::Answer,
            Kind::TakeDatagrams,
            Kind::GiveDatagrams,
        ];
        let kind = kinds.into_iter().find(|k| *k as u8 == kind);
        Ok(Self {
            kind: kind.ok_or_else(|| io::Error::other("no such request"))?,
            millis: u32::from_le_bytes([a, b, c, d]),
            len: u16::from_le_bytes([e, f]),
            port: u16::from_le_bytes([g, h]),
        })
    }
}

/// A result: the bytes or datagrams after the first read, and the nanoseconds from the first read
/// to the last one.
#[derive(Default)]
pub struct Arrived {
    count: u64,
    nanos: u64,
}

impl Arrived {
    /// Bytes or datagrams per second.
    pub fn rate(&self) -> io::Result<f64> {
        if self.count == 0 || self.nanos == 0 {
            return Err(io::Error::other("nothing came"));
        }
        Ok(self.count as f64 * 1e9 / self.nanos as f64)
    }

    pub fn send(&self, to: &mut TcpStream) -> io::Result<()> {
        to.write_all(&self.count.to_le_bytes())?;
        to.write_all(&self.nanos.to_le_bytes())
    }

    pub fn receive(from: &mut TcpStream) -> io::Result<Self> {
        let (mut count, mut nanos) = ([0; 8], [0; 8]);
        from.read_exact(&mut count)?;
        from.read_exact(&mut nanos)?;
        Ok(Self {
            count: u64::from_le_bytes(count),
            nanos: u64::from_le_bytes(nanos),
        })
    }
}

/// Sets the options of a stream.
pub fn patient(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))
}

/// Reads a stream to its end. The first read only starts the clock.
pub fn take(from: &mut TcpStream) -> io::Result<Arrived> {
    let mut buf = vec![0; 4 * CHUNK];
    let mut arrived = Arrived::default();
    if from.read(&mut buf)? == 0 {
        return Ok(arrived);
    }
    let started = Instant::now();
    loop {
        let len = from.read(&mut buf)?;
        if len == 0 {
            return Ok(arrived);
        }
        arrived.count += len as u64;
        arrived.nanos = started.elapsed().as_nanos() as u64;
    }
}

/// Writes a stream for this time and ends it.
pub fn give(to: &mut TcpStream, time: Duration) -> io::Result<()> {
    let buf = vec![0x5a; CHUNK];
    let end = Instant::now() + time;
    while Instant::now() < end {
        to.write_all(&buf)?;
    }
    to.shutdown(std::net::Shutdown::Write)
}

/// Receives datagrams and answers the last one of each window, until `over` is set and no more
/// arrive.
pub fn take_datagrams(from: &UdpSocket, over: &AtomicBool) -> io::Result<Arrived> {
    from.set_read_timeout(Some(LOST))?;
    let mut buf = [0; MOST];
    let mut arrived = Arrived::default();
    let mut started = None;
    let mut total = 0u64;
    loop {
        match from.recv_from(&mut buf) {
            Ok((_, sender)) => {
                total += 1;
                match started {
                    None => started = Some(Instant::now()),
                    Some(started) => {
                        arrived.count += 1;
                        arrived.nanos = started.elapsed().as_nanos() as u64;
                    }
                }
                if total % WINDOW == 0 {
                    from.send_to(&[0], sender)?;
                }
            }
            Err(e) if e.kind() != io::ErrorKind::WouldBlock => return Err(e),
            Err(_) if over.load(Ordering::Relaxed) => return Ok(arrived),
            Err(_) => {}
        }
    }
}

/// Sends datagrams for this time, one window after the other. A datagram that the socket has no
/// room for is dropped.
pub fn give_datagrams(from: &UdpSocket, len: u16, time: Duration) -> io::Result<()> {
    from.set_read_timeout(Some(LOST))?;
    let buf = vec![0x5a; usize::from(len)];
    let end = Instant::now() + time;
    while Instant::now() < end {
        for _ in 0..WINDOW {
            let _ = from.send(&buf);
        }
        // After a timeout some datagram was lost, and the next window follows.
        let _ = from.recv(&mut [0]);
    }
    Ok(())
}
