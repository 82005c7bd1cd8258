// SPDX-License-Identifier: GPL-2.0

//! Entries about frames that a tap gets, and about taps that are deleted.

use super::err;
use crate::{
    changes::flood,
    diag, ensure, ensure_eq,
    guest::Memory,
    idle::sleeps,
    link::{Upper, Verdict, Xdp},
    net::{frame, Tap},
    pages,
    setup::{Net, Options, BUFFERS, SLOW},
    tap::Outcome,
    vhost::*,
};
use std::{
    os::fd::AsRawFd,
    result::Result,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

/// The number of frames that are too short or dropped.
const FRAMES: u32 = 30_000;
/// On a slow kernel: the number that is enough to tell a leak from other changes.
const ENOUGH: u32 = 4_000;

/// Sends frames of each length below `below`, in turn, and takes the buffers back.
fn sweep(net: &mut Net<'_>, frames: u32, below: u32) -> Outcome {
    const LOST: &str = "a frame's buffer did not come back";
    let mut old = net.ring(TX).avail_idx();
    for i in 0..frames {
        if net.ring(TX).free() == 0 {
            net.submit(TX, old);
            while net.ring(TX).free() < net.options.size / 2 {
                net.ring(TX).wait_used().ok_or(LOST)?;
            }
            old = net.ring(TX).avail_idx();
        }
        net.ring(TX).add(&[(BUFFERS, 12 + i % below, 0)]);
    }
    net.submit(TX, old);
    while net.ring(TX).free() < net.options.size {
        net.ring(TX).wait_used().ok_or(LOST)?;
    }
    Ok(())
}

/// Checks that no pages are lost by many frames of each length below `below`, none of which is
/// delivered. 64 of them share eight pages, or 42 where an XDP program may request headroom. So
/// each leaked frame costs more than a tenth of a page.
fn no_page_lost(net: &mut Net<'_>, below: u32) -> Outcome {
    net.ring(TX).mem.write(BUFFERS, &[0; 128]);
    // Pages that are kept for reuse are allocated before the first count.
    sweep(net, 1000, below)?;
    let before = pages::free();
    let slow = SLOW.load(Ordering::Relaxed);
    let frames = if slow { ENOUGH } else { FRAMES };
    sweep(net, frames, below)?;
    let few = i64::from(frames / 50);
    let lost = pages::lost(before, few);
    diag!("{lost} pages fewer after {frames} frames");
    ensure!(lost < few, "{lost} pages are gone");
    Ok(())
}

pub(super) fn short_frames(path: &str) -> Outcome {
    let mem = Memory::new();
    let mut net = Net::start(path, &mem, Options::new(F_VERSION_1));
    no_page_lost(&mut net, 14)?;
    ensure!(net.wire.recv(100).is_none(), "a short frame arrived");
    net.check_tx(1)?;
    net.check_rx(2, 300)
}

pub(super) fn short_frames_xdp(path: &str) -> Outcome {
    let mem = Memory::new();
    let mut net = Net::start(path, &mem, Options::new(F_VERSION_1));
    let pass = Xdp::attach(&net.tap, Verdict::Pass)?;
    no_page_lost(&mut net, 14)?;
    ensure!(net.wire.recv(100).is_none(), "a short frame arrived");
    net.check_tx(1)?;
    net.check_rx(2, 300)?;
    drop(pass);
    // That no frame passes shows that the frames reach the program.
    let all = Xdp::attach(&net.tap, Verdict::Drop)?;
    no_page_lost(&mut net, 61)?;
    net.tx(BUFFERS, &frame(3, 200));
    net.ring(TX).wait_used().ok_or("no used entry")?;
    ensure!(net.wire.recv(200).is_none(), "a dropped frame arrived");
    drop(all);
    net.check_tx(4)
}

/// A device on a macvtap over a tap. The other side is read and written through the tap's file.
struct Stacked<'m> {
    net: Net<'m>,
    upper: Upper,
    lower: Tap,
}

impl<'m> Stacked<'m> {
    fn new(path: &str, mem: &'m Memory) -> Result<Self, String> {
        let lower = Tap::new(0);
        let upper = Upper::macvtap(&lower, 12)?;
        let net = Net::start(path, mem, Options::new(F_VERSION_1));
        for queue in [RX, TX] {
            let fd = upper.as_raw_fd();
            net.dev.set_backend(queue, fd).map_err(err)?;
        }
        Ok(Self { net, upper, lower })
    }

