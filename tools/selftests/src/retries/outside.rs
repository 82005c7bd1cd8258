// SPDX-License-Identifier: GPL-2.0

//! Packet sockets, whose frames the interface may refuse.

use super::{given_up, mostly_sleeps, C, GIVEN_UP, LITTLE};
use crate::{
    diag, ensure, ensure_eq,
    guest::Memory,
    net::{frame, Tap, Wire, SOL_PACKET},
    setup::{worker_time, Net, Options, BUFFERS},
    tap::{Outcome, Suite},
    vhost::*,
};
use std::{
    os::fd::AsRawFd,
    process::Command,
    time::{Duration, Instant},
};

const PACKET_RX_RING: i32 = 5;

pub(super) fn run(suite: &mut Suite, path: &str) {
    suite.case_c_fails("a packet socket whose frames are dropped", C, || {
        filtered(path)
    });
    suite.case_c_fails("a packet socket with room for two frames", C, || {
        congested(path)
    });
    suite.case_c_fails(
        "a packet socket with a ring to receive into",
        "the worker spins: what it waits for is there, and never comes",
        || ring_elsewhere(path),
    );
}

/// A device on a packet socket, on the interface of a tap through which the other side is read and
/// written.
struct Outside<'m> {
    net: Net<'m>,
    lower: Tap,
}

impl<'m> Outside<'m> {
    fn new(path: &str, mem: &'m Memory, option: impl FnOnce(&Wire)) -> Self {
        let lower = Tap::new(0);
        // Its header is that of legacy virtio, of ten bytes.
        let net = Net::prepare(Vhost::open(path), mem, Options::new(0), false);
        let sock = Wire::new(&lower, true);
        option(&sock);
        for index in [RX, TX] {
            net.dev
                .set_backend(index, sock.as_raw_fd())
                .expect("backend");
        }
        Self { net, lower }
    }

    /// Adds a program or a queueing discipline to the interface.
    fn tc(&self, words: &str) -> Outcome {
        let words = words.replace("DEV", &self.lower.name);
        let done = Command::new("tc").args(words.split(' ')).output();
        let done = done.map_err(|e| format!("tc: {e}"))?;
        let said = String::from_utf8_lossy(&done.stderr);
        ensure!(done.status.success(), "tc {words}: {said}");
        Ok(())
    }

    /// The next frame that the interface sends.
    fn leaves(&self, millis: u128) -> Option<Vec<u8>> {
        let mut got = vec![0u8; 2048];
        if !readable(&self.lower, millis as i32) {
            return None;
        }
        // SAFETY: Room for that much.
        let n = unsafe { libc::read(self.lower.as_raw_fd(), got.as_mut_ptr().cast(), got.len()) };
        got.truncate(usize::try_from(n).ok()?);
        Some(got)
    }

    /// Sends a frame to the interface.
    fn enters(&self, frame: &[u8]) -> Outcome {
        // SAFETY: The frame is readable.
        let n = unsafe { libc::write(self.lower.as_raw_fd(), frame.as_ptr().cast(), frame.len()) };
        ensure_eq!(n, frame.len() as isize, "written");
        Ok(())
    }

    /// Checks that a frame is received complete.
    fn check_rx(&mut self, nth: u32) -> Outcome {
        let (hdr, at) = (self.net.options.hdr(), BUFFERS + 0x10_0000);
        self.net.rx_post(&[&[(at, 2048, 0)]]);
        self.enters(&frame(nth, 300))?;
        let used = self
            .net
            .ring(RX)
            .wait_used()
            .ok_or("nothing was received")?;
        ensure_eq!(used.1 as usize, hdr + 300, "used length");
        let got = self.net.ring(RX).mem.read(at + hdr as u64, 300);
        ensure!(got == frame(nth, 300), "received: changed");
        Ok(())
    }

    /// Checks that a frame is sent complete.
    fn check_tx(&mut self, nth: u32) -> Outcome {
        self.net.tx(BUFFERS, &frame(nth, 200));
        let used = self.net.ring(TX).wait_used().ok_or("no used entry")?;
        ensure_eq!(used.1, 0, "used length");
        ensure_eq!(self.leaves(4000), Some(frame(nth, 200)), "what was sent");
        Ok(())
    }
}

