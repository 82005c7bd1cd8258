// SPDX-License-Identifier: GPL-2.0

//! Rings, chains and indirect tables with anything in them.

use arbitrary::{
    Result,
    Unstructured, //
};

use crate::{
    driver::{
        Driver,
        Event,
        OWNER, //
    },
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
        model::{
            heads,
            segs,
            table,
            walk, //
        },
        ring::Ring,
        uapi::Desc, //
    },
};

/// How much memory there is behind the ring.
const LEN: usize = 0x3000;

pub fn run(data: &[u8]) {
    // Too short an input is none.
    let _ = guest(&mut Unstructured::new(data));
}

/// Regions that do not overlap for the guest, of which some meet; for the owner they may.
fn regions(u: &mut Unstructured<'_>, data: usize) -> Result<Vec<(u64, u64, u64)>> {
    let (mut list, mut end) = (Vec::new(), 0);
    for _ in 0..u.int_in_range(1..=3)? {
        let gap = u64::from(u.arbitrary::<u8>()?);
        let gpa = end + if gap < 128 { gap } else { 0 };
        let size = u.int_in_range(1..=0xf00)?;
        end = gpa + size;
        let uaddr = data + usize::from(u.arbitrary::<u16>()? % LEN as u16);
        list.push((gpa, size, uaddr as u64));
    }
    Ok(list)
}

fn desc(u: &mut Unstructured<'_>, size: u16) -> Result<Desc> {
    let wild = u.ratio(1, 16)?;
    Ok(Desc {
        addr: if wild {
            u.arbitrary()?
        } else {
            u64::from(u.arbitrary::<u16>()? % 0x4000)
        },
        len: match u.int_in_range(0..=7)? {
            0 => u32::from(u.arbitrary::<u16>()? % 0x1800),
            1 => 16 * u32::from(u.arbitrary::<u8>()? % 20),
            _ => u32::from(u.arbitrary::<u8>()?),
        },
        flags: if wild {
            u.arbitrary()?
        } else {
            u.arbitrary::<u16>()? % 8
        },
        next: u.arbitrary::<u16>()? % (size + 2),
    })
}

fn guest(u: &mut Unstructured<'_>) -> Result<()> {
    let size = 1u16 << u.int_in_range(0..=5)?;
    let at = u.arbitrary()?;
    let mut driver = Driver::new(size, LEN);
    driver.start(at);
    let regions = regions(u, driver.data())?;
    for index in 0..size {
        let desc = desc(u, size)?;
        driver.mem.put_desc(driver.desc(index), desc);
    }
    // Where indirect tables may be.
    for nth in 0..u.int_in_range(0..=40)? {
        let desc = desc(u, 40)?;
        driver.mem.put_desc(driver.data() + 16 * nth, desc);
    }
    let built = table(&regions).build();
    let mut ring = driver.device(Negotiated::NONE, at);
    let mut out = segs(u.int_in_range(1..=64)?);
    let mut posted = std::collections::VecDeque::new();
    while !u.is_empty() {
        match u.int_in_range(0..=7)? {
            0..=2 if posted.len() < usize::from(size) => {
                let head = u.arbitrary::<u16>()? % (size + 1);
                driver.post(head);
                posted.push_back(head);
            }
            3 => check_collect(u, &mut ring, &driver, &built)?,
            4 => {
                driver.lie(u.arbitrary()?);
                // From here on the guest may do whatever it likes.
                return free(u, &driver, &mut ring, &built, &regions);
            }
            _ => {
                let expected = posted
                    .front()
                    .map(|&head| (head, walk(&driver, &table(&regions), head, out.capacity())));
                if check_take(&mut ring, &driver, &built, &mut out, expected) {
                    posted.pop_front();
                }
            }
        }
    }
    Ok(())
}

type Expected = Option<(
    u16,
    std::result::Result<crate::virtqueue::model::Buffer, Fault>,
)>;

