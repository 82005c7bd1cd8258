// SPDX-License-Identifier: GPL-2.0

//! Arbitrary rings, chains and indirect tables.

use arbitrary::{
    Result,
    Unstructured, //
};

use crate::{
    device::{
        stays_inside,
        Device,
        End,
        Got,
        Straight,
        Took, //
    },
    driver::{
        Driver,
        Event,
        OWNER, //
    },
    kapi::iov::IoVec,
    virtqueue::{
        fault::Fault,
        features::Negotiated,
        model::{
            table,
            Queue,
            NEXT,
            STOPS, //
        },
        uapi::{
            Desc,
            UsedElem, //
        },
    },
};

/// The length of the memory behind the ring.
const LEN: usize = 0x3000;

pub fn run(data: &[u8]) {
    // An input that is too short is ignored.
    let _ = guest(&mut Unstructured::new(data));
}

/// Regions that do not overlap for the guest, some of which are adjacent; for the owner they may
/// overlap.
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

/// What the consumer does with buffers that it has taken.
fn end(u: &mut Unstructured<'_>) -> Result<End> {
    Ok(match u.int_in_range(0..=7)? {
        0 => End::Drop,
        1 => End::Refuse(Fault::Unwritable),
        2 => End::Refuse(Fault::UsedUnwritable),
        _ => End::Complete,
    })
}

/// The wanted length, and the maximum number of buffers.
fn wanted(u: &mut Unstructured<'_>) -> Result<(usize, usize)> {
    Ok((u.int_in_range(1..=0x2000)?, u.int_in_range(1..=40)?))
}

/// The device does the same as the model, step by step, as long as available buffers do not
/// change.
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
    // The addresses of indirect tables.
    for nth in 0..u.int_in_range(0..=40)? {
        let desc = desc(u, 40)?;
        driver.mem.put_desc(driver.data() + 16 * nth, desc);
    }
    let room = (u.int_in_range(1..=64)?, u.int_in_range(1..=64)?);
    let built = table(&regions).build();
    let mut device = Device::new(&driver, Negotiated::NONE, at, built).with_room(room.0, room.1);
    let mut model = Queue::new(&regions, at, room);
    while !u.is_empty() {
        match u.int_in_range(0..=9)? {
            0..=2 => {
                let head = u.arbitrary::<u16>()? % (size + 1);
                if driver.avail.wrapping_sub(model.state().0) < size {
                    driver.post(head);
                }
            }
            3 => {
                let (wanted, end) = (wanted(u)?, end(u)?);
                let got = device.take_room(&driver.mem, wanted, end);
                assert_eq!(got, model.take_room(&driver, wanted, end));
                check_got(&got, wanted);
            }
            4 => {
                driver.lie(u.arbitrary()?);
                // From here on the guest may change anything.
                return free(u, &driver, &mut device, &regions);
            }
            5 => {
                let index = u.arbitrary::<u16>()? % size;
                let desc = desc(u, size)?;
                if !in_use(&driver, model.state().0, index) {
                    driver.mem.put_desc(driver.desc(index), desc);
                }
            }
            6 => {
                check_publish(&mut device, &driver);
                model.published();
            }
            7 => {
                let (write, len) = (u.arbitrary()?, u.arbitrary()?);
                let got = device.straight(&driver.mem, write, len);
                model.straight(&driver, &got, len);
            }
            _ => {
                let end = end(u)?;
                let got = device.take(&driver.mem, end);
                assert_eq!(got, model.take(&driver, end));
            }
        }
        assert_eq!(device.state(), model.state());
    }
    Ok(())
}

/// Whether descriptor `index` belongs to a buffer that is available from position `at` on.
fn in_use(driver: &Driver, at: u16, index: u16) -> bool {
    let waiting = driver.avail.wrapping_sub(at);
    (0..waiting).any(|nth| {
        let entry = driver.avail_entry(at.wrapping_add(nth));
        let mut next = Some(driver.mem.get_u16(entry));
        (0..driver.size).any(|_| {
            let Some(this) = next.filter(|this| *this < driver.size) else {
                return false;
            };
            let desc = driver.mem.get_desc(driver.desc(this));
            next = (desc.flags & NEXT != 0).then_some(desc.next);
            this == index
        })
    })
}

/// Exactly the room that was asked for.
fn check_got(got: &std::result::Result<Got, Fault>, (want, max): (usize, usize)) {
    if let Ok(Got::Ready(took)) = got {
        assert!(took.bytes >= want && usize::from(took.count) <= max);
        assert!(took.count >= 1 && took.writable == took.segs.len());
    }
}

