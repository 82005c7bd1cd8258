// SPDX-License-Identifier: GPL-2.0

//! Guest memory that is mapped and unmapped for the device, and stays mapped for the thread that
//! plays the guest: the pages are those of a file, mapped twice.

use crate::{
    guest::Memory,
    vhost::{Errno, Region, Result},
};
use std::{
    os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd},
    sync::atomic::{AtomicUsize, Ordering},
};

/// Guest memory without a file.
pub const HOLE: u64 = 0x9000_0000;
pub const HOLE_LEN: usize = 1 << 20;

/// The addresses of the device's mappings, at which the kernel places nothing by itself. So
/// nothing else can be mapped where the device's memory was unmapped.
const FAR: usize = 0x2000_0000_0000;
const APART: usize = 1 << 30;

pub struct Ground {
    /// The guest's mapping.
    pub mem: Memory,
    /// The device's mapping.
    regions: Vec<Region>,
    file: OwnedFd,
}

impl Ground {
    pub fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let mem = Memory::new();
        // SAFETY: A terminated name.
        let fd = unsafe { libc::memfd_create(c"guest".as_ptr(), libc::MFD_CLOEXEC) };
        assert!(fd >= 0, "memfd: {:?}", Errno::last());
        // SAFETY: Just made.
        let file = unsafe { OwnedFd::from_raw_fd(fd) };
        let mut regions = mem.regions();
        let len = regions.iter().map(|region| region.size).sum::<u64>();
        // SAFETY: No pointers.
        assert!(unsafe { libc::ftruncate(fd, len as libc::off_t) } == 0);
        for (region, at) in regions.iter().zip(offsets(&regions)) {
            shared(region.uaddr, region.size, fd, at).expect("the guest's memory");
        }
        regions.push(Region {
            gpa: HOLE,
            size: HOLE_LEN as u64,
            uaddr: 0,
            flags: 0,
        });
        let mut at = FAR + NEXT.fetch_add(1, Ordering::Relaxed) * APART;
        for region in &mut regions {
            region.uaddr = at as u64;
            // Regions that are adjacent for the guest are not adjacent for the device.
            at += 2 * region.size as usize;
        }
        let ground = Self { mem, regions, file };
        ground.map().expect("the device's memory");
        ground.protect(libc::PROT_NONE).expect("the hole");
        ground
    }

    /// The regions, for the memory table.
    pub fn regions(&self) -> &[Region] {
        &self.regions
    }

    /// The device's address of a guest address.
    pub fn at(&self, gpa: u64) -> u64 {
        let find = |r: &&Region| (r.gpa..r.gpa + r.size).contains(&gpa);
        let region = self.regions.iter().find(find).expect("a guest's address");
        region.uaddr + (gpa - region.gpa)
    }

    /// Maps the file again for the device, whatever was mapped before.
    pub fn map(&self) -> Result {
        let regions = &self.regions[..self.regions.len() - 1];
        regions
            .iter()
            .zip(offsets(regions))
            .try_for_each(|(region, at)| {
                shared(region.uaddr, region.size, self.file.as_raw_fd(), at)
            })
    }

    /// Maps the memory without a file again, with these access rights.
    pub fn protect(&self, prot: i32) -> Result {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED;
        map(self.at(HOLE), HOLE_LEN as u64, prot, flags, -1, 0)
    }

    /// Unmaps pages of the device.
    pub fn unmap(&self, gpa: u64, len: usize) -> Result {
        // SAFETY: Nobody but the device uses them.
        match unsafe { libc::munmap(self.at(gpa) as *mut _, len) } {
            0 => Ok(()),
            _ => Err(Errno::last()),
        }
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        for region in &self.regions {
            let _ = self.unmap(region.gpa, region.size as usize);
        }
    }
}

/// The offset of each region in the file.
fn offsets(regions: &[Region]) -> impl Iterator<Item = u64> + '_ {
    regions.iter().scan(0, |next, region| {
        let at = *next;
        *next += region.size;
        Some(at)
    })
}

fn shared(at: u64, len: u64, fd: RawFd, offset: u64) -> Result {
    let prot = libc::PROT_READ | libc::PROT_WRITE;
    map(
        at,
        len,
        prot,
        libc::MAP_SHARED | libc::MAP_FIXED,
        fd,
        offset,
    )
}

fn map(at: u64, len: u64, prot: i32, flags: i32, fd: RawFd, offset: u64) -> Result {
    let (len, offset) = (len as usize, offset as libc::off_t);
    // SAFETY: Replaces plain memory of the guest or the device, or nothing.
    match unsafe { libc::mmap(at as *mut _, len, prot, flags, fd, offset) } {
        libc::MAP_FAILED => Err(Errno::last()),
        _ => Ok(()),
    }
}