/// The same as the slow way; a mistake changes nothing. True when a buffer was taken.
fn check_take(
    ring: &mut Ring,
    driver: &Driver,
    built: &MemTable,
    out: &mut KVec<IoVec>,
    expected: Expected,
) -> bool {
    let base = ring.base();
    for again in [true, false] {
        out.clear();
        let got = take(ring, &driver.mem, built, &mut 0, out);
        match (&got, &expected) {
            (Ok(None), None) => return false,
            (Err(fault), Some((_, Err(wanted)))) => {
                assert_eq!(fault, wanted);
                assert_eq!((ring.base(), out.len()), (base, 0));
                return false;
            }
            (Ok(Some(chain)), Some((head, Ok(buffer)))) => {
                assert_eq!(chain.head, *head);
                assert_eq!(&out[..], &buffer.segs[..]);
                assert_eq!(
                    (chain.readable, chain.writable, chain.bytes),
                    (buffer.readable, buffer.writable, buffer.bytes)
                );
                assert_eq!(ring.base(), base.wrapping_add(1));
                if again {
                    ring.rewind(1);
                    assert_eq!(ring.base(), base);
                }
            }
            _ => panic!("{got:?}, expected {expected:?}"),
        }
    }
    true
}

/// All or nothing, and not more than was allowed; then all back.
fn check_collect(
    u: &mut Unstructured<'_>,
    ring: &mut Ring,
    driver: &Driver,
    built: &MemTable,
) -> Result<()> {
    let want = u.int_in_range(1..=0x2000)?;
    let max = u.int_in_range(1..=40)?;
    let (mut out, mut used) = (segs(u.int_in_range(1..=64)?), heads(64));
    let base = ring.base();
    match collect(
        ring,
        &driver.mem,
        built,
        &mut 0,
        &mut out,
        &mut used,
        want,
        max,
    ) {
        Ok(Collected::Ready { heads }) => {
            assert!(heads >= 1 && heads <= max && used.len() == heads);
            assert_eq!(ring.base(), base.wrapping_add(heads as u16));
            let room: usize = out.iter().map(|seg| seg.len()).sum();
            let told: usize = used.iter().map(|elem| elem.len as usize).sum();
            assert!(room >= want);
            assert_eq!(told, want);
            ring.rewind(heads as u16);
        }
        _ => assert_eq!((out.len(), used.len()), (0, 0)),
    }
    assert_eq!(ring.base(), base);
    Ok(())
}

/// What must hold whatever the guest changes: nothing outside its memory, and no more than asked.
fn free(
    u: &mut Unstructured<'_>,
    driver: &Driver,
    ring: &mut Ring,
    built: &MemTable,
    regions: &[(u64, u64, u64)],
) -> Result<()> {
    let mapped = |from: usize, to: usize| {
        regions.iter().any(|&(_, size, uaddr)| {
            let (first, end) = (uaddr as usize, (uaddr + size) as usize);
            from >= first && to <= end
        })
    };
    let inside = |seg: &IoVec| mapped(seg.base(), seg.base() + seg.len());
    // What is read is of the ring, or of an indirect table.
    let ring_end = driver.avail_event() + 2;
    let of_ring = |from: usize, to: usize| from >= OWNER && to <= ring_end;
    let allowed = |event: &Event| match event {
        Event::Read(r) => of_ring(r.start, r.end) || mapped(r.start, r.end),
        Event::Write(_) => false,
        _ => true,
    };
    let mut out = segs(u.int_in_range(1..=64)?);
    while !u.is_empty() {
        match u.int_in_range(0..=5)? {
            0 => driver.lie(u.arbitrary()?),
            1 => {
                let index = u.arbitrary::<u16>()? % driver.size;
                let desc = desc(u, driver.size)?;
                driver.mem.put_desc(driver.desc(index), desc);
            }
            2 => {
                let from = OWNER + usize::from(u.arbitrary::<u16>()?);
                let range = from..from + usize::from(u.arbitrary::<u8>()?);
                driver.mem.poison_reads(range);
            }
            3 => driver.mem.heal(),
            _ => {
                out.clear();
                let base = ring.base();
                let (got, events) = driver
                    .mem
                    .watch(|| take(ring, &driver.mem, built, &mut 0, &mut out));
                assert!(events.iter().all(allowed), "{events:x?}");
                match got {
                    Ok(Some(chain)) => {
                        assert!(chain.head < driver.size);
                        assert_eq!(chain.readable + chain.writable, out.len());
                        assert!(out.iter().all(inside), "{out:?}");
                        let bytes: usize = out.iter().map(|seg| seg.len()).sum();
                        assert_eq!(chain.bytes, bytes);
                    }
                    Ok(None) | Err(_) => assert_eq!((ring.base(), out.len()), (base, 0)),
                }
            }
        }
    }
    Ok(())
}
