// SPDX-License-Identifier: GPL-2.0

//! The memory that a device holds, and that it continues when there is no memory for more.

use super::{
    flow::{held, Flow},
    held::{first_ones, pass, reader, MIXED},
};
use crate::{
    diag, ensure,
    group::{in_group, Group},
    guest::Memory,
    pages,
    spare::ask_all,
    tap::{Outcome, Suite},
    vhost::*,
};
use std::{fs, hint::black_box, os::fd::AsRawFd, result::Result};

pub fn run(suite: &mut Suite, path: &str, c: bool) {
    suite.case("a device holds no more than its pages", || {
        in_group(|group| bounded(path, group))
    });
    suite.case("what others hold is not charged to the owner", || {
        in_group(|group| held_by_others(path, group))
    });
    suite.case("held by others when the kernel asks for memory", || {
        in_group(|group| asked_while_held(path, group))
    });
    suite.case("no more memory in the control group", || {
        in_group(|group| at_its_limit(path, group, c))
    });
    if let Ok(faults) = Faults::new() {
        suite.case("no page of more than 4 KiB", || small_pages(path, faults));
    }
}

/// Readers hold all pages. The memory that remains when they are gone is the devices'.
fn bounded(path: &str, group: &Group) -> Outcome {
    const DEVICES: usize = 12;
    // 8 pages of 32 KiB for batches and 16 for large packets, and memory that is not for packets.
    const PACKETS: i64 = (DEVICES as i64) * (8 + 16) * (32 << 10);
    const REST: i64 = (DEVICES as i64) * (128 << 10);
    // Other activity.
    const NOISE: i64 = 8000 << 12;
    let mems: Vec<_> = (0..DEVICES).map(|_| Memory::new()).collect();
    let devices = || -> Result<Vec<Flow<'_>>, String> {
        let all = mems.iter().zip(1..);
        all.map(|(mem, tag)| {
            let mut flow = Flow::start(path, mem, tag);
            pass(&mut flow, &MIXED, 2)?;
            Ok(flow)
        })
        .collect()
    };
    // Memory that this process keeps is allocated before the first count.
    drop(devices()?);
    let start = (group.kernel().map_err(text)?, pages::free());
    let more = || -> Result<[i64; 2], String> {
        let charged = group.kernel().map_err(text)? - start.0;
        Ok([charged, (start.1 - pages::free()) << 12])
    };
    let mut flows = devices()?;
    let readers: Vec<_> = flows.iter().map(|flow| reader(flow, 8 << 20)).collect();
    for flow in &mut flows {
        pass(flow, &MIXED, 40)?;
    }
    let held = more()?;
    drop(readers);
    for flow in &mut flows {
        pass(flow, &MIXED, 2)?;
    }
    let busy = more()?;
    for flow in &flows {
        for queue in [RX, TX] {
            let detached = flow.net.set_backend(queue, -1);
            detached.map_err(|e| format!("{e:?}"))?;
        }
    }
    let idle = more()?;
    drop(flows);
    let none = more()?;
    for (what, [charged, gone]) in ["held", "busy", "detached", "closed"]
        .iter()
        .zip([held, busy, idle, none])
    {
        diag!(
            "{what}: {} KiB charged, {} KiB gone",
            charged >> 10,
            gone >> 10
        );
    }
    ensure!(held[0] < PACKETS + REST, "{} bytes charged", held[0]);
    ensure!(busy[0] < PACKETS + REST, "{} bytes charged", busy[0]);
    ensure!(busy[1] < PACKETS + REST + NOISE, "{} bytes in use", busy[1]);
    ensure!(idle[0] < REST, "{} bytes charged when detached", idle[0]);
    ensure!(none[0] < 1 << 20, "{} bytes charged in the end", none[0]);
    Ok(())
}

fn text(e: std::io::Error) -> String {
    e.to_string()
}

/// The group has room for the pages that the device keeps, and not for those that a reader holds,
/// which are not charged to it.
fn held_by_others(path: &str, group: &Group) -> Outcome {
    let mem = Memory::new();
    let mut flow = Flow::start(path, &mem, 1);
    let slow = reader(&flow, 32 << 20);
    pass(&mut flow, &MIXED, 10)?;
    let used = group.current().map_err(text)?;
    group.limit(used + (4 << 20)).map_err(text)?;
    pass(&mut flow, &MIXED, 200)?;
    // There is room for the owner's own allocations.
    black_box(vec![1u8; 2 << 20]);
    first_ones(&flow, &slow, 100)?;
    pass(&mut flow, &MIXED, 4)
}

