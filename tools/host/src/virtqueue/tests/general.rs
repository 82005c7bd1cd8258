// SPDX-License-Identifier: GPL-2.0

//! The way to memory that can do everything, compared with the common one; and what it logs.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::model::{
    segs,
    table,
    INDIRECT, //
};
use crate::{
    cases,
    driver::{
        desc,
        Driver,
        OWNER, //
    },
    kapi::iov::IoVec,
    prelude::{
        KVec,
        GFP_KERNEL, //
    },
    virtqueue::{
        fault::Fault,
        features::Negotiated,
        general::{
            General,
            Maps, //
        },
        iotlb::{
            Access,
            Iotlb,
            Mapping,
            Miss, //
        },
        log::Logging,
        mem::GuestMemory,
        path::{
            Direct,
            Path, //
        },
        ring::Ring,
        table::MemTable,
        uapi::{
            Desc,
            UsedElem, //
        },
        vq::Virtqueue,
    },
};

const PAGE: u64 = 4096;
/// The number of pages of guest memory. For the owner they are not in order.
const PAGES: u64 = 8;
const SIZE: u16 = 8;

const QUIET: Logging = Logging {
    base: 0,
    data: false,
    used: None,
};

/// A way to memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Direct,
    Table,
    Iotlb,
}

/// What is found of a buffer: its segments, the number of writable ones, and its length.
type Found = (Vec<IoVec>, usize, usize);

/// A guest whose page `nth` is at page `nth * 3 % 8` of the owner's data.
struct Guest {
    driver: Driver,
    table: MemTable,
    iotlb: Iotlb,
}

impl Guest {
    fn new() -> Self {
        let mut driver = Driver::new(SIZE, 16 * PAGE as usize);
        driver.start(0);
        let data = driver.data() as u64;
        let place = |nth: u64| data + nth * 3 % PAGES * PAGE;
        let regions: Vec<_> = (0..PAGES)
            .map(|nth| (nth * PAGE, PAGE, place(nth)))
            .collect();
        let mut iotlb = Iotlb::new(100);
        let mut map = |iova, uaddr| {
            let (size, perm) = (PAGE, 3);
            let mapping = Mapping {
                iova,
                size,
                uaddr,
                perm,
            };
            iotlb.add(&mapping).unwrap();
        };
        for &(gpa, _, uaddr) in &regions {
            map(gpa, uaddr);
        }
        // The ring is at the same addresses for all.
        for page in (OWNER as u64..data).step_by(PAGE as usize) {
            map(page, page);
        }
        let table = table(&regions).build();
        Self {
            driver,
            table,
            iotlb,
        }
    }

    fn maps(&self, way: Way) -> Maps<'_> {
        Maps {
            table: &self.table,
            iotlb: (way == Way::Iotlb).then_some(&self.iotlb),
        }
    }

    /// Takes buffers until there are none or one is a fault, and completes them.
    fn results(&self, way: Way) -> Vec<Result<Option<Found>, Fault>> {
        let mut ring = self.driver.device(Negotiated::NONE, 0);
        let mem = &self.driver.mem;
        let (mut room, mut used) = (segs(20), entries());
        if way == Way::Direct {
            let mut hint = 0;
            let path = Direct::new(mem, &self.table, &mut hint);
            taken(Virtqueue::new(path, &mut ring, &mut room, &mut used))
        } else {
            let path = General::new(mem, self.maps(way), ring.layout(), QUIET);
            assert_eq!(path.check_ring(Negotiated::NONE), Ok(()));
            taken(Virtqueue::new(path, &mut ring, &mut room, &mut used))
        }
    }
}

fn entries() -> KVec<UsedElem> {
    KVec::with_capacity(64, GFP_KERNEL).unwrap()
}

