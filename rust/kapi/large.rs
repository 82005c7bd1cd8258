// SPDX-License-Identifier: GPL-2.0

//! Packets that are too large for a batch, sent from the device's own pages.
//!
//! For such a packet a tun or tap queue would allocate pages, have the kernel zero them, and copy
//! the packet into them. Here the packet is copied into reusable pages, and the queue is told to
//! use the data where it is (`TUN_MSG_UBUF`): it takes references on the pages. The packet is not
//! marked as zero copy, because its data is a copy already, which the guest cannot change. So it is
//! not copied again, and its completion is not reported.
//!
//! A tun queue with `IFF_NAPI_FRAGS` must not do this. It copies each packet into fragments with
//! the lengths of the sender's segments, but then uses the length that it would otherwise have
//! copied, and the inconsistent lengths stop the kernel (`tun_get_user`). Such a queue cannot be
//! told from others. But it rejects a packet with an empty segment (`tun_napi_alloc_frags`), while
//! others ignore an empty segment after the data.

use core::{
    mem::size_of,
    ptr::null_mut, //
};
use kernel::prelude::*;

use super::{
    ffi,
    iov::IoVec,
    mm::InMm,
    page::{
        Page,
        PAGE_LEN, //
    },
    pool::Pool,
    socket::{
        Kind,
        Socket, //
    },
};

/// The length of the longest packet in bytes: as many pages of order 0 as a socket buffer can have.
const LEN_MAX: usize = ffi::VNR_MAX_SKB_FRAGS as usize * ffi::VNR_PAGE_SIZE as usize;

/// The number of segments: the pages of the longest packet, and the empty segment after them.
const VECS: usize = LEN_MAX.div_ceil(PAGE_LEN) + 1;

// The queue that must reject the segments reads their lengths as those of `struct iovec`.
const _: () = assert!(size_of::<ffi::bio_vec>() == size_of::<ffi::iovec>());

/// The most pages that are kept. If all are in use, the oldest one is replaced, and freed by its
/// users.
const PAGES_MAX: usize = 16;

/// Pages for large packets. The first one is the one that was used longest ago.
pub(crate) struct LargePages {
    pages: Pool<PAGES_MAX>,
}

/// A large packet that has been copied.
///
/// # Invariants
///
/// `vecs[..count]` refer to the last pages of `_pages`, which were filled with `len` bytes and of
/// which nothing was given out since. `count < VECS`, and `vecs[count]` is empty.
pub(crate) struct Large<'a> {
    _pages: &'a mut LargePages,
    vecs: [ffi::bio_vec; VECS],
    count: usize,
    len: usize,
}

impl LargePages {
    /// Creates an empty set.
    pub(crate) const fn new() -> Self {
        Self { pages: Pool::new() }
    }