/// An egress filter, as firewalls use it.
fn filtered(path: &str) -> Outcome {
    let mem = Memory::new();
    let mut on = Outside::new(path, &mem, |_| {});
    on.check_tx(1)?;
    on.check_rx(2)?;
    on.tc("qdisc add dev DEV clsact")?;
    on.tc("filter add dev DEV egress matchall action drop")?;
    let drops = on.net.counter("tx-drops");
    let since = Instant::now();
    on.net.tx(BUFFERS, &frame(3, 200));
    let mut meanwhile = 0;
    for nth in 10..20 {
        on.check_rx(nth)?;
        meanwhile += u32::from(on.net.ring(TX).pop_used().is_none());
    }
    diag!("{meanwhile} received meanwhile");
    ensure!(meanwhile > 0, "nothing was received meanwhile");
    given_up(&mut on.net, since)?;
    ensure_eq!(on.net.counter("tx-drops")?, drops? + 1, "packets lost");
    // The next frame, with nothing else to do.
    let since = Instant::now();
    on.net.tx(BUFFERS, &frame(4, 200));
    mostly_sleeps()?;
    given_up(&mut on.net, since)?;
    on.tc("qdisc del dev DEV clsact")?;
    ensure_eq!(on.leaves(100), None, "what was dropped");
    on.check_tx(5)?;
    on.check_rx(6)
}

/// A short queue that another process empties: frames without room wait for it, in order.
fn congested(path: &str) -> Outcome {
    const FRAMES: u32 = 6;
    let mem = Memory::new();
    let mut on = Outside::new(path, &mem, |_| {});
    on.check_tx(100)?;
    on.tc("qdisc replace dev DEV root netem delay 100ms limit 2")?;
    let hdr = on.net.options.hdr();
    let old = on.net.ring(TX).avail_idx();
    for nth in 0..FRAMES {
        let at = BUFFERS + u64::from(nth) * 2048;
        let mut data = vec![0; hdr];
        data.extend(frame(nth, 200));
        mem.write(at, &data);
        on.net.ring(TX).add(&[(at, data.len() as u32, 0)]);
    }
    let (since, before) = (Instant::now(), worker_time());
    on.net.submit(TX, old);
    for nth in 0..FRAMES {
        let got = on.leaves(GIVEN_UP.as_millis());
        ensure_eq!(got, Some(frame(nth, 200)), "frame {nth}");
    }
    let (took, spent) = (since.elapsed(), worker_time() - before);
    diag!("{FRAMES} frames in {took:?}, and {spent:?} of the worker's");
    // Two frames are in flight at a time.
    ensure!(took > Duration::from_millis(300), "it took {took:?} only");
    ensure!(spent < LITTLE, "the worker spins: {spent:?} of {took:?}");
    for _ in 0..FRAMES {
        let used = on.net.ring(TX).wait_used();
        ensure_eq!(used.map(|u| u.1), Some(0), "used length");
    }
    ensure_eq!(on.net.counter("tx-drops")?, 0, "packets lost");
    on.tc("qdisc del dev DEV root")?;
    on.check_tx(7)?;
    on.check_rx(8)
}

/// Frames go to a ring that the owner of the socket has mapped, and still make the socket
/// readable.
fn ring_elsewhere(path: &str) -> Outcome {
    let mem = Memory::new();
    let mut on = Outside::new(path, &mem, |sock| {
        // Block size, number of blocks, frame size, number of frames.
        sock.option(SOL_PACKET, PACKET_RX_RING, [4096u32, 4, 2048, 8]);
    });
    on.check_tx(1)?;
    on.net.rx_post(&[&[(BUFFERS + 0x10_0000, 2048, 0)]]);
    on.enters(&frame(2, 300))?;
    std::thread::sleep(Duration::from_millis(20));
    mostly_sleeps()?;
    let since = Instant::now();
    for nth in 3..8 {
        on.check_tx(nth)?;
        on.enters(&frame(nth, 300))?;
    }
    ensure!(since.elapsed() < GIVEN_UP, "sent in {:?}", since.elapsed());
    mostly_sleeps()?;
    ensure_eq!(on.net.ring(RX).used_idx(), 0, "buffers received into");
    Ok(())
}
