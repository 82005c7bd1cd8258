// SPDX-License-Identifier: GPL-2.0

//! Batches of packets for tun and tap queues, sent as XDP buffers.
//!
//! C headers: [`include/linux/if_tun.h`](srctree/include/linux/if_tun.h),
//! [`include/net/xdp.h`](srctree/include/net/xdp.h)

use kernel::{
    alloc::flags::__GFP_ZERO,
    prelude::*, //
};

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

/// The most packets that a [`TxBatch`] holds.
pub(crate) const TX_BATCH: usize = 64;

/// The longest virtio-net header that a queue may read at the start of a piece, in bytes.
const HEAD_MAX: usize = 24;

/// The room in bytes that is needed after a packet.
const TAIL: usize = ffi::VNR_SHARED_INFO_SIZE as usize;

const PAGE_SIZE: usize = ffi::VNR_PAGE_SIZE as usize;

/// The reason why a packet was not copied into a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BatchError {
    /// The packet does not fit into a page of order 0 together with the room around it.
    TooBig,
    /// There is no memory.
    NoMemory,
    /// The packet is not readable.
    Fault,
    /// The batch holds [`TX_BATCH`] packets.
    Full,
}

/// Packets for a tun or tap queue, copied from the owner's memory.
///
/// # Invariants
///
/// The first `len` of `frames` are complete, and each owns a piece of a page; `len <= TX_BATCH`.
pub(crate) struct TxBatch {
    frames: KBox<[ffi::xdp_buff; TX_BATCH]>,
    len: usize,
    pages: Pages,
}

// SAFETY: Any thread may release pieces of pages.
unsafe impl Send for TxBatch {}

impl TxBatch {
    /// Creates an empty batch.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new() -> Result<Self> {
        let frames = KBox::<[ffi::xdp_buff; TX_BATCH]>::new_uninit(GFP_KERNEL | __GFP_ZERO)?;
        // SAFETY: The memory is zeroed, which is a valid value of this type.
        let frames = unsafe { frames.assume_init() };
        // INVARIANT: The batch is empty.
        Ok(Self {
            frames,
            len: 0,
            pages: Pages::new(),
        })
    }

    /// Discards the packets and frees all pages, or leaves them to their users.
    pub(crate) fn reset(&mut self) {
        self.clear();
        self.pages = Pages::new();
    }

    /// Opens the batch for packets to `sock` with a header of `hlen` bytes. Returns `None` if the
    /// socket does not accept batches, or cannot have a header of that length.
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

    fn clear(&mut self) {
        for frame in self.frames.iter().take(self.len) {
            // SAFETY: By the invariant this is the start of a piece, whose reference is ours.
            unsafe { ffi::page_frag_free(frame.data_hard_start) };
        }
        // INVARIANT: All pieces were released.
        self.len = 0;
    }
}

impl Drop for TxBatch {
    fn drop(&mut self) {
        self.clear();
    }
}

