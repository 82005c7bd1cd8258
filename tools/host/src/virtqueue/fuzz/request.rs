// SPDX-License-Identifier: GPL-2.0

//! Arguments of requests and their effects: features, sizes and addresses of rings.
//!
//! The offsets of fields are taken from the text of `linux/vhost.h`, and those of the parts of a
//! ring from VIRTIO 1.3, 2.7, with sums that cannot overflow.

use std::cell::RefCell;

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
    prelude::{
        E2BIG,
        EINVAL,
        ENOTTY,
        EOPNOTSUPP, //
    },
    vhost::{
        request::{
            self,
            RingCommand, //
        },
        uapi::{
            MemoryHeader,
            VringAddr,
            VringFile,
            VringState, //
        },
    },
    virtqueue::{
        features::Negotiated,
        layout::Layout,
        table::MemoryRegion, //
    },
};

pub fn run(data: &[u8]) {
    let _ = requests(&mut Unstructured::new(data));
}

fn requests(u: &mut Unstructured<'_>) -> Result<()> {
    let small = u.arbitrary()?;
    records(&small, &u.arbitrary()?);
    commands(&small);
    values(&small);
    let mut layout = Layout::UNSET;
    while !u.is_empty() {
        layout = sized(u, layout)?;
        let bytes = places(u)?;
        let addr = addr(&bytes);
        let expected = if addr.flags > 1 {
            Err(EOPNOTSUPP)
        } else if addr.avail % 2 != 0 || addr.used % 4 != 0 || addr.log_guest_addr % 4 != 0 {
            // The interface has never required an alignment of the descriptors.
            Err(EINVAL)
        } else {
            let log = (addr.flags == 1).then_some(addr.log_guest_addr);
            Ok((Parts::new(layout.size(), &bytes), log))
        };
        match (request::places(layout, &addr), expected) {
            (Ok((new, got)), Ok((parts, log))) => {
                assert_eq!(got, log, "{addr:x?}");
                check_parts(u, new, &parts)?;
            }
            (Err(got), Err(expected)) => assert_eq!(got, expected, "{addr:x?}"),
            (got, _) => panic!("{got:?} for {addr:x?}"),
        }
    }
    Ok(())
}

/// Each record of eight bytes, and a region.
fn records(small: &[u8; 8], region: &[u8; MemoryRegion::SIZE]) {
    let (low, high) = (number(small, 0, 4), number(small, 4, 4));
    let state = VringState::from_bytes(small);
    assert_eq!((state.index.into(), state.num.into()), (low, high));
    assert_eq!(state.to_bytes(), *small);
    let file = VringFile::from_bytes(small);
    let negative = i128::from(file.fd < 0) << 32;
    assert_eq!(u128::from(file.index), low);
    assert_eq!(i128::from(file.fd) + negative, high as i128);
    let head = MemoryHeader::from_bytes(small);
    assert_eq!((head.nregions.into(), head.padding.into()), (low, high));
    // The last field, `flags_padding`, is ignored.
    let MemoryRegion { gpa, size, uaddr } = MemoryRegion::from_bytes(region);
    for (nth, field) in [gpa, size, uaddr].into_iter().enumerate() {
        assert_eq!(u128::from(field), number(region, 8 * nth, 8), "{region:x?}");
    }
}

/// The commands for one ring, as `linux/vhost.h` encodes them: direction, size, number.
const COMMANDS: [(u128, u128, u128, RingCommand); 11] = [
    (1, 8, 0x10, RingCommand::SetNum),
    (1, 40, 0x11, RingCommand::SetAddr),
    (1, 8, 0x12, RingCommand::SetBase),
    (3, 8, 0x12, RingCommand::GetBase),
    (1, 8, 0x20, RingCommand::SetKick),
    (1, 8, 0x21, RingCommand::SetCall),
    (1, 8, 0x22, RingCommand::SetErr),
    (1, 8, 0x23, RingCommand::SetBusyloop),
    (1, 8, 0x24, RingCommand::GetBusyloop),
    (1, 8, 0x15, RingCommand::AttachWorker),
    (3, 8, 0x16, RingCommand::GetWorker),
];

/// Each command is decoded, and nothing else is.
fn commands(bytes: &[u8; 8]) {
    let number_of = |(dir, size, nr, _)| (dir << 30) + (size << 16) + (0xAF_u128 << 8) + nr;
    let decode = |number| RingCommand::decode(u32::try_from(number).unwrap());
    for command in COMMANDS {
        assert_eq!(decode(number_of(command)), Ok(command.3));
    }
    let any = number(bytes, 0, 4);
    // Any number, and one that looks like a vhost command.
    for any in [any, (any & 0xC03F_00FF) | 0xAF00] {
        let known = COMMANDS.into_iter().find(|&of| number_of(of) == any);
        assert_eq!(decode(any), known.map(|of| of.3).ok_or(ENOTTY), "{any:x}");
    }
}

/// The valid values of fields of small records.
fn values(bytes: &[u8; 8]) {
    let (low, high) = (number(bytes, 0, 4), number(bytes, 4, 4));
    let fd = VringFile::from_bytes(bytes).fd;
    let none = high == 0xFFFF_FFFF;
    assert_eq!(request::optional(fd), (!none).then_some(fd));
    let position = if high < 0x1_0000 {
        Ok(high as u16)
    } else {
        Err(EINVAL)
    };
    let state = VringState::from_bytes(bytes);
    assert_eq!(request::base(state.num), position);
    regions(MemoryHeader::from_bytes(bytes), number(bytes, 2, 2));
    // Also near the limit.
    let nregions = number(bytes, 4, 4) as u32 % 0x1_0002;
    let head = MemoryHeader {
        nregions,
        padding: 0,
    };
    for max in [low % 0x1_0000, 0, 64, 65, 0xFFFF, nregions.into()] {
        regions(head, max % 0x1_0000);
    }
}

