// SPDX-License-Identifier: GPL-2.0

//! A split ring: where its parts are, and how far both sides are (VIRTIO 1.3, 2.7).
//!
//! Positions are 16-bit counters that wrap; the entry of position `p` is `p % size`.

use core::mem::size_of;
use kernel::prelude::*;

use crate::vhost::{
    chain::Fault,
    features::Negotiated,
    mem::{
        GuestMemory,
        MemFault, //
    },
    uapi::{
        Desc,
        UsedElem,
        VringAddr,
        USED_F_NO_NOTIFY, //
    },
};

/// The most entries that userspace may ask for.
const SIZE_MAX: u32 = 32768;

/// Bytes before the entries of the available and of the used ring: flags and index.
const RING_HEAD: usize = 4;

/// Where the index stands in both, in bytes.
const RING_IDX: usize = 2;

/// Available entries that are read at once.
const PREFETCH: usize = 64;

/// Where a ring's parts are in the owner's address space, and how many entries it has.
///
/// # Invariants
///
/// `size` is a power of two from 1 to [`SIZE_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    size: u16,
    desc: usize,
    avail: usize,
    used: usize,
}

impl Layout {
    /// One entry, and nothing is anywhere yet.
    pub(crate) const UNSET: Self = Self {
        size: 1,
        desc: 0,
        avail: 0,
        used: 0,
    };

    /// The same places with `num` entries.
    ///
    /// # Errors
    ///
    /// `EINVAL` unless `num` is a power of two from 1 to 32768 (VIRTIO 1.3, 2.7).
    pub(crate) fn with_size(self, num: u32) -> Result<Self> {
        if !num.is_power_of_two() || num > SIZE_MAX {
            return Err(EINVAL);
        }
        // INVARIANT: Just checked.
        let size = u16::try_from(num).map_err(|_| EINVAL)?;
        Ok(Self { size, ..self })
    }

    /// The same number of entries in the places of VHOST_SET_VRING_ADDR.
    ///
    /// # Errors
    ///
    /// `EOPNOTSUPP` for a flag: there is none but logging, which is not offered. `EINVAL` for a
    /// place that is not aligned.
    pub(crate) fn with_addr(self, addr: &VringAddr) -> Result<Self> {
        if addr.flags != 0 {
            return Err(EOPNOTSUPP);
        }
        if addr.avail % 2 != 0 || addr.used % 4 != 0 || addr.log_guest_addr % 4 != 0 {
            return Err(EINVAL);
        }
        let place = |addr: u64| usize::try_from(addr).map_err(|_| EINVAL);
        Ok(Self {
            desc: place(addr.desc)?,
            avail: place(addr.avail)?,
            used: place(addr.used)?,
            ..self
        })
    }

    /// Whether no part has a place.
    #[inline]
    pub(crate) const fn is_unset(&self) -> bool {
        self.desc == 0 && self.avail == 0 && self.used == 0
    }

    /// Entries.
    #[inline]
    pub(crate) const fn size(&self) -> u16 {
        self.size
    }

    /// Whether all parts lie where `is_user` says that user memory may be.
    pub(crate) fn parts_ok(
        &self,
        negotiated: Negotiated,
        is_user: impl Fn(u64, u64) -> bool,
    ) -> bool {
        // CAST: Lossless on 64-bit; OVERFLOW: at most 32768 entries of at most 16 bytes.
        let size = u64::from(self.size);
        let head = RING_HEAD as u64;
        let event = if negotiated.event_idx() { 2 } else { 0 };
        is_user(self.desc as u64, size.wrapping_mul(size_of::<Desc>() as u64))
            && is_user(
                self.avail as u64,
                size.wrapping_mul(2).wrapping_add(head).wrapping_add(event),
            )
            && is_user(
                self.used as u64,
                size.wrapping_mul(size_of::<UsedElem>() as u64)
                    .wrapping_add(head)
                    .wrapping_add(event),
            )
    }

    /// The entry that position `at` stands for.
    #[inline]
    const fn slot(&self, at: u16) -> usize {
        // OVERFLOW: By the invariant the size is at least 1.
        (at & self.size.wrapping_sub(1)) as usize
    }

    /// The entries from position `at` to the end of the ring.
    #[inline]
    pub(super) const fn until_wrap(&self, at: u16) -> usize {
        (self.size as usize).wrapping_sub(self.slot(at))
    }

    #[inline]
    const fn part(base: usize, head: usize, index: usize, each: usize) -> usize {
        base.wrapping_add(head).wrapping_add(index.wrapping_mul(each))
    }

    /// Where descriptor `index` is.
    #[inline]
    pub(super) const fn desc(&self, index: u16) -> usize {
        Self::part(self.desc, 0, index as usize, size_of::<Desc>())
    }

    const fn avail_flags(&self) -> usize {
        self.avail
    }

    const fn avail_idx(&self) -> usize {
        self.avail.wrapping_add(RING_IDX)
    }

    #[inline]
    const fn avail_entry(&self, at: u16) -> usize {
        Self::part(self.avail, RING_HEAD, self.slot(at), 2)
    }

    /// `used_event`, behind the available ring: from where on the guest wants an interrupt.
    const fn used_event(&self) -> usize {
        Self::part(self.avail, RING_HEAD, self.size as usize, 2)
    }