/// A batch that is being filled for one socket. Its packets stay in the batch on drop.
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
    /// Returns the number of packets in the batch.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.batch.len
    }

    /// Returns the socket for which the batch is filled.
    #[inline]
    pub(crate) fn socket(&self) -> &'a Socket {
        self.sock
    }

    /// Copies a packet: `len` bytes of `segs`, after their first `skip` bytes. [`Frame::commit`]
    /// then adds it to the batch.
    ///
    /// # Errors
    ///
    /// See [`BatchError`]; the batch is unchanged.
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

    /// Copies a packet from two segments, of which the second may be empty, with a header of `HLEN`
    /// bytes.
    ///
    /// # Errors
    ///
    /// As for [`Self::copy_in`], and [`BatchError::TooBig`] for another length of the header.
    #[inline(always)]
    pub(crate) fn copy_pair<const HLEN: usize>(
        &mut self,
        mm: &InMm<'_>,
        (first, second): (IoVec, IoVec),
    ) -> Result<Frame<'_>, BatchError> {
        if self.hlen != HLEN {
            return Err(BatchError::TooBig);
        }
        // A sum that would overflow is too big as well.
        let mut frame = self.frame(first.len().saturating_add(second.len()))?;
        // Lets the compiler know that the length is constant.
        frame.hlen = HLEN;
        let at = frame.pad.wrapping_sub(HLEN);
        // SAFETY: By the invariant of `Frame` there are `len` bytes from `pad - hlen` on, and `len`
        // is the sum of both lengths.
        match unsafe { frame.piece.copy_pair(mm, first, second, at) } {
            Ok(()) => Ok(frame),
            Err(_) => Err(BatchError::Fault),
        }
    }

    /// Allocates room for a packet of `len` bytes, which the caller must initialise.
    #[inline(always)]
    fn frame(&mut self, len: usize) -> Result<Frame<'_>, BatchError> {
        if self.batch.len >= TX_BATCH {
            return Err(BatchError::Full);
        }
        // OVERFLOW: Only for a `len` that is rejected below; `pad` is less than a page.
        let room = align_cache(self.pad.wrapping_add(len)).wrapping_add(TAIL);
        if len > PAGE_SIZE || len < self.hlen || room > PAGE_SIZE {
            return Err(BatchError::TooBig);
        }
        let piece = self.batch.pages.piece(room).ok_or(BatchError::NoMemory)?;
        // INVARIANT: `hlen <= len`, and `pad + len <= room`. The caller initialises the bytes.
        Ok(Frame {
            batch: self.batch,
            piece,
            pad: self.pad,
            hlen: self.hlen,
            len,
            room,
        })
    }

    /// Sends all packets. The batch is empty afterwards, also on failure.
    ///
    /// # Errors
    ///
    /// Those of the socket, which has taken none of the packets then.
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
        // SAFETY: Socket and message are valid, and a socket that accepts batches understands this
        // message. The first `num` buffers are complete by the invariant.
        let ret = unsafe { ffi::vnr_sock_sendmsg(self.sock.raw(), &mut msg, 0) };
        if ret < 0 {
            self.batch.clear();
            return Err(Error::from_errno(ret));
        }
        // INVARIANT: On success the queue owns all buffers, also those that it rejects.
        self.batch.len = 0;
        Ok(())
    }
}

/// A packet that was copied and is not yet part of the batch.
///
/// # Invariants
///
/// `piece` has `room` bytes, of which the `len` from `pad - hlen` on are initialised; `hlen <=
/// HEAD_MAX <= pad - hlen`, `hlen <= len` and `pad - hlen + len <= room`. The batch is not full.
pub(crate) struct Frame<'a> {
    batch: &'a mut TxBatch,
    piece: Piece,
    pad: usize,
    hlen: usize,
    len: usize,
    room: usize,
}

impl Frame<'_> {
    /// Returns the socket's header, to be read and corrected.
    #[inline(always)]
    pub(crate) fn header(&mut self) -> &mut [u8] {
        // SAFETY: Initialised and in bounds by the invariant, and `self` is borrowed.
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

    /// Adds the packet to the batch.
    #[inline(always)]
    pub(crate) fn commit(self) {
        let Some(frame) = self.batch.frames.get_mut(self.batch.len) else {
            return;
        };
        let start = self.piece.start().as_ptr();
        // The driver reads the header at the start of the piece, and may be configured for one that
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
        // SAFETY: As above; `len >= hlen` and `pad + len - hlen <= room`.
        let data_end = unsafe { data.add(self.len.wrapping_sub(self.hlen)) };
        frame.data_hard_start = start.cast();
        frame.data = data.cast();
        frame.data_meta = data.cast();
        frame.data_end = data_end.cast();
        frame.__bindgen_anon_1.__bindgen_anon_1 = ffi::xdp_buff__bindgen_ty_1__bindgen_ty_1 {
            frame_sz: self.room as u32,
            flags: 0,
        };
        // INVARIANT: One more frame, which owns the piece from now on.
        self.batch.len = self.batch.len.wrapping_add(1);
        let _ = self.piece.into_raw();
    }
}
