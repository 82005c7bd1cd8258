// SPDX-License-Identifier: GPL-2.0

//! Guest memory, at guest addresses of its own, and descriptors in it.

use crate::vhost::Region;
use std::ptr;

pub const DESC_NEXT: u16 = 1;
pub const DESC_WRITE: u16 = 2;
pub const DESC_INDIRECT: u16 = 4;

/// The first guest address, far from the address in this process.
pub const GPA: u64 = 0x4000_0000;
/// The length of guest memory. Its regions are adjacent for the guest and separate in this
/// process.
pub const SIZE: usize = 16 << 20;
const PAGE: usize = 4096;

/// Guest memory.
pub struct Memory {
    /// The address of each region in this process. All have the same length, except the last.
    parts: Vec<*mut u8>,
}

// SAFETY: Plain memory; the tests order their own accesses.
unsafe impl Send for Memory {}
// SAFETY: As above.
unsafe impl Sync for Memory {}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

impl Memory {
    /// Guest memory in two regions.
    pub fn new() -> Self {
        Self::in_regions(2)
    }

    /// Guest memory in that many regions.
    pub fn in_regions(count: usize) -> Self {
        // SAFETY: A fresh mapping: each region has an inaccessible page before it.
        let at = unsafe {
            libc::mmap(
                ptr::null_mut(),
                SIZE + count * PAGE,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        assert!(at != libc::MAP_FAILED);
        let mut memory = Self {
            parts: vec![ptr::null_mut(); count],
        };
        // In reverse order, so that regions that are adjacent for the guest are not adjacent here.
        let mut at = at.cast::<u8>();
        for part in (0..count).rev() {
            // SAFETY: Within the mapping.
            unsafe { libc::mprotect(at.cast(), PAGE, libc::PROT_NONE) };
            memory.parts[part] = at.wrapping_add(PAGE);
            at = at.wrapping_add(PAGE + memory.len(part));
        }
        memory
    }

    /// The length of all regions but the last.
    fn each(&self) -> usize {
        SIZE / self.parts.len() / PAGE * PAGE
    }

    /// The length of a region.
    fn len(&self, part: usize) -> usize {
        if part + 1 < self.parts.len() {
            self.each()
        } else {
            SIZE - part * self.each()
        }
    }

    pub fn regions(&self) -> Vec<Region> {
        (0..self.parts.len())
            .map(|i| Region {
                gpa: GPA + (i * self.each()) as u64,
                size: self.len(i) as u64,
                uaddr: self.parts[i] as u64,
                flags: 0,
            })
            .collect()
    }

    /// The address in this process of a guest address.
    pub fn at(&self, gpa: u64) -> *mut u8 {
        let off = (gpa - GPA) as usize;
        assert!(off < SIZE, "{gpa:#x} is not in guest memory");
        let part = (off / self.each()).min(self.parts.len() - 1);
        self.parts[part].wrapping_add(off - part * self.each())
    }

    pub fn write(&self, gpa: u64, data: &[u8]) {
        for (i, byte) in data.iter().enumerate() {
            // SAFETY: In the mapping; byte by byte, since the range may be in two regions.
            unsafe { self.at(gpa + i as u64).write_volatile(*byte) };
        }
    }

    /// The same in one copy, for many bytes within a region.
    pub fn write_much(&self, gpa: u64, data: &[u8]) {
        let at = self.at(gpa);
        assert!(
            data.is_empty()
                || self.at(gpa + data.len() as u64 - 1) == at.wrapping_add(data.len() - 1)
        );
        // SAFETY: In the mapping, without the page between two regions.
        unsafe { ptr::copy_nonoverlapping(data.as_ptr(), at, data.len()) };
    }

    /// The same in one copy, for many bytes within a region.
    pub fn read_much(&self, gpa: u64, len: usize) -> Vec<u8> {
        let at = self.at(gpa);
        assert!(len == 0 || self.at(gpa + len as u64 - 1) == at.wrapping_add(len - 1));
        // SAFETY: In the mapping, without the page between two regions.
        unsafe { std::slice::from_raw_parts(at, len) }.to_vec()
    }

    pub fn read(&self, gpa: u64, len: usize) -> Vec<u8> {
        (0..len as u64)
            // SAFETY: As in `write`.
            .map(|i| unsafe { self.at(gpa + i).read_volatile() })
            .collect()
    }
    pub fn write_desc(&self, at: u64, (addr, len, flags): Piece, next: u16) {
        let mut bytes = addr.to_le_bytes().to_vec();
        bytes.extend(len.to_le_bytes());
        bytes.extend(flags.to_le_bytes());
        bytes.extend(next.to_le_bytes());
        self.write(at, &bytes);
    }

    /// Puts a head into the available ring at `avail`, at the position of its current index.
    pub fn announce(&self, avail: u64, size: u16, head: u16) {
        let idx = self.read(avail + 2, 2);
        let idx = u16::from_le_bytes([idx[0], idx[1]]);
        self.write(avail + 4 + u64::from(idx % size) * 2, &head.to_le_bytes());
        self.write(avail + 2, &idx.wrapping_add(1).to_le_bytes());
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // The last region is the first in this process, behind a page.
        let first = self
            .parts
            .last()
            .map_or(ptr::null_mut(), |at| at.wrapping_sub(PAGE));
        // SAFETY: Ours, and no longer used.
        unsafe { libc::munmap(first.cast(), SIZE + self.parts.len() * PAGE) };
    }
}

/// A descriptor: address, length, flags.
pub type Piece = (u64, u32, u16);
