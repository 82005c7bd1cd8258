// SPDX-License-Identifier: GPL-2.0

//! The host: measures.

use crate::wire::{self, Arrived, Kind, Request, MOST, PORT};
use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, TcpStream, UdpSocket},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

/// A measurement.
#[derive(Clone, Copy)]
pub enum Row {
    /// `tcp-in-N`: bytes per second to the guest, over N connections at once.
    TcpIn(u16),
    /// `tcp-out-N`: the same from the guest.
    TcpOut(u16),
    /// `udp-in-N`: datagrams of N bytes per second that arrive in the guest.
    UdpIn(u16),
    /// `udp-out-N`: the same from the guest to the host.
    UdpOut(u16),
    /// `rr-N`: round trips per second of a message of N bytes, one at a time.
    RoundTrips(u16),
}

impl Row {
    pub fn parse(name: &str) -> Option<Self> {
        let (kind, number) = name.rsplit_once('-')?;
        let number = number
            .parse()
            .ok()
            .filter(|n| (1..=MOST as u16).contains(n))?;
        Some(match kind {
            "tcp-in" => Self::TcpIn(number),
            "tcp-out" => Self::TcpOut(number),
            "udp-in" => Self::UdpIn(number),
            "udp-out" => Self::UdpOut(number),
            "rr" => Self::RoundTrips(number),
            _ => return None,
        })
    }

    /// The rate that the receiver reports.
    pub fn measure(self, guest: Ipv4Addr, time: Duration) -> io::Result<f64> {
        match self {
            Self::TcpIn(count) => at_once(count, || stream_in(guest, time)),
            Self::TcpOut(count) => at_once(count, || stream_out(guest, time)),
            Self::UdpIn(len) => datagrams_in(guest, len, time),
            Self::UdpOut(len) => datagrams_out(guest, len, time),
            Self::RoundTrips(len) => round_trips(guest, len, time),
        }
    }
}

/// The sum of `count` measurements at the same time.
fn at_once(count: u16, one: impl Fn() -> io::Result<f64> + Sync) -> io::Result<f64> {
    thread::scope(|scope| {
        let all: Vec<_> = (0..count).map(|_| scope.spawn(&one)).collect();
        let rates = all.into_iter().map(|t| t.join().expect("a thread"));
        rates.sum()
    })
}

fn ask(guest: Ipv4Addr, kind: Kind, time: Duration, len: u16, port: u16) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect((guest, PORT))?;
    wire::patient(&stream)?;
    let request = Request {
        kind,
        millis: time.as_millis() as u32,
        len,
        port,
    };
    request.send(&mut stream)?;
    Ok(stream)
}

fn stream_in(guest: Ipv4Addr, time: Duration) -> io::Result<f64> {
    let mut stream = ask(guest, Kind::Take, time, 0, 0)?;
    wire::give(&mut stream, time)?;
    Arrived::receive(&mut stream)?.rate()
}

fn stream_out(guest: Ipv4Addr, time: Duration) -> io::Result<f64> {
    let mut stream = ask(guest, Kind::Give, time, 0, 0)?;
    wire::take(&mut stream)?.rate()
}

fn round_trips(guest: Ipv4Addr, len: u16, time: Duration) -> io::Result<f64> {
    let mut stream = ask(guest, Kind::Answer, time, len, 0)?;
    let mut message = vec![0x5a; usize::from(len)];
    let started = Instant::now();
    let mut count = 0.0;
    while started.elapsed() < time {
        stream.write_all(&message)?;
        stream.read_exact(&mut message)?;
        count += 1.0;
    }
    Ok(count / started.elapsed().as_secs_f64())
}

fn datagrams_in(guest: Ipv4Addr, len: u16, time: Duration) -> io::Result<f64> {
    let mut stream = ask(guest, Kind::TakeDatagrams, time, len, 0)?;
    let mut port = [0; 2];
    stream.read_exact(&mut port)?;
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.connect((guest, u16::from_le_bytes(port)))?;
    wire::give_datagrams(&socket, len, time)?;
    stream.write_all(&[0])?;
    Arrived::receive(&mut stream)?.rate()
}

fn datagrams_out(guest: Ipv4Addr, len: u16, time: Duration) -> io::Result<f64> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    let port = socket.local_addr()?.port();
    let mut stream = ask(guest, Kind::GiveDatagrams, time, len, port)?;
    let over = AtomicBool::new(false);
    let arrived = thread::scope(|scope| {
        let (socket, over) = (&socket, &over);
        let counter = scope.spawn(move || wire::take_datagrams(socket, over));
        let told = stream.read_exact(&mut [0]);
        over.store(true, Ordering::Relaxed);
        let arrived = counter.join().expect("the counter goes on");
        told.and(arrived)
    })?;
    arrived.rate()
}
