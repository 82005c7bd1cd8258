// SPDX-License-Identifier: GPL-2.0

//! Memory tables of any regions, and ranges in them, against looking at every byte.

use arbitrary::{
    Result,
    Unstructured, //
};

use crate::{
    prelude::{
        KVec,
        GFP_KERNEL, //
    },
    vhost::{
        mem::MemTable,
        model::{
            segs,
            table, //
        },
        uapi::MemoryRegion, //
    },
};

pub fn run(data: &[u8]) {
    let _ = ranges(&mut Unstructured::new(data));
}

fn ranges(u: &mut Unstructured<'_>) -> Result<()> {
    let mut list = Vec::new();
    for _ in 0..u.int_in_range(0..=6)? {
        let (gpa, size) = if u.ratio(1, 5)? {
            (u.arbitrary()?, u.arbitrary()?)
        } else {
            (
                u64::from(u.arbitrary::<u8>()?),
                u64::from(u.arbitrary::<u8>()?),
            )
        };
        list.push((gpa, size, u64::from(u.arbitrary::<u32>()?)));
    }
    let mut regions = KVec::with_capacity(list.len(), GFP_KERNEL).unwrap();
    for &(gpa, size, uaddr) in &list {
        regions
            .push(MemoryRegion { gpa, size, uaddr }, GFP_KERNEL)
            .unwrap();
    }
    let Ok(built) = MemTable::new(regions) else {
        return Ok(());
    };
    let small = list
        .iter()
        .all(|&(gpa, size, _)| size > 0 && gpa < 256 && size < 256);
    // Where they overlap, which of them it is is not said.
    let plain = small
        && list.iter().enumerate().all(|(i, a)| {
            list[..i]
                .iter()
                .all(|b| a.0 + a.1 <= b.0 || b.0 + b.1 <= a.0)
        });
    let mut hint = 0;
    while !u.is_empty() {
        let gpa = if u.ratio(1, 8)? {
            u.arbitrary()?
        } else {
            u64::from(u.arbitrary::<u16>()? % 600)
        };
        let len = u32::from(u.arbitrary::<u16>()? % 600);
        let mut out = segs(u.int_in_range(1..=8)?);
        let got = built.translate(&mut hint, gpa, len, &mut out);
        if plain {
            let wanted = table(&list).translate(gpa, len, out.capacity());
            assert_eq!(got.map(|_| out.to_vec()), wanted);
        } else if got.is_ok() {
            let bytes: usize = out.iter().map(|seg| seg.len()).sum();
            assert_eq!(bytes, len as usize);
        }
    }
    Ok(())
}
