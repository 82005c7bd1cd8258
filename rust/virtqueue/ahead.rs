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

/// See the [module's documentation](self).
pub(super) struct Ahead {
    /// Entries of the available ring, from position `from` on.
    heads: [u16; AHEAD],
    from: u16,
    len: u16,
    /// Descriptors, from number `desc_first` on: those of the heads at the `desc_len` positions
    /// from `desc_from` on, which number them up or down one by one.
    descs: [Desc; AHEAD],
    desc_from: u16,
    desc_len: u16,
    desc_first: u16,
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
        let index = at.wrapping_sub(self.from);
        if index < self.len {
            if let Some(head) = self.heads.get(usize::from(index)) {
                return Ok(*head);
            }
        }
        self.read_heads(mem, layout, at, ready)
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
        if at.wrapping_sub(self.desc_from) < self.desc_len {
            let index = usize::from(head.wrapping_sub(self.desc_first));
            if let Some(desc) = self.descs.get(index) {
                return Ok(*desc);
            }
        }
        self.read_descs(mem, layout, at, head)
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
    /// are neighbours.
    fn read_descs<M: GuestMemory>(
        &mut self,
        mem: &M,
        layout: &Layout,
        at: u16,
        head: u16,
    ) -> Result<Desc, Fault> {
        self.desc_len = 0;
        let run = self.run(layout, at, head);
        if run.len > 1 {
            let descs = self
                .descs
                .get_mut(..usize::from(run.len))
                .unwrap_or_default();
            // Should this fail, then a part of it may still be readable.
            if mem.read_descs(layout.desc(run.first), descs).is_ok() {
                let index = usize::from(head.wrapping_sub(run.first));
                if let Some(desc) = descs.get(index) {
                    self.desc_from = at;
                    self.desc_len = run.len;
                    self.desc_first = run.first;
                    return Ok(*desc);
                }
            }
        }
        let mut desc = [Desc::default()];
        mem.read_descs(layout.desc(head), &mut desc)
            .map_err(|MemFault| Fault::DescUnreadable)?;
        let [desc] = desc;
        Ok(desc)
    }

    /// The neighbours that the heads from position `at` on are, of which `head` is the first.
    fn run(&self, layout: &Layout, at: u16, head: u16) -> Neighbours {
        let heads = self.heads.get(..usize::from(self.len));
        let behind = usize::from(at.wrapping_sub(self.from).wrapping_add(1));
        let behind = heads.and_then(|heads| heads.get(behind..)).unwrap_or(&[]);
        let mut run = Neighbours {
            first: head,
            len: 1,
        };
        let step = match behind.first() {
            Some(next) if *next == head.wrapping_add(1) => 1,
            Some(next) if *next == head.wrapping_sub(1) => u16::MAX,
            _ => return run,
        };
        let mut last = head;
        for next in behind {
            if *next != last.wrapping_add(step) || *next >= layout.size() {
                break;
            }
            last = *next;
            run.len = run.len.wrapping_add(1);
        }
        run.first = head.min(last);
        run
    }
}

/// Descriptors that follow each other in the table.
struct Neighbours {
    /// The number of the first in the table.
    first: u16,
    len: u16,
}
