// SPDX-License-Identifier: GPL-2.0

//! A worker with nothing to do sleeps, and wakes up when there is work.

use crate::{
    ensure,
    guest::Memory,
    setup::{worker_time_in_a_while, Net, Options, BUFFERS, IDLE, WHILE},
    tap::{Outcome, Suite},
    vhost::*,
};

pub fn run(suite: &mut Suite, path: &str) {
    for features in [0, F_VERSION_1 | F_MRG_RXBUF | F_EVENT_IDX] {
        suite.case(
            &format!("with nothing to do the worker sleeps, features {features:#x}"),
            || idle(path, features),
        );
    }
}

/// Checks that the worker sleeps now. A busy host's time may be charged to a worker that sleeps, but
/// not each time; one that never sleeps is busy each time.
pub fn sleeps(when: &str) -> Outcome {
    let mut spent = WHILE;
    for _ in 0..3 {
        spent = worker_time_in_a_while();
        if spent < IDLE {
            return Ok(());
        }
    }
    Err(format!(
        "{when}: {spent:?} of {WHILE:?}, for the third time"
    ))
}

fn idle(path: &str, features: u64) -> Outcome {
    let mem = Memory::new();
    let mut net = Net::start(path, &mem, Options::new(features));
    sleeps("nothing was ever asked")?;
    net.check_tx(1)?;
    sleeps("all is sent")?;
    net.rx_post(&[&[(BUFFERS, 2048, 0)], &[(BUFFERS + 0x1000, 2048, 0)]]);
    sleeps("there is nothing to receive")?;
    net.wire
        .send(&crate::net::frame(2, 300))
        .map_err(|e| format!("send: {e:?}"))?;
    ensure!(net.ring(RX).wait_used().is_some(), "no used entry for RX");
    sleeps("all is received")?;
    net.kick(RX);
    net.kick(TX);
    sleeps("a kick for nothing")
}
