// SPDX-License-Identifier: GPL-2.0

//! Everything at once, on a few devices, from threads and from processes that are killed: no
//! outcome is right or wrong but that the kernel has nothing to say, and that all works after.

use crate::{
    child::Child,
    diag, ensure,
    guest::{Memory, DESC_WRITE},
    lifecycle::no_worker_left,
    net::{frame, Tap, Wire},
    setup::{Net, Options, BUFFERS, RING_AT},
    tap::{Outcome, Suite},
    vhost::*,
};
use std::{
    os::fd::{AsRawFd, RawFd},
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

const DEVICES: usize = 3;
const THREADS: u64 = 6;
const TAPS: usize = 3;
const EVENTS: usize = 4;
/// Guest memory that comes and goes.
const HOLE: u64 = 0x9000_0000;
const HOLE_LEN: usize = 1 << 20;

pub fn run(suite: &mut Suite, path: &str, seconds: u64, seed: u64) {
    let time = Duration::from_secs(seconds);
    suite.case(&format!("threads, seed {seed}"), || {
        threads(path, time, seed)
    });
    suite.case(&format!("processes that are killed, seed {seed}"), || {
        processes(path, time, seed)
    });
    suite.case("no worker is left", no_worker_left);
    suite.case("a device works", || {
        let mem = Memory::new();
        let mut net = Net::start(path, &mem, Options::new(F_VERSION_1));
        net.check_tx(1)?;
        net.check_rx(2, 300)
    });
}

/// xorshift: the same storm for the same seed, as far as the threads' order is the same.
struct Dice(u64);

impl Dice {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    fn of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len() as u64) as usize]
    }
}

/// Maps the hole, at first anywhere, with other rights in its place afterwards.
fn map(at: *mut libc::c_void, prot: i32, flags: i32) -> usize {
    let flags = flags | libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: Fresh, or in the place of what nobody but the device uses.
    let at = unsafe { libc::mmap(at, HOLE_LEN, prot, flags, -1, 0) };
    assert!(at != libc::MAP_FAILED);
    at as usize
}

impl Drop for Place {
    fn drop(&mut self) {
        // SAFETY: Ours.
        unsafe { libc::munmap(self.hole as *mut _, HOLE_LEN) };
    }
}

/// What all of a storm's threads have in their hands.
struct Place {
    path: String,
    mem: Memory,
    devs: Vec<Vhost>,
    taps: Vec<Tap>,
    wires: Vec<Wire>,
    events: Vec<EventFd>,
    hole: usize,
    done: [AtomicU64; 2],
}

impl Place {
    fn new(path: &str) -> Self {
        let taps: Vec<Tap> = (0..TAPS).map(|_| Tap::new(12)).collect();
        Self {
            path: path.to_owned(),
            mem: Memory::new(),
            devs: (0..DEVICES).map(|_| Vhost::open(path)).collect(),
            wires: taps.iter().map(|tap| Wire::new(tap, false)).collect(),
            taps,
            events: (0..EVENTS).map(|_| EventFd::new()).collect(),
            hole: map(std::ptr::null_mut(), libc::PROT_NONE, 0),
            done: [AtomicU64::new(0), AtomicU64::new(0)],
        }
    }

    fn storm(&self, seed: u64, time: Duration) {
        let mut dice = Dice::new(seed);
        let end = Instant::now() + time;
        while Instant::now() < end {
            let result = self.one(&mut dice);
            self.done[usize::from(result.is_err())].fetch_add(1, Ordering::Relaxed);
            match dice.below(40) {
                0 => std::thread::sleep(Duration::from_micros(dice.below(3000))),
                1..=8 => std::thread::yield_now(),
                _ => (),
            }
        }
    }

    fn event(&self, dice: &mut Dice) -> RawFd {
        match dice.below(8) {
            0 => -1,
            _ => dice.of(&self.events).as_raw_fd(),
        }
    }

    fn one(&self, dice: &mut Dice) -> Result {
        let dev = dice.of(&self.devs);
        let queue = dice.below(2) as u32;
        match dice.below(24) {
            // Attaching takes all of it; so this comes often.
            0..=4 => self.set_up(dev, dice),
            5 => dev.set_owner(),
            6 if dice.below(3) == 0 => dev.reset_owner(),
            7 => dev.set_backend(queue, -1),
            8 => dev.set_backend(queue, dice.of(&self.taps).as_raw_fd()),
            9 => dev.set_kick(queue, self.event(dice)),
            10 => dev.set_call(queue, self.event(dice)),
            11 => dev.set_err(queue, self.event(dice)),
            12 => dev.base(queue).map(drop),
            13 => dev.set_features(*dice.of(&[0, F_VERSION_1, F_VERSION_1 | F_EVENT_IDX])),
            14 => {
                let regions = self.regions();
                let keep = dice.below(4) as usize;
                dev.set_mem_table(&regions[..keep], 0)
            }
            15 => dev.set_fork_from_owner(dice.below(2) as u8),
            16 => {
                self.scribble(dice);
                Ok(())
            }
            17 => dice
                .of(&self.wires)
                .send(&frame(dice.below(9) as u32, 60 + dice.below(1400) as usize)),
            18 => {
                while dice.of(&self.wires).recv(0).is_some() {}
                Ok(())
            }
            19 => {
                let prot = dice.below(2) as i32 * (libc::PROT_READ | libc::PROT_WRITE);
                map(self.hole as *mut _, prot, libc::MAP_FIXED);
                Ok(())
            }
            20 => {
                let copy = dev.try_clone()?;
                self.set_up(&copy, dice)
            }
            21 if dice.below(4) == 0 => self.life(dice),
            22 if dice.below(4) == 0 => self.tap_that_goes(dev, queue, dice),
            _ => {
                dice.of(&self.events).signal(1);
                Ok(())
            }
        }
    }

