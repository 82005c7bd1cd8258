// SPDX-License-Identifier: GPL-2.0

//! Serves a device until the process is killed, for a test that kills it.

use crate::{
    changes::flood,
    guest::Memory,
    setup::{Net, Options},
    tap::Outcome,
    vhost::*,
};
use std::time::Duration;

/// Prints a line when frames have gone both ways, and continues to send.
pub fn run(path: &str) -> Outcome {
    let mem = Memory::new();
    let mut net = Net::start(path, &mem, Options::new(F_VERSION_1));
    net.check_tx(1)?;
    net.check_rx(2, 300)?;
    println!("served");
    flood(&mut net, || {
        std::thread::sleep(Duration::from_micros(200));
        true
    });
    Ok(())
}