    /// The next frame that arrives at the tap.
    fn below(&self, millis: i32) -> Option<Vec<u8>> {
        let mut got = vec![0u8; 2000];
        if !readable(&self.lower, millis) {
            return None;
        }
        // SAFETY: Room for that much.
        let n = unsafe { libc::read(self.lower.as_raw_fd(), got.as_mut_ptr().cast(), got.len()) };
        got.truncate(usize::try_from(n).ok()?);
        Some(got)
    }

    /// Sends one frame in each direction.
    fn check(&mut self) -> Outcome {
        let sent = frame(5, 200);
        self.net.tx(BUFFERS, &sent);
        let used = self.net.ring(TX).wait_used();
        used.ok_or("no used entry for TX")?;
        ensure_eq!(self.below(10_000), Some(sent), "what left below");
        let sent = frame(6, 400);
        self.net.rx_post(&[&[(BUFFERS, 2048, 0)]]);
        // SAFETY: The frame is readable.
        let n = unsafe { libc::write(self.lower.as_raw_fd(), sent.as_ptr().cast(), sent.len()) };
        ensure_eq!(n, sent.len() as isize, "what was taken below");
        let used = self.net.ring(RX).wait_used();
        ensure_eq!(used.map(|u| u.1), Some(412), "used length");
        let got = self.net.ring(RX).mem.read(BUFFERS + 12, 400);
        ensure!(got == sent, "the frame arrived changed");
        Ok(())
    }
}

pub(super) fn short_frames_macvtap(path: &str) -> Outcome {
    let mem = Memory::new();
    let mut stacked = Stacked::new(path, &mem)?;
    stacked.check()?;
    no_page_lost(&mut stacked.net, 14)?;
    ensure!(stacked.below(100).is_none(), "a short frame left below");
    stacked.check()
}

/// Sends frames both ways through the device and deletes its interface.
fn removed_under(net: &mut Net<'_>, below: i32, delete: impl Fn() -> Outcome + Send) -> Outcome {
    let done = AtomicBool::new(false);
    let buffers: Vec<_> = (0..100u64)
        .map(|i| [(BUFFERS + 0x1_0000 + i * 2048, 2048, 0)])
        .collect();
    net.rx_post(&buffers.iter().map(|b| &b[..]).collect::<Vec<_>>());
    let (sent, deleted) = std::thread::scope(|scope| {
        let done = &done;
        let incoming = frame(2, 300);
        scope.spawn(move || {
            while !done.load(Ordering::Acquire) {
                // SAFETY: The frame is readable.
                unsafe { libc::write(below, incoming.as_ptr().cast(), incoming.len()) };
                std::thread::sleep(Duration::from_micros(200));
            }
        });
        let deleter = scope.spawn(move || {
            std::thread::sleep(Duration::from_millis(100));
            let deleted = delete();
            std::thread::sleep(Duration::from_millis(50));
            done.store(true, Ordering::Release);
            deleted
        });
        let sent = flood(net, || {
            std::thread::sleep(Duration::from_micros(200));
            !done.load(Ordering::Acquire)
        });
        (sent, deleter.join().expect("the deleter"))
    });
    deleted?;
    diag!("{sent} frames around it");
    ensure!(sent > 0, "nothing was sent");
    while net.ring(TX).free() < net.options.size {
        let used = net.ring(TX).wait_used_for(Duration::from_secs(4));
        used.ok_or("a buffer did not come back without the interface")?;
    }
    sleeps("the interface is gone")
}

fn works_with_another(net: &mut Net<'_>) -> Outcome {
    net.tap = Tap::new(12);
    net.wire = crate::net::Wire::new(&net.tap, false);
    net.restart();
    net.check_tx(2)?;
    net.check_rx(3, 600)
}

pub(super) fn tap_removed(path: &str) -> Outcome {
    let mem = Memory::new();
    let mut net = Net::start(path, &mem, Options::new(F_VERSION_1));
    let name = net.tap.name.clone();
    let wire = net.wire.as_raw_fd();
    removed_under(&mut net, wire, move || crate::link::delete(&name))?;
    works_with_another(&mut net)
}

pub(super) fn macvtap_removed(path: &str) -> Outcome {
    let mem = Memory::new();
    let mut stacked = Stacked::new(path, &mem)?;
    let (upper, below) = (&stacked.upper, stacked.lower.as_raw_fd());
    removed_under(&mut stacked.net, below, || upper.delete())?;
    works_with_another(&mut stacked.net)
}
