// SPDX-License-Identifier: GPL-2.0

//! The dirty log: a bitmap with a bit for each page of guest memory that the device has written to.
//!
//! The bit of the page at guest physical address `p * 4096` is bit `p % 8` of byte `p / 8`. The log
//! is in the owner's memory, where userspace clears bits while the device sets others. Bits are set
//! in aligned words of 32 bits, which may begin before the log or end after it; the other bits of a
//! word do not change.

use crate::virtqueue::mem::MemFault;

/// The size of a page in the log in bytes, as a power of two. It does not depend on the kernel's
/// page size.
const PAGE_SHIFT: u32 = 12;

/// The number of bits in a word.
const WORD_BITS: u32 = u32::BITS;

/// The size of a word in bytes.
const WORD_SIZE: u64 = 4;

/// What the device logs, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Logging {
    /// The address of the log in the owner's address space (VHOST_SET_LOG_BASE).
    pub(crate) base: u64,
    /// Whether writes to buffers are logged (`VHOST_F_LOG_ALL`).
    pub(crate) data: bool,
    /// The guest physical address at which writes to the used ring are logged, if they are
    /// (`VHOST_VRING_F_LOG`). It is not used with an IOTLB.
    pub(crate) used: Option<u64>,
}

/// Calls `set` for each word of the log at `base` that has bits of the `len` bytes at guest physical
/// address `gpa`, with the word's address in the owner's address space and these bits.
///
/// # Errors
///
/// [`MemFault`] when an address overflows, and what `set` returns.
pub(crate) fn words(
    base: u64,
    gpa: u64,
    len: u64,
    mut set: impl FnMut(usize, u32) -> Result<(), MemFault>,
) -> Result<(), MemFault> {
    let Some(last) = len.checked_sub(1) else {
        return Ok(());
    };
    let last = gpa.checked_add(last).ok_or(MemFault)? >> PAGE_SHIFT;
    let mut page = gpa >> PAGE_SHIFT;
    while page <= last {
        let byte = base.checked_add(page / 8).ok_or(MemFault)?;
        // CAST: Less than the number of bits in a word.
        let first = (byte % WORD_SIZE * 8 + page % 8) as u32;
        let left = WORD_BITS.wrapping_sub(first);
        // OVERFLOW: The page numbers have 52 bits.
        let more = last.wrapping_sub(page).saturating_add(1);
        // CAST: At most the number of bits in a word.
        let count = more.min(left.into()) as u32;
        let bits = u32::MAX >> WORD_BITS.wrapping_sub(count) << first;
        let word = usize::try_from(byte.wrapping_sub(byte % WORD_SIZE)).map_err(|_| MemFault)?;
        set(word, bits)?;
        page = page.wrapping_add(count.into());
    }
    Ok(())
}

/// Returns whether `is_user(address, length)` is true for the part of the log at `base` that
/// contains the bits of the `size` bytes at guest physical address `gpa`.
pub(crate) fn is_ok(base: u64, gpa: u64, size: u64, is_user: impl Fn(u64, u64) -> bool) -> bool {
    let pages = 8u64 << PAGE_SHIFT;
    match base.checked_add(gpa / pages) {
        Some(from) => is_user(from, size.div_ceil(pages)),
        None => false,
    }
}
