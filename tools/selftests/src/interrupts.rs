// SPDX-License-Identifier: GPL-2.0

//! When the guest is interrupted, and when it has suppressed interrupts.

use crate::{
    ensure,
    guest::Memory,
    setup::{Net, Options},
    tap::{Outcome, Suite},
    vhost::*,
};

pub fn run(suite: &mut Suite, path: &str) {
    suite.case("interrupts are suppressed by flag", || {
        suppression(path, F_VERSION_1)
    });
    suite.case("interrupts are suppressed by index", || {
        suppression(path, F_VERSION_1 | F_EVENT_IDX)
    });
    suite.case("an interrupt on empty, though suppressed", || {
        on_empty(path)
    });
}

fn suppression(path: &str, features: u64) -> Outcome {
    let mem = Memory::new();
    let mut net = Net::start(path, &mem, Options::new(features));
    net.ring(TX).set_interrupts(true);
    net.check_tx(1)?;
    ensure!(net.events[1].call.wait(10_000), "no interrupt");
    net.events[1].call.take();
    net.ring(TX).set_interrupts(false);
    for seed in 0..10 {
        net.check_tx(seed)?;
    }
    ensure!(
        !net.events[1].call.wait(200),
        "an interrupt, though suppressed"
    );
    net.ring(TX).set_interrupts(true);
    net.check_tx(99)?;
    ensure!(net.events[1].call.wait(10_000), "no interrupt any more");
    Ok(())
}

fn on_empty(path: &str) -> Outcome {
    let mem = Memory::new();
    let mut net = Net::start(path, &mem, Options::new(F_VERSION_1 | F_NOTIFY_ON_EMPTY));
    net.ring(TX).set_interrupts(false);
    net.check_tx(1)?;
    ensure!(net.events[1].call.wait(10_000), "no interrupt on empty");
    Ok(())
}
