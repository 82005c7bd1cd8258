// SPDX-License-Identifier: GPL-2.0

//! Reading a ring ahead of its use, so that one access to guest memory serves many buffers.
//!
//! Only entries and descriptors of available buffers are read, which the guest must not change.
//! They are discarded whenever a buffer is put back or is returned with an error, because the guest
//! may then have corrected it.

use kernel::prelude::*;

use crate::virtqueue::{
    fault::Fault,
    layout::Layout,
    mem::{
        GuestMemory,
        MemFault, //
    },
    uapi::Desc, //
};

/// The number of ring entries, and of descriptors, that are read at once.
const AHEAD: usize = 64;

/// The length of the longest chain that is read ahead, in descriptors.
const CHAIN_MAX: u16 = 16;

/// Entries and descriptors that have been read ahead; see the [module documentation](self).
pub(super) struct Ahead {
    /// The `len` entries of the available ring from position `from` on.
    heads: [u16; AHEAD],
    from: u16,
    len: u16,
    /// The `desc_count` descriptors from index `desc_first` on. They are valid only for the chains
    /// at the `desc_len` positions from `desc_from` on, since the guest must not change descriptors
    /// of available chains but may change all others.
    descs: [Desc; AHEAD],
    desc_from: u16,
    desc_len: u16,
    desc_first: u16,
    desc_count: u16,
    /// The number of descriptors that the last chain had in a row in the table. The next chains are
    /// assumed to have the same.
    chain_len: u16,
}

impl Ahead {
    /// The state in which nothing has been read ahead.
    pub(super) const NONE: Self = Self {
        heads: [0; AHEAD],
        from: 0,
        len: 0,
        descs: [Desc {
            addr: 0,
            len: 0,
            flags: 0,
            next: 0,
        }; AHEAD],
        desc_from: 0,
        desc_len: 0,
        desc_first: 0,
        desc_count: 0,
        chain_len: 1,
    };

    /// Discards everything that has been read ahead.
    #[inline]
    pub(super) fn forget(&mut self) {
        self.len = 0;
        self.desc_len = 0;
    }

    /// Returns the available ring entry at position `at`, where `ready` entries are available.
    ///
    /// # Errors
    ///
    /// [`Fault::AvailUnreadable`].
    #[inline]
    pub(super) fn head<M: GuestMemory>(
        &mut self,
        mem: &M,
        layout: &Layout,
        at: u16,
        ready: u16,
    ) -> Result<u16, Fault> {
        match self.known_head(at) {
            Some(head) => Ok(head),
            None => self.read_heads(mem, layout, at, ready),
        }
    }

    /// Returns the entry at position `at` if it has been read ahead.
    #[inline(always)]
    pub(super) fn known_head(&self, at: u16) -> Option<u16> {
        let index = at.wrapping_sub(self.from);
        if index < self.len {
            // BOUNDS: `len <= AHEAD`, a power of two, which the compiler does not know.
            self.heads.get(usize::from(index) % AHEAD).copied()
        } else {
            None
        }
    }

    /// Returns the descriptor of `head`, where `head` is the entry at position `at`.
    ///
    /// # Errors
    ///
    /// [`Fault::DescUnreadable`].
    #[inline]
    pub(super) fn desc<M: GuestMemory>(
        &mut self,
        mem: &M,
        layout: &Layout,
        at: u16,
        head: u16,
    ) -> Result<Desc, Fault> {
        match self.known(at, head) {
            Some(desc) => Ok(desc),
            None => self.read_descs(mem, layout, at, head),
        }
    }

    /// Returns descriptor `index`, which belongs to the chain at position `at` and is not its
    /// first.
    ///
    /// # Errors
    ///
    /// [`Fault::DescUnreadable`].
    #[inline]
    pub(super) fn next_desc<M: GuestMemory>(
        &mut self,
        mem: &M,
        layout: &Layout,
        at: u16,
        index: u16,
    ) -> Result<Desc, Fault> {
        match self.known(at, index) {
            Some(desc) => Ok(desc),
            None => Self::read_desc(mem, layout, index),
        }
    }

    /// Returns descriptor `index` if it has been read ahead for the chain at position `at`.
    #[inline(always)]
    pub(super) fn known(&self, at: u16, index: u16) -> Option<Desc> {
        let index = index.wrapping_sub(self.desc_first);
        if at.wrapping_sub(self.desc_from) < self.desc_len && index < self.desc_count {
            // BOUNDS: As above; `desc_count <= AHEAD`.
            self.descs.get(usize::from(index) % AHEAD).copied()
        } else {
            None
        }
    }

