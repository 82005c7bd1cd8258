// SPDX-License-Identifier: GPL-2.0

//! Packets sent to tun and tap queues in batches, as XDP buffers.
//!
//! C headers: [`include/linux/if_tun.h`](srctree/include/linux/if_tun.h),
//! [`include/net/xdp.h`](srctree/include/net/xdp.h)

use core::ptr::null_mut;
use kernel::prelude::*;

use super::{
    ffi,
    frag::Fragment,
    iov::IoVec,
    mm::InMm,
    socket::{
        Kind,
        Socket, //
    },
};

/// How many packets a [`TxBatch`] holds.
pub(crate) const TX_BATCH: usize = 64;

/// Why a packet did not get into a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BatchError {
    /// It does not fit into a page with what must stand around it.
    TooBig,
    /// No memory now.
    NoMemory,
    /// Its memory could not be read.
    Fault,
    /// The batch holds [`TX_BATCH`] packets.
    Full,
}

/// Packets on their way to a tun or tap queue, copied out of the owner's memory.
///
/// # Invariants
///
/// The first `len` of `frames` describe page fragments owned by this value; `len <= TX_BATCH`.
pub(crate) struct TxBatch {
    frames: KBox<[ffi::xdp_buff; TX_BATCH]>,
    len: usize,
    cache: ffi::page_frag_cache,
}

// SAFETY: Page fragments may be freed on any thread.
unsafe impl Send for TxBatch {}

const fn align_cache(len: usize) -> usize {
    let mask = ffi::VNR_CACHE_BYTES as usize - 1;
    len.wrapping_add(mask) & !mask
}

/// The longest virtio header that the queue's driver may read at the start of a fragment.
const HEAD_MAX: usize = 24;

impl TxBatch {
    /// An empty batch.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new() -> Result<Self> {
        // INVARIANT: Nothing in it.
        Ok(Self {
            frames: KBox::init(pin_init::zeroed::<[ffi::xdp_buff; TX_BATCH]>(), GFP_KERNEL)?,
            len: 0,
            cache: ffi::page_frag_cache::default(),
        })
    }

    /// How many packets wait in it.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Copies a packet in: `len` bytes gathered from `segs` without their first `skip`, of which
    /// the first `hlen` are the socket's header. It becomes part of the batch by
    /// [`Frame::commit`].
    ///
    /// # Errors
    ///
    /// See [`BatchError`]; the batch is as before.
    #[inline]
    pub(crate) fn copy_in(
        &mut self,
        sock: &Socket,
        _mm: &InMm<'_>,
        segs: &[IoVec],
        skip: usize,
        len: usize,
        hlen: usize,
    ) -> Result<Frame<'_>, BatchError> {
        if self.len >= TX_BATCH {
            return Err(BatchError::Full);
        }
        if len > ffi::VNR_PAGE_SIZE as usize || hlen > len || hlen > HEAD_MAX {
            return Err(BatchError::TooBig);
        }
        let pad = align_cache(ffi::VNR_RX_PAD as usize + sock.headroom() + hlen);
        let room = align_cache(len + pad) + ffi::VNR_SHARED_INFO_SIZE as usize;
        if room > ffi::VNR_PAGE_SIZE as usize {
            return Err(BatchError::TooBig);
        }
        let frag = Fragment::alloc(&mut self.cache, room).ok_or(BatchError::NoMemory)?;
        // BOUNDS: `pad >= hlen + 64`, and `pad + len <= room`.
        frag.copy_user(segs, skip, pad - hlen, len)
            .map_err(|()| BatchError::Fault)?;
        Ok(Frame {
            batch: self,
            frag,
            pad,
            hlen,
            len,
            room,
        })
    }

    /// Sends all that waits. Afterwards the batch is empty, whatever the result.
    ///
    /// # Errors
    ///
    /// Those of the socket; then none of the packets was taken.
    pub(crate) fn send(&mut self, sock: &Socket) -> Result {
        if self.len == 0 {
            return Ok(());
        }
        if sock.kind() == Kind::Packet {
            self.clear();
            return Err(ENOTSOCK);
        }
        let mut ctl = ffi::tun_msg_ctl {
            type_: ffi::VNR_TUN_MSG_PTR as u16,
            num: self.len as u16,
            ptr: self.frames.as_mut_ptr().cast(),
        };
        let mut msg = super::socket::control_message(
            (&raw mut ctl).cast(),
            core::mem::size_of::<ffi::tun_msg_ctl>(),
        );
        // SAFETY: Socket and message are valid, and a tun or tap queue understands this one. The
        // first `num` buffers are initialised by the invariant.
        let ret = unsafe { ffi::vnr_sock_sendmsg(sock.raw(), &mut msg, 0) };
        if ret < 0 {
            self.clear();
            return Err(Error::from_errno(ret));
        }
        // INVARIANT: On success the queue has taken every buffer, also those it rejects.
        self.len = 0;
        Ok(())
    }

    fn clear(&mut self) {
        for frame in self.frames.iter().take(self.len) {
            // SAFETY: By the invariant a fragment of ours.
            unsafe { ffi::page_frag_free(frame.data_hard_start) };
        }
        // INVARIANT: All were freed.
        self.len = 0;
    }
}