    /// Copies a packet: `len` bytes of `segs`, after their first `skip` bytes. Returns `None` if
    /// the packet is too long, or if there are no pages.
    ///
    /// # Errors
    ///
    /// `EFAULT` when the packet is not readable, `ENOMEM`.
    pub(crate) fn copy_in(
        &mut self,
        mm: &InMm<'_>,
        segs: &[IoVec],
        skip: usize,
        len: usize,
    ) -> Result<Option<Large<'_>>> {
        if len > LEN_MAX {
            return Ok(None);
        }
        let mut vecs = [const { EMPTY }; VECS];
        let (mut done, mut count) = (0usize, 0usize);
        for vec in vecs.iter_mut().take(VECS - 1) {
            let now = len.wrapping_sub(done).min(PAGE_LEN);
            if now == 0 {
                break;
            }
            let from = skip.saturating_add(done);
            let Some(filled) = self.fill(count, mm, segs, from, now)? else {
                return Ok(None);
            };
            *vec = filled;
            done = done.wrapping_add(now);
            count = count.wrapping_add(1);
        }
        // INVARIANT: Each page was made the last one when it was filled. The last element of `vecs`
        // was left empty.
        Ok(Some(Large {
            _pages: self,
            vecs,
            count,
            len,
        }))
    }

    /// Fills a page that is not one of the last `count`, and makes it the last one.
    fn fill(
        &mut self,
        count: usize,
        mm: &InMm<'_>,
        segs: &[IoVec],
        skip: usize,
        len: usize,
    ) -> Result<Option<ffi::bio_vec>> {
        let idle = self.pages.len().saturating_sub(count);
        for at in 0..idle {
            let filled = self.fill_at(at, mm, segs, skip, len)?;
            if filled.is_some() {
                return Ok(filled);
            }
        }
        match self.pages.add(Page::large, 0) {
            Some(at) => self.fill_at(at, mm, segs, skip, len),
            None => Ok(None),
        }
    }

    /// Fills the page at `at` if it is not in use, and makes it the last one.
    #[inline(always)]
    fn fill_at(
        &mut self,
        at: usize,
        mm: &InMm<'_>,
        segs: &[IoVec],
        skip: usize,
        len: usize,
    ) -> Result<Option<ffi::bio_vec>> {
        let Some(page) = self.pages.get_mut(at) else {
            return Ok(None);
        };
        if !page.fill(mm, segs, skip, len)? {
            return Ok(None);
        }
        let vec = page.vec(len);
        if let Some(behind) = self.pages.get_mut(at..) {
            behind.rotate_left(1);
        }
        Ok(Some(vec))
    }

    /// Returns whether it holds pages for future packets.
    pub(crate) fn holds_pages(&self) -> bool {
        !self.pages.is_empty()
    }

    /// Returns the number of small pages that [`Self::free_spare`] would make available now.
    pub(crate) fn spare(&self) -> usize {
        self.pages.spare()
    }

    /// Frees the pages that are not in use, and returns the number of small pages that this makes
    /// available.
    pub(crate) fn free_spare(&mut self) -> usize {
        self.pages.free_spare()
    }
}

impl Large<'_> {
    /// Sends the packet. `more` tells the socket that another one follows at once.
    ///
    /// # Errors
    ///
    /// `ENOTSOCK` unless `sock` is a tun or tap queue; otherwise as for [`Socket::send`]. `EINVAL`
    /// may also mean that the queue rejects pages, and that [`Socket::send`] can send the packet.
    pub(crate) fn send(self, sock: &Socket, more: bool) -> Result {
        if sock.kind() == Kind::Packet {
            return Err(ENOTSOCK);
        }
        let vecs = self.vecs.get(..=self.count).unwrap_or_default();
        let mut ctl = ffi::tun_msg_ctl {
            type_: ffi::VNR_TUN_MSG_UBUF as u16,
            num: 0,
            ptr: (&raw const UBUF.0).cast_mut().cast(),
        };
        // SAFETY:
        // - A tun or tap queue understands this message, or rejects it because of the empty
        //   segment.
        // - `UBUF` has no flags, with which the packet would be marked. So its address, which stays
        //   in the packet, is not used after this call, and nobody writes to it.
        // - By the invariant the pages have `len` bytes of this packet. By the invariant of `Page`
        //   they are not written to again before all references but ours have been dropped.
        unsafe { sock.send_pages(vecs, self.len, (&raw mut ctl).cast(), more) }
    }
}

/// The empty segment.
const EMPTY: ffi::bio_vec = ffi::bio_vec {
    bv_page: null_mut(),
    bv_len: 0,
    bv_offset: 0,
};

/// The `struct ubuf_info` that is passed to a queue with the data.
struct Ubuf(ffi::ubuf_info);

// SAFETY: Nobody writes to it.
unsafe impl Sync for Ubuf {}

static UBUF_OPS: ffi::ubuf_info_ops = ffi::ubuf_info_ops {
    complete: Some(complete),
    link_skb: None,
};

static UBUF: Ubuf = Ubuf(ffi::ubuf_info {
    ops: &raw const UBUF_OPS,
    // SAFETY: Integers, for which zeroes are valid.
    refcnt: unsafe { core::mem::zeroed() },
    // No flags: the packet is not marked as zero copy.
    flags: 0,
});

/// Called when the queue has copied the data instead of using it. Nothing has to be done.
///
/// # Safety
///
/// None: the arguments are not used.
unsafe extern "C" fn complete(_skb: *mut ffi::sk_buff, _ubuf: *mut ffi::ubuf_info, _done: bool) {}
