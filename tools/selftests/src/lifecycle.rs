// SPDX-License-Identifier: GPL-2.0

//! Life cycles: processes that die, files that are passed on, backends that are attached and
//! detached.

use crate::{
    changes::flood,
    child::Child,
    ensure,
    guest::Memory,
    net::{frame, Tap},
    setup::{workers_among, Net, Options, BUFFERS},
    tap::{Outcome, Suite},
    vhost::*,
};
use std::{
    fs,
    io::{Read, Write},
    os::{fd::AsRawFd, unix::net::UnixStream},
    time::{Duration, Instant},
};

pub fn run(suite: &mut Suite, path: &str) {
    suite.case("the owner is killed under traffic", || killed(path, false));
    suite.case("the owner is killed, and a child keeps the file", || {
        killed(path, true)
    });
    suite.case("closing in every order", || closing(path));
    crate::changes::run(suite, path);
    crate::workers::run(suite, path);
    crate::waits::run(suite, path);
    crate::errors::run(suite, path);
    suite.case_c_fails(
        "the tap is deleted while attached",
        "a batch that cannot be sent is never handed back",
        || deleted(path),
    );
    suite.case("a kick that was there before", || early_kick(path));
    suite.case("no worker is left", no_worker_left);
    suite.case("no tap is held on to", no_tap_left);
}

/// The threads of all processes that are vhost workers.
fn workers() -> usize {
    let processes = fs::read_dir("/proc").expect("/proc").flatten();
    processes
        .map(|process| workers_among(process.path().join("task")))
        .sum()
}

pub fn no_worker_left() -> Outcome {
    let end = Instant::now() + Duration::from_secs(10);
    while workers() > 0 {
        ensure!(Instant::now() < end, "{} workers are left", workers());
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// Checks that a tap disappears once nobody has its file open and all users are gone.
pub fn gone(which: impl Fn(&str) -> bool) -> Outcome {
    let left = || {
        let all = fs::read_dir("/sys/class/net").expect("interfaces");
        all.flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .find(|name| which(name))
    };
    let end = Instant::now() + Duration::from_secs(10);
    while let Some(name) = left() {
        ensure!(Instant::now() < end, "{name} is left");
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

pub fn no_tap_left() -> Outcome {
    gone(|name| name.starts_with("vt"))
}

fn killed(path: &str, child_keeps: bool) -> Outcome {
    let (mut answer, says) = UnixStream::pair().expect("socket pair");
    let owner = Child::new(|| {
        let mem = Memory::new();
        let mut net = Net::start(path, &mem, Options::new(F_VERSION_1));
        // The owner is killed itself, so it does not kill this child.
        let _keeps = child_keeps.then(|| {
            Child::new(|| {
                std::thread::sleep(Duration::from_secs(2));
                // The device is inactive, but it answers.
                let answers = net.dev.features().is_ok();
                i32::from((&says).write_all(&[u8::from(answers)]).is_err())
            })
        });
        flood(&mut net, || true);
        0
    });
    std::thread::sleep(Duration::from_millis(700));
    owner.killed()?;
    drop(says);
    let mut said = Vec::new();
    answer.read_to_end(&mut said).expect("answer");
    let expected: &[u8] = if child_keeps { &[1] } else { &[] };
    ensure!(said == expected, "who kept the file said {said:?}");
    no_worker_left()
}

fn closing(path: &str) -> Outcome {
    for order in 0..24 {
        let mem = Memory::new();
        let mut net = Net::start(path, &mem, Options::new(F_VERSION_1));
        net.check_tx(order)?;
        let Net {
            dev,
            tap,
            wire,
            events,
            ..
        } = net;
        let [rx, tx] = events;
        let mut rest: Vec<Box<dyn std::any::Any>> = vec![
            Box::new(dev),
            Box::new((tap, wire)),
            Box::new((rx.kick, tx.kick)),
            Box::new((rx.call, tx.call, rx.err, tx.err)),
        ];
        let mut order = order as usize;
        while !rest.is_empty() {
            let at = order % rest.len();
            order /= rest.len();
            drop(rest.remove(at));
        }
    }
    no_worker_left()
}

fn deleted(path: &str) -> Outcome {
    let mem = Memory::new();
    let mut net = Net::start(path, &mem, Options::new(F_VERSION_1));
    net.check_tx(1)?;
    ensure!(net.tap.delete(), "ip link del failed");
    // Packets sent now are lost, but their buffers are returned.
    for i in 0..10 {
        net.tx(BUFFERS + i * 4096, &frame(1, 100));
    }
    for _ in 0..10 {
        net.ring(TX)
            .wait_used_for(Duration::from_secs(4))
            .ok_or("no used entry without the tap")?;
    }
    net.tap = Tap::new(12);
    net.wire = crate::net::Wire::new(&net.tap, false);
    net.restart();
    net.check_tx(2)?;
    net.check_rx(3, 600)
}

fn early_kick(path: &str) -> Outcome {
    let mem = Memory::new();
    let mut net = Net::start(path, &mem, Options::new(F_VERSION_1));
    // After the run that attaching causes.
    net.check_tx(1)?;
    net.dev.set_kick(TX, -1).map_err(|e| format!("{e:?}"))?;
    net.tx(BUFFERS, &frame(2, 100));
    ensure!(net.wire.recv(300).is_none(), "served without a kick file");
    net.kick(TX);
    let kick = net.events[1].kick.as_raw_fd();
    net.dev.set_kick(TX, kick).map_err(|e| format!("{e:?}"))?;
    net.ring(TX).wait_used().ok_or("the early kick was lost")?;
    Ok(())
}
