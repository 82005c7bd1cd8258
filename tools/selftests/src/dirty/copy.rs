// SPDX-License-Identifier: GPL-2.0

//! The log, and the copy of guest memory that follows it.

use crate::{
    ensure,
    guest::{Memory, GPA, SIZE},
    iommu::PAGE,
    setup::{BUFFERS, LOG_LEN},
    tap::Outcome,
};
use std::{
    ptr::null_mut,
    sync::atomic::{fence, AtomicU64, Ordering},
    time::{Duration, Instant},
};

/// The length of the part of the memory for one buffer of a round, and of all of them.
pub const PART: u64 = 4 * PAGE;
pub const LEN: u64 = 8 * PART;

/// A log in a mapping of its own. Its base is not aligned to a word.
pub struct Log {
    at: *mut u8,
}

impl Log {
    const SIZE: usize = (LOG_LEN + 16).next_multiple_of(PAGE as usize);
    const SKEW: usize = 3;

    pub fn new() -> Self {
        let prot = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: A new mapping.
        let at = unsafe { libc::mmap(null_mut(), Self::SIZE, prot, flags, -1, 0) };
        assert!(at != libc::MAP_FAILED, "mmap");
        Self { at: at.cast() }
    }

    pub fn base(&self) -> u64 {
        self.at as u64 + Self::SKEW as u64
    }

    /// Makes it inaccessible. The address stays in use, so that nothing else is mapped there.
    pub fn remove(&self) {
        // SAFETY: Ours; nothing in this process uses it before it is replaced.
        let ret = unsafe { libc::mprotect(self.at.cast(), Self::SIZE, libc::PROT_NONE) };
        assert_eq!(ret, 0, "mprotect");
    }

    /// The pages whose bits were set, by number. Clears the bits.
    pub fn take(&self) -> Vec<u64> {
        let mut pages = Vec::new();
        for word in 0..Self::SIZE / 8 {
            // SAFETY: In the mapping, and aligned. The device sets bits atomically.
            let bits = unsafe { AtomicU64::from_ptr(self.at.cast::<u64>().add(word)) };
            if bits.load(Ordering::Relaxed) == 0 {
                continue;
            }
            let mut set = bits.swap(0, Ordering::SeqCst);
            while set != 0 {
                let bit = word * 64 + set.trailing_zeros() as usize;
                // A bit before the base would be one of a page below zero.
                pages.push((bit as u64).wrapping_sub(8 * Self::SKEW as u64));
                set &= set - 1;
            }
        }
        fence(Ordering::SeqCst);
        pages
    }

    /// The number of bits outside of guest memory; for a log whose other bits were taken.
    pub fn outside(&self) -> usize {
        self.take().iter().filter(|page| !is_inside(**page)).count()
    }

    /// Waits until the page's bit is set.
    pub fn until_marked(&self, page: u64) -> Outcome {
        let end = Instant::now() + Duration::from_secs(1);
        while !self.take().contains(&page) {
            ensure!(Instant::now() < end, "page {page:#x} is not marked");
        }
        Ok(())
    }
}

fn is_inside(page: u64) -> bool {
    (GPA / PAGE..(GPA + SIZE as u64) / PAGE).contains(&page)
}

impl Drop for Log {
    fn drop(&mut self) {
        // SAFETY: Ours. Devices only find out that it is gone.
        unsafe { libc::munmap(self.at.cast(), Self::SIZE) };
    }
}

/// A copy of the pages that the device writes to.
pub struct Copy {
    /// The guest address of each page, and its copy.
    pages: Vec<(u64, Vec<u8>)>,
}

impl Copy {
    /// Copies the buffers and these used rings, of less than a page each.
    pub fn new(mem: &Memory, used: &[u64]) -> Self {
        let buffers = (0..LEN / PAGE).map(|nth| BUFFERS + nth * PAGE);
        let pages = buffers.chain(used.iter().copied());
        Self {
            pages: pages
                .map(|at| (at, mem.read_much(at, PAGE as usize)))
                .collect(),
        }
    }

    /// The driver fills a buffer, which the device does not log.
    pub fn fill(&mut self, mem: &Memory, at: u64, len: usize, byte: u8) {
        mem.write_much(at, &vec![byte; len]);
        for (page, copy) in &mut self.pages {
            if *page < at + len as u64 && at < *page + PAGE {
                *copy = mem.read_much(*page, PAGE as usize);
            }
        }
    }

    /// Copies the pages whose bits are set, and returns their number.
    pub fn follow(&mut self, mem: &Memory, log: &Log) -> Result<u32, String> {
        let marked = log.take();
        for page in &marked {
            ensure!(is_inside(*page), "page {page:#x} is not the guest's");
            let own = self.pages.iter_mut().find(|(at, _)| at / PAGE == *page);
            if let Some((at, copy)) = own {
                *copy = mem.read_much(*at, PAGE as usize);
            }
        }
        Ok(marked.len() as u32)
    }

    /// Checks that nothing else has changed. The device may still be about to log its last write to
    /// the used ring.
    pub fn check(&mut self, mem: &Memory, log: &Log) -> Result<u32, String> {
        let mut marked = self.follow(mem, log)?;
        let end = Instant::now() + Duration::from_secs(1);
        loop {
            let changed = self
                .pages
                .iter()
                .find(|(at, copy)| !is_same(mem, *at, copy));
            let Some((at, _)) = changed else {
                return Ok(marked);
            };
            let at = *at;
            let late = Instant::now() > end;
            marked += self.follow(mem, log)?;
            ensure!(!late, "page {at:#x} has changed and is not marked");
        }
    }
}

fn is_same(mem: &Memory, at: u64, copy: &[u8]) -> bool {
    // SAFETY: A page of guest memory, to which nobody writes now but the device. A torn read is
    // only another difference.
    let now = unsafe { std::slice::from_raw_parts(mem.at(at), copy.len()) };
    now == copy
}