    /// Records that the last chain had `len` descriptors in a row in the table.
    #[inline]
    pub(super) fn learn(&mut self, len: u16) {
        self.chain_len = len.min(CHAIN_MAX);
    }

    /// Reads as many available entries as possible in one access, up to the end of the ring.
    fn read_heads<M: GuestMemory>(
        &mut self,
        mem: &M,
        layout: &Layout,
        at: u16,
        ready: u16,
    ) -> Result<u16, Fault> {
        self.forget();
        let len = usize::from(ready).min(layout.until_wrap(at)).min(AHEAD);
        let addr = layout.avail_entry(at);
        let first = match self.heads.get_mut(..len).unwrap_or_default() {
            [head] => mem.read_u16(addr).inspect(|&read| *head = read),
            heads => mem
                .read_u16s(addr, heads)
                .and_then(|()| heads.first().copied().ok_or(MemFault)),
        }
        .map_err(|MemFault| Fault::AvailUnreadable)?;
        self.from = at;
        self.len = u16::try_from(len).map_err(|_| Fault::AvailUnreadable)?;
        Ok(first)
    }

    /// Reads the descriptor of `head`, and with it the chains of the entries that follow, as far as
    /// they are adjacent in the descriptor table.
    fn read_descs<M: GuestMemory>(
        &mut self,
        mem: &M,
        layout: &Layout,
        at: u16,
        head: u16,
    ) -> Result<Desc, Fault> {
        let run = self.run(layout, at, head);
        if self.read_run(mem, layout, at, &run).is_err() {
            // Some of the descriptors may be unreadable, but not that of `head`.
            self.read_run(mem, layout, at, &Run::one(head))
                .map_err(|MemFault| Fault::DescUnreadable)?;
        }
        self.known(at, head).ok_or(Fault::DescUnreadable)
    }

    /// Reads the descriptors of `run`, which begins with the chain at position `at`.
    fn read_run<M: GuestMemory>(
        &mut self,
        mem: &M,
        layout: &Layout,
        at: u16,
        run: &Run,
    ) -> Result<(), MemFault> {
        self.desc_len = 0;
        let descs = self.descs.get_mut(..usize::from(run.count));
        mem.read_descs(layout.desc(run.first), descs.ok_or(MemFault)?)?;
        self.desc_from = at;
        self.desc_len = run.heads;
        self.desc_first = run.first;
        self.desc_count = run.count;
        Ok(())
    }

    /// Reads descriptor `index` alone.
    fn read_desc<M: GuestMemory>(mem: &M, layout: &Layout, index: u16) -> Result<Desc, Fault> {
        let mut desc = [Desc::default()];
        mem.read_descs(layout.desc(index), &mut desc)
            .map_err(|MemFault| Fault::DescUnreadable)?;
        let [desc] = desc;
        Ok(desc)
    }

    /// Returns the run of chains that begins with `head` at position `at`: those that are adjacent
    /// in the descriptor table, in ascending or descending order, if each is as long as the last
    /// chain was. A run has no more descriptors than reading its chains one by one would read.
    fn run(&self, layout: &Layout, at: u16, head: u16) -> Run {
        let heads = self.heads.get(..usize::from(self.len));
        let behind = usize::from(at.wrapping_sub(self.from).wrapping_add(1));
        let behind = heads.and_then(|heads| heads.get(behind..)).unwrap_or(&[]);
        let each = self.chain_len;
        if behind.is_empty() && each == 1 {
            return Run::one(head);
        }
        let step = match behind.first() {
            Some(&next) if next == head.wrapping_add(each) => each,
            _ => each.wrapping_neg(),
        };
        // The number of chains, the number of their descriptors, and the last chain's head.
        let (mut heads, mut count, mut last) = (1u16, each, head);
        for &next in behind {
            let more = count.wrapping_add(each);
            if next != last.wrapping_add(step) || usize::from(more) > AHEAD || next >= layout.size()
            {
                break;
            }
            (heads, count, last) = (heads.wrapping_add(1), more, next);
        }
        let first = head.min(last);
        Run {
            heads,
            first,
            count: count.min(layout.size().wrapping_sub(first)),
        }
    }
}

/// Chains that are adjacent in the descriptor table and follow each other in the available ring.
struct Run {
    /// The number of chains.
    heads: u16,
    /// The lowest index of their descriptors.
    first: u16,
    /// The number of their descriptors.
    count: u16,
}

impl Run {
    /// Returns the run that consists of one descriptor.
    const fn one(head: u16) -> Self {
        Self {
            heads: 1,
            first: head,
            count: 1,
        }
    }
}