/// Completed buffers are in the used ring in the order in which they were taken, and as many have
/// been returned as were taken.
fn check_publish(device: &mut Device, driver: &Driver) {
    let (base, used) = device.state();
    assert_eq!(device.publish(&driver.mem).fault, None);
    assert_eq!(driver.mem.get_u16(driver.used_idx()), base);
    assert_eq!(device.state(), (base, vec![]));
    // The oldest are overwritten when there are more than the ring has entries.
    for (nth, elem) in (1..=driver.size).zip(used.iter().rev()) {
        assert_eq!(driver.used(base.wrapping_sub(nth)), (elem.id, elem.len));
    }
}

/// The invariants for whatever the guest changes: no access is outside its memory, no more is
/// taken than asked for, and each buffer that has left the ring is returned once.
fn free(
    u: &mut Unstructured<'_>,
    driver: &Driver,
    device: &mut Device,
    regions: &[(u64, u64, u64)],
) -> Result<()> {
    while !u.is_empty() {
        match u.int_in_range(0..=8)? {
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
            4 => {
                let entry = driver.avail_entry(u.arbitrary()?);
                driver.mem.put_u16(entry, u.arbitrary()?);
            }
            5 => check_publish(device, driver),
            6 => {
                let (wanted, end) = (wanted(u)?, end(u)?);
                let before = device.state();
                let (got, events) = driver
                    .mem
                    .watch(|| device.take_room(&driver.mem, wanted, end));
                check_got(&got, wanted);
                let (got, most) = match got {
                    Ok(Got::Ready(took)) => (Ok(Some(took)), wanted.0),
                    Ok(_) => (Ok(None), 0),
                    Err(fault) => (Err(fault), 0),
                };
                check(driver, regions, (&events, &got));
                check_state(before, device.state(), (&got, end), most);
            }
            7 => {
                let (write, len) = (u.arbitrary()?, u.arbitrary::<Option<u32>>()?);
                let before = device.state();
                let room = before.1.len() < device.entries();
                let (got, events) = driver
                    .mem
                    .watch(|| device.straight(&driver.mem, write, len));
                let got = match got {
                    Ok(Straight::Plain(took)) => Ok(Some(took)),
                    Ok(_) => Ok(None),
                    Err(fault) => Err(fault),
                };
                check(driver, regions, (&events, &got));
                let end = match len {
                    Some(_) if room => End::Complete,
                    _ => End::Drop,
                };
                let most = len.unwrap_or(0) as usize;
                check_state(before, device.state(), (&got, end), most);
            }
            _ => {
                let end = end(u)?;
                let before = device.state();
                let (got, events) = driver.mem.watch(|| device.take(&driver.mem, end));
                check(driver, regions, (&events, &got));
                check_state(before, device.state(), (&got, end), 0);
            }
        }
    }
    Ok(())
}

type Taken = std::result::Result<Option<Took>, Fault>;

/// The accesses, and the contents of the buffers.
fn check(driver: &Driver, regions: &[(u64, u64, u64)], (events, got): (&[Event], &Taken)) {
    let allowed = |event: &Event| stays_inside(driver, regions, event);
    assert!(events.iter().all(allowed), "{events:x?}");
    let inside = |seg: &IoVec| {
        regions.iter().any(|&(_, size, uaddr)| {
            let (first, end) = (uaddr as usize, (uaddr + size) as usize);
            seg.base() >= first && seg.base() + seg.len() <= end
        })
    };
    if let Ok(Some(took)) = got {
        assert!(took.segs.iter().all(inside), "{took:?}");
        assert!(took.writable <= took.segs.len());
        let bytes: usize = took.segs.iter().map(|seg| seg.len()).sum();
        assert_eq!(took.bytes, bytes);
    }
}

/// The state of the ring and the used entries: unchanged, or with entries for all buffers that
/// have left the ring, of at most `most` bytes if it was not refused.
fn check_state(
    (from, before): (u16, Vec<UsedElem>),
    (to, used): (u16, Vec<UsedElem>),
    (got, end): (&Taken, End),
    most: usize,
) {
    let (kept, added) = used.split_at(before.len());
    assert_eq!(kept, before);
    assert_eq!(usize::from(to.wrapping_sub(from)), added.len());
    let total: usize = added.iter().map(|elem| elem.len as usize).sum();
    let stops = |fault: &Fault| STOPS.contains(fault);
    match (got, end) {
        (Ok(Some(took)), End::Complete) => {
            assert_eq!((added.len(), total), (usize::from(took.count), most));
        }
        (Ok(Some(took)), End::Refuse(fault)) if !stops(&fault) => {
            assert_eq!((added.len(), total), (usize::from(took.count), 0));
        }
        (Err(fault), _) if !stops(fault) => assert!(!added.is_empty() && total == 0),
        _ => assert_eq!(added, []),
    }
}
