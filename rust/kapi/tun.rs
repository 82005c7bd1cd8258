// SPDX-License-Identifier: GPL-2.0

//! Packets of tun and tap queues in batches, received through their ring.
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

/// How many packets are taken from a ring at once.
pub(crate) const RING_BATCH: usize = 64;

/// Receives the packets of one socket, first come first served.
///
/// # Invariants
///
/// `entries[head..tail]` were taken from the ring of `sock` and are owned by this value;
/// `head <= tail <= RING_BATCH`.
pub(crate) struct Receiver {
    sock: Arc<Socket>,
    entries: KBox<[*mut c_void; RING_BATCH]>,
    head: usize,
    tail: usize,
    /// The packet that was last seen in the socket's own queue, if its tag is held beside it: its
    /// length with that.
    tagged: Option<(usize, VlanTag)>,
}

// SAFETY: Ring entries may be freed and given back on any thread; the rest is `Send`.
unsafe impl Send for Receiver {}

impl Receiver {
    /// Receives from `sock`.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new(sock: Arc<Socket>) -> Result<Self> {
        // INVARIANT: Nothing taken yet.
        Ok(Self {
            sock,
            entries: KBox::new([null_mut(); RING_BATCH], GFP_KERNEL)?,
            head: 0,
            tail: 0,
            tagged: None,
        })
    }

    /// The length of the packet that is next, without any virtio header but with its VLAN tag;
    /// `None` when there is none.
    #[inline(always)]
    pub(crate) fn peek(&mut self) -> Option<usize> {
        if self.head == self.tail {
            let Some(ring) = self.sock.ring() else {
                let (len, tag) = self.sock.first_queued()?;
                self.tagged = tag.map(|tag| (len, tag));
                return Some(len);
            };
            self.refill(ring);
        }
        let entry = *self.entries.get(self.head..self.tail)?.first()?;
        // SAFETY: By the invariant a ring entry that we own: an XDP frame if it says so, else a
        // socket buffer.
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

    /// Receives the packet that [`Self::peek`] has seen into `segs`, behind their first `skip`
    /// bytes, and returns its length with the socket's own header. The packet is gone, also when
    /// this fails.
    ///
    /// # Errors
    ///
    /// Those of the socket.
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
        // SAFETY: An entry of this socket's ring that we owned and have given up.
        unsafe { self.sock.receive(segs, skip, len, entry) }
    }

    /// The same out of the socket's own queue.
    #[inline(never)]
    fn receive_queued(
        &mut self,
        mm: &InMm<'_>,
        segs: &[IoVec],
        skip: usize,
        len: usize,
    ) -> Result<usize> {
        match self.tagged.take() {
            Some((frame, tag)) => {
                let hlen = len.saturating_sub(frame);
                vlan::receive(&self.sock, mm, segs, skip, len, hlen, tag)
            }
            // SAFETY: No entry is passed.
            None => unsafe { self.sock.receive(segs, skip, len, null_mut()) },
        }
    }

    /// Loses the packet that [`Self::peek`] has seen.
    pub(crate) fn discard(&mut self) {
        self.tagged = None;
        let entry = self.pop();
        if entry.is_null() {
            // SAFETY: No entry is passed. What is left of the packet is truncated.
            let _ = unsafe { self.sock.receive(&[], 0, 0, null_mut()) };
        } else {
            // SAFETY: An entry that we owned.
            unsafe { ffi::tun_ptr_free(entry) };
        }
    }

    /// Gives up the ownership of the first entry; null when there is none.
    #[inline(always)]
    fn pop(&mut self) -> *mut c_void {
        match self.entries.get(self.head..self.tail) {
            Some([entry, ..]) => {
                // INVARIANT: One entry less is ours, and `head < tail` before.
                self.head = self.head.wrapping_add(1);
                *entry
            }
            _ => null_mut(),
        }
    }

    /// Takes a batch out of the ring; only when all that was taken is used up.
    #[inline(never)]
    fn refill(&mut self, ring: NonNull<ffi::ptr_ring>) {
        let file = self.sock.file().as_ptr();
        // SAFETY: The ring lives as long as the socket, which we hold. It is consumed under its
        // consumer lock, into as many places as are said, and the queue's producer is woken under
        // the same lock.
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
        // INVARIANT: The ring gave us that many entries, at most `RING_BATCH`.
        self.head = 0;
        self.tail = usize::try_from(taken).unwrap_or(0);
    }
}

impl Drop for Receiver {
    /// What was taken and not received goes back to where it came from.
    fn drop(&mut self) {
        let (Some(ring), Some(left)) =
            (self.sock.ring(), self.entries.get_mut(self.head..self.tail))
        else {
            return;
        };
        if !left.is_empty() {
            // SAFETY: The entries are ours and came from this ring, which lives as long as the
            // socket; what finds no room is freed as an entry of such a ring is.
            unsafe {
                ffi::vnr_ptr_ring_unconsume(
                    ring.as_ptr(),
                    left.as_mut_ptr(),
                    left.len() as c_int,
                    Some(ffi::tun_ptr_free),
                );
            }
        }
    }
}
