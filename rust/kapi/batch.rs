// SPDX-License-Identifier: GPL-2.0

//! Packets sent to tun and tap queues in batches, as XDP buffers.
//!
//! C headers: [`include/linux/if_tun.h`](srctree/include/linux/if_tun.h),
//! [`include/net/xdp.h`](srctree/include/net/xdp.h)

use kernel::prelude::*;

use super::{
    ffi,
    iov::IoVec,
    message::message,
    mm::InMm,
    page::{
        align_cache,
        Piece, //
    },
    pages::Pages,
    socket::Socket,
};

/// How many packets a [`TxBatch`] holds.
pub(crate) const TX_BATCH: usize = 64;

/// The longest virtio header that the queue's driver may read at the start of a piece.
const HEAD_MAX: usize = 24;

/// What must stand behind a packet, in bytes.
const TAIL: usize = ffi::VNR_SHARED_INFO_SIZE as usize;

const PAGE_SIZE: usize = ffi::VNR_PAGE_SIZE as usize;

/// Why a packet did not get into a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BatchError {
    /// It does not fit into a small page with what must stand around it.
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
/// The first `len` of `frames` each own a piece of a page; `len <= TX_BATCH`.
pub(crate) struct TxBatch {
    frames: KBox<[ffi::xdp_buff; TX_BATCH]>,
    len: usize,
    pages: Pages,
}

// SAFETY: Pieces of pages may be given back by any thread.
unsafe impl Send for TxBatch {}

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
            pages: Pages::new(),
        })
    }

    /// Opens the batch for packets to `sock` whose first `hlen` bytes are the socket's header.
    /// `None` when the socket does not take batches, or has no header of that length.
    pub(crate) fn open<'a>(&'a mut self, sock: &'a Socket, hlen: usize) -> Option<Filling<'a>> {
        if !sock.takes_batches() || hlen > HEAD_MAX {
            return None;
        }
        // INVARIANT: `hlen <= HEAD_MAX`, so the sum is small, and `pad - hlen >= VNR_RX_PAD`.
        let pad = align_cache(ffi::VNR_RX_PAD as usize + sock.headroom() + hlen);
        Some(Filling {
            batch: self,
            sock,
            hlen,
            pad,
        })
    }

    /// Whether there are pages for packets to come.
    pub(crate) fn holds_pages(&self) -> bool {
        !self.pages.is_empty()
    }

    /// Gives them back.
    pub(crate) fn give_back(&mut self) {
        self.pages.give_back();
    }

    fn clear(&mut self) {
        for frame in self.frames.iter().take(self.len) {
            // SAFETY: By the invariant the start of a piece, with its reference.
            unsafe { ffi::page_frag_free(frame.data_hard_start) };
        }
        // INVARIANT: All were given back.
        self.len = 0;
    }
}

impl Drop for TxBatch {
    fn drop(&mut self) {
        self.clear();
    }
}

/// A batch that is filled for one socket. What it holds stays in the batch when this is dropped.
///
/// # Invariants
///
/// `hlen <= HEAD_MAX <= pad - hlen`, and `pad` is less than a page.
pub(crate) struct Filling<'a> {
    batch: &'a mut TxBatch,
    sock: &'a Socket,
    hlen: usize,
    pad: usize,
}
const _: () = assert!(ffi::VNR_RX_PAD as usize >= HEAD_MAX);
const _: () =
    assert!((ffi::VNR_RX_PAD + ffi::VNR_XDP_HEADROOM) as usize + HEAD_MAX < PAGE_SIZE / 2);