fn taken<P: Path>(mut vq: Virtqueue<'_, P>) -> Vec<Result<Option<Found>, Fault>> {
    let mut results = Vec::new();
    for _ in 0..=SIZE {
        // A plain buffer is the same as the one that is taken.
        let plain = vq.plain().or_else(|| vq.plain_room());
        let found = match vq.take() {
            Ok(Some(taken)) => {
                let found = (taken.segs().to_vec(), taken.writable(), taken.len());
                taken.complete();
                Ok(Some(found))
            }
            Ok(None) => Ok(None),
            // A buffer that is not mapped, without a table and with one.
            Err(Fault::Missing) => Err(Fault::Unmapped),
            Err(fault) => Err(fault),
        };
        if let (Some(plain), Ok(Some((_, _, bytes)))) = (plain, &found) {
            assert_eq!(plain.len(), *bytes);
        }
        let ends = !matches!(found, Ok(Some(_)));
        results.push(found);
        if ends {
            break;
        }
    }
    results
}

fn any_desc() -> impl Strategy<Value = Desc> {
    let addr = 0..PAGES * PAGE + 64;
    let len = prop_oneof![0u32..64, 0u32..6000, Just(16), Just(32)];
    let flags = prop_oneof![6 => 0u16..4, 1 => 4u16..8];
    (addr, len, flags, 0..SIZE + 1).prop_map(|(addr, len, flags, next)| {
        // Tables are near the beginning, where there are descriptors.
        let addr = if flags & INDIRECT != 0 {
            addr % 64 * 16
        } else {
            addr
        };
        desc(addr, len, flags, next)
    })
}

proptest! {
    #![proptest_config(cases(3000))]

    #[test]
    fn same_as_direct(
        descs in prop::collection::vec(any_desc(), usize::from(SIZE)),
        tables in prop::collection::vec(any_desc(), 64),
        heads in prop::collection::vec(0..SIZE, 1..9),
    ) {
        let mut guest = Guest::new();
        let data = guest.driver.data();
        for (index, desc) in (0..).zip(&descs) {
            guest.driver.mem.put_desc(guest.driver.desc(index), *desc);
        }
        // The first page of the guest is the first one for the owner as well.
        for (nth, desc) in tables.iter().enumerate() {
            guest.driver.mem.put_desc(data + 16 * nth, *desc);
        }
        for head in heads {
            guest.driver.post(head);
        }
        let want = guest.results(Way::Direct);
        prop_assert_eq!(&guest.results(Way::Table), &want);
        prop_assert_eq!(&guest.results(Way::Iotlb), &want);
    }
}

/// Where the log of the tests is, in the data behind the guest's pages.
fn log_at(driver: &Driver) -> u64 {
    driver.data() as u64 + 12 * PAGE
}

/// The pages that are marked; clears the marks.
fn marked(driver: &Driver) -> BTreeSet<u64> {
    let at = log_at(driver) as usize;
    let mut pages = BTreeSet::new();
    for byte in 0..64 {
        let [bits] = driver.mem.get::<1>(at + byte);
        let set = (0..8).filter(|bit| (bits >> bit) & 1 != 0);
        pages.extend(set.map(|bit| byte as u64 * 8 + bit));
        driver.mem.put(at + byte, &[0]);
    }
    pages
}

fn logging(driver: &Driver, used: Option<u64>) -> Logging {
    Logging {
        base: log_at(driver),
        data: true,
        used,
    }
}

#[test]
fn used_ring_is_logged() {
    let guest = Guest::new();
    let driver = &guest.driver;
    let ring = driver.device(Negotiated::NONE, 0);
    let path = |used| {
        let maps = guest.maps(Way::Table);
        General::new(&driver.mem, maps, ring.layout(), logging(driver, used))
    };
    // The ring's place in the log has nothing to do with its address.
    let at = 5 * PAGE - 8;
    for offset in [0, 2, 4] {
        let path = path(Some(at));
        assert!(!path.take_logged());
        if offset < 4 {
            path.write_u16(driver.used_flags() + offset, 1).unwrap();
        } else {
            let elem = UsedElem { id: 1, len: 2 };
            path.write_used(driver.used_entry(0), &[elem]).unwrap();
        }
        assert!(path.take_logged() && !path.take_logged());
        let first = (at + offset as u64) / PAGE;
        let mut want = BTreeSet::from([first]);
        if offset == 4 {
            want.insert(first + 1);
        }
        assert_eq!(marked(driver), want, "offset {offset}");
    }
    let quiet = path(None);
    quiet.write_u16(driver.used_idx(), 2).unwrap();
    assert!(!quiet.take_logged());
    assert!(marked(driver).is_empty());
}

