// SPDX-License-Identifier: GPL-2.0

//! The messages of the device IOTLB, and a thread that answers misses as QEMU does.

use crate::{
    dice::Dice,
    vhost::{readable, Errno, Region, Result, Vhost, EFAULT},
};
use std::{
    sync::{
        atomic::{AtomicBool, AtomicU64, Ordering},
        Arc,
    },
    thread::JoinHandle,
};

pub const PAGE: u64 = 4096;

pub const RO: u8 = 1;
pub const WO: u8 = 2;
pub const RW: u8 = 3;

pub const MISS: u8 = 1;
pub const UPDATE: u8 = 2;
pub const INVALIDATE: u8 = 3;

/// The size of a message.
pub const MSG: usize = 72;

/// A message, of type 1 or 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Msg {
    pub kind: u8,
    pub iova: u64,
    pub size: u64,
    pub uaddr: u64,
    pub perm: u8,
}

impl Msg {
    pub fn update(iova: u64, size: u64, uaddr: u64, perm: u8) -> Self {
        Self {
            kind: UPDATE,
            iova,
            size,
            uaddr,
            perm,
        }
    }

    pub fn invalidate(iova: u64, size: u64) -> Self {
        Self {
            kind: INVALIDATE,
            ..Self::update(iova, size, 0, 0)
        }
    }

    pub fn bytes(&self, version: u32) -> [u8; MSG] {
        let mut bytes = [0; MSG];
        bytes[..4].copy_from_slice(&version.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.iova.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.size.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.uaddr.to_le_bytes());
        bytes[32..34].copy_from_slice(&[self.perm, self.kind]);
        bytes
    }

    /// The version and the contents of a message.
    pub fn parse(bytes: &[u8; MSG]) -> (u32, Self) {
        let number = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight"));
        let msg = Self {
            kind: bytes[33],
            iova: number(8),
            size: number(16),
            uaddr: number(24),
            perm: bytes[32],
        };
        (number(0) as u32, msg)
    }
}

impl Vhost {
    /// Writes a message of type 2.
    pub fn tell(&self, msg: Msg) -> Result {
        match self.write(&msg.bytes(2))? {
            MSG => Ok(()),
            len => Err(Errno(len as i32)),
        }
    }

    /// Waits for a message.
    pub fn asked(&self, millis: i32) -> Result<Option<(u32, Msg)>> {
        if !readable(self, millis) {
            return Ok(None);
        }
        let mut bytes = [0xee; MSG];
        match self.read(&mut bytes)? {
            MSG => Ok(Some(Msg::parse(&bytes))),
            len => Err(Errno(len as i32)),
        }
    }

    /// Maps the pages of a range one by one, to where they are in these regions.
    pub fn map(&self, regions: &[Region], iova: u64, len: u64) -> Result {
        let mut page = iova / PAGE * PAGE;
        while page < iova + len {
            self.map_page(regions, page)?;
            page += PAGE;
        }
        Ok(())
    }

    fn map_page(&self, regions: &[Region], page: u64) -> Result {
        let region = regions
            .iter()
            .find(|r| r.gpa <= page && page - r.gpa < r.size);
        let region = region.ok_or(EFAULT)?;
        let uaddr = region.uaddr + (page - region.gpa);
        self.tell(Msg::update(page, PAGE, uaddr, RW))
    }
}

/// A thread that maps each page that the device asks for. Stopped on drop.
pub struct Mapper {
    stop: Arc<AtomicBool>,
    /// The number of pages that it has mapped.
    mapped: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Mapper {
    /// Serves `dev`, whose I/O virtual addresses are guest addresses in `regions`. Again and again
    /// it removes some mapping, so that the device has to ask for it once more.
    pub fn start(dev: Vhost, regions: Vec<Region>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mapped = Arc::new(AtomicU64::new(0));
        let (until, count) = (stop.clone(), mapped.clone());
        let thread = std::thread::spawn(move || {
            let mut pages = Vec::new();
            let mut dice = Dice::new(1);
            while !until.load(Ordering::Acquire) {
                if let Some((_, msg)) = dev.asked(5).expect("a message") {
                    let page = msg.iova / PAGE * PAGE;
                    // The device may ask for addresses that no guest has.
                    if dev.map_page(&regions, page).is_ok() {
                        pages.push(page);
                        count.fetch_add(1, Ordering::Relaxed);
                    }
                }
                if dice.once_in(3) && !pages.is_empty() {
                    let page = pages.swap_remove(dice.below(pages.len() as u64) as usize);
                    // There is no IOTLB while the features are being changed.
                    let _ = dev.tell(Msg::invalidate(page, PAGE));
                }
            }
        });
        Self {
            stop,
            mapped,
            thread: Some(thread),
        }
    }

    pub fn mapped(&self) -> u64 {
        self.mapped.load(Ordering::Relaxed)
    }
}

impl Drop for Mapper {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(
                ended.is_ok() || std::thread::panicking(),
                "the mapper has failed"
            );
        }
    }
}