/// Readers hold some pages of the device each time that the kernel asks for memory. These stay with
/// the device: otherwise others would be charged in their place.
fn asked_while_held(path: &str, group: &Group) -> Outcome {
    let mem = Memory::new();
    let mut flow = Flow::start(path, &mem, 1);
    pass(&mut flow, &MIXED, 10)?;
    let used = group.current().map_err(text)?;
    group.limit(used + (2 << 20)).map_err(text)?;
    let mut slow = Vec::new();
    for _ in 0..20 {
        slow.push(reader(&flow, 300 << 10));
        pass(&mut flow, &MIXED, 20)?;
        ask_all()?;
    }
    // There is room for the owner's own allocations.
    black_box(vec![1u8; 1 << 20]);
    for (nth, wire) in slow.iter().enumerate() {
        let numbers = held(wire, &flow.sent)?;
        ensure!(!numbers.is_empty(), "reader {nth} holds nothing");
    }
    pass(&mut flow, &MIXED, 4)
}

/// All memory of the group is in use before there is a page: each frame still arrives.
fn at_its_limit(path: &str, group: &Group, c: bool) -> Outcome {
    // This process must not need more: it keeps memory that it has once allocated.
    // SAFETY: Numbers.
    unsafe {
        libc::mallopt(libc::M_TRIM_THRESHOLD, i32::MAX);
        libc::mallopt(libc::M_MMAP_THRESHOLD, 32 << 20);
    }
    let mem = Memory::new();
    let mut flow = Flow::start(path, &mem, 1);
    pass(&mut flow, &MIXED, 20)?;
    black_box(vec![1u8; 1 << 20]);
    // More pages than the kernel may have charged to the group in advance for a processor.
    let slow = reader(&flow, 16 << 20);
    for fd in [-1, flow.net.tap.as_raw_fd()] {
        let set = flow.net.set_backend(TX, fd);
        set.map_err(|e| format!("{e:?}"))?;
    }
    // A page shared with the parent process would be copied at the first write. Locking copies all.
    // SAFETY: No pointers.
    let ret = unsafe { libc::mlockall(libc::MCL_CURRENT) };
    ensure!(ret == 0, "mlockall: {:?}", Errno::last());
    group.limit(group.current().map_err(text)?).map_err(text)?;
    let before = group.reached().map_err(text)?;
    pass(&mut flow, &MIXED, 100)?;
    let reached = group.reached().map_err(text)? - before;
    group.limit(1 << 40).map_err(text)?;
    diag!("the limit was met {reached} times");
    // The C module's pages are not charged.
    ensure!(c || reached > 20, "the limit was met {reached} times");
    let numbers = held(&slow, &flow.sent)?;
    ensure!(numbers.len() > 100, "{} frames held only", numbers.len());
    pass(&mut flow, &MIXED, 10)?;
    Ok(())
}

/// Injected failures of allocations while this exists: of allocations larger than a small page
/// that may not sleep.
struct Faults;

impl Faults {
    const DIR: &str = "/sys/kernel/debug/fail_page_alloc";
    const TIMES: i64 = 1 << 30;

    fn set(name: &str, value: i64) -> std::io::Result<()> {
        fs::write(format!("{}/{name}", Self::DIR), value.to_string())
    }

    fn new() -> std::io::Result<Self> {
        for (name, value) in [
            ("verbose", 0),
            ("min-order", 1),
            ("times", Self::TIMES),
            ("interval", 1),
        ] {
            Self::set(name, value)?;
        }
        Ok(Self)
    }

    /// The number of failures.
    fn count() -> std::io::Result<i64> {
        let left = fs::read_to_string(format!("{}/times", Self::DIR))?;
        Ok(Self::TIMES - left.trim().parse().unwrap_or(Self::TIMES))
    }
}

impl Drop for Faults {
    fn drop(&mut self) {
        let _ = Self::set("probability", 0);
    }
}

fn small_pages(path: &str, _faults: Faults) -> Outcome {
    let mem = Memory::new();
    let mut flow = Flow::start(path, &mem, 1);
    Faults::set("probability", 100).map_err(text)?;
    let slow = reader(&flow, 4 << 20);
    pass(&mut flow, &MIXED, 300)?;
    let count = Faults::count().map_err(text)?;
    Faults::set("probability", 0).map_err(text)?;
    diag!("{count} allocations failed");
    ensure!(count > 0, "no allocation failed");
    first_ones(&flow, &slow, 30)?;
    pass(&mut flow, &MIXED, 4)
}
