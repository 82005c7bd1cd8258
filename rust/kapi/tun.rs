// SPDX-License-Identifier: GPL-2.0

//! Receiving packets, those of tun and tap queues in batches from their ring.
//!
//! C headers: [`include/linux/if_tun.h`](srctree/include/linux/if_tun.h),
//! [`include/linux/ptr_ring.h`](srctree/include/linux/ptr_ring.h)

use core::{
    ffi::{
        c_int,
        c_void, //
    },
    ptr::{
        null_mut,
        NonNull, //
    },
};
use kernel::{
    prelude::*,
    sync::Arc, //
};

use super::{
    ffi,
    iov::IoVec,
    mm::InMm,
    socket::{
        Socket,
        VlanTag, //
    },
    vlan,
};

/// The number of packets that are taken from a ring at once.
pub(crate) const RING_BATCH: usize = 64;

/// Receives the packets of a socket in order. The socket can be replaced, so that a new one needs
/// no allocation.
///
/// # Invariants
///
/// `entries[head..tail]` were taken from the ring of `sock` and are owned by this value;
/// `head <= tail <= RING_BATCH`.
pub(crate) struct Receiver {
    sock: Option<Arc<Socket>>,
    entries: KBox<[*mut c_void; RING_BATCH]>,
    head: usize,
    tail: usize,
    /// The length and the VLAN tag of the packet that was last seen in the socket's receive queue,
    /// if its tag is stored outside the frame. The length includes the tag.
    tagged: Option<(usize, VlanTag)>,
}

// SAFETY: Any thread may free ring entries or put them back; the other fields are `Send`.
unsafe impl Send for Receiver {}

