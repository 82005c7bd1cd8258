// SPDX-License-Identifier: GPL-2.0

//! Buffers that are invalid by themselves. A driver cannot withdraw a buffer that it has made
//! available, so they are returned with length 0, reported and counted, and the queue continues.

mod rx;
mod tx;

use crate::{
    ensure, ensure_eq,
    guest::{DESC_INDIRECT, DESC_NEXT, GPA, SIZE},
    setup::{Net, BUFFERS},
    tap::{Outcome, Suite},
    vhost::*,
};
use std::{fs, os::fd::AsRawFd, time::Duration};

/// Adds an invalid buffer, to be published, and returns its head.
type Build = fn(&mut Net<'_>) -> u16;

/// The C module loses some of the buffers that it can fetch; the others stop the queue.
const C: &str = "it never hands the buffer back";

/// The time limit for a buffer to be returned.
const PATIENCE: Duration = Duration::from_secs(2);

/// The addresses of the tables of these buffers, and of the memory that they may refer to.
const TABLE: u64 = BUFFERS + 0x60_0000;
const DATA: u64 = BUFFERS + 0x61_0000;

/// Each is tried with both kinds of notification suppression.
const FEATURES: [u64; 2] = [
    F_VERSION_1 | F_INDIRECT,
    F_VERSION_1 | F_INDIRECT | F_EVENT_IDX,
];

pub fn run(suite: &mut Suite, path: &str) {
    tx::run(suite, path);
    rx::run(suite, path);
}

/// Invalid in the same way for both queues, with descriptors that have these flags.
fn anywhere(n: &mut Net<'_>, queue: u32, flags: u16, nth: usize) -> u16 {
    let end = GPA + SIZE as u64;
    let (addr, len) = match nth {
        0 => (GPA - 4096, 64),
        1 => (end, 64),
        2 => (end - 10, 2048),
        3 => (u64::MAX - 10, 64),
        4 => (DATA, u32::MAX),
        _ => return tables(n, queue, flags, nth - 5),
    };
    n.ring(queue).add(&[(addr, len, flags)])
}

/// Names of the above: so many are outside of memory, the others have indirect tables.
const OUTSIDE: usize = 5;
const ANYWHERE: [&str; 13] = [
    "an address below the table",
    "an address above the table",
    "a buffer that runs out of the table",
    "a buffer that wraps around",
    "a length of 4 GiB",
    "a table of odd length",
    "an empty table",
    "a table that is not in memory",
    "a table in a table",
    "a chain that runs over its table",
    "a table of more than 65,536 entries",
    "more than 1024 pieces",
    "a table of which the second entry is not in memory",
];

/// Invalid because of their indirect table.
fn tables(n: &mut Net<'_>, queue: u32, flags: u16, nth: usize) -> u16 {
    let ring = n.ring(queue);
    let end = GPA + SIZE as u64;
    let (at, len) = match nth {
        0 => (TABLE, 17),
        1 => (TABLE, 0),
        2 => (GPA - 4096, 32),
        3 => {
            ring.write_desc(TABLE + 0x100, (DATA, 16, DESC_INDIRECT), 0);
            (TABLE + 0x100, 16)
        }
        4 => {
            ring.write_desc(TABLE + 0x200, (DATA, 64, flags | DESC_NEXT), 1);
            (TABLE + 0x200, 16)
        }
        5 => (TABLE, 65_537 * 16),
        6 => {
            for i in 0..1100u64 {
                let next = if i < 1099 { DESC_NEXT } else { 0 };
                ring.write_desc(TABLE + 0x1000 + 16 * i, (DATA, 64, flags | next), 0);
            }
            (TABLE + 0x1000, 1100 * 16)
        }
        _ => {
            ring.write_desc(end - 16, (DATA, 64, flags | DESC_NEXT), 1);
            (end - 16, 32)
        }
    };
    ring.add(&[(at, len, DESC_INDIRECT)])
}

/// One case for each kind that is specific to a queue, and one for each of the two sorts of the
/// others.
fn kinds<F>(suite: &mut Suite, what: &str, own: &[(&str, Build)], body: F)
where
    F: Fn(usize, u64) -> Outcome,
{
    let (outside, all) = (own.len() + OUTSIDE, own.len() + ANYWHERE.len());
    let rows = (0..own.len()).map(|kind| (own[kind].0, kind..kind + 1));
    let rows = rows.chain([
        ("outside of memory", own.len()..outside),
        ("by its table of descriptors", outside..all),
    ]);
    for (name, kinds) in rows {
        suite.case_c_fails(&format!("{what}, comes back: {name}"), C, || {
            for kind in kinds {
                let of = kind
                    .checked_sub(own.len())
                    .map_or(name, |nth| ANYWHERE[nth]);
                for features in FEATURES {
                    body(kind, features).map_err(|e| format!("{of}, {features:#x}: {e}"))?;
                }
            }
            Ok(())
        });
    }
}

/// The number of counted faults: the total, and the line of each reason that is shown.
fn faults(net: &Net<'_>, queue: u32) -> std::result::Result<(u64, Vec<(String, u64)>), String> {
    let side = ["rx", "tx"][queue as usize];
    let path = format!("/proc/self/fdinfo/{}", net.dev.as_raw_fd());
    let text = fs::read_to_string(path).map_err(|e| e.to_string())?;
    let prefix = format!("{side}-fault-");
    let reason = |line: &str| {
        let (name, count) = line.strip_prefix(&prefix)?.split_once(":\t")?;
        Some((name.to_owned(), count.parse().ok()?))
    };
    let reasons = text.lines().filter_map(reason).filter(|r| r.1 > 0);
    Ok((net.counter(&format!("{side}-faults"))?, reasons.collect()))
}

/// Checks that `count` faults are counted in total, and each with a reason.
fn counted(net: &Net<'_>, queue: u32, count: u64) -> Outcome {
    let (all, reasons) = faults(net, queue)?;
    ensure_eq!(all, count, "faults");
    let sum: u64 = reasons.iter().map(|r| r.1).sum();
    ensure_eq!(sum, count, "faults by reason, {reasons:?}");
    Ok(())
}

/// What invalid buffers are returned as: their heads, with length 0.
fn empty(heads: &[u16]) -> Vec<(u16, u32)> {
    heads.iter().map(|&head| (head, 0)).collect()
}

/// Checks that these heads are returned, in this order and with these lengths.
fn come_back(net: &mut Net<'_>, queue: u32, want: &[(u16, u32)]) -> Outcome {
    for (nth, want) in want.iter().enumerate() {
        let used = net.ring(queue).wait_used_for(PATIENCE);
        ensure_eq!(used, Some(*want), "used entry {nth}");
    }
    Ok(())
}

/// Checks that the error eventfd was signalled at least once.
fn told(net: &Net<'_>, queue: u32) -> Outcome {
    let err = &net.events[queue as usize].err;
    ensure!(err.wait(4000), "the error eventfd was not signalled");
    err.take();
    Ok(())
}
