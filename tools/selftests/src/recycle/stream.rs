// SPDX-License-Identifier: GPL-2.0

//! Data that the host reads without a copy: a TCP stream, spliced into pipes, or mapped.

use super::{
    held::{pass, MIXED},
    pattern::same,
    tcp::{bytes, Guest},
};
use crate::{
    diag, ensure,
    guest::Memory,
    net::Tap,
    tap::{Outcome, Suite},
    vhost::Errno,
};
use std::{
    fs::File,
    io::Read,
    net::TcpStream,
    os::fd::{AsRawFd, FromRawFd},
    ptr,
    result::Result,
};

/// The lengths of the segments of a stream; the first ones open the window.
const LENS: [usize; 12] = [
    100, 1448, 7, 1, 1448, 3000, 9000, 20_000, 1448, 30_000, 500, 60_000,
];

pub fn run(suite: &mut Suite, path: &str) {
    for (what, polled) in [("a tap", false), ("a tap with NAPI", true)] {
        suite.case(&format!("TCP through {what}, read late"), || {
            read_late(path, polled)
        });
        suite.case(&format!("TCP through {what}, spliced and doubled"), || {
            spliced(path, polled)
        });
    }
    suite.case("TCP, received by mapping", || mapped(path));
}

fn tap(polled: bool) -> Tap {
    if polled {
        Tap::polled(12, false)
    } else {
        Tap::new(12)
    }
}

/// Reads that much of the stream, beginning at `from`.
fn check(from: usize, len: usize, mut source: impl Read) -> Outcome {
    let mut got = vec![0; len];
    let read = source.read_exact(&mut got);
    read.map_err(|e| format!("{len} bytes from {from} on: {e}"))?;
    same(&bytes(from, len), &got).map_err(|e| format!("the stream from {from} on: {e}"))
}

fn read_late(path: &str, polled: bool) -> Outcome {
    let mem = Memory::new();
    let (mut guest, host) = Guest::connect(path, &mem, tap(polled))?;
    let mut read = 0;
    for round in 0..6 {
        for _ in 0..=round {
            guest.send(&host, read, &LENS)?;
        }
        pass(&mut guest.flow, &MIXED, 20)?;
        let len = guest.sent - read;
        check(read, len, &host)?;
        read += len;
    }
    diag!("{read} bytes");
    ensure!(read > 1_000_000, "{read} bytes only");
    Ok(())
}

/// The two ends of a pipe of maximum size.
fn pipe() -> Result<[File; 2], String> {
    let mut fds = [0; 2];
    // SAFETY: Two numbers.
    if unsafe { libc::pipe2(fds.as_mut_ptr(), libc::O_CLOEXEC | libc::O_NONBLOCK) } != 0 {
        return Err(format!("pipe: {:?}", Errno::last()));
    }
    // SAFETY: No pointers.
    unsafe { libc::fcntl(fds[0], libc::F_SETPIPE_SZ, 1 << 20) };
    // SAFETY: Just made.
    Ok(fds.map(|fd| unsafe { File::from_raw_fd(fd) }))
}

/// Splices as many of the `len` waiting bytes as fit into a pipe.
fn splice(host: &TcpStream, pipe: &File, len: usize) -> Result<usize, String> {
    let (from, to) = (host.as_raw_fd(), pipe.as_raw_fd());
    let flags = libc::SPLICE_F_NONBLOCK | libc::SPLICE_F_MOVE;
    let mut all = 0;
    // Otherwise it would wait for more.
    while all < len {
        let (rest, none) = (len - all, ptr::null_mut());
        // SAFETY: No places in either.
        let len = unsafe { libc::splice(from, none, to, none, rest, flags) };
        match len {
            1.. => all += len as usize,
            _ if all > 0 => break,
            _ => return Err(format!("splice: {:?}", Errno::last())),
        }
    }
    Ok(all)
}

