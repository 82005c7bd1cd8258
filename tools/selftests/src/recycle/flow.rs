// SPDX-License-Identifier: GPL-2.0

//! A guest that sends numbered frames and overwrites each buffer as soon as it is returned.

use super::pattern::Sent;
use crate::{
    ensure,
    guest::{Memory, Piece},
    net::{Tap, Wire},
    setup::{Net, Options, BUFFERS},
    tap::Outcome,
    vhost::*,
};
use vhost_selftests::guest::{GPA, SIZE};

/// The end of the transmit buffers: the end of the region.
const END: u64 = GPA + SIZE as u64 / 2;

/// A device that sends.
pub struct Flow<'m> {
    pub net: Net<'m>,
    pub sent: Sent,
    /// The address of the next packet.
    at: u64,
    old: u16,
    /// The number of packets that were written.
    put: usize,
    /// The longest segment of a packet.
    pub longest: usize,
}

impl<'m> Flow<'m> {
    pub fn start(path: &str, mem: &'m Memory, tag: u8) -> Self {
        Self::over(Net::start(path, mem, Options::new(F_VERSION_1)), tag)
    }

    /// A device on the caller's tap.
    pub fn on(path: &str, mem: &'m Memory, tag: u8, tap: Tap) -> Self {
        let mut net = Net::prepare(Vhost::open(path), mem, Options::new(F_VERSION_1), false);
        net.wire = Wire::new(&tap, false);
        net.tap = tap;
        net.attach();
        Self::over(net, tag)
    }

    pub fn over(mut net: Net<'m>, tag: u8) -> Self {
        let old = net.ring(TX).avail_idx();
        Self {
            net,
            sent: Sent::new(tag),
            at: BUFFERS,
            old,
            put: 0,
            longest: usize::MAX,
        }
    }

    /// Sends the next frame, of `len` bytes, and does not wait for its buffer.
    pub fn send(&mut self, len: usize) -> Outcome {
        let frame = self.sent.next(len);
        self.put(&[0; 12], &frame)
    }

    /// Sends frames of these lengths, and waits until their buffers are returned.
    pub fn send_all(&mut self, lens: impl IntoIterator<Item = usize>) -> Outcome {
        for len in lens {
            self.send(len)?;
        }
        self.flush()
    }

    /// Adds a packet to the ring: header and frame in one buffer of one, two or three segments.
    pub fn put(&mut self, hdr: &[u8], frame: &[u8]) -> Outcome {
        let hdr = &hdr[..self.net.options.hdr()];
        let len = hdr.len() + frame.len();
        // Room for the longest packet, and for two more cuts.
        let pieces = len / self.longest + 3;
        if usize::from(self.net.ring(TX).free()) < pieces || self.at + len as u64 + 64 > END {
            self.flush()?;
        }
        ensure!(self.at + len as u64 + 64 <= END, "no room for {len} bytes");
        // At any alignment.
        let at = self.at + self.put as u64 % 8;
        self.at = at + len as u64 + 17;
        let mem = self.net.rings[0].mem;
        mem.write_much(at, hdr);
        mem.write_much(at + hdr.len() as u64, frame);
        let cuts: &[usize] = match self.put % 3 {
            0 => &[len],
            1 => &[hdr.len(), len],
            _ => &[hdr.len(), hdr.len() + frame.len() / 3, len],
        };
        self.put += 1;
        let mut pieces: Vec<Piece> = Vec::new();
        let mut from = 0;
        for &to in cuts {
            while from < to {
                let now = (to - from).min(self.longest);
                pieces.push((at + from as u64, now as u32, 0));
                from += now;
            }
        }
        self.net.ring(TX).add(&pieces);
        Ok(())
    }

    /// Sends one frame of `len` bytes, which has no number, that many times.
    pub fn repeat(&mut self, len: usize, times: u32) -> Outcome {
        self.flush()?;
        let frame = crate::net::frame(1, len);
        let hdr = self.net.options.hdr();
        let ring = self.net.ring(TX);
        ring.mem.write_much(BUFFERS, &vec![0; hdr]);
        ring.mem.write_much(BUFFERS + hdr as u64, &frame);
        for _ in 0..times.div_ceil(u32::from(self.net.options.size)) {
            let ring = self.net.ring(TX);
            while ring.free() > 0 {
                ring.add(&[(BUFFERS, (hdr + len) as u32, 0)]);
            }
            self.flush()?;
        }
        Ok(())
    }

    /// Waits until all buffers are returned, which are then used for other packets.
    pub fn flush(&mut self) -> Outcome {
        self.net.submit(TX, self.old);
        while self.net.ring(TX).free() < self.net.options.size {
            let used = self.net.ring(TX).wait_used();
            let (_, len) = used.ok_or("a buffer did not come back")?;
            ensure!(len == 0, "used length {len} of a sent buffer");
        }
        self.old = self.net.ring(TX).avail_idx();
        self.at = BUFFERS;
        Ok(())
    }

    /// Continues with new rings, or with another device.
    pub fn go_on(&mut self) {
        self.old = self.net.ring(TX).avail_idx();
        self.at = BUFFERS;
    }

    /// Checks that the frames from number `from` on arrive, each unchanged, and no others.
    pub fn arrived(&self, from: u32) -> Outcome {
        expect(&self.net.wire, &self.sent, from..self.sent.count())
    }
}

/// Checks that exactly these frames arrive next.
pub fn expect(wire: &Wire, sent: &Sent, numbers: impl IntoIterator<Item = u32>) -> Outcome {
    for number in numbers {
        let got = wire.recv(10_000);
        let got = got.ok_or_else(|| format!("frame {number} did not arrive"))?;
        let which = sent.check(&got)?;
        ensure!(which == number, "frame {which} instead of {number}");
    }
    let more = wire.recv(0).map(|got| sent.check(&got));
    ensure!(more.is_none(), "one more frame: {more:?}");
    Ok(())
}

/// The numbers of all frames that wait there. Each must be unchanged, and they must be in order.
pub fn held(wire: &Wire, sent: &Sent) -> std::result::Result<Vec<u32>, String> {
    let mut numbers: Vec<u32> = Vec::new();
    while let Some(got) = wire.recv(0) {
        let number = sent.check(&got)?;
        let last = numbers.last().copied();
        ensure!(last < Some(number), "frame {number} behind {last:?}");
        numbers.push(number);
    }
    Ok(numbers)
}
