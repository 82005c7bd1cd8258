// SPDX-License-Identifier: GPL-2.0

//! Guest memory in many regions, as with hypervisors that hotplug memory in small pieces.

use crate::{
    diag, ensure, ensure_eq,
    group::{in_group, Group},
    guest::{Memory, GPA, SIZE},
    net::frame,
    setup::{Net, Options, BUFFERS, SLOW},
    tap::{Outcome, Suite},
    vhost::*,
};
use std::{
    fs,
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

/// The parameter of the C module must allow this many; see `scripts/lib/load-module`.
pub fn run(suite: &mut Suite, path: &str) {
    for count in [65, 509, 512] {
        suite.case(&format!("guest memory in {count} regions"), || {
            traffic(path, count)
        });
    }
}

/// The number of regions that the module allows.
pub fn max_mem_regions(c: bool) -> std::result::Result<usize, String> {
    let module = if c { "vhost" } else { "vhost_net_rs" };
    let path = format!("/sys/module/{module}/parameters/max_mem_regions");
    let told = fs::read_to_string(&path).map_err(|e| format!("{path}: {e}"))?;
    let told: usize = told.trim().parse().map_err(|e| format!("{path}: {e}"))?;
    // This module always allows 64; the C module allows any limit.
    Ok(if c { told } else { told.max(64) })
}

/// Packets both ways through each region, and through two regions at once.
fn traffic(path: &str, count: usize) -> Outcome {
    let mem = Memory::in_regions(count);
    let mut net = Net::start(path, &mem, Options::new(F_VERSION_1));
    // In no order, as after regions have been unplugged and plugged.
    let mut regions = mem.regions();
    let step = 7 % count;
    let mut mixed: Vec<_> = (0..count).map(|i| regions[i * step % count]).collect();
    for order in 0..3 {
        let table = [&regions, &mixed][order % 2];
        ensure_eq!(net.dev.set_mem_table(table, 0), Ok(()), "order {order}");
        net.check_tx(order as u32)?;
        net.check_rx(10 + order as u32, 1000)?;
        regions.reverse();
        mixed.reverse();
    }
    let behind: Vec<u64> = mem.regions().iter().map(|r| r.gpa).collect();
    // Each region that does not hold the rings.
    let free = behind
        .iter()
        .filter(|&&at| at > BUFFERS + 2048 && at < GPA + SIZE as u64 - 2048);
    let slow = SLOW.load(Ordering::Relaxed);
    for (seed, &at) in (0..).zip(free).step_by(if slow { 16 } else { 1 }) {
        across(&mut net, seed, at)?;
    }
    Ok(())
}

/// A frame in each direction, in a buffer that begins before `at` and ends behind it.
fn across(net: &mut Net<'_>, seed: u32, at: u64) -> Outcome {
    let sent = frame(seed, 1500);
    net.tx(at - 700, &sent);
    net.ring(TX).wait_used().ok_or("no used entry for TX")?;
    let got = net.wire.recv(10_000).ok_or("the frame did not arrive")?;
    ensure!(got == sent, "sent across {at:#x}: changed");
    let sent = frame(seed + 1000, 1500);
    net.rx_post(&[&[(at - 400, 2048, 0)]]);
    net.wire.send(&sent).map_err(|e| format!("send: {e:?}"))?;
    let used = net.ring(RX).wait_used().ok_or("no used entry for RX")?;
    ensure_eq!(used.1, 1512, "used length");
    let got = net.ring(RX).mem.read(at - 400 + 12, 1500);
    ensure!(got == sent, "received across {at:#x}: changed");
    Ok(())
}

/// The largest table, one region more, and the time to set a table in the worst order.
pub fn at_the_limit(path: &str, c: bool) -> Outcome {
    let mem = Memory::new();
    let mut net = Net::start(path, &mem, Options::new(F_VERSION_1));
    let most = max_mem_regions(c)?;
    let real = mem.regions();
    let region = |i: usize| Region {
        gpa: (1 << 40) + ((most - i) << 13) as u64,
        size: 4096,
        uaddr: real[0].uaddr,
        flags: 0,
    };
    let mut table: Vec<_> = real.iter().copied().chain((2..most).map(region)).collect();
    let started = Instant::now();
    ensure_eq!(net.dev.set_mem_table(&table, 0), Ok(()), "{most} regions");
    let took = started.elapsed();
    diag!("{most} regions: {took:?}");
    net.check_tx(1)?;
    net.check_rx(2, 300)?;
    // None of them holds the rings or the buffers.
    table.retain(|r| r.gpa >= 1 << 40);
    table.extend((0..3).map(region));
    ensure_eq!(table.len(), most + 1, "regions");
    let more = net.dev.set_mem_table(&table, 0);
    ensure_eq!(more, Err(E2BIG), "{} regions", most + 1);
    let padding = net.dev.set_mem_table(&table, 1);
    ensure_eq!(padding, Err(EOPNOTSUPP), "padding before number");
    net.check_tx(3)?;
    net.check_rx(4, 300)?;
    let slow = SLOW.load(Ordering::Relaxed);
    ensure!(slow || took < Duration::from_secs(5), "it took {took:?}");
    Ok(())
}

/// Tables are charged to the process that sets them, as long as the devices have them.
pub fn accounted(path: &str, c: bool) -> Outcome {
    let most = max_mem_regions(c)?;
    in_group(|group| charged(path, most, group))
}

fn charged(path: &str, most: usize, group: &Group) -> Outcome {
    const DEVICES: usize = 40;
    let table: Vec<_> = (0..most as u64)
        .map(|i| Region {
            gpa: i * 4096,
            size: 4096,
            uaddr: 4096,
            flags: 0,
        })
        .collect();
    let devices: Vec<_> = (0..DEVICES).map(|_| Vhost::open(path)).collect();
    for dev in &devices {
        dev.set_owner().map_err(|e| format!("SET_OWNER: {e:?}"))?;
    }
    let used = || group.current().map_err(|e| e.to_string());
    let before = used()?;
    for dev in &devices {
        ensure_eq!(dev.set_mem_table(&table, 0), Ok(()), "SET_MEM_TABLE");
    }
    let with = used()?;
    drop(devices);
    let after = used()?;
    // First and last address and the owner's address; some memory is charged in advance.
    let least = (DEVICES * most * 24) as u64;
    ensure!(
        with > before + least,
        "{before} bytes, and {with} with tables of {least}"
    );
    ensure!(
        after + least < with,
        "{with} bytes, and {after} without tables of {least}"
    );
    Ok(())
}