fn spliced(path: &str, polled: bool) -> Outcome {
    let mem = Memory::new();
    let (mut guest, host) = Guest::connect(path, &mem, tap(polled))?;
    let mut read = 0;
    let mut doubled = 0;
    for _ in 0..8 {
        guest.send(&host, read, &LENS)?;
        let [held, into] = pipe()?;
        let [twice, again] = pipe()?;
        let (from, len) = (read, splice(&host, &into, guest.sent - read)?);
        read += len;
        // SAFETY: No pointers.
        let more = unsafe { libc::tee(held.as_raw_fd(), again.as_raw_fd(), len, 0) };
        doubled += usize::try_from(more).unwrap_or(0);
        pass(&mut guest.flow, &MIXED, 10)?;
        // Bytes that are not spliced are read, while the others wait.
        guest.send(&host, read, &LENS)?;
        let rest = guest.sent - read;
        check(read, rest, &host)?;
        read += rest;
        check(from, len, &held)?;
        pass(&mut guest.flow, &MIXED, 10)?;
        check(from, usize::try_from(more).unwrap_or(0), &twice)?;
    }
    diag!("{read} bytes, of which {doubled} were doubled");
    ensure!(doubled > 100_000, "{doubled} bytes doubled only");
    Ok(())
}

/// `struct tcp_zerocopy_receive`, as far as needed.
#[repr(C)]
#[derive(Default)]
struct Zerocopy {
    address: u64,
    length: u32,
    skip_hint: u32,
    inq: u32,
    err: i32,
}

const TCP_ZEROCOPY_RECEIVE: i32 = 35;
const WINDOW: usize = 4 << 20;

/// Where the kernel accepts whole pages, they are mapped into the receiver. They are checked again
/// after much more data.
fn mapped(path: &str) -> Outcome {
    let mem = Memory::new();
    let (mut guest, host) = Guest::connect(path, &mem, tap(false))?;
    let (fd, shared) = (host.as_raw_fd(), libc::MAP_SHARED);
    // SAFETY: A new mapping.
    let at = unsafe { libc::mmap(ptr::null_mut(), WINDOW, libc::PROT_READ, shared, fd, 0) };
    ensure!(at != libc::MAP_FAILED, "mmap: {:?}", Errno::last());
    let mut pages: Vec<(usize, usize, usize)> = Vec::new();
    let (mut read, mut used) = (0, 0);
    for _ in 0..10 {
        guest.send(&host, read, &LENS)?;
        while read < guest.sent {
            let mut ask = Zerocopy {
                address: at as u64 + used as u64,
                length: (guest.sent - read).next_multiple_of(4096) as u32,
                ..Zerocopy::default()
            };
            let mut len = size_of::<Zerocopy>() as u32;
            // SAFETY: A request of that length.
            let ret = unsafe {
                libc::getsockopt(
                    fd,
                    libc::IPPROTO_TCP,
                    TCP_ZEROCOPY_RECEIVE,
                    ptr::from_mut(&mut ask).cast(),
                    &mut len,
                )
            };
            ensure!(ret == 0, "TCP_ZEROCOPY_RECEIVE: {:?}", Errno::last());
            let (len, skip) = (ask.length as usize, ask.skip_hint as usize);
            pages.extend((len > 0).then_some((used, read, len)));
            used += len;
            read += len;
            ensure!(len + skip > 0, "neither mapped nor to be read at {read}");
            let skip = skip.min(guest.sent - read);
            check(read, skip, &host)?;
            read += skip;
        }
        pass(&mut guest.flow, &MIXED, 5)?;
    }
    for &(place, from, len) in &pages {
        // SAFETY: In the mapping.
        let got = unsafe { std::slice::from_raw_parts(at.cast::<u8>().add(place), len) };
        same(&bytes(from, len), got).map_err(|e| format!("mapped from {from} on: {e}"))?;
    }
    diag!("{read} bytes, of which {used} were mapped");
    // SAFETY: Ours.
    unsafe { libc::munmap(at, WINDOW) };
    ensure!(read > 1_000_000, "{read} bytes only");
    Ok(())
}
