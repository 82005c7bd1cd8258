// SPDX-License-Identifier: GPL-2.0

//! A ring of a packet socket (`TPACKET_V3`), into which frames are copied when they arrive.

use crate::net::{Tap, Wire, ETH_TYPE, SOL_PACKET};
use std::{os::fd::AsRawFd, ptr};
use vhost_selftests::vhost::Errno;

const PACKET_RX_RING: i32 = 5;
const PACKET_VERSION: i32 = 10;
const TPACKET_V3: i32 = 2;
const TP_STATUS_USER: u32 = 1;

/// A size such that each frame fits into a block.
const BLOCK: usize = 128 << 10;
const BLOCKS: usize = 64;
const LEN: usize = BLOCK * BLOCKS;

/// The socket and its ring.
pub struct RxRing {
    _wire: Wire,
    at: *mut u8,
}

impl RxRing {
    pub fn new(tap: &Tap) -> Result<Self, String> {
        let wire = Wire::on(&tap.name, false);
        wire.option(SOL_PACKET, PACKET_VERSION, TPACKET_V3);
        // Size and number of blocks and of frames; milliseconds until a partly filled block is
        // given to the reader; private bytes; features.
        let request = [BLOCK, BLOCKS, BLOCK, BLOCKS, 50, 0, 0].map(|n| n as u32);
        wire.option(SOL_PACKET, PACKET_RX_RING, request);
        wire.hear(tap, ETH_TYPE);
        let rights = libc::PROT_READ | libc::PROT_WRITE;
        let fd = wire.as_raw_fd();
        // SAFETY: A new mapping.
        let at = unsafe { libc::mmap(ptr::null_mut(), LEN, rights, libc::MAP_SHARED, fd, 0) };
        if at == libc::MAP_FAILED {
            return Err(format!("mmap of a ring: {:?}", Errno::last()));
        }
        Ok(Self {
            _wire: wire,
            at: at.cast(),
        })
    }

    fn word(&self, at: usize) -> u32 {
        assert!(at + 4 <= LEN && at % 4 == 0);
        // SAFETY: In the mapping, and aligned.
        unsafe { self.at.add(at).cast::<u32>().read_volatile() }
    }

    /// The frames in all blocks that are given to the reader, in order. No block is returned.
    pub fn frames(&self) -> Vec<&[u8]> {
        let mut frames = Vec::new();
        for block in (0..LEN).step_by(BLOCK) {
            // After version and private offset: status, number of packets, offset of the first.
            if self.word(block + 8) & TP_STATUS_USER == 0 {
                break;
            }
            let mut at = block + self.word(block + 16) as usize;
            for _ in 0..self.word(block + 12) {
                // Offset of the next packet, time, captured length and length, status, offset of
                // the Ethernet header.
                let len = self.word(at + 12) as usize;
                let mac = (self.word(at + 24) & 0xffff) as usize;
                assert!(at + mac + len <= LEN);
                // SAFETY: In the mapping; nobody writes to a block that is given.
                frames.push(unsafe { std::slice::from_raw_parts(self.at.add(at + mac), len) });
                at += self.word(at) as usize;
            }
        }
        frames
    }
}

impl Drop for RxRing {
    fn drop(&mut self) {
        // SAFETY: Ours.
        unsafe { libc::munmap(self.at.cast(), LEN) };
    }
}
