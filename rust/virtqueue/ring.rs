// SPDX-License-Identifier: GPL-2.0

//! The state of a split ring and its notification fields (VIRTIO 1.3, 2.7).

use kernel::prelude::*;

use crate::virtqueue::{
    ahead::Ahead,
    fault::Fault,
    layout::Layout,
    mem::{
        GuestMemory,
        MemFault, //
    },
    uapi::{
        Desc,
        USED_F_NO_NOTIFY, //
    },
};

/// The state of a ring as the device sees it.
pub(crate) struct Ring {
    layout: Layout,
    event_idx: bool,
    /// The position of the next available entry to take.
    next_avail: u16,
    /// The available index that was read last.
    avail_idx: u16,
    /// The position of the next used entry to write.
    next_used: u16,
    /// The used ring's flags that were written last.
    used_flags: u16,
    /// The used index at the last interrupt decision, or `None` if it cannot be compared with.
    pub(super) signalled_used: Option<u16>,
    ahead: Ahead,
}

impl Ring {
    /// Creates a ring whose parts have no addresses yet.
    pub(crate) const fn new() -> Self {
        Self {
            layout: Layout::UNSET,
            event_idx: false,
            next_avail: 0,
            avail_idx: 0,
            next_used: 0,
            used_flags: 0,
            signalled_used: None,
            ahead: Ahead::NONE,
        }
    }

    /// Returns the addresses and the size of the ring.
    #[inline]
    pub(crate) fn layout(&self) -> Layout {
        self.layout
    }

    /// Returns whether the parts of the ring have no addresses.
    #[inline]
    pub(crate) fn is_unset(&self) -> bool {
        self.layout.is_unset()
    }

    /// Sets the addresses and the size of the ring. Entries read ahead are discarded.
    pub(crate) fn set_layout(&mut self, layout: Layout) {
        if layout.size() != self.layout.size() {
            // `avail_idx` may be further ahead than the new size allows.
            self.avail_idx = self.next_avail;
        }
        self.layout = layout;
        self.ahead.forget();
    }

    /// Sets whether notifications are controlled by `used_event` and `avail_event`.
    pub(crate) fn set_event_idx(&mut self, event_idx: bool) {
        self.event_idx = event_idx;
    }

    /// VHOST_SET_VRING_BASE: sets the position of the next available entry to take.
    pub(crate) fn set_base(&mut self, base: u16) {
        self.next_avail = base;
        self.avail_idx = base;
        self.ahead.forget();
    }

    /// VHOST_GET_VRING_BASE: returns the position of the next available entry to take.
    pub(crate) fn base(&self) -> u16 {
        self.next_avail
    }

    /// Returns the position of the next used entry to write.
    #[inline]
    pub(super) fn next_used(&self) -> u16 {
        self.next_used
    }

    /// Returns whether all entries up to the available index that was read last are taken.
    #[inline]
    pub(super) fn is_drained(&self) -> bool {
        self.avail_idx == self.next_avail
    }

    /// Prepares the ring for use: writes the used flags, and continues at the guest's used index.
    ///
    /// # Errors
    ///
    /// [`MemFault`] when the used ring cannot be accessed; the state is unchanged then.
    pub(crate) fn attach<M: GuestMemory>(&mut self, mem: &M) -> Result<(), MemFault> {
        mem.write_u16(self.layout.used_flags(), self.used_flags)?;
        self.next_used = mem.read_u16(self.layout.used_idx())?;
        self.signalled_used = None;
        self.ahead.forget();
        Ok(())
    }

    /// Returns the head of the next available buffer and its descriptor, without taking it, or
    /// `None` if the guest has made no more buffers available.
    ///
    /// # Errors
    ///
    /// The [`Fault`] of the available ring, and [`Fault::DescUnreadable`].
    #[inline(always)]
    pub(super) fn next<M: GuestMemory>(&mut self, mem: &M) -> Result<Option<(u16, Desc)>, Fault> {
        match self.known() {
            Some(known) => Ok(Some(known)),
            None => self.read_ahead(mem),
        }
    }

    /// Returns the next buffer as [`Self::next`] does, if it has been read ahead. Only descriptors
    /// of the descriptor table are read ahead, none of indirect tables.
    #[inline(always)]
    pub(super) fn known(&self) -> Option<(u16, Desc)> {
        let head = self.ahead.known_head(self.next_avail)?;
        Some((head, self.ahead.known(self.next_avail, head)?))
    }

    /// Returns another descriptor of the next buffer's chain, if it has been read ahead.
    #[inline(always)]
    pub(super) fn known_next(&self, index: u16) -> Option<Desc> {
        self.ahead.known(self.next_avail, index)
    }

    /// Reads the next buffer from guest memory, together with entries that follow it.
    #[inline(never)]
    fn read_ahead<M: GuestMemory>(&mut self, mem: &M) -> Result<Option<(u16, Desc)>, Fault> {
        if self.is_drained() && !self.look(mem)? {
            return Ok(None);
        }
        let ready = self.avail_idx.wrapping_sub(self.next_avail);
        let head = self.ahead.head(mem, &self.layout, self.next_avail, ready)?;
        if head >= self.layout.size() {
            self.forget();
            return Err(Fault::HeadRange);
        }
        let desc = self.ahead.desc(mem, &self.layout, self.next_avail, head);
        if desc.is_err() {
            // The guest may replace the head by another one.
            self.forget();
        }
        Ok(Some((head, desc?)))
    }