impl Drop for TxBatch {
    fn drop(&mut self) {
        self.clear();
        // SAFETY: The cache is ours, and nothing is allocated from it any more.
        unsafe { ffi::page_frag_cache_drain(&mut self.cache) };
    }
}

/// A packet that was copied in and is not yet part of the batch.
///
/// # Invariants
///
/// `frag` has `room` bytes, of which `len` from `pad - hlen` on are initialised;
/// `hlen <= HEAD_MAX <= pad - hlen` and `pad + len <= room`. The batch is not full.
pub(crate) struct Frame<'a> {
    batch: &'a mut TxBatch,
    frag: Fragment,
    pad: usize,
    hlen: usize,
    len: usize,
    room: usize,
}

impl Frame<'_> {
    /// The socket's header, to look at and to correct.
    #[inline]
    pub(crate) fn header(&mut self) -> &mut [u8] {
        // SAFETY: Initialised and in bounds by the invariant, and borrowed from `self`.
        unsafe {
            core::slice::from_raw_parts_mut(
                self.frag.start().as_ptr().add(self.pad - self.hlen),
                self.hlen,
            )
        }
    }

    /// Makes the packet part of the batch.
    #[inline]
    pub(crate) fn commit(self) {
        let start = self.frag.start().as_ptr();
        // The driver reads the header at the start of the fragment, and may be set to read one
        // that is longer than ours.
        // SAFETY: In bounds by the invariant; the two places do not overlap, since
        // `hlen <= HEAD_MAX <= pad - hlen`.
        unsafe {
            core::ptr::write_bytes(start, 0, HEAD_MAX);
            core::ptr::copy_nonoverlapping(start.add(self.pad - self.hlen), start, self.hlen);
        }
        // SAFETY: In bounds by the invariant.
        let data = unsafe { start.add(self.pad) };
        // SAFETY: As above, `len >= hlen` and `pad + len - hlen <= room`.
        let data_end = unsafe { data.add(self.len - self.hlen) };
        let Some(frame) = self.batch.frames.get_mut(self.batch.len) else {
            return;
        };
        frame.data_hard_start = start.cast();
        frame.data = data.cast();
        frame.data_meta = data.cast();
        frame.data_end = data_end.cast();
        frame.rxq = null_mut();
        frame.__bindgen_anon_1.__bindgen_anon_1 = ffi::xdp_buff__bindgen_ty_1__bindgen_ty_1 {
            frame_sz: self.room as u32,
            flags: 0,
        };
        // INVARIANT: One more frame, whose fragment the batch owns from now on.
        self.batch.len = self.batch.len.wrapping_add(1);
        let _ = self.frag.into_raw();
    }
}
