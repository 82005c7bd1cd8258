// SPDX-License-Identifier: GPL-2.0

//! What has been read of a ring ahead of its use: one access to guest memory for many buffers.
//!
//! Only what the guest has made available is read, so that it may not change any more. It is
//! forgotten whenever a buffer is not taken after all or goes back: then the guest may have put
//! right what it had wrong.

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

/// Entries, and descriptors, that are read at once.
const AHEAD: usize = 64;

/// The longest chain that is read ahead in one piece.
const CHAIN_MAX: u16 = 16;

/// See the [module's documentation](self).
pub(super) struct Ahead {
    /// Entries of the available ring, from position `from` on.
    heads: [u16; AHEAD],
    from: u16,
    len: u16,
    /// `desc_count` descriptors from number `desc_first` on, good for the chains of the heads at
    /// the `desc_len` positions from `desc_from` on: what a chain that was available refers to
    /// may not change, other descriptors may.
    descs: [Desc; AHEAD],
    desc_from: u16,
    desc_len: u16,
    desc_first: u16,
    desc_count: u16,
    /// How many descriptors the last chain had one behind the other in the table, which is how
    /// many the next ones are taken to have.
    chain_len: u16,
}

impl Ahead {
    /// Nothing.
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

    /// Has what comes next read anew.
    #[inline]
    pub(super) fn forget(&mut self) {
        self.len = 0;
        self.desc_len = 0;
    }

    /// The entry at position `at`, of which and of those behind it `ready` are available.
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

    /// What has been read of the entry at position `at`.
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

    /// The descriptor of `head`, which is the one at position `at`.
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

    /// Descriptor `index` of the chain at position `at`, behind its first one.
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

    /// What has been read of descriptor `index` for the chain at position `at`.
    #[inline(always)]
    pub(super) fn known(&self, at: u16, index: u16) -> Option<Desc> {
        let index = index.wrapping_sub(self.desc_first);
        if at.wrapping_sub(self.desc_from) < self.desc_len && index < self.desc_count {
            // BOUNDS: As above, `desc_count <= AHEAD`.
            self.descs.get(usize::from(index) % AHEAD).copied()
        } else {
            None
        }
    }

    /// The last chain had `len` descriptors one behind the other in the table.
    #[inline]
    pub(super) fn learn(&mut self, len: u16) {
        self.chain_len = len.min(CHAIN_MAX);
    }

    /// Reads as many entries as are there, without wrapping.
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

    /// Reads the descriptor of `head`, and with it those of the heads behind it as long as they
    /// follow each other closely.
    fn read_descs<M: GuestMemory>(
        &mut self,
        mem: &M,
        layout: &Layout,
        at: u16,
        head: u16,
    ) -> Result<Desc, Fault> {
        let run = self.run(layout, at, head);
        if self.read_run(mem, layout, at, &run).is_err() {
            // A part of it may still be readable.
            self.read_run(mem, layout, at, &Run::one(head))
                .map_err(|MemFault| Fault::DescUnreadable)?;
        }
        self.known(at, head).ok_or(Fault::DescUnreadable)
    }

    /// Reads the descriptors of the chains from position `at` on.
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

    /// Reads one descriptor.
    fn read_desc<M: GuestMemory>(mem: &M, layout: &Layout, index: u16) -> Result<Desc, Fault> {
        let mut desc = [Desc::default()];
        mem.read_descs(layout.desc(index), &mut desc)
            .map_err(|MemFault| Fault::DescUnreadable)?;
        let [desc] = desc;
        Ok(desc)
    }

    /// The chains from position `at` on, of which `head` is the first, that follow each other in
    /// the table, up or down, each as long as the last one that was seen: no more is read than if
    /// each had been read by itself.
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
        // Chains, their descriptors, and the last head of them.
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

/// Chains that follow each other.
struct Run {
    /// How many.
    heads: u16,
    /// The number of the first of their descriptors.
    first: u16,
    /// How many descriptors.
    count: u16,
}

impl Run {
    /// The first descriptor of a chain, and nothing else.
    const fn one(head: u16) -> Self {
        Self {
            heads: 1,
            first: head,
            count: 1,
        }
    }
}
