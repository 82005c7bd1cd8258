// SPDX-License-Identifier: GPL-2.0

//! A sorted list of address ranges, each mapped to another address.
//!
//! A look-up takes the logarithm of the number of ranges, or none if the range that was found last
//! contains the address. Ranges may overlap; a look-up then finds any of them.

use kernel::prelude::*;

/// A range with inclusive bounds, so that it may extend to the end of the address space.
#[derive(Clone, Copy, Debug)]
pub(super) struct Range<T> {
    first: u64,
    last: u64,
    /// The address that `first` is mapped to.
    to: u64,
    /// The index of the range with the highest last address among this one and all before it.
    furthest: usize,
    /// What else is known of the range.
    pub(super) with: T,
}

impl<T> Range<T> {
    /// Creates a range of `size` bytes from `first` on, mapped to `to`.
    ///
    /// # Errors
    ///
    /// `EFAULT` when it is empty or wraps around.
    pub(super) fn new(first: u64, size: u64, to: u64, with: T) -> Result<Self> {
        let last = size.checked_sub(1).and_then(|more| first.checked_add(more));
        Ok(Self {
            first,
            last: last.ok_or(EFAULT)?,
            to,
            furthest: 0,
            with,
        })
    }

    /// Creates the range of all addresses, of which the first is mapped to `to`.
    pub(super) const fn all(to: u64, with: T) -> Self {
        Self {
            first: 0,
            last: u64::MAX,
            to,
            furthest: 0,
            with,
        }
    }

    #[inline]
    const fn contains(&self, at: u64) -> bool {
        self.first <= at && at <= self.last
    }

    /// Returns whether the range contains the `len` bytes at `at` and one more byte after them.
    /// Returns false for an empty range.
    #[inline]
    pub(super) const fn holds(&self, at: u64, len: u32) -> bool {
        // CAST: Widening. For `len == 0` the left side wraps to `u64::MAX`, which is less than no
        // value; this is why the comparison is strict and needs the additional byte.
        self.contains(at) && (len as u64).wrapping_sub(1) < self.last.wrapping_sub(at)
    }

    /// Returns the address that `at`, which the range must contain, is mapped to.
    #[inline]
    pub(super) const fn translate(&self, at: u64) -> u64 {
        self.to.wrapping_add(at.wrapping_sub(self.first))
    }

    /// Returns the number of bytes from `at`, which the range must contain, to its end, at most
    /// `u64::MAX`.
    #[inline]
    pub(super) const fn left(&self, at: u64) -> u64 {
        self.last.wrapping_sub(at).saturating_add(1)
    }

    /// Returns whether any address is in both ranges.
    pub(super) const fn overlaps<U>(&self, other: &Range<U>) -> bool {
        self.first <= other.last && other.first <= self.last
    }

    /// Returns the first address, the size, or `None` for 2^64, and the address it is mapped to.
    pub(super) fn parts(&self) -> (u64, Option<u64>, u64) {
        let size = self.last.wrapping_sub(self.first).checked_add(1);
        (self.first, size, self.to)
    }
}

/// A sorted list of ranges; see the [module documentation](self).
pub(super) struct Ranges<T> {
    /// Sorted by first address.
    all: KVVec<Range<T>>,
}

impl<T: Copy> Ranges<T> {
    /// The list without ranges.
    pub(super) const EMPTY: Self = Self { all: KVVec::new() };

    /// Creates a list of these ranges.
    ///
    /// # Errors
    ///
    /// `ENOMEM`. Ranges that are already in order need no memory.
    pub(super) fn new(all: KVVec<Range<T>>) -> Result<Self> {
        let mut ranges = Self { all: sorted(all)? };
        ranges.link();
        Ok(ranges)
    }

    /// Updates the links to the furthest range.
    fn link(&mut self) {
        let (mut furthest, mut reached) = (0, 0);
        for (at, range) in self.all.iter_mut().enumerate() {
            if range.last > reached {
                (furthest, reached) = (at, range.last);
            }
            range.furthest = furthest;
        }
    }

