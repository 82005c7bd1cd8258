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
    #[expect(dead_code, reason = "not yet used")]
    pub(super) with: T,
}

impl<T> Range<T> {
    /// Creates a range of `size` bytes from `first` on, mapped to `to`. A size of 0 at address 0
    /// stands for the whole address space.
    ///
    /// # Errors
    ///
    /// `EFAULT` when it is empty or wraps around.
    pub(super) fn new(first: u64, size: u64, to: u64, with: T) -> Result<Self> {
        let last = first.wrapping_add(size).wrapping_sub(1);
        if last < first {
            return Err(EFAULT);
        }
        Ok(Self {
            first,
            last,
            to,
            furthest: 0,
            with,
        })
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
    /// Those of `each`, and what `hole` returns for the first address that is in no range.
    #[inline]
    pub(super) fn pieces<E>(
        &self,
        hint: &mut usize,
        at: u64,
        len: u64,
        mut each: impl FnMut(&Range<T>, u64, u64) -> Result<(), E>,
        hole: impl Fn(u64) -> E,
    ) -> Result<usize, E> {
        let (mut at, mut left, mut count) = (at, len, 0usize);
        while left > 0 {
            let range = self.find(hint, at).ok_or_else(|| hole(at))?;
            let size = left.min(range.left(at));
            each(range, range.translate(at), size)?;
            count = count.wrapping_add(1);
            left = left.wrapping_sub(size);
            if left > 0 {
                at = at.checked_add(size).ok_or_else(|| hole(at))?;
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