impl Receiver {
    /// Creates a receiver without a socket.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new() -> Result<Self> {
        // INVARIANT: No entries were taken yet.
        Ok(Self {
            sock: None,
            entries: KBox::new([null_mut(); RING_BATCH], GFP_KERNEL)?,
            head: 0,
            tail: 0,
            tagged: None,
        })
    }

    /// Replaces the socket. Packets of the old one that were taken from its ring and not received
    /// are put back.
    pub(crate) fn set_socket(&mut self, sock: Option<Arc<Socket>>) {
        self.put_back();
        // INVARIANT: There are no entries.
        self.sock = sock;
    }

    /// Returns the length of the next packet, without virtio-net header but with its VLAN tag, or
    /// `None` if there is no packet.
    #[inline(always)]
    pub(crate) fn peek(&mut self) -> Option<usize> {
        if self.head == self.tail {
            let sock = self.sock.as_ref()?;
            if sock.ring().is_none() {
                let (len, tag) = sock.first_queued()?;
                self.tagged = tag.map(|tag| (len, tag));
                return Some(len);
            }
            self.refill();
        }
        let entry = *self.entries.get(self.head..self.tail)?.first()?;
        // SAFETY: By the invariant we own this ring entry. It is an XDP frame if the flag is set,
        // and otherwise a socket buffer.
        let len = unsafe {
            if entry.addr() & ffi::VNR_TUN_XDP_FLAG as usize != 0 {
                ffi::vnr_tun_xdp_frame_len(entry)
            } else {
                ffi::vnr_skb_len_with_tag(entry.cast()) as u32
            }
        };
        // CAST: Widening.
        Some(len as usize)
    }

    /// Receives the packet that [`Self::peek`] has seen into `segs`, after their first `skip`
    /// bytes, and returns its length with the socket's header. A ring entry is consumed even if
    /// this fails.
    ///
    /// # Errors
    ///
    /// Those of the socket; `ENOTSOCK` when there is none.
    #[inline(always)]
    pub(crate) fn receive(
        &mut self,
        mm: &InMm<'_>,
        segs: &[IoVec],
        skip: usize,
        len: usize,
    ) -> Result<usize> {
        let entry = self.pop();
        if entry.is_null() {
            return self.receive_queued(mm, segs, skip, len);
        }
        // By the invariant there is a socket if there are entries.
        let sock = self.sock.as_ref().ok_or(ENOTSOCK)?;
        // SAFETY: The entry is of this socket's ring. We owned it and have given it up.
        unsafe { sock.receive(segs, skip, len, entry) }
    }

    /// Implements [`Self::receive`] for the socket's receive queue.
    #[inline(never)]
    fn receive_queued(
        &mut self,
        mm: &InMm<'_>,
        segs: &[IoVec],
        skip: usize,
        len: usize,
    ) -> Result<usize> {
        let sock = self.sock.as_ref().ok_or(ENOTSOCK)?;
        match self.tagged.take() {
            Some((frame, tag)) => {
                let hlen = len.saturating_sub(frame);
                vlan::receive(sock, mm, segs, skip, len, hlen, tag)
            }
            // SAFETY: No entry is passed.
            None => unsafe { sock.receive(segs, skip, len, null_mut()) },
        }
    }

    /// Drops the packet that [`Self::peek`] has seen.
    pub(crate) fn discard(&mut self) {
        self.tagged = None;
        let entry = self.pop();
        if !entry.is_null() {
            // SAFETY: We owned this entry and have given it up.
            unsafe { ffi::tun_ptr_free(entry) };
        } else if let Some(sock) = &self.sock {
            // SAFETY: No entry is passed. The packet is truncated to 0 bytes.
            let _ = unsafe { sock.receive(&[], 0, 0, null_mut()) };
        }
    }

    /// Returns the first entry, whose ownership passes to the caller, or null if there is none.
    #[inline(always)]
    fn pop(&mut self) -> *mut c_void {
        match self.entries.get(self.head..self.tail) {
            Some([entry, ..]) => {
                // INVARIANT: We own one entry less, and `head < tail` was true before.
                self.head = self.head.wrapping_add(1);
                *entry
            }
            _ => null_mut(),
        }
    }

    /// Takes a batch of entries from the socket's ring, if it has one and no entries are left.
    #[inline(never)]
    fn refill(&mut self) {
        let Some((sock, ring)) = Self::ring_of(&self.sock) else {
            return;
        };
        if self.head != self.tail {
            return;
        }
        let file = sock.file().as_ptr();
        // SAFETY: The ring lives as long as the socket, on which we hold a reference. Its consumer
        // lock is held while entries are taken, at most as many as the array has, and while the
        // queue's producer is woken.
        let taken = unsafe {
            ffi::vnr_ptr_ring_lock(ring.as_ptr());
            let taken = ffi::vnr_ptr_ring_consume_batched(
                ring.as_ptr(),
                self.entries.as_mut_ptr(),
                RING_BATCH as c_int,
            );
            if taken > 0 {
                ffi::tun_wake_queue(file, taken);
            }
            ffi::vnr_ptr_ring_unlock(ring.as_ptr());
            taken
        };
        // INVARIANT: The ring has passed that many entries to us, at most `RING_BATCH`.
        self.head = 0;
        self.tail = usize::try_from(taken).unwrap_or(0);
    }

    /// Puts the entries that were not received back into the ring, and forgets the tag.
    fn put_back(&mut self) {
        self.tagged = None;
        let (Some((_, ring)), Some(left)) = (
            Self::ring_of(&self.sock),
            self.entries.get_mut(self.head..self.tail),
        ) else {
            return;
        };
        if !left.is_empty() {
            // SAFETY: We own the entries. They came from this ring, which lives as long as the
            // socket. Those for which it has no room are freed as entries of such a ring are.
            unsafe {
                ffi::vnr_ptr_ring_unconsume(
                    ring.as_ptr(),
                    left.as_mut_ptr(),
                    left.len() as c_int,
                    Some(ffi::tun_ptr_free),
                );
            }
        }
        // INVARIANT: There are no entries.
        self.head = self.tail;
    }

    fn ring_of(sock: &Option<Arc<Socket>>) -> Option<(&Socket, NonNull<ffi::ptr_ring>)> {
        let sock = sock.as_deref()?;
        Some((sock, sock.ring()?))
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.put_back();
    }
}