    /// Allocates room for another range.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(super) fn reserve(&mut self) -> Result {
        Ok(self.all.reserve(1, GFP_KERNEL_ACCOUNT)?)
    }

    /// Adds a range, for which there must be room; see [`Self::reserve`].
    ///
    /// # Errors
    ///
    /// `ENOMEM` when there is no room.
    pub(super) fn insert(&mut self, range: Range<T>) -> Result {
        let at = self.all.partition_point(|r| r.first <= range.first);
        let inserted = self.all.insert_within_capacity(at, range);
        inserted.map_err(|_| ENOMEM)?;
        self.link();
        Ok(())
    }

    /// Removes the ranges for which `keep` returns false.
    pub(super) fn retain(&mut self, mut keep: impl FnMut(&Range<T>) -> bool) {
        self.all.retain(|range| keep(range));
        self.link();
    }

    /// Calls `each` with the mapped address and the length of each part of a range that is in the
    /// `len` bytes at `at`. Unlike [`Self::pieces`], this is done for all ranges that overlap.
    pub(super) fn all_pieces(&self, at: u64, len: u64, mut each: impl FnMut(u64, u64)) {
        let Ok(wanted) = Range::new(at, len, 0, ()) else {
            return;
        };
        let begun = self.all.partition_point(|r| r.first <= wanted.last);
        for range in self.all.iter().take(begun).rev() {
            if range.overlaps(&wanted) {
                let from = range.first.max(wanted.first);
                let to = range.last.min(wanted.last);
                each(
                    range.translate(from),
                    to.wrapping_sub(from).saturating_add(1),
                );
            }
            let furthest = self.all.get(range.furthest);
            if furthest.is_none_or(|furthest| furthest.last < wanted.first) {
                break;
            }
        }
    }

    /// Returns the ranges in the order of their first addresses.
    pub(super) fn iter(&self) -> core::slice::Iter<'_, Range<T>> {
        self.all.iter()
    }

    /// Returns the range with index `hint`.
    #[inline(always)]
    pub(super) fn get(&self, hint: usize) -> Option<&Range<T>> {
        self.all.get(hint)
    }

    /// Returns a range that contains `at`. `hint` is the index of the range that was found last.
    #[inline]
    pub(super) fn find(&self, hint: &mut usize, at: u64) -> Option<&Range<T>> {
        match self.all.get(*hint) {
            Some(range) if range.contains(at) => Some(range),
            _ => self.search(hint, at),
        }
    }

    #[cold]
    fn search(&self, hint: &mut usize, at: u64) -> Option<&Range<T>> {
        // Ranges that begin after `at` do not contain it. Of the others, the one with the highest
        // last address contains `at` if any of them does.
        let begun = self.all.partition_point(|r| r.first <= at);
        let index = self.all.get(begun.checked_sub(1)?)?.furthest;
        let range = self.all.get(index).filter(|r| r.contains(at))?;
        *hint = index;
        Some(range)
    }

    /// Splits the `len` bytes at `at` at the boundaries of ranges, calls `each` with the range, the
    /// address that it is mapped to and the length of each piece, and returns the number of pieces.
    ///
    /// # Errors
    ///
    /// Those of `each`, and what `hole` returns for the first address that is in no range, or for
    /// `None` when the bytes pass the last address.
    #[inline]
    pub(super) fn pieces<E>(
        &self,
        hint: &mut usize,
        at: u64,
        len: u64,
        mut each: impl FnMut(&Range<T>, u64, u64) -> Result<(), E>,
        hole: impl Fn(Option<u64>) -> E,
    ) -> Result<usize, E> {
        let (mut at, mut left, mut count) = (at, len, 0usize);
        while left > 0 {
            let range = self.find(hint, at).ok_or_else(|| hole(Some(at)))?;
            let size = left.min(range.left(at));
            each(range, range.translate(at), size)?;
            count = count.wrapping_add(1);
            left = left.wrapping_sub(size);
            if left > 0 {
                at = at.checked_add(size).ok_or_else(|| hole(None))?;
            }
        }
        Ok(count)
    }
}

/// Sorts ranges by their first addresses. The sort functions of `core` are not used because they
/// may panic.
///
/// # Errors
///
/// `ENOMEM`. Ranges that are already in order need no memory.
fn sorted<T: Copy>(mut ranges: KVVec<Range<T>>) -> Result<KVVec<Range<T>>> {
    if ranges.is_sorted_by_key(|r| r.first) {
        return Ok(ranges);
    }
    let mut merged = KVVec::with_capacity(ranges.len(), GFP_KERNEL_ACCOUNT)?;
    // Invariant of the loop: each group of `run` ranges is sorted.
    let mut run = 1usize;
    while run < ranges.len() {
        let two = run.saturating_mul(2);
        merged.clear();
        for runs in ranges.chunks(two) {
            let (left, right) = runs.split_at_checked(run).unwrap_or((runs, &[]));
            merge(left, right, &mut merged)?;
        }
        core::mem::swap(&mut ranges, &mut merged);
        run = two;
    }
    Ok(ranges)
}

/// Merges two sorted slices and appends the result to `merged`.
fn merge<T: Copy>(
    mut left: &[Range<T>],
    mut right: &[Range<T>],
    merged: &mut KVVec<Range<T>>,
) -> Result {
    loop {
        let next = match (left.split_first(), right.split_first()) {
            (Some((next, rest)), other) if other.is_none_or(|(r, _)| next.first <= r.first) => {
                left = rest;
                next
            }
            (_, Some((next, rest))) => {
                right = rest;
                next
            }
            _ => return Ok(()),
        };
        merged.push(*next, GFP_KERNEL_ACCOUNT)?;
    }
}
