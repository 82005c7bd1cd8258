// SPDX-License-Identifier: GPL-2.0

//! Messages of the IOTLB, executed, and compared with a list of translations; and the bits that the
//! dirty log gets for each look-up.

use arbitrary::{
    Result,
    Unstructured, //
};

use super::{
    number,
    ADDRESSES, //
};
use crate::{
    prelude::{
        EFAULT,
        EINVAL, //
    },
    vhost::message::{
        decode,
        Message,
        READ_SIZE, //
    },
    virtqueue::{
        fault::Fault,
        iotlb::{
            Access,
            Iotlb,
            Miss, //
        },
        log::words,
        mem::MemFault,
    },
};

/// The most translations of the IOTLB.
const MAX: usize = 8;

pub fn run(data: &[u8]) {
    let _ = messages(&mut Unstructured::new(data));
}

/// A translation: first address, address behind the last one, owner's address, permissions.
type Naive = (u128, u128, u128, u8);

/// A message as userspace writes it: mostly valid, and about small addresses or the last ones.
fn message(u: &mut Unstructured<'_>) -> Result<[u8; READ_SIZE]> {
    let mut bytes: [u8; READ_SIZE] = u.arbitrary()?;
    if u.int_in_range(0..=7)? > 0 {
        let version = 1 + bytes[0] % 2;
        bytes[..4].copy_from_slice(&[version, 0, 0, 0]);
        bytes[33] = 2 + bytes[33] % 2;
        bytes[16 + 2..24].fill(0);
        let high = if bytes[15] % 4 == 0 { 0xff } else { 0 };
        bytes[8 + 2..16].fill(high);
    }
    Ok(bytes)
}

fn messages(u: &mut Unstructured<'_>) -> Result<()> {
    let mut iotlb = Iotlb::new(MAX);
    let mut list: Vec<Naive> = Vec::new();
    while !u.is_empty() {
        let bytes = message(u)?;
        let len = u
            .int_in_range(0..=READ_SIZE + 1)?
            .max(u.int_in_range(0..=80)?);
        let field = |at: usize, len| number(&bytes, at, len);
        let (first, size, to) = (field(8, 8), field(16, 8), field(24, 8));
        let (version, kind) = (field(0, 4), bytes[33]);
        let end = first + size;
        let valid = end > first && end <= ADDRESSES;
        let refused = !(1..=2).contains(&version) || (kind == 2 && size == 0);
        match decode(&bytes, len) {
            Err(EINVAL) => assert!(refused || len < READ_SIZE),
            Ok(None) => assert!(!(2..=3).contains(&kind)),
            Ok(Some(Message::Update(mapping))) if kind == 2 => {
                let added = iotlb.add(&mapping);
                assert_eq!(added, if valid { Ok(()) } else { Err(EFAULT) });
                if valid {
                    if list.len() == MAX {
                        list.remove(0);
                    }
                    list.push((first, end, to, bytes[32]));
                }
            }
            Ok(Some(Message::Invalidate { iova, size })) if kind == 3 => {
                let removed = iotlb.remove(iova, size);
                assert_eq!(removed, if valid { Ok(()) } else { Err(EFAULT) });
                if valid {
                    list.retain(|&(from, to, ..)| to <= first || end <= from);
                }
            }
            other => panic!("{other:?} for {bytes:x?}"),
        }
        look_up(u, &iotlb, &list)?;
    }
    Ok(())
}

fn look_up(u: &mut Unstructured<'_>, iotlb: &Iotlb, list: &[Naive]) -> Result<()> {
    let low = u64::from(u.arbitrary::<u16>()?);
    let iova = if u.arbitrary()? { low } else { u64::MAX - low };
    let len = u64::from(u.arbitrary::<u16>()?);
    let access = if u.arbitrary()? {
        Access::Read
    } else {
        Access::Write
    };
    let mut at = u128::from(iova);
    let end = at + u128::from(len);
    let contains = |at: u128, n: &&Naive| n.0 <= at && at < n.1;
    let found = iotlb.pieces(&mut 0, (iova, len), access, |uaddr, len| {
        let len = len as u128;
        let right = list
            .iter()
            .filter(|n| contains(at, n))
            .any(|&(from, to, place, perm)| {
                uaddr as u128 == (place + at - from) % ADDRESSES
                    && at + len <= to
                    && perm & access.bit() != 0
            });
        assert!(right, "{uaddr:x} at {at:x}");
        check_log(uaddr as u64, len);
        at += len;
        Ok(())
    });
    let mut there = list.iter().filter(|n| contains(at, n));
    match found {
        Ok(_) => assert_eq!(at, end),
        Err((Fault::Denied, None)) => assert!(there.any(|n| n.3 & access.bit() == 0)),
        // The range ends behind the last address.
        Err((Fault::Unmapped, None)) if at == ADDRESSES => assert!(end > at),
        Err((
            Fault::Missing,
            Some(Miss {
                iova,
                access: wanted,
            }),
        )) => {
            assert_eq!((u128::from(iova), wanted), (at, access));
            assert!(there.next().is_none() && at < end);
        }
        Err(other) => panic!("{other:?}"),
    }
    Ok(())
}

/// One bit for each page.
fn check_log(gpa: u64, len: u128) {
    let (mut set, mut last) = (0u128, None);
    let done = words(3, gpa, len as u64, |word, bits| {
        assert!(last < Some(word) && word % 4 == 0);
        last = Some(word);
        set += u128::from(bits.count_ones());
        Ok(())
    });
    let (gpa, end) = (u128::from(gpa), u128::from(gpa) + len);
    let pages = if len == 0 {
        0
    } else {
        (end - 1) / 4096 - gpa / 4096 + 1
    };
    if done == Err(MemFault) {
        assert!(end > ADDRESSES);
    } else {
        assert_eq!(set, pages);
    }
}
