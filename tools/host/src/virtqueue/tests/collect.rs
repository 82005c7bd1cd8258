// SPDX-License-Identifier: GPL-2.0

//! Collecting room for a packet: the same as taking one buffer after the other, and nothing at
//! all when that does not do.

use proptest::prelude::*;

use super::model::{
    heads,
    segs,
    table,
    NEXT,
    WRITE, //
};
use crate::{
    cases,
    driver::Driver,
    kapi::iov::IoVec,
    prelude::KVec,
    virtqueue::{
        chain::{
            collect,
            take,
            Collected, //
        },
        fault::Fault,
        features::Negotiated,
        mem::MemTable,
        ring::Ring,
        uapi::{
            Desc,
            UsedElem, //
        },
    },
};

/// What collecting comes to, by taking.
fn by_taking(
    ring: &mut Ring,
    driver: &Driver,
    built: &MemTable,
    out: &mut KVec<IoVec>,
    want: usize,
    max: usize,
) -> Result<(Collected, Vec<UsedElem>), Fault> {
    let (mut used, mut got) = (Vec::new(), 0);
    loop {
        if got >= want {
            let heads = used.len();
            return Ok((Collected::Ready { heads }, used));
        }
        if used.len() == max {
            return Ok((Collected::TooSmall, Vec::new()));
        }
        if out.len() == out.capacity() {
            return Err(Fault::NoRoom);
        }
        let Some(chain) = take(ring, &driver.mem, built, &mut 0, out)? else {
            return Ok((Collected::Short, Vec::new()));
        };
        if chain.readable > 0 || chain.writable == 0 {
            return Err(Fault::Direction);
        }
        used.push(UsedElem {
            id: u32::from(chain.head),
            len: chain.bytes.min(want - got) as u32,
        });
        got += chain.bytes;
    }
}

/// A descriptor of a chain: mostly room.
fn any_desc() -> impl Strategy<Value = Desc> {
    let len = prop_oneof![8 => 1u32..200, 1 => Just(0), 1 => Just(0x1_0000)];
    let flags =
        prop_oneof![20 => Just(WRITE), 8 => Just(WRITE | NEXT), 1 => Just(0), 1 => Just(NEXT)];
    (0u64..0x1000, len, flags, 0u16..256).prop_map(|(addr, len, flags, next)| Desc {
        addr,
        len,
        flags,
        next,
    })
}

proptest! {
    #![proptest_config(cases(600))]

    /// Packet after packet, until something is wrong; with buffers that come late.
    #[test]
    fn as_taking(
        size in 0u32..9,
        at in prop_oneof![any::<u16>(), 0xff00u16..=u16::MAX],
        descs in prop::collection::vec(any_desc(), 256),
        posts in prop::collection::vec((0u16..256, 0u16..120), 1..12),
        packets in prop::collection::vec((1usize..2000, prop_oneof![Just(1usize), 2usize..1024]), 24),
        room in prop_oneof![1 => 1usize..40, 3 => Just(1024usize)],
        kept in 0usize..3,
    ) {
        let mut driver = Driver::new(1 << size, 0x2_0000);
        driver.start(at);
        for (index, desc) in (0..driver.size).zip(&descs) {
            let next = desc.next % driver.size;
            driver.mem.put_desc(driver.desc(index), Desc { next, ..*desc });
        }
        let regions = [(0, 0xc00, driver.data() as u64), (0xc00, 0x1_f400, 0x1000)];
        let built = table(&regions).build();
        let mut ring = driver.device(Negotiated::NONE, at);
        let mut posts = posts.into_iter();
        for (want, max) in packets {
            // As many as there is room for in the ring.
            if let Some((first, count)) = posts.next() {
                let free = driver.size - driver.avail.wrapping_sub(ring.base()).min(driver.size);
                for head in 0..count.min(free) {
                    driver.post(first.wrapping_add(head) % driver.size);
                }
            }
            let before = ring.base();
            // The other one starts afresh each time: it has read nothing ahead.
            let mut other = driver.device(Negotiated::NONE, before);
            let (mut out, mut expected) = (segs(room + kept), segs(room + kept));
            let mut used = heads(1089);
            for at in 0..kept {
                out.push_within_capacity(IoVec::new(at, at)).unwrap();
                expected.push_within_capacity(IoVec::new(at, at)).unwrap();
                used.push_within_capacity(UsedElem { id: 9, len: 9 }).unwrap();
            }
            let model = by_taking(&mut other, &driver, &built, &mut expected, want, max);
            let got = collect(
                &mut ring, &driver.mem, &built, &mut 0, &mut out, &mut used, want, max,
            );
            prop_assert_eq!(&used[..kept], vec![UsedElem { id: 9, len: 9 }; kept]);
            match model {
                Ok((Collected::Ready { heads }, elems)) => {
                    prop_assert_eq!(got, Ok(Collected::Ready { heads }));
                    prop_assert_eq!(&out[..], &expected[..]);
                    prop_assert_eq!(&used[kept..], &elems[..]);
                    prop_assert_eq!(ring.base(), before.wrapping_add(heads as u16));
                    let total: u64 = elems.iter().map(|e| u64::from(e.len)).sum();
                    prop_assert_eq!(total, want as u64);
                }
                other => {
                    prop_assert_eq!(got, other.map(|(collected, _)| collected));
                    prop_assert_eq!(out.len(), kept);
                    prop_assert_eq!(used.len(), kept);
                    prop_assert_eq!(ring.base(), before);
                }
            }
        }
    }
}

