// SPDX-License-Identifier: GPL-2.0

//! Packets that are too large for a batch, sent from pages of ours.
//!
//! A tun or tap queue would allocate pages for such a packet, have the kernel zero them, and copy
//! into them. It is copied here instead, into pages that come back, and the queue is told that
//! the data may be used where it is (`TUN_MSG_UBUF`): it then takes references on the pages.
//! Nothing marks the packet as zero copy, since its data is a copy already, which the guest
//! cannot change. So nobody copies it once more, and nobody is to be told when it is done with.
//!
//! A tun queue with `IFF_NAPI_FRAGS` must never be told so. It copies each packet into parts of
//! its own that are as long as the sender's, then takes the packet for one of the length that it
//! would have copied otherwise, and the next who looks at its lengths stops the kernel
//! (`tun_get_user`). Nothing tells such a queue from others. But one part that is empty, behind
//! the data, is nothing to others, and what it does not take (`tun_napi_alloc_frags`).

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
    socket::{
        Kind,
        Socket, //
    },
};

/// The longest packet in bytes: as many small pages as a socket buffer refers to.
const LEN_MAX: usize = ffi::VNR_MAX_SKB_FRAGS as usize * ffi::VNR_PAGE_SIZE as usize;

/// The pages of the longest packet, and the empty part behind them.
const VECS: usize = LEN_MAX.div_ceil(PAGE_LEN) + 1;

// The queue that must not take the parts looks at their lengths as if they were a process's own.
const _: () = assert!(size_of::<ffi::bio_vec>() == size_of::<ffi::iovec>());

/// The most pages that wait for others to be done with them. Where all are in use the oldest is
/// left to who uses it.
const PAGES_MAX: usize = 16;

/// Pages for large packets, the one that was used longest ago first.
pub(crate) struct LargePages {
    pages: KVec<Page>,
}

/// A large packet that was copied in.
///
/// # Invariants
///
/// `vecs[..count]` are of the last pages of `_pages`, which were filled with `len` bytes and of
/// which nothing was given out since. `count < VECS`, and `vecs[count]` is empty.
pub(crate) struct Large<'a> {
    _pages: &'a mut LargePages,
    vecs: [ffi::bio_vec; VECS],
    count: usize,
    len: usize,
}

impl LargePages {
    /// None yet.
    pub(crate) const fn new() -> Self {
        Self { pages: KVec::new() }
    }

    /// Copies a packet in: `len` bytes gathered from `segs` without their first `skip`. `None`
    /// when it is longer than a packet of this kind may be, or without pages.
    ///
    /// # Errors
    ///
    /// `EFAULT` when its memory cannot be read, `ENOMEM`.
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
        // INVARIANT: Each of them was put at the end when it was filled. The last element of `vecs`
        // was left empty.
        Ok(Some(Large {
            _pages: self,
            vecs,
            count,
            len,
        }))
    }

    /// Fills a page, which becomes the last one, other than the last `count`.
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
            let Some(page) = self.pages.get_mut(at) else {
                break;
            };
            if page.fill(mm, segs, skip, len)? {
                let vec = page.vec(len);
                if let Some(behind) = self.pages.get_mut(at..) {
                    behind.rotate_left(1);
                }
                return Ok(Some(vec));
            }
        }
        let more = self.pages.len() < PAGES_MAX;
        let Some(mut page) = Page::large(more) else {
            return Ok(None);
        };
        if !page.fill(mm, segs, skip, len)? {
            return Ok(None);
        }
        let vec = page.vec(len);
        if more {
            self.pages.push(page, GFP_KERNEL)?;
        } else {
            self.pages.rotate_left(1);
            if let Some(last) = self.pages.last_mut() {
                *last = page;
            }
        }
        Ok(Some(vec))
    }

    /// Whether there are pages for packets to come.
    pub(crate) fn holds_pages(&self) -> bool {
        !self.pages.is_empty()
    }

    /// Gives all pages back, to who still uses them or to the kernel.
    pub(crate) fn give_back(&mut self) {
        self.pages = KVec::new();
    }
}

impl Large<'_> {
    /// Sends it. `more` says that another packet follows at once.
    ///
    /// # Errors
    ///
    /// `ENOTSOCK` unless `sock` is a tun or tap queue; otherwise as [`Socket::send`]. `EINVAL` also
    /// from a queue that takes no pages, where [`Socket::send`] may send it.
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
        // - A tun or tap queue understands this message, or refuses it for the empty part.
        // - `UBUF` has no flags, by which the packet would be marked. So nobody uses its address,
        //   which stays in the packet, after this call, and nobody writes to it.
        // - By the invariant the pages have `len` bytes of this packet; they are not written to
        //   again before every reference but ours is gone, by that of `Page`.
        unsafe { sock.send_pages(vecs, self.len, (&raw mut ctl).cast(), more) }
    }
}

/// No part of a page.
const EMPTY: ffi::bio_vec = ffi::bio_vec {
    bv_page: null_mut(),
    bv_len: 0,
    bv_offset: 0,
};

/// What a queue is given with the data that it may use.
struct Ubuf(ffi::ubuf_info);

// SAFETY: Nobody writes to it.
unsafe impl Sync for Ubuf {}

static UBUF_OPS: ffi::ubuf_info_ops = ffi::ubuf_info_ops {
    complete: Some(complete),
    link_skb: None,
};

static UBUF: Ubuf = Ubuf(ffi::ubuf_info {
    ops: &raw const UBUF_OPS,
    // SAFETY: Integers.
    refcnt: unsafe { core::mem::zeroed() },
    // None: the packet is not marked.
    flags: 0,
});

/// The queue has not used the data where it is, but has copied it: nothing is to be done.
///
/// # Safety
///
/// None: nothing is followed.
unsafe extern "C" fn complete(_skb: *mut ffi::sk_buff, _ubuf: *mut ffi::ubuf_info, _done: bool) {}
