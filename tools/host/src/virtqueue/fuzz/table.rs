// SPDX-License-Identifier: GPL-2.0

//! Memory tables of arbitrary regions, and ranges in them, compared with sums that cannot
//! overflow.

use arbitrary::{
    Result,
    Unstructured, //
};

use super::{
    address,
    below,
    number,
    ADDRESSES,
    USER_END, //
};
use crate::{
    kapi::iov::IoVec,
    prelude::{
        KVec,
        EFAULT,
        GFP_KERNEL, //
    },
    virtqueue::{
        fault::Fault,
        model::segs, //
        table::{
            MemTable,
            MemoryRegion, //
        },
    },
};

type Bytes = [u8; MemoryRegion::SIZE];

pub fn run(data: &[u8]) {
    let _ = ranges(&mut Unstructured::new(data));
}

/// A region as userspace writes it: mostly small, and near other regions, behind the one before
/// it, or at a boundary.
fn region(u: &mut Unstructured<'_>, before: Option<&Bytes>) -> Result<Bytes> {
    let mut bytes: Bytes = u.arbitrary()?;
    let kind = u.int_in_range(0..=7)?;
    if kind > 0 {
        let small = |u: &mut Unstructured<'_>| Ok(u64::from(u.arbitrary::<u8>()?));
        let gpa = match (kind, before) {
            (1, _) => address(u, 0)?,
            (2 | 3, Some(before)) => {
                let behind = number(before, 0, 8) + number(before, 8, 8);
                (behind as u64).wrapping_add(small(u)? / 64)
            }
            _ => small(u)?,
        };
        let size = u64::from(u.arbitrary::<u8>()?);
        let uaddr = address(u, USER_END)?;
        for (nth, field) in [gpa, size, uaddr].iter().enumerate() {
            bytes[8 * nth..8 * (nth + 1)].copy_from_slice(&field.to_le_bytes());
        }
    }
    Ok(bytes)
}

/// The same region with its guest addresses: the first, and the one behind the last.
struct Naive {
    from: u128,
    to: u128,
    uaddr: u128,
}

impl Naive {
    /// `None` for an invalid region: one that wraps around or is empty, except the one that stands
    /// for the whole address space.
    fn new(bytes: &Bytes) -> Option<Self> {
        let (from, uaddr) = (number(bytes, 0, 8), number(bytes, 16, 8));
        let size = match (from, number(bytes, 8, 8)) {
            (0, 0) => ADDRESSES,
            (_, 0) => return None,
            (_, size) => size,
        };
        let to = from + size;
        (to <= ADDRESSES).then_some(Self { from, to, uaddr })
    }

    fn contains(&self, at: u128) -> bool {
        self.from <= at && at < self.to
    }
}

fn ranges(u: &mut Unstructured<'_>) -> Result<()> {
    // Few regions, or many; the corpus has few.
    let mut count = u.int_in_range(0..=6)?;
    if count == 6 {
        count += u.int_in_range(0..=250)?;
    }
    let mut list = Vec::new();
    for _ in 0..count {
        list.push(region(u, list.last())?);
    }
    let mut regions = KVec::with_capacity(list.len(), GFP_KERNEL).unwrap();
    for bytes in &list {
        let region = MemoryRegion::from_bytes(bytes);
        regions.push(region, GFP_KERNEL).unwrap();
    }
    let naive: Option<Vec<Naive>> = list.iter().map(Naive::new).collect();
    let (built, naive) = match (MemTable::new(regions), naive) {
        (Ok(built), Some(naive)) => (built, naive),
        (Err(EFAULT), None) => return Ok(()),
        (built, _) => panic!("{:?} for {list:x?}", built.map(|_| ())),
    };

    let end = address(u, USER_END)?;
    let user = built.regions_ok(|at, len| below(end, at.into(), len.into()));
    let all = naive.iter().all(|r| below(end, r.uaddr, r.to - r.from));
    assert_eq!(user, all, "{list:x?} and user space up to {end:x}");

    let mut hint = u.int_in_range(0..=8)?;
    while !u.is_empty() {
        let gpa = match u.int_in_range(0..=7)? {
            0 => u.arbitrary()?,
            1 => address(u, 0)?,
            _ => u64::from(u.arbitrary::<u16>()? % 600),
        };
        let len = match u.int_in_range(0..=7)? {
            0 => u.arbitrary()?,
            _ => u32::from(u.arbitrary::<u16>()? % 600),
        };
        let mut out = segs(u.int_in_range(1..=8)?);
        let got = built.translate(&mut hint, gpa, len, &mut out);
        check(&naive, gpa, len, got, &out);
        if user {
            let inside = |seg: &IoVec| below(end, seg.base() as u128, seg.len() as u128);
            assert!(out.iter().all(inside), "{out:x?}");
        }
        let covered = mapped(&naive, gpa, len);
        assert_eq!(built.covers(&mut hint, gpa, len), covered);
    }
    Ok(())
}

/// Each segment continues where the one before ended, up to the end of its region. The result
/// agrees with the byte behind the last one. Of overlapping regions any may be used.
fn check(
    naive: &[Naive],
    gpa: u64,
    len: u32,
    got: std::result::Result<usize, Fault>,
    out: &KVec<IoVec>,
) {
    let mut at = u128::from(gpa);
    let end = at + u128::from(len);
    for seg in out.iter() {
        let (base, len) = (seg.base() as u128, seg.len() as u128);
        let right = naive.iter().any(|r| {
            r.contains(at)
                && len == r.to.min(end) - at
                && base == (r.uaddr + at - r.from) % ADDRESSES
        });
        assert!(at < end && right, "{seg:x?} at {at:x} of {gpa:x}, {len:x}");
        at += len;
    }
    let mapped = naive.iter().any(|r| r.contains(at));
    let right = match got {
        Ok(count) => at == end && count == out.len(),
        Err(Fault::Unmapped) => at < end && !mapped,
        Err(Fault::TooManySegments) => at < end && mapped && out.len() == out.capacity(),
        Err(_) => false,
    };
    assert!(right, "{got:?} at {at:x} of {gpa:x}, {len:x}: {out:x?}");
}

/// Whether each byte is in a region.
fn mapped(naive: &[Naive], gpa: u64, len: u32) -> bool {
    let mut at = u128::from(gpa);
    let end = at + u128::from(len);
    while at < end {
        match naive.iter().find(|r| r.contains(at)) {
            Some(region) => at = region.to,
            None => return false,
        }
    }
    true
}