#[test]
fn used_ring_of_an_iotlb_is_logged() {
    let mut guest = Guest::new();
    // The ring is in page 2 of guest memory, at an address of its own.
    let uaddr = guest.driver.data() as u64 + 2 * 3 % PAGES * PAGE;
    let iova = guest.driver.used_flags() as u64;
    guest.iotlb.remove(iova, 1).unwrap();
    let (size, perm) = (PAGE, 2);
    let mapping = Mapping {
        iova,
        size,
        uaddr,
        perm,
    };
    guest.iotlb.add(&mapping).unwrap();
    let driver = &guest.driver;
    let ring = driver.device(Negotiated::NONE, 0);
    let (maps, logging) = (guest.maps(Way::Iotlb), logging(driver, Some(0)));
    let path = General::new(&driver.mem, maps, ring.layout(), logging);
    path.write_u16(driver.used_idx(), 7).unwrap();
    assert_eq!(driver.mem.get_u16(uaddr as usize + 2), 7);
    assert_eq!(marked(driver), BTreeSet::from([2]));
    // Writable alone is enough for all that the device does there.
    assert_eq!(path.read_u16(driver.used_idx()), Ok(7));
    assert!(path.read_u16(driver.used_flags()).is_err());
}

#[test]
fn received_data_is_logged() {
    let guest = Guest::new();
    let driver = &guest.driver;
    let ring = driver.device(Negotiated::NONE, 0);
    let data = driver.data();
    let place = |nth: usize| data + nth * 3 % PAGES as usize * PAGE as usize;
    let seg = |nth, skip, len| IoVec::new(place(nth) + skip, len);
    let all = [seg(1, 4000, 96), seg(2, 0, 4096), seg(3, 0, 100)];
    for way in [Way::Table, Way::Iotlb] {
        let path = General::new(
            &driver.mem,
            guest.maps(way),
            ring.layout(),
            logging(driver, None),
        );
        for (len, pages) in [
            (0, &[][..]),
            (1, &[1]),
            (96, &[1]),
            (97, &[1, 2]),
            (96 + 4096, &[1, 2]),
            (96 + 4096 + 1, &[1, 2, 3]),
            // No more than there is.
            (1 << 20, &[1, 2, 3]),
        ] {
            path.wrote(&all, len);
            assert_eq!(marked(driver), pages.iter().copied().collect(), "{len}");
        }
    }
    let path = General::new(&driver.mem, guest.maps(Way::Table), ring.layout(), QUIET);
    path.wrote(&all, 5000);
    assert!(!path.take_logged() && marked(driver).is_empty());
}

