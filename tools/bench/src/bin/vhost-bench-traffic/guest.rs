// SPDX-License-Identifier: GPL-2.0

//! The guest: serves requests.

use crate::wire::{self, Kind, Request, PORT};
use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket},
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

/// Serves requests, each in its own thread.
pub fn serve() -> io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT))?;
    println!("guest: serves");
    for stream in listener.incoming() {
        let stream = stream?;
        thread::spawn(move || {
            if let Err(e) = answer(stream) {
                println!("guest: failed {e}");
            }
        });
    }
    Ok(())
}

fn answer(mut stream: TcpStream) -> io::Result<()> {
    wire::patient(&stream)?;
    let request = Request::receive(&mut stream)?;
    match request.kind {
        Kind::Take => wire::take(&mut stream)?.send(&mut stream),
        Kind::Give => wire::give(&mut stream, request.time()),
        Kind::Answer => answer_messages(&mut stream, request.len),
        Kind::TakeDatagrams => take_datagrams(&mut stream),
        Kind::GiveDatagrams => {
            let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
            socket.connect((stream.peer_addr()?.ip(), request.port))?;
            wire::give_datagrams(&socket, request.len, request.time())?;
            stream.write_all(&[0])
        }
    }
}

/// Returns each message until the stream ends.
fn answer_messages(stream: &mut TcpStream, len: u16) -> io::Result<()> {
    let mut message = vec![0; usize::from(len)];
    loop {
        match stream.read_exact(&mut message) {
            Ok(()) => stream.write_all(&message)?,
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            Err(e) => return Err(e),
        }
    }
}

fn take_datagrams(stream: &mut TcpStream) -> io::Result<()> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    let over = AtomicBool::new(false);
    let arrived = thread::scope(|scope| {
        let (socket, over) = (&socket, &over);
        let counter = scope.spawn(move || wire::take_datagrams(socket, over));
        let told = stream
            .write_all(&socket.local_addr()?.port().to_le_bytes())
            .and_then(|()| stream.read_exact(&mut [0]));
        over.store(true, Ordering::Relaxed);
        let arrived = counter.join().expect("the counter goes on");
        told.and(arrived)
    })?;
    arrived.send(stream)
}
