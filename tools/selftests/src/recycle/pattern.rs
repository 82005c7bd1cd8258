// SPDX-License-Identifier: GPL-2.0

//! Frames whose bytes follow from the number of the frame.

use vhost_selftests::net::ETH_TYPE;

/// The Ethernet header, which contains the number of the frame.
pub const HEAD: usize = 14;

/// The frames that one device has sent, by number.
pub struct Sent {
    tag: u8,
    lens: Vec<u32>,
}

impl Sent {
    /// No frames yet. Devices with different tags send different bytes.
    pub fn new(tag: u8) -> Self {
        Self {
            tag,
            lens: Vec::new(),
        }
    }

    /// The number of frames, which is the number of the next one.
    pub fn count(&self) -> u32 {
        self.lens.len() as u32
    }

    /// The next frame, of `len` bytes.
    pub fn next(&mut self, len: usize) -> Vec<u8> {
        self.note(len);
        self.frame(self.count() - 1)
    }

    /// Records that another process sends the next frame.
    pub fn note(&mut self, len: usize) {
        self.lens.push(len as u32);
    }

    /// The contents of a frame that was sent.
    pub fn frame(&self, number: u32) -> Vec<u8> {
        let len = self.lens[number as usize] as usize;
        let mut frame = Vec::with_capacity(len + 8);
        // To no known address, so that a bridge floods it and learns nothing.
        frame.extend([6, self.tag]);
        frame.extend(number.to_be_bytes());
        frame.extend([2, 0, 0, 0, 0, self.tag]);
        frame.extend(ETH_TYPE.to_be_bytes());
        fill(
            &mut frame,
            (u64::from(self.tag) << 32) | u64::from(number),
            0,
            len,
        );
        frame
    }

    /// The number of a frame that has arrived.
    ///
    /// # Errors
    ///
    /// The frame was not sent, or has changed.
    pub fn check(&self, got: &[u8]) -> Result<u32, String> {
        let head = &got[..got.len().min(HEAD)];
        let number = match got {
            [6, tag, a, b, c, d, ..] if *tag == self.tag => u32::from_be_bytes([*a, *b, *c, *d]),
            _ => return Err(format!("a frame of device {}: {head:x?}", self.tag)),
        };
        if number >= self.count() {
            return Err(format!("frame {number} was never sent"));
        }
        same(&self.frame(number), got).map_err(|what| format!("frame {number}: {what}"))?;
        Ok(number)
    }
}

/// Appends bytes that follow from `seed` and from their offset to `from`, up to `len` bytes in
/// total.
pub fn fill(bytes: &mut Vec<u8>, seed: u64, from: u64, len: usize) {
    let mut word = from / 8;
    let mut skip = (from % 8) as usize;
    while bytes.len() < len {
        let mut x =
            seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ word.wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 29)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bytes.extend(&(x ^ (x >> 32)).to_le_bytes()[skip..]);
        skip = 0;
        word += 1;
    }
    bytes.truncate(len);
}

/// Checks that both are equal; otherwise returns where they differ.
pub fn same(want: &[u8], got: &[u8]) -> Result<(), String> {
    if want == got {
        return Ok(());
    }
    if want.len() != got.len() {
        return Err(format!("{} bytes instead of {}", got.len(), want.len()));
    }
    let differ = |i: &usize| want[*i] != got[*i];
    let count = (0..want.len()).filter(differ).count();
    let at = (0..want.len()).find(differ).unwrap_or(0);
    let to = want.len().min(at + 16);
    Err(format!(
        "{count} of {} bytes differ, from {at} on: {:x?} instead of {:x?}",
        want.len(),
        &got[at..to],
        &want[at..to]
    ))
}
