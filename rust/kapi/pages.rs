// SPDX-License-Identifier: GPL-2.0

//! Pages in turn, for small packets.

use kernel::prelude::*;

use super::page::{
    Page,
    Piece, //
};

/// Pages that small packets are copied into, one after the other in turn.
pub(super) struct Pages {
    pages: KVec<Page>,
    current: usize,
}

/// The most pages that wait for their pieces. Where all are in use the oldest is left to who
/// uses it.
const PAGES_MAX: usize = 8;

impl Pages {
    /// None yet.
    pub(super) const fn new() -> Self {
        Self {
            pages: KVec::new(),
            current: 0,
        }
    }

    /// A piece of `len` bytes, at most that of a small page. `None` without memory.
    #[inline(always)]
    pub(super) fn piece(&mut self, len: usize) -> Option<Piece> {
        if let Some(page) = self.pages.get_mut(self.current) {
            if let Some(piece) = page.piece(len) {
                return Some(piece);
            }
        }
        self.turn()?.piece(len)
    }

    /// Goes on to a page that starts anew.
    #[cold]
    fn turn(&mut self) -> Option<&mut Page> {
        let count = self.pages.len();
        for _ in 0..count {
            // The one that was used longest ago first.
            self.current = self.next();
            if self.pages.get_mut(self.current)?.restart() {
                return self.pages.get_mut(self.current);
            }
        }
        let more = count < PAGES_MAX;
        let page = Page::any(more)?;
        if more {
            self.pages.push(page, GFP_KERNEL).ok()?;
            self.current = count;
        } else {
            self.current = self.next();
            *self.pages.get_mut(self.current)? = page;
        }
        self.pages.get_mut(self.current)
    }

    /// The page behind the current one.
    fn next(&self) -> usize {
        let next = self.current.wrapping_add(1);
        if next < self.pages.len() {
            next
        } else {
            0
        }
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.pages.is_empty()
    }

    /// Gives all pages back, to who still uses them or to the kernel.
    pub(super) fn give_back(&mut self) {
        self.pages = KVec::new();
        self.current = 0;
    }
}