    /// A device that is opened, used and closed, perhaps while it runs.
    fn life(&self, dice: &mut Dice) -> Result {
        let dev = Vhost::open(&self.path);
        self.set_up(&dev, dice)?;
        for _ in 0..dice.below(20) {
            self.scribble(dice);
        }
        dice.of(&self.events).signal(1);
        Ok(())
    }

    /// A backend of which only the device is left, or not even its interface.
    fn tap_that_goes(&self, dev: &Vhost, queue: u32, dice: &mut Dice) -> Result {
        let tap = Tap::new(12);
        let result = dev.set_backend(queue, tap.as_raw_fd());
        if dice.below(2) == 0 {
            let _ = tap.delete();
        }
        result
    }

    fn regions(&self) -> Vec<Region> {
        let mut regions = self.mem.regions();
        regions.push(Region {
            gpa: HOLE,
            size: HOLE_LEN as u64,
            uaddr: self.hole as u64,
            flags: 0,
        });
        regions
    }

    /// Makes a device that may run, unless another thread is faster.
    fn set_up(&self, dev: &Vhost, dice: &mut Dice) -> Result {
        let _ = dev.set_owner();
        let _ = dev.set_mem_table(&self.regions(), 0);
        for index in [RX, TX] {
            let _ = dev.set_num(index, 256);
            let at = RING_AT[index as usize];
            // The rings are where the halves of the memory are for us.
            let _ = dev.set_addr(VringAddr {
                index,
                flags: 0,
                desc: self.mem.at(at) as u64,
                avail: self.mem.at(at + 0x1000) as u64,
                used: self.mem.at(at + 0x2000) as u64,
                log: 0,
            });
            let _ = dev.set_kick(index, self.event(dice));
            let _ = dev.set_call(index, self.event(dice));
            let _ = dev.set_backend(index, dice.of(&self.taps).as_raw_fd());
        }
        Ok(())
    }

    /// Posts buffers that are mostly as they should be.
    fn scribble(&self, dice: &mut Dice) {
        let at = *dice.of(&RING_AT);
        let desc = dice.below(256);
        let addr = match dice.below(30) {
            0 => dice.next(),
            1..=10 => HOLE + dice.below(HOLE_LEN as u64),
            _ => BUFFERS + dice.below(1 << 20),
        };
        let write = at == RING_AT[0] && dice.below(30) != 0;
        let piece = (
            addr,
            dice.below(3000) as u32,
            if write { DESC_WRITE } else { 0 },
        );
        let next = dice.below(256) as u16;
        self.mem.write_desc(at + desc * 16, piece, next);
        self.mem.announce(at + 0x1000, 256, desc as u16);
    }
}

fn threads(path: &str, time: Duration, seed: u64) -> Outcome {
    let place = Place::new(path);
    std::thread::scope(|scope| {
        for i in 0..THREADS {
            let place = &place;
            scope.spawn(move || place.storm(seed * 1000 + i, time));
        }
    });
    let [ok, refused] = [&place.done[0], &place.done[1]].map(|n| n.load(Ordering::Relaxed));
    diag!("{ok} requests done, {refused} refused");
    ensure!(ok > 100, "only {ok} requests were done");
    Ok(())
}

/// Children have the devices of their parent, and their own; each is killed at some time, or
/// becomes another program.
fn processes(path: &str, time: Duration, seed: u64) -> Outcome {
    let place = Place::new(path);
    let mut dice = Dice::new(seed);
    let end = Instant::now() + time;
    let mut children = 0u64;
    while Instant::now() < end {
        let running: Vec<Child> = (0..3)
            .map(|i| child(&place, path, seed ^ (children + i), &mut dice))
            .collect();
        children += running.len() as u64;
        place.storm(seed + children, Duration::from_millis(20 + dice.below(150)));
        running.into_iter().try_for_each(Child::killed)?;
    }
    diag!("{children} children");
    ensure!(children >= 6, "only {children} children");
    Ok(())
}

fn child(place: &Place, path: &str, seed: u64, dice: &mut Dice) -> Child {
    let kind = dice.below(4);
    Child::new(|| {
        live(place, path, seed, kind);
        loop {
            std::thread::sleep(Duration::from_secs(60));
        }
    })
}

fn live(place: &Place, path: &str, seed: u64, kind: u64) {
    match kind {
        // Its own devices in threads, which die with it.
        0 | 1 => {
            let own = Place::new(path);
            std::thread::scope(|scope| {
                for i in 0..3 {
                    let own = &own;
                    scope.spawn(move || own.storm(seed + i, Duration::from_secs(60)));
                }
            });
        }
        // The device of the parent lives on in another program.
        2 => {
            let _ = place.devs[0].set_owner();
            // SAFETY: Terminated arguments; what it inherits is the point.
            unsafe {
                let flags = libc::fcntl(place.devs[0].as_raw_fd(), libc::F_GETFD);
                libc::fcntl(
                    place.devs[0].as_raw_fd(),
                    libc::F_SETFD,
                    flags & !libc::FD_CLOEXEC,
                );
                let args = [c"sleep".as_ptr(), c"60".as_ptr(), std::ptr::null()];
                libc::execvp(args[0], args.as_ptr());
            }
        }
        _ => place.storm(seed, Duration::from_secs(60)),
    }
}