    const fn used_flags(&self) -> usize {
        self.used
    }

    const fn used_idx(&self) -> usize {
        self.used.wrapping_add(RING_IDX)
    }

    #[inline]
    pub(super) const fn used_entry(&self, at: u16) -> usize {
        Self::part(self.used, RING_HEAD, self.slot(at), size_of::<UsedElem>())
    }

    /// `avail_event`, behind the used ring: from where on the device wants a kick.
    const fn avail_event(&self) -> usize {
        Self::part(
            self.used,
            RING_HEAD,
            self.size as usize,
            size_of::<UsedElem>(),
        )
    }
}

/// Available entries that have been read already.
struct Heads {
    entries: [u16; PREFETCH],
    /// The position of the first of them.
    from: u16,
    len: u16,
}

impl Heads {
    const NONE: Self = Self {
        entries: [0; PREFETCH],
        from: 0,
        len: 0,
    };

    #[inline]
    fn get(&self, at: u16) -> Option<u16> {
        let index = at.wrapping_sub(self.from);
        if index >= self.len {
            return None;
        }
        self.entries.get(usize::from(index)).copied()
    }
}

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
    heads: Heads,
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
            heads: Heads::NONE,
        }
    }

    /// Where it is.
    #[inline]
    pub(crate) fn layout(&self) -> Layout {
        self.layout
    }

    /// Moves it. The guest's entries are read anew.
    pub(crate) fn set_layout(&mut self, layout: Layout) {
        self.layout = layout;
        self.heads.len = 0;
    }

    /// Whether notifications go by index.
    pub(crate) fn set_event_idx(&mut self, event_idx: bool) {
        self.event_idx = event_idx;
    }

    /// VHOST_SET_VRING_BASE: the position of the next buffer to take.
    pub(crate) fn set_base(&mut self, base: u16) {
        self.next_avail = base;
        self.avail_idx = base;
        self.heads.len = 0;
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
        self.heads.len = 0;
        Ok(())
    }

    /// The head of the next buffer, or `None` when the guest has made no more available.
    ///
    /// # Errors
    ///
    /// The guest's mistakes with the available ring.
    #[inline]
    pub(super) fn head<M: GuestMemory>(&mut self, mem: &M) -> Result<Option<u16>, Fault> {
        if self.is_drained() && !self.look(mem)? {
            return Ok(None);
        }
        let head = match self.heads.get(self.next_avail) {
            Some(head) => head,
            None => self.prefetch(mem)?,
        };
        if head >= self.layout.size {
            return Err(Fault::HeadRange);
        }
        Ok(Some(head))
    }

    /// Looks how far the guest is; true when there is something new.
    fn look<M: GuestMemory>(&mut self, mem: &M) -> Result<bool, Fault> {
        let idx = mem
            .read_u16(self.layout.avail_idx())
            .map_err(|MemFault| Fault::AvailUnreadable)?;
        if idx.wrapping_sub(self.next_avail) > self.layout.size {
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

    /// Reads as many entries as are known to be there, without wrapping.
    fn prefetch<M: GuestMemory>(&mut self, mem: &M) -> Result<u16, Fault> {
        let ready = usize::from(self.avail_idx.wrapping_sub(self.next_avail));
        let len = ready
            .min(self.layout.until_wrap(self.next_avail))
            .min(PREFETCH);
        let entries = self.heads.entries.get_mut(..len);
        let entries = entries.ok_or(Fault::AvailUnreadable)?;
        self.heads.len = 0;
        mem.read_u16s(self.layout.avail_entry(self.next_avail), entries)
            .map_err(|MemFault| Fault::AvailUnreadable)?;
        self.heads.from = self.next_avail;
        self.heads.len = u16::try_from(len).map_err(|_| Fault::AvailUnreadable)?;
        self.heads
            .get(self.next_avail)
            .ok_or(Fault::AvailUnreadable)
    }

    /// The buffer that [`Self::head`] has told of is taken.
    #[inline]
    pub(super) fn advance(&mut self) {
        self.next_avail = self.next_avail.wrapping_add(1);
    }

    /// Puts the last `count` buffers back.
    #[inline]
    pub(crate) fn rewind(&mut self, count: u16) {
        self.next_avail = self.next_avail.wrapping_sub(count);
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
    /// which there may be none. When that cannot be told it counts as no.
    pub(crate) fn enable_notify<M: GuestMemory>(&mut self, mem: &M) -> bool {
        if self.used_flags & USED_F_NO_NOTIFY == 0 {
            return false;
        }
        self.used_flags &= !USED_F_NO_NOTIFY;
        let asked = if self.event_idx {
            mem.write_u16(self.layout.avail_event(), self.avail_idx)
        } else {
            mem.write_u16(self.layout.used_flags(), self.used_flags)
        };
        if asked.is_err() {
            return false;
        }
        // The guest writes its index and then looks whether to kick; we do it the other way round.
        mem.mb();
        let Ok(idx) = mem.read_u16(self.layout.avail_idx()) else {
            return false;
        };
        if idx == self.avail_idx {
            return false;
        }
        if idx.wrapping_sub(self.next_avail) <= self.layout.size {
            self.avail_idx = idx;
            mem.rmb();
        }
        true
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
