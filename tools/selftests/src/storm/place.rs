// SPDX-License-Identifier: GPL-2.0

//! The resources that all threads of a storm share, and the operations on them.

use super::{
    ground::{Ground, HOLE, HOLE_LEN},
    requests::{AVAIL, SIZE},
    tally::{Kind, Kind::*, Tally},
};
use crate::{
    dice::Dice,
    guest::{Piece, DESC_INDIRECT, DESC_NEXT, DESC_WRITE},
    net::{frame, Tap, Wire},
    setup::{BUFFERS, RING_AT},
    vhost::*,
};
use std::{
    fs,
    os::fd::{AsRawFd, RawFd},
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

const DEVICES: usize = 3;
const TAPS: usize = 3;
const EVENTS: usize = 4;
/// The guest address of indirect tables.
const TABLES: u64 = BUFFERS + (1 << 20);
/// A frame that a receiver accepts, behind its header.
const FRAME: u64 = TABLES + (1 << 16);
const FRAME_LEN: usize = 200;

pub struct Place {
    path: String,
    pub ground: Ground,
    pub devs: Vec<Vhost>,
    pub taps: Vec<Tap>,
    wires: Vec<Wire>,
    events: Vec<EventFd>,
    pub tally: Tally,
    turns: [AtomicU64; 2],
}

impl Place {
    pub fn new(path: &str, tally: Tally) -> Self {
        let taps: Vec<Tap> = (0..TAPS).map(|_| Tap::new(12)).collect();
        let ground = Ground::new();
        ground.mem.write(FRAME + 12, &frame(1, FRAME_LEN));
        Self {
            path: path.to_owned(),
            ground,
            devs: (0..DEVICES).map(|_| Vhost::open(path)).collect(),
            wires: taps.iter().map(|tap| Wire::new(tap, false)).collect(),
            taps,
            events: (0..EVENTS).map(|_| EventFd::new()).collect(),
            tally,
            turns: Default::default(),
        }
    }

    pub fn storm(&self, seed: u64, time: Duration) {
        let mut dice = Dice::new(seed);
        let end = Instant::now() + time;
        while Instant::now() < end {
            self.one(&mut dice);
            match dice.below(40) {
                0 => std::thread::sleep(Duration::from_micros(dice.below(3000))),
                1..=8 => std::thread::yield_now(),
                _ => (),
            }
        }
    }

    fn one(&self, dice: &mut Dice) {
        let dev = dice.of(&self.devs);
        match self.turn(0, 49, dice) {
            // Attaching consumes all of it, so this happens often.
            0..=8 => self.set_up(dev, dice),
            9..=22 => self.request(dev, dice),
            23..=29 => self.post(dice),
            30..=34 => self.kick(dice),
            35 => self.did(Call, self.called(dice)),
            36..=38 => {
                let frame = frame(dice.below(9) as u32, 60 + dice.below(1400) as usize);
                self.did(Send, dice.of(&self.wires).send(&frame));
            }
            39 => {
                while dice.of(&self.wires).recv(0).is_some() {
                    self.tally.add(Receive, 1);
                }
            }
            40 => self.unmap(dice),
            41 => {
                let prot = dice.below(2) as i32 * (libc::PROT_READ | libc::PROT_WRITE);
                self.did(Protect, self.ground.protect(prot));
            }
            42 => {
                if let Ok(copy) = self.tally.did(Dup, dev.try_clone()) {
                    self.set_up(&copy, dice);
                }
            }
            43 => self.close(dev, dice),
            44 => {
                let other = EventFd::new();
                self.did(CloseEvent, replace(&other, dice.of(&self.events)));
            }
            45 => self.tap_that_goes(dev, dice),
            46 => self.life(dice),
            // Whoever keeps memory that it could do without is asked for it.
            47 => {
                let asked = fs::write("/proc/sys/vm/drop_caches", "2");
                self.did(Reclaim, asked.map_err(|_| EPERM));
            }
            _ => self.look_at(dev),
        }
    }

    /// An operation by chance or in turn, so that each occurs even if there are few in total.
    pub fn turn(&self, what: usize, n: u64, dice: &mut Dice) -> u64 {
        if dice.once_in(2) {
            return dice.below(n);
        }
        // Prime to `n`.
        self.turns[what].fetch_add(1, Ordering::Relaxed) * 31 % n
    }

    pub fn did<T>(&self, kind: Kind, result: Result<T>) {
        // A refusal is as valid as any other result here, and is counted.
        let _ = self.tally.did(kind, result);
    }

    pub fn event(&self, dice: &mut Dice) -> RawFd {
        if dice.once_in(8) {
            -1
        } else {
            dice.of(&self.events).as_raw_fd()
        }
    }

    fn kick(&self, dice: &mut Dice) {
        let full = Err(EAGAIN);
        let said = dice.of(&self.events).signal(1);
        self.did(Kick, if said { Ok(()) } else { full });
    }

    fn called(&self, dice: &mut Dice) -> Result<u64> {
        match dice.of(&self.events).take() {
            0 => Err(EAGAIN),
            count => Ok(count),
        }
    }

    /// Makes a buffer available, mostly a valid one: one descriptor, two, or a table of three.
    fn post(&self, dice: &mut Dice) {
        let mem = &self.ground.mem;
        let at = *dice.of(&RING_AT);
        let head = dice.below(SIZE);
        let next = (head + 1) % SIZE;
        match dice.below(8) {
            0 => {
                let table = TABLES + head * 64;
                for nth in 0..3 {
                    let piece = piece(at, nth < 2, dice);
                    mem.write_desc(table + nth * 16, piece, nth as u16 + 1);
                }
                mem.write_desc(at + head * 16, (table, 48, DESC_INDIRECT), 0);
            }
            1 | 2 => {
                mem.write_desc(at + head * 16, piece(at, true, dice), next as u16);
                mem.write_desc(at + next * 16, piece(at, false, dice), dice.roll() as u16);
            }
            _ => mem.write_desc(at + head * 16, piece(at, false, dice), next as u16),
        }
        mem.announce(at + AVAIL, SIZE as u16, head as u16);
        self.tally.add(Post, 1);
    }

    /// Unmaps memory of the device: a page of a ring, buffers, or the memory without a file. It is
    /// mapped again when a device is set up.
    fn unmap(&self, dice: &mut Dice) {
        let (gpa, len) = match dice.below(3) {
            0 => (dice.of(&RING_AT) + dice.below(3) * 0x1000, 0x1000),
            1 => (BUFFERS + dice.below(256) * 0x1000, 0x8000),
            _ => (HOLE, HOLE_LEN),
        };
        self.did(Unmap, self.ground.unmap(gpa, len));
    }

    /// Drops the last reference to a device, while others may be in the middle of a request.
    pub fn close(&self, dev: &Vhost, dice: &mut Dice) {
        self.look_at(dev);
        let other = Vhost::open(&self.path);
        self.did(Close, replace(&other, dev));
        self.start(dev, dice);
    }

    fn start(&self, dev: &Vhost, dice: &mut Dice) {
        self.set_up(dev, dice);
        for _ in 0..dice.below(20) {
            self.post(dice);
        }
        self.kick(dice);
    }

    /// Opens, uses and closes a device, perhaps while it runs.
    fn life(&self, dice: &mut Dice) {
        let dev = Vhost::open(&self.path);
        self.start(&dev, dice);
        self.look_at(&dev);
        drop(dev);
        self.tally.add(Close, 1);
    }

    /// A backend of which only the device has the file, or whose interface is deleted as well.
    fn tap_that_goes(&self, dev: &Vhost, dice: &mut Dice) {
        let tap = Tap::new(12);
        self.did(
            Attach,
            dev.set_backend(dice.below(2) as u32, tap.as_raw_fd()),
        );
        if !dice.once_in(4) {
            let deleted = tap.delete();
            self.did(DeleteTap, if deleted { Ok(()) } else { Err(EBUSY) });
        }
        drop(tap);
        self.tally.add(CloseTap, 1);
    }

    /// The packets that a device has moved so far. Each is counted as often as this is called.
    pub fn look_at(&self, dev: &Vhost) {
        let text = fs::read_to_string(format!("/proc/self/fdinfo/{}", dev.as_raw_fd()));
        let Ok(text) = self.tally.did(Info, text.map_err(|_| EBADF)) else {
            return;
        };
        let number = |name| {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|rest| rest.trim().parse().ok()).unwrap_or(0)
        };
        self.tally.add(MovedTx, number("tx-packets:"));
        self.tally.add(MovedRx, number("rx-packets:"));
    }
}

/// A descriptor in the ring at `at`.
fn piece(at: u64, more: bool, dice: &mut Dice) -> Piece {
    if at != RING_AT[0] && !more && dice.once_in(3) {
        return (FRAME, 12 + FRAME_LEN as u32, 0);
    }
    let addr = match dice.below(40) {
        0 => dice.roll(),
        1..=8 => HOLE + dice.below(HOLE_LEN as u64),
        _ => BUFFERS + dice.below(1 << 20),
    };
    let write = (at == RING_AT[0]) != dice.once_in(40);
    let flags = if more { DESC_NEXT } else { 0 } | if write { DESC_WRITE } else { 0 };
    (addr, dice.below(3000) as u32, flags)
}

/// Makes a descriptor number refer to another file, which closes the one before.
fn replace(new: &impl AsRawFd, old: &impl AsRawFd) -> Result {
    // SAFETY: No pointers; the number stays its owner's.
    match unsafe { libc::dup3(new.as_raw_fd(), old.as_raw_fd(), libc::O_CLOEXEC) } {
        -1 => Err(Errno::last()),
        _ => Ok(()),
    }
}
