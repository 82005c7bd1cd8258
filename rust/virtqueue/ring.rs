// SPDX-License-Identifier: GPL-2.0

//! A split ring: how far both sides are, and what they say to each other (VIRTIO 1.3, 2.7).

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

/// How far a ring is.
pub(crate) struct Ring {
    layout: Layout,
    event_idx: bool,
    /// The position of the next buffer to take.
    next_avail: u16,
    /// How far the guest was when it was last looked at.
    avail_idx: u16,
    /// The position of the next used entry to write.
    next_used: u16,
    /// What was last written to the used ring's flags.
    used_flags: u16,
    /// The used index at the last interrupt, while it can still be compared.
    pub(super) signalled_used: Option<u16>,
    ahead: Ahead,
}

impl Ring {
    /// A ring that is nowhere.
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

    /// Where it is.
    #[inline]
    pub(crate) fn layout(&self) -> Layout {
        self.layout
    }

    /// Whether it is nowhere.
    #[inline]
    pub(crate) fn is_unset(&self) -> bool {
        self.layout.is_unset()
    }

    /// Moves it. The guest's entries are read anew.
    pub(crate) fn set_layout(&mut self, layout: Layout) {
        if layout.size() != self.layout.size() {
            // What was seen available may be more than there are entries now.
            self.avail_idx = self.next_avail;
        }
        self.layout = layout;
        self.ahead.forget();
    }

    /// Whether notifications go by index.
    pub(crate) fn set_event_idx(&mut self, event_idx: bool) {
        self.event_idx = event_idx;
    }

    /// VHOST_SET_VRING_BASE: the position of the next buffer to take.
    pub(crate) fn set_base(&mut self, base: u16) {
        self.next_avail = base;
        self.avail_idx = base;
        self.ahead.forget();
    }

    /// VHOST_GET_VRING_BASE.
    pub(crate) fn base(&self) -> u16 {
        self.next_avail
    }

    /// The position of the next used entry to write.
    #[inline]
    pub(super) fn next_used(&self) -> u16 {
        self.next_used
    }

    /// Whether the guest has been seen to have no buffer left.
    #[inline]
    pub(super) fn is_drained(&self) -> bool {
        self.avail_idx == self.next_avail
    }

    /// Starts on what the guest has left in the used ring.
    ///
    /// # Errors
    ///
    /// [`MemFault`] when it cannot be accessed; then nothing is changed here.
    pub(crate) fn attach<M: GuestMemory>(&mut self, mem: &M) -> Result<(), MemFault> {
        mem.write_u16(self.layout.used_flags(), self.used_flags)?;
        self.next_used = mem.read_u16(self.layout.used_idx())?;
        self.signalled_used = None;
        self.ahead.forget();
        Ok(())
    }

    /// The next buffer: its head and that one's descriptor. `None` when the guest has made no more
    /// available.
    ///
    /// # Errors
    ///
    /// The guest's mistakes with the available ring, and [`Fault::DescUnreadable`].
    #[inline(always)]
    pub(super) fn next<M: GuestMemory>(&mut self, mem: &M) -> Result<Option<(u16, Desc)>, Fault> {
        match self.known() {
            Some(known) => Ok(Some(known)),
            None => self.read_ahead(mem),
        }
    }

    /// The next buffer if it has been read ahead. What has been read of a chain is of the
    /// descriptor table.
    #[inline(always)]
    pub(super) fn known(&self) -> Option<(u16, Desc)> {
        let head = self.ahead.known_head(self.next_avail)?;
        Some((head, self.ahead.known(self.next_avail, head)?))
    }

    /// Another descriptor of the next buffer, if it has been read ahead.
    #[inline(always)]
    pub(super) fn known_next(&self, index: u16) -> Option<Desc> {
        self.ahead.known(self.next_avail, index)
    }

    /// Reads the next buffer, and with it what lies close behind it.
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
            // The guest may put another head there.
            self.forget();
        }
        Ok(Some((head, desc?)))
    }

    /// Entries of the ring, and of the descriptor table.
    #[inline]
    pub(super) fn size(&self) -> u16 {
        self.layout.size()
    }

    /// Another descriptor of the same chain, whose number is less than [`Self::size`].
    ///
    /// # Errors
    ///
    /// [`Fault::DescUnreadable`].
    #[inline]
    pub(super) fn next_desc<M: GuestMemory>(&mut self, mem: &M, index: u16) -> Result<Desc, Fault> {
        self.ahead
            .next_desc(mem, &self.layout, self.next_avail, index)
    }

    /// The last chain had so many descriptors one behind the other in the table.
    #[inline]
    pub(super) fn learn(&mut self, adjacent: u16) {
        self.ahead.learn(adjacent);
    }

    /// Looks how far the guest is; true when there is something new.
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
        // Only what the index covers is read after it.
        mem.rmb();
        Ok(true)
    }

    /// The buffer that [`Self::next`] has told of is taken.
    #[inline]
    pub(super) fn advance(&mut self) {
        self.next_avail = self.next_avail.wrapping_add(1);
    }

    /// Puts the last `count` buffers back. They are read anew when they are taken again.
    #[inline]
    pub(crate) fn rewind(&mut self, count: u16) {
        self.next_avail = self.next_avail.wrapping_sub(count);
        self.forget();
    }

    /// Has what comes next read anew: the guest may put right what was wrong with it.
    #[inline]
    pub(super) fn forget(&mut self) {
        self.ahead.forget();
    }

    /// Whether the guest has made no more buffers available; when that cannot be read, no.
    #[inline]
    pub(crate) fn is_empty<M: GuestMemory>(&mut self, mem: &M) -> bool {
        self.is_drained() && !self.look(mem).unwrap_or(true)
    }

    /// Tells the guest that kicks are not needed. By index nothing has to be said.
    pub(crate) fn disable_notify<M: GuestMemory>(&mut self, mem: &M) {
        if self.used_flags & USED_F_NO_NOTIFY != 0 {
            return;
        }
        self.used_flags |= USED_F_NO_NOTIFY;
        if !self.event_idx {
            // A guest whose flags cannot be written kicks in vain.
            let _ = mem.write_u16(self.layout.used_flags(), self.used_flags);
        }
    }

    /// Asks the guest for kicks again; true when it has made a buffer available meanwhile, for
    /// which there may be none.
    ///
    /// # Errors
    ///
    /// [`MemFault`] when the guest cannot be asked, or it cannot be told what it has made
    /// available. There may be no kick then.
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
        // The guest writes its index and then looks whether to kick; we do it the other way round.
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

    /// What the guest has written about interrupts: `used_event` by index, otherwise its flags.
    pub(super) fn interrupt_wish<M: GuestMemory>(&self, mem: &M) -> Result<u16, MemFault> {
        mem.read_u16(if self.event_idx {
            self.layout.used_event()
        } else {
            self.layout.avail_flags()
        })
    }

    /// Makes `count` used entries visible to the guest.
    pub(super) fn advance_used<M: GuestMemory>(
        &mut self,
        mem: &M,
        count: u16,
    ) -> Result<(), MemFault> {
        let old = self.next_used;
        let new = old.wrapping_add(count);
        mem.write_u16(self.layout.used_idx(), new)?;
        self.next_used = new;
        // An interrupt so long ago that the index went once around cannot be compared with.
        if let Some(signalled) = self.signalled_used {
            if new.wrapping_sub(signalled) < new.wrapping_sub(old) {
                self.signalled_used = None;
            }
        }
        Ok(())
    }
}