/// What a queue tells of its way: a buffer that was filled, and an address that is not mapped.
#[test]
fn through_a_queue() {
    let mut guest = Guest::new();
    let (data, buffer) = (guest.driver.data(), 2 * PAGE);
    let write = desc(buffer, 100, 2, 0);
    guest.driver.mem.put_desc(guest.driver.desc(0), write);
    let gone = desc(20 * PAGE, 100, 2, 0);
    guest.driver.mem.put_desc(guest.driver.desc(1), gone);
    let layout = guest.driver.layout();
    assert!(!layout.is_unset() && layout.without_places().is_unset());
    assert_eq!(layout.without_places().size(), SIZE);
    let mut ring = guest.driver.device(Negotiated::NONE, 0);
    let (mut room, mut used) = (segs(20), entries());
    guest.driver.post(0);
    guest.driver.post(1);
    let logging = logging(&guest.driver, None);
    let path = General::new(&guest.driver.mem, guest.maps(Way::Iotlb), layout, logging);
    let mut vq = Virtqueue::new(path, &mut ring, &mut room, &mut used);
    assert!(vq.has_buffer());
    let taken = vq.take().unwrap().unwrap();
    taken.wrote(100);
    taken.complete();
    assert!(vq.take_logged() && !vq.take_logged());
    assert_eq!(marked(&guest.driver), BTreeSet::from([2]));
    vq.wrote(&[IoVec::new(data, 1)], 1);
    assert_eq!(marked(&guest.driver), BTreeSet::from([0]));
    assert_eq!(vq.miss(), None);
    assert!(vq.take().is_err_and(|fault| fault == Fault::Missing));
    let (iova, access) = (20 * PAGE, Access::Write);
    assert_eq!(vq.miss(), Some(Miss { iova, access }));
    // The buffer is still there.
    assert!(vq.has_buffer());
    // The common way tells nothing.
    let mut hint = 0;
    let path = Direct::new(&guest.driver.mem, &guest.table, &mut hint);
    path.wrote(&[IoVec::new(data, 1)], 1);
    assert!(!path.take_logged() && path.miss().is_none());
    assert!(marked(&guest.driver).is_empty());
}

/// A log that is not accessible, and memory that is in no region.
#[test]
fn logging_never_fails() {
    let guest = Guest::new();
    let driver = &guest.driver;
    let at = log_at(driver) as usize;
    driver.mem.poison_writes(at..at + 64);
    let ring = driver.device(Negotiated::NONE, 0);
    for base in [at as u64, u64::MAX, 0] {
        let logging = Logging {
            base,
            data: true,
            used: Some(u64::MAX - 3),
        };
        let maps = guest.maps(Way::Table);
        let path = General::new(&driver.mem, maps, ring.layout(), logging);
        path.wrote(&[IoVec::new(0, 100), IoVec::new(driver.data(), 100)], 200);
        assert!(path.write_u16(driver.used_idx(), 1).is_ok());
    }
    driver.mem.heal();
    assert!(marked(driver).is_empty());
}

#[test]
fn rings_that_are_not_mapped() {
    let mut guest = Guest::new();
    let layout = guest.driver.device(Negotiated::NONE, 0).layout();
    let (desc, used) = (guest.driver.desc(0), guest.driver.used_flags());
    let check = |guest: &Guest| {
        let path = General::new(&guest.driver.mem, guest.maps(Way::Iotlb), layout, QUIET);
        let checked = path.check_ring(Negotiated::NONE);
        (
            checked,
            path.miss().map(|miss| (miss.iova as usize, miss.access)),
        )
    };
    assert_eq!(check(&guest), (Ok(()), None));
    guest.iotlb.remove(used as u64, 1).unwrap();
    let missing = (Err(Fault::Missing), Some((used, Access::Write)));
    assert_eq!(check(&guest), missing);
    let path = General::new(&guest.driver.mem, guest.maps(Way::Iotlb), layout, QUIET);
    assert_eq!(path.check_used(Negotiated::NONE), Err(Fault::Missing));
    let mut mapping = Mapping {
        iova: used as u64,
        size: PAGE,
        uaddr: used as u64,
        perm: 1,
    };
    guest.iotlb.add(&mapping).unwrap();
    assert_eq!(check(&guest), (Err(Fault::Denied), None));
    guest.iotlb.remove(used as u64, 1).unwrap();
    mapping.perm = 2;
    guest.iotlb.add(&mapping).unwrap();
    assert_eq!(check(&guest), (Ok(()), None));
    guest.iotlb.remove(desc as u64, 1).unwrap();
    let missing = (Err(Fault::Missing), Some((desc, Access::Read)));
    assert_eq!(check(&guest), missing);
    // Of a ring that is not mapped nothing is read or written.
    let path = General::new(&guest.driver.mem, guest.maps(Way::Iotlb), layout, QUIET);
    let mut ring = Ring::new();
    ring.set_layout(layout);
    assert!(path.read_u16(guest.driver.avail_idx()).is_err());
    assert!(ring.attach(&path).is_ok());
}