/// A packet that does not fit yet does once there are more buffers, whole and in order; over the
/// end of the ring, over the end of what positions count, and over what is read at once.
#[test]
fn short_then_whole() {
    const SIZE: u16 = 256;
    for at in [0, 200, 0xff80, 0xffff] {
        let mut driver = Driver::new(SIZE, 0x1000);
        driver.start(at);
        for index in 0..SIZE {
            let desc = Desc {
                addr: u64::from(index),
                len: 1,
                flags: WRITE,
                next: 0,
            };
            driver.mem.put_desc(driver.desc(index), desc);
        }
        let regions = [(0, 0x1000, driver.data() as u64)];
        let built = table(&regions).build();
        let mut ring = driver.device(Negotiated::NONE, at);
        let (mut out, mut used) = (segs(1024), heads(1089));
        for posted in 0..SIZE {
            let got = collect(
                &mut ring,
                &driver.mem,
                &built,
                &mut 0,
                &mut out,
                &mut used,
                256,
                1024,
            );
            assert_eq!(got, Ok(Collected::Short), "{at} {posted}");
            assert_eq!((out.len(), used.len(), ring.base()), (0, 0, at));
            // Nothing new: the worker may sleep.
            assert_eq!(ring.enable_notify(&driver.mem), Ok(false));
            ring.disable_notify(&driver.mem);
            driver.post(posted * 7 % SIZE);
        }
        let got = collect(
            &mut ring,
            &driver.mem,
            &built,
            &mut 0,
            &mut out,
            &mut used,
            256,
            1024,
        );
        assert_eq!(got, Ok(Collected::Ready { heads: 256 }));
        assert_eq!(ring.base(), at.wrapping_add(256));
        for (index, (seg, elem)) in (0..SIZE).zip(out.iter().zip(used.iter())) {
            let head = index * 7 % SIZE;
            assert_eq!(seg.base(), driver.data() + usize::from(head));
            assert_eq!((elem.id, elem.len), (u32::from(head), 1));
        }
    }
}

/// No more entries than the caller has room for, whatever the limits say.
#[test]
fn full_used() {
    let mut driver = Driver::new(4, 0x1000);
    driver.start(0);
    for index in 0..4 {
        let desc = Desc {
            addr: 0,
            len: 1,
            flags: WRITE,
            next: 0,
        };
        driver.mem.put_desc(driver.desc(index), desc);
        driver.post(index);
    }
    let regions = [(0, 0x1000, driver.data() as u64)];
    let built = table(&regions).build();
    let mut ring = driver.device(Negotiated::NONE, 0);
    let (mut out, mut used) = (segs(1024), heads(2));
    let got = collect(
        &mut ring,
        &driver.mem,
        &built,
        &mut 0,
        &mut out,
        &mut used,
        3,
        1024,
    );
    assert_eq!(got, Err(Fault::NoRoom));
    assert_eq!((out.len(), used.len(), ring.base()), (0, 0, 0));
}