    /// Returns the queue size, which is also the size of the descriptor table.
    #[inline]
    pub(super) fn size(&self) -> u16 {
        self.layout.size()
    }

    /// Returns descriptor `index`, less than [`Self::size`], of the next buffer's chain.
    ///
    /// # Errors
    ///
    /// [`Fault::DescUnreadable`].
    #[inline]
    pub(super) fn next_desc<M: GuestMemory>(&mut self, mem: &M, index: u16) -> Result<Desc, Fault> {
        self.ahead
            .next_desc(mem, &self.layout, self.next_avail, index)
    }

    /// Records that the last chain had `adjacent` descriptors in a row in the table.
    #[inline]
    pub(super) fn learn(&mut self, adjacent: u16) {
        self.ahead.learn(adjacent);
    }

    /// Reads the available index and returns whether there are buffers to take.
    fn look<M: GuestMemory>(&mut self, mem: &M) -> Result<bool, Fault> {
        let idx = mem
            .read_u16(self.layout.avail_idx())
            .map_err(|MemFault| Fault::AvailUnreadable)?;
        if idx.wrapping_sub(self.next_avail) > self.layout.size() {
            return Err(Fault::AvailJump);
        }
        self.avail_idx = idx;
        if self.is_drained() {
            return Ok(false);
        }
        // The entries must be read after the index. Pairs with the guest's write barrier.
        mem.rmb();
        Ok(true)
    }

    /// Takes the buffer that [`Self::next`] has returned.
    #[inline]
    pub(super) fn advance(&mut self) {
        self.next_avail = self.next_avail.wrapping_add(1);
    }

    /// Puts the last `count` buffers back. They are read again when they are taken again.
    #[inline]
    pub(crate) fn rewind(&mut self, count: u16) {
        self.next_avail = self.next_avail.wrapping_sub(count);
        self.forget();
    }

    /// Discards what was read ahead: the guest may correct an invalid buffer that was put back.
    #[inline]
    pub(super) fn forget(&mut self) {
        self.ahead.forget();
    }

    /// Returns whether there are no available buffers. Returns false if the index is unreadable.
    #[inline]
    pub(crate) fn is_empty<M: GuestMemory>(&mut self, mem: &M) -> bool {
        self.is_drained() && !self.look(mem).unwrap_or(true)
    }

    /// Tells the guest not to kick. With EVENT_IDX, leaving `avail_event` behind is sufficient.
    pub(crate) fn disable_notify<M: GuestMemory>(&mut self, mem: &M) {
        if self.used_flags & USED_F_NO_NOTIFY != 0 {
            return;
        }
        self.used_flags |= USED_F_NO_NOTIFY;
        if !self.event_idx {
            // On failure the guest continues to kick, which is harmless.
            let _ = mem.write_u16(self.layout.used_flags(), self.used_flags);
        }
    }

    /// Asks the guest for kicks. Returns true if it has made a buffer available in the meantime,
    /// for which there may be no kick.
    ///
    /// # Errors
    ///
    /// [`MemFault`] when the flags or `avail_event` cannot be written, or the available index
    /// cannot be read. There may be no kick then.
    pub(crate) fn enable_notify<M: GuestMemory>(&mut self, mem: &M) -> Result<bool, MemFault> {
        if self.used_flags & USED_F_NO_NOTIFY == 0 {
            return Ok(false);
        }
        self.used_flags &= !USED_F_NO_NOTIFY;
        if self.event_idx {
            mem.write_u16(self.layout.avail_event(), self.avail_idx)?;
        } else {
            mem.write_u16(self.layout.used_flags(), self.used_flags)?;
        }
        // The guest writes its index, then reads the flags or `avail_event`. Here the order is
        // reversed.
        mem.mb();
        let idx = mem.read_u16(self.layout.avail_idx())?;
        if idx == self.avail_idx {
            return Ok(false);
        }
        if idx.wrapping_sub(self.next_avail) <= self.layout.size() {
            self.avail_idx = idx;
            mem.rmb();
        }
        Ok(true)
    }

    /// Reads the guest's interrupt suppression: `used_event` with EVENT_IDX, otherwise the flags.
    pub(super) fn interrupt_wish<M: GuestMemory>(&self, mem: &M) -> Result<u16, MemFault> {
        mem.read_u16(if self.event_idx {
            self.layout.used_event()
        } else {
            self.layout.avail_flags()
        })
    }

    /// Advances the used index by `count` entries, which makes them visible to the guest.
    pub(super) fn advance_used<M: GuestMemory>(
        &mut self,
        mem: &M,
        count: u16,
    ) -> Result<(), MemFault> {
        let old = self.next_used;
        let new = old.wrapping_add(count);
        mem.write_u16(self.layout.used_idx(), new)?;
        self.next_used = new;
        // A decision that is 2^16 or more entries old cannot be compared with.
        if let Some(signalled) = self.signalled_used {
            if new.wrapping_sub(signalled) < new.wrapping_sub(old) {
                self.signalled_used = None;
            }
        }
        Ok(())
    }
}