/// As many regions as are allowed, and always 64.
fn regions(head: MemoryHeader, max: u128) {
    let expected = match (u128::from(head.nregions), head.padding) {
        (_, 1..) => Err(EOPNOTSUPP),
        (count, 0) if count <= 64 || count <= max => Ok(count as usize),
        (_, 0) => Err(E2BIG),
    };
    assert_eq!(
        request::regions(&head, max as u16),
        expected,
        "{head:?} of {max}"
    );
}

/// Decodes the record of VHOST_SET_VRING_ADDR.
fn addr(bytes: &[u8; VringAddr::SIZE]) -> VringAddr {
    let addr = VringAddr::from_bytes(bytes);
    let fields = [
        (u64::from(addr.index), 0, 4),
        (u64::from(addr.flags), 4, 4),
        (addr.desc, 8, 8),
        (addr.used, 16, 8),
        (addr.avail, 24, 8),
        (addr.log_guest_addr, 32, 8),
    ];
    for (field, at, len) in fields {
        assert_eq!(
            u128::from(field),
            number(bytes, at, len),
            "{at} of {bytes:x?}"
        );
    }
    addr
}

/// Such a record, mostly aligned, without a flag, and close to a boundary.
fn places(u: &mut Unstructured<'_>) -> Result<[u8; VringAddr::SIZE]> {
    let mut bytes: [u8; VringAddr::SIZE] = u.arbitrary()?;
    if u.ratio(7, 8)? {
        bytes[4] %= 2;
        bytes[5..8].fill(0);
    }
    for field in bytes[8..].chunks_exact_mut(8) {
        let align = if u.ratio(1, 16)? { 1 } else { 4 };
        let place = address(u, USER_END)? / align * align;
        field.copy_from_slice(&place.to_le_bytes());
    }
    Ok(bytes)
}

/// VHOST_SET_VRING_NUM.
fn sized(u: &mut Unstructured<'_>, layout: Layout) -> Result<Layout> {
    let num = match u.int_in_range(0..=3)? {
        0 => u.arbitrary()?,
        _ => 1u32 << u.int_in_range(0..=16)?,
    };
    // All valid sizes.
    let good = (0..16).any(|bit| num == 1 << bit);
    match layout.with_size(num) {
        Ok(new) => {
            assert!(good, "{num}");
            assert_eq!(u32::from(new.size()), num);
            Ok(new)
        }
        Err(e) => {
            assert!(!good && e == EINVAL, "{num}: {e:?}");
            Ok(layout)
        }
    }
}

/// The addresses of the parts of a ring, and its size.
struct Parts {
    size: u128,
    desc: u128,
    avail: u128,
    used: u128,
}

impl Parts {
    fn new(size: u16, bytes: &[u8; VringAddr::SIZE]) -> Self {
        Self {
            size: size.into(),
            desc: number(bytes, 8, 8),
            avail: number(bytes, 24, 8),
            used: number(bytes, 16, 8),
        }
    }

    /// The first address and the length of each part; with EVENT_IDX, both rings have one more
    /// index.
    fn ranges(&self, event_idx: bool) -> [(u128, u128); 3] {
        let event = if event_idx { 2 } else { 0 };
        [
            (self.desc, 16 * self.size),
            (self.avail, 4 + 2 * self.size + event),
            (self.used, 4 + 8 * self.size + event),
        ]
    }
}

/// All parts are checked with their full lengths, and each access is inside one of them.
fn check_parts(u: &mut Unstructured<'_>, layout: Layout, parts: &Parts) -> Result<()> {
    let features: u64 = u.arbitrary()?;
    let event_idx = (features >> 29) & 1 == 1;
    let end = address(u, USER_END)?;
    let asked = RefCell::new(Vec::new());
    let got = layout.parts_ok(Negotiated::new(features.into()), |at, len| {
        let range = (u128::from(at), u128::from(len));
        asked.borrow_mut().push(range);
        below(end, range.0, range.1)
    });
    let ranges = parts.ranges(event_idx);
    let expected = ranges.iter().all(|&(at, len)| below(end, at, len));
    assert_eq!(got, expected, "{ranges:x?} and user space up to {end:x}");
    let asked = asked.into_inner();
    assert!(!got || ranges.iter().all(|range| asked.contains(range)));

    let [desc, avail, used] = ranges;
    let at: u16 = u.arbitrary()?;
    let slot = u128::from(at) % parts.size;
    assert_eq!(layout.until_wrap(at) as u128, parts.size - slot);
    let mut places = vec![
        (layout.desc(slot as u16), desc, 16 * slot, 16),
        (layout.avail_flags(), avail, 0, 2),
        (layout.avail_idx(), avail, 2, 2),
        (layout.avail_entry(at), avail, 4 + 2 * slot, 2),
        (layout.used_flags(), used, 0, 2),
        (layout.used_idx(), used, 2, 2),
        (layout.used_entry(at), used, 4 + 8 * slot, 8),
    ];
    if event_idx {
        places.push((layout.used_event(), avail, 4 + 2 * parts.size, 2));
        places.push((layout.avail_event(), used, 4 + 8 * parts.size, 2));
    }
    for (place, (from, room), skip, len) in places {
        assert_eq!(place as u128, (from + skip) % ADDRESSES, "{ranges:x?}");
        assert!(skip + len <= room);
    }
    Ok(())
}