impl<'a> Filling<'a> {
    /// How many packets wait in the batch.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.batch.len
    }

    /// The socket that it is filled for.
    #[inline]
    pub(crate) fn socket(&self) -> &'a Socket {
        self.sock
    }

    /// Copies a packet in: `len` bytes gathered from `segs` without their first `skip`. It
    /// becomes part of the batch by [`Frame::commit`].
    ///
    /// # Errors
    ///
    /// See [`BatchError`]; the batch is as before.
    #[inline(always)]
    pub(crate) fn copy_in(
        &mut self,
        mm: &InMm<'_>,
        segs: &[IoVec],
        skip: usize,
        len: usize,
    ) -> Result<Frame<'_>, BatchError> {
        let mut frame = self.frame(len)?;
        let at = frame.pad.wrapping_sub(frame.hlen);
        match frame.piece.copy_user(mm, segs, skip, at, len) {
            Ok(()) => Ok(frame),
            Err(_) => Err(BatchError::Fault),
        }
    }

    /// Copies a packet in that is in two runs, of which the second may be empty, and whose header
    /// has `HLEN` bytes.
    ///
    /// # Errors
    ///
    /// As [`Self::copy_in`], and [`BatchError::TooBig`] where headers have another length.
    #[inline(always)]
    pub(crate) fn copy_pair<const HLEN: usize>(
        &mut self,
        mm: &InMm<'_>,
        (first, second): (IoVec, IoVec),
    ) -> Result<Frame<'_>, BatchError> {
        if self.hlen != HLEN {
            return Err(BatchError::TooBig);
        }
        // OVERFLOW: No segment is so long that two are too many.
        let mut frame = self.frame(first.len().saturating_add(second.len()))?;
        // The compiler is to know it.
        frame.hlen = HLEN;
        let at = frame.pad.wrapping_sub(HLEN);
        // SAFETY: By the invariant of `Frame` there are `len` bytes from `pad - hlen` on, and `len`
        // is that of both.
        match unsafe { frame.piece.copy_pair(mm, first, second, at) } {
            Ok(()) => Ok(frame),
            Err(_) => Err(BatchError::Fault),
        }
    }

    /// Room for a packet of `len` bytes. What is initialised of it is up to the caller.
    #[inline(always)]
    fn frame(&mut self, len: usize) -> Result<Frame<'_>, BatchError> {
        if self.batch.len >= TX_BATCH {
            return Err(BatchError::Full);
        }
        // OVERFLOW: Both are less than a page behind the first comparison.
        let room = align_cache(self.pad.wrapping_add(len)).wrapping_add(TAIL);
        if len > PAGE_SIZE || len < self.hlen || room > PAGE_SIZE {
            return Err(BatchError::TooBig);
        }
        let piece = self.batch.pages.piece(room).ok_or(BatchError::NoMemory)?;
        // INVARIANT: `hlen <= len`, and `pad + len <= room`.
        Ok(Frame {
            batch: self.batch,
            piece,
            pad: self.pad,
            hlen: self.hlen,
            len,
            room,
        })
    }

    /// Sends all that waits. Afterwards the batch is empty, whatever the result.
    ///
    /// # Errors
    ///
    /// Those of the socket; then none of the packets was taken.
    pub(crate) fn send(&mut self) -> Result {
        if self.batch.len == 0 {
            return Ok(());
        }
        let mut ctl = ffi::tun_msg_ctl {
            type_: ffi::VNR_TUN_MSG_PTR as u16,
            num: self.batch.len as u16,
            ptr: self.batch.frames.as_mut_ptr().cast(),
        };
        let mut msg = message(
            (&raw mut ctl).cast(),
            core::mem::size_of::<ffi::tun_msg_ctl>(),
        );
        // SAFETY: Socket and message are valid, and a socket that takes batches understands this
        // one. The first `num` buffers are complete by the invariant.
        let ret = unsafe { ffi::vnr_sock_sendmsg(self.sock.raw(), &mut msg, 0) };
        if ret < 0 {
            self.batch.clear();
            return Err(Error::from_errno(ret));
        }
        // INVARIANT: On success the queue has taken every buffer, also those it rejects.
        self.batch.len = 0;
        Ok(())
    }
}

/// A packet that was copied in and is not yet part of the batch.
///
/// # Invariants
///
/// `piece` has `room` bytes, of which `len` from `pad - hlen` on are initialised;
/// `hlen <= HEAD_MAX <= pad - hlen`, `hlen <= len` and `pad - hlen + len <= room`. The batch is
/// not full.
pub(crate) struct Frame<'a> {
    batch: &'a mut TxBatch,
    piece: Piece,
    pad: usize,
    hlen: usize,
    len: usize,
    room: usize,
}

impl Frame<'_> {
    /// The socket's header, to look at and to correct.
    #[inline(always)]
    pub(crate) fn header(&mut self) -> &mut [u8] {
        // SAFETY: Initialised and in bounds by the invariant, and borrowed from `self`.
        unsafe {
            core::slice::from_raw_parts_mut(
                self.piece
                    .start()
                    .as_ptr()
                    .add(self.pad.wrapping_sub(self.hlen)),
                self.hlen,
            )
        }
    }

    /// Makes the packet part of the batch.
    #[inline(always)]
    pub(crate) fn commit(self) {
        let Some(frame) = self.batch.frames.get_mut(self.batch.len) else {
            return;
        };
        let start = self.piece.start().as_ptr();
        // The driver reads the header at the start of the piece, and may be set to read one that
        // is longer than ours.
        // SAFETY: By the invariant both places are in bounds and do not overlap, and `hlen` bytes
        // of the packet are initialised.
        unsafe {
            start
                .cast::<[u8; HEAD_MAX]>()
                .write_unaligned([0; HEAD_MAX]);
            let header = start.add(self.pad.wrapping_sub(self.hlen));
            core::ptr::copy_nonoverlapping(header, start, self.hlen);
        }
        // SAFETY: In bounds by the invariant.
        let data = unsafe { start.add(self.pad) };
        // SAFETY: As above, `len >= hlen` and `pad + len - hlen <= room`.
        let data_end = unsafe { data.add(self.len.wrapping_sub(self.hlen)) };
        frame.data_hard_start = start.cast();
        frame.data = data.cast();
        frame.data_meta = data.cast();
        frame.data_end = data_end.cast();
        frame.__bindgen_anon_1.__bindgen_anon_1 = ffi::xdp_buff__bindgen_ty_1__bindgen_ty_1 {
            frame_sz: self.room as u32,
            flags: 0,
        };
        // INVARIANT: One more frame, which has the piece from now on.
        self.batch.len = self.batch.len.wrapping_add(1);
        let _ = self.piece.into_raw();
    }
}
