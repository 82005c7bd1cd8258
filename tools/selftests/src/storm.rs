// SPDX-License-Identifier: GPL-2.0

//! Random concurrent operations on a few devices, from threads and from processes that are killed.
//! No single outcome is right or wrong. Each kind of operation must have occurred, frames must
//! have been moved, the kernel must report nothing, and everything must work afterwards.

mod ground;
mod place;
mod requests;
mod tally;

use crate::{
    child::Child,
    diag,
    dice::Dice,
    guest::Memory,
    lifecycle::no_worker_left,
    setup::{Net, Options},
    tap::{Outcome, Suite},
    vhost::*,
};
use place::Place;
use std::{
    os::fd::AsRawFd,
    time::{Duration, Instant},
};
use tally::{Kind, Tally};

const THREADS: u64 = 6;
/// Of four children, the one that executes another program.
const EXEC: u64 = 2;
/// The kinds that must occur although most of the time is spent on starting and killing processes.
const SURE: [Kind; 10] = [
    Kind::SetOwner,
    Kind::SetMemTable,
    Kind::SetBase,
    Kind::Attach,
    Kind::Post,
    Kind::Kick,
    Kind::Close,
    Kind::Kill,
    Kind::Exec,
    Kind::MovedTx,
];

/// With `c`, moved frames are not checked: the C module has no counters.
pub fn run(suite: &mut Suite, path: &str, c: bool, seconds: u64, seed: u64) {
    let time = Duration::from_secs(seconds);
    suite.case(&format!("threads, seed {seed}"), || {
        threads(path, c, time, seed)
    });
    suite.case(&format!("processes that are killed, seed {seed}"), || {
        processes(path, c, time, seed)
    });
    suite.case("no worker is left", no_worker_left);
    suite.case("a device works", || {
        let mem = Memory::new();
        let mut net = Net::start(path, &mem, Options::new(F_VERSION_1));
        net.check_tx(1)?;
        net.check_rx(2, 300)
    });
}

/// Whether this kind is counted: the C module does not count moved frames.
fn counts(c: bool, kind: Kind) -> bool {
    !c || !matches!(kind, Kind::MovedTx | Kind::MovedRx)
}

fn threads(path: &str, c: bool, time: Duration, seed: u64) -> Outcome {
    let tally = Tally::new();
    let place = Place::new(path, tally);
    std::thread::scope(|scope| {
        for i in 0..THREADS {
            let place = &place;
            scope.spawn(move || place.storm(seed * 1000 + i, time));
        }
    });
    place.devs.iter().for_each(|dev| place.look_at(dev));
    tally.check(|kind| !matches!(kind, Kind::Kill | Kind::Exec) && counts(c, kind))
}

/// Children use the devices of their parent and their own. Each is killed after some time, or
/// executes another program.
fn processes(path: &str, c: bool, time: Duration, seed: u64) -> Outcome {
    let tally = Tally::new();
    let place = Place::new(path, tally);
    let mut dice = Dice::new(seed);
    let end = Instant::now() + time;
    let mut children = 0u64;
    // Where deleting a tap takes seconds, the time may be over before there were enough.
    while Instant::now() < end || children < 6 {
        // A device whose owner was killed has no owner for ever.
        place.close(dice.of(&place.devs), &mut dice);
        let running: Vec<Child> = (0..3)
            .map(|i| child(&place, path, seed ^ (children + i), children + i))
            .collect();
        children += running.len() as u64;
        place.storm(seed + children, Duration::from_millis(20 + dice.below(400)));
        for child in running {
            child.killed()?;
            tally.add(Kind::Kill, 1);
        }
    }
    become_another(&place, path)?;
    diag!("{} children", children + 1);
    place.devs.iter().for_each(|dev| place.look_at(dev));
    tally.check(|kind| SURE.contains(&kind) && counts(c, kind))
}

/// A child that is killed only after it has executed another program.
fn become_another(place: &Place, path: &str) -> Outcome {
    let before = place.tally.done(Kind::Exec);
    let last = child(place, path, 0, EXEC);
    let end = Instant::now() + Duration::from_secs(30);
    while place.tally.done(Kind::Exec) == before && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(50));
    }
    std::thread::sleep(Duration::from_millis(200));
    last.killed()
}

fn child(place: &Place, path: &str, seed: u64, kind: u64) -> Child {
    Child::new(|| {
        live(place, path, seed, kind);
        // It waits to be killed; exiting is a failure.
        1
    })
}

fn live(place: &Place, path: &str, seed: u64, kind: u64) {
    let long = Duration::from_secs(600);
    match kind % 4 {
        // Its own devices, in threads that die with it.
        0 | 1 => {
            let own = Place::new(path, place.tally);
            std::thread::scope(|scope| {
                for i in 0..3 {
                    let own = &own;
                    scope.spawn(move || own.storm(seed + i, long));
                }
            });
        }
        // The parent's device stays open in another program.
        EXEC => {
            let _ = place.tally.did(Kind::SetOwner, place.devs[0].set_owner());
            place.tally.add(Kind::Exec, 1);
            // SAFETY: Terminated arguments; the inherited files are the purpose.
            unsafe {
                let flags = libc::fcntl(place.devs[0].as_raw_fd(), libc::F_GETFD);
                libc::fcntl(
                    place.devs[0].as_raw_fd(),
                    libc::F_SETFD,
                    flags & !libc::FD_CLOEXEC,
                );
                let args = [c"sleep".as_ptr(), c"600".as_ptr(), std::ptr::null()];
                libc::execvp(args[0], args.as_ptr());
            }
            place.tally.failed(Kind::Exec);
        }
        _ => place.storm(seed, long),
    }
}
