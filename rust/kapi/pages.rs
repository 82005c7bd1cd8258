// SPDX-License-Identifier: GPL-2.0

//! A set of pages for small packets.

use super::{
    page::{
        Page,
        Piece, //
    },
    pool::Pool,
};

/// Pages that small packets are copied into, in turn.
pub(super) struct Pages {
    pages: Pool<PAGES_MAX>,
    current: usize,
}

/// The most pages that are kept. If all are in use, the oldest one is replaced, and freed by its
/// users.
const PAGES_MAX: usize = 8;

impl Pages {
    /// Creates an empty set.
    pub(super) const fn new() -> Self {
        Self {
            pages: Pool::new(),
            current: 0,
        }
    }

    /// Returns a piece of `len` bytes, at most those of a page of order 0, or `None` without
    /// memory.
    #[inline(always)]
    pub(super) fn piece(&mut self, len: usize) -> Option<Piece> {
        if let Some(page) = self.pages.get_mut(self.current) {
            if let Some(piece) = page.piece(len) {
                return Some(piece);
            }
        }
        self.turn()?.piece(len)
    }

    /// Makes a page without pieces in use the current one, and returns it.
    #[cold]
    fn turn(&mut self) -> Option<&mut Page> {
        let count = self.pages.len();
        for _ in 0..count {
            // The page that was used longest ago is the next one.
            self.current = self.next();
            if self.pages.get_mut(self.current)?.restart() {
                return self.pages.get_mut(self.current);
            }
        }
        let oldest = self.next();
        self.current = self.pages.add(Page::any, oldest)?;
        self.pages.get_mut(self.current)
    }

    /// Returns the index of the page after the current one.
    fn next(&self) -> usize {
        let next = self.current.wrapping_add(1);
        if next < self.pages.len() {
            next
        } else {
            0
        }
    }

    /// Returns whether there are no pages.
    pub(super) fn is_empty(&self) -> bool {
        self.pages.is_empty()
    }

    /// Returns the number of small pages that [`Self::free_spare`] would make available now.
    pub(super) fn spare(&self) -> usize {
        self.pages.spare()
    }

    /// Frees the pages that are not in use, and returns the number of small pages that this makes
    /// available.
    pub(super) fn free_spare(&mut self) -> usize {
        self.current = 0;
        self.pages.free_spare()
    }
}
