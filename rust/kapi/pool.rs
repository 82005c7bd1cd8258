// SPDX-License-Identifier: GPL-2.0

//! The pages that a device keeps for packets of one kind, and their charge.
//!
//! Pages are charged to the owner's control group, but never more of them than a pool keeps. A page
//! that leaves the pool while others use it remains charged until they free it. How long they use
//! it is not up to the owner, whose processes must not be killed for it. So such a page counts as
//! charged for ever, and the pages that replace it are not charged, as packets are not elsewhere.

use core::{
    mem::replace,
    ops::{
        Deref,
        DerefMut, //
    }, //
};
use kernel::prelude::*;

use super::page::Page;

/// At most `MAX` pages.
pub(super) struct Pool<const MAX: usize> {
    pages: KVec<Page>,
    /// The number of pages that may still be charged.
    uncharged: usize,
}

impl<const MAX: usize> Pool<MAX> {
    /// Creates an empty pool.
    pub(super) const fn new() -> Self {
        Self {
            pages: KVec::new(),
            uncharged: MAX,
        }
    }

    /// Allocates a page with `alloc`, to which is passed whether to charge it, and returns its
    /// index. It is the last page, or replaces the one at `oldest` if the pool is full. Returns
    /// `None` without memory.
    pub(super) fn add(&mut self, alloc: fn(bool) -> Option<Page>, oldest: usize) -> Option<usize> {
        let page = alloc(self.uncharged > 0)?;
        let charged = page.is_charged();
        let at = if self.pages.len() < MAX {
            self.pages.push(page, GFP_KERNEL).ok()?;
            self.pages.len().wrapping_sub(1)
        } else {
            let old = replace(self.pages.get_mut(oldest)?, page);
            if old.spare() > 0 {
                self.uncharged = self.uncharged.saturating_add(usize::from(old.is_charged()));
            }
            oldest
        };
        self.uncharged = self.uncharged.saturating_sub(usize::from(charged));
        Some(at)
    }

    /// Returns the number of small pages that [`Self::free_spare`] would make available now.
    pub(super) fn spare(&self) -> usize {
        self.pages.iter().map(Page::spare).sum()
    }

    /// Frees the pages that are not in use, and returns the number of small pages that this makes
    /// available.
    pub(super) fn free_spare(&mut self) -> usize {
        let mut freed = 0usize;
        self.pages.retain(|page| {
            let spare = page.spare();
            if spare == 0 {
                return true;
            }
            freed = freed.saturating_add(spare);
            self.uncharged = self
                .uncharged
                .saturating_add(usize::from(page.is_charged()));
            false
        });
        if self.pages.is_empty() {
            self.pages = KVec::new();
        }
        freed
    }
}

impl<const MAX: usize> Deref for Pool<MAX> {
    type Target = [Page];

    #[inline(always)]
    fn deref(&self) -> &[Page] {
        &self.pages
    }
}

impl<const MAX: usize> DerefMut for Pool<MAX> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut [Page] {
        &mut self.pages
    }
}
