// SPDX-License-Identifier: GPL-2.0

//! A queue that reads nothing before it is needed.

use super::{
    table,
    walk,
    Buffer, //
};
use crate::{
    device::{
        End,
        Got,
        Straight,
        Took, //
    },
    driver::Driver,
    virtqueue::{
        fault::Fault,
        mem::GuestMemory,
        uapi::UsedElem, //
    },
};

/// The faults that stop a queue: there is no head to return, or the ring cannot be trusted. All
/// other faults concern one buffer.
pub(crate) const STOPS: [Fault; 8] = [
    Fault::AvailUnreadable,
    Fault::AvailJump,
    Fault::HeadRange,
    Fault::NextRange,
    Fault::Loop,
    Fault::DescUnreadable,
    Fault::UsedUnwritable,
    Fault::Missing,
];

/// The fault in a head, or in the number of available buffers.
const SEEN: [Fault; 3] = [Fault::AvailUnreadable, Fault::AvailJump, Fault::HeadRange];

/// See the [module's documentation](self).
#[derive(Clone)]
pub(crate) struct Queue<'a> {
    regions: &'a [(u64, u64, u64)],
    /// Room for segments, and for used entries.
    room: (usize, usize),
    /// The position of the next buffer.
    at: u16,
    /// The available index that was last read: when the ring seemed to be empty.
    seen: u16,
    /// Pending used entries.
    used: Vec<UsedElem>,
}

impl<'a> Queue<'a> {
    /// A queue that starts at position `at`.
    pub(crate) fn new(regions: &'a [(u64, u64, u64)], at: u16, room: (usize, usize)) -> Self {
        Self {
            regions,
            room,
            at,
            seen: at,
            used: Vec::new(),
        }
    }

    /// The state, for comparison with the device's.
    pub(crate) fn state(&self) -> (u16, Vec<UsedElem>) {
        (self.at, self.used.clone())
    }

    /// The pending entries have been published.
    pub(crate) fn published(&mut self) {
        self.used.clear();
    }

    fn head(&mut self, driver: &Driver) -> Result<Option<u16>, Fault> {
        let word = |addr| {
            let word = driver.mem.read_u16(addr);
            word.map_err(|_| Fault::AvailUnreadable)
        };
        if self.seen == self.at {
            let idx = word(driver.avail_idx())?;
            if idx.wrapping_sub(self.at) > driver.size {
                return Err(Fault::AvailJump);
            }
            self.seen = idx;
            if idx == self.at {
                return Ok(None);
            }
        }
        match word(driver.avail_entry(self.at))? {
            head if head < driver.size => Ok(Some(head)),
            _ => Err(Fault::HeadRange),
        }
    }

    /// Adds the next buffer to `took`; `None` when there is none, or no room for its used entry.
    fn add(&mut self, driver: &Driver, took: &mut Took) -> Result<Option<Buffer>, Fault> {
        let Some(head) = self.head(driver)? else {
            return Ok(None);
        };
        if self.used.len() == self.room.1 {
            return Ok(None);
        }
        let id = u32::from(head);
        self.at = self.at.wrapping_add(1);
        self.used.push(UsedElem { id, len: 0 });
        let room = self.room.0 - took.segs.len();
        let buffer = walk(driver, &table(self.regions), head, room)?;
        took.segs.extend(&buffer.segs);
        took.writable += buffer.writable;
        took.bytes += buffer.bytes;
        took.count += 1;
        Ok(Some(buffer))
    }

    /// Puts the buffers that were taken since `before` back into the ring.
    fn end(&mut self, (at, pending): (u16, usize), end: End) {
        match end {
            End::Complete => {}
            End::Refuse(fault) if !STOPS.contains(&fault) => {
                for elem in &mut self.used[pending..] {
                    elem.len = 0;
                }
            }
            End::Refuse(_) | End::Drop => {
                self.at = at;
                self.used.truncate(pending);
            }
        }
    }

    /// The expected result of taking a buffer.
    pub(crate) fn take(&mut self, driver: &Driver, end: End) -> Result<Option<Took>, Fault> {
        let before = (self.at, self.used.len());
        let mut took = Took::default();
        let buffer = self.add(driver, &mut took);
        match buffer {
            Ok(Some(_)) => self.end(before, end),
            Ok(None) => self.end(before, End::Drop),
            Err(fault) => self.end(before, End::Refuse(fault)),
        }
        Ok(buffer?.map(|_| took))
    }

    /// Follows the device's result of asking for a plain buffer, of which `len` bytes were written
    /// if it was completed. The model does not decide which buffers are plain, but checks their
    /// contents.
    pub(crate) fn straight(
        &mut self,
        driver: &Driver,
        got: &Result<Straight, Fault>,
        len: Option<u32>,
    ) {
        let mut all = self.clone();
        all.room = (usize::MAX, usize::MAX);
        let next = all.take(driver, End::Drop);
        // The device has read the index as well.
        self.seen = all.seen;
        match (got, next) {
            (Ok(Straight::None), Ok(None)) => {}
            (Ok(Straight::Plain(got)), Ok(Some(took))) => {
                assert_eq!(*got, took);
                if let Some(len) = len {
                    if self.take(driver, End::Complete) != Ok(None) {
                        self.used.last_mut().unwrap().len = len;
                    }
                }
            }
            (Ok(Straight::Other), Ok(Some(_))) => {}
            // Faults of the buffer are found when it is taken, except those in its head.
            (Ok(Straight::Other), Err(fault)) => assert!(!SEEN.contains(&fault), "{fault:?}"),
            (Err(got), Err(fault)) => {
                assert_eq!(*got, fault);
                assert!(SEEN.contains(&fault) || fault == Fault::DescUnreadable);
            }
            (got, next) => panic!("{got:?}, but it is {next:?}"),
        }
    }

    /// The expected result of taking room.
    pub(crate) fn take_room(
        &mut self,
        driver: &Driver,
        (want, max): (usize, usize),
        end: End,
    ) -> Result<Got, Fault> {
        let before = (self.at, self.used.len());
        let got = self.collect(driver, want, max);
        match &got {
            Ok(Got::Ready(_)) => self.end(before, end),
            Ok(Got::Short | Got::Behind | Got::TooSmall) => self.end(before, End::Drop),
            Err(fault) => self.end(before, End::Refuse(*fault)),
        }
        got
    }

    fn collect(&mut self, driver: &Driver, want: usize, max: usize) -> Result<Got, Fault> {
        let mut took = Took::default();
        let waits = !self.used.is_empty();
        while took.bytes < want {
            if usize::from(took.count) == max || took.segs.len() == self.room.0 {
                return Ok(Got::TooSmall);
            }
            let left = want - took.bytes;
            let buffer = match self.add(driver, &mut took) {
                // Whether it has too many by itself.
                Err(Fault::TooManySegments) if took.count > 0 => {
                    self.at = self.at.wrapping_sub(1);
                    self.used.pop();
                    return match self.add(driver, &mut Took::default())? {
                        Some(buffer) if buffer.readable > 0 || buffer.writable == 0 => {
                            Err(Fault::Direction)
                        }
                        _ => Ok(Got::TooSmall),
                    };
                }
                buffer => buffer?,
            };
            let Some(buffer) = buffer else {
                let behind = waits && self.used.len() == self.room.1;
                return Ok(if behind { Got::Behind } else { Got::Short });
            };
            if buffer.readable > 0 || buffer.writable == 0 {
                return Err(Fault::Direction);
            }
            if let Some(elem) = self.used.last_mut() {
                elem.len = buffer.bytes.min(left) as u32;
            }
        }
        Ok(Got::Ready(took))
    }
}
