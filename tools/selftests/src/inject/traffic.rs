// SPDX-License-Identifier: GPL-2.0

//! Failures that the worker meets while it serves the rings: copies of ring fields and of
//! packets, and allocations of packets.

use super::FailNth;
use crate::{
    diag, ensure,
    guest::Memory,
    net::frame,
    setup::{is_worker, Net, Options, BUFFERS},
    tap::{Outcome, Suite},
    vhost::*,
};
use std::{fs, time::Duration};

/// As many as the failures which a worker can meet between a kick and its interrupt.
const ROUNDS: u32 = 60;

/// What is not there by then is lost.
const SOON: Duration = Duration::from_millis(300);

pub fn run(suite: &mut Suite, path: &str) {
    for features in [
        0,
        F_VERSION_1 | F_MRG_RXBUF,
        F_VERSION_1 | F_EVENT_IDX | F_INDIRECT,
    ] {
        suite.case(&format!("traffic, features {features:#x}"), || {
            traffic(path, features)
        });
    }
    suite.case("no worker is left", crate::lifecycle::no_worker_left);
}

fn worker() -> Option<FailNth> {
    fs::read_dir("/proc/self/task")
        .ok()?
        .flatten()
        .find(|task| {
            let comm = fs::read_to_string(task.path().join("comm")).unwrap_or_default();
            is_worker(&comm)
        })
        .map(|task| FailNth::of(&task.file_name().to_string_lossy()))
}

/// One frame each way while the worker meets its nth failure. It may cost the frame or stop the
/// queue, and then the error eventfd says so; set up anew, the device works.
fn traffic(path: &str, features: u64) -> Outcome {
    let mem = Memory::new();
    let mut net = Net::start(path, &mem, Options::new(features));
    let fail = worker().ok_or("no worker")?;
    let (mut met, mut lost, mut stopped) = (0, 0, 0);
    for n in 1..ROUNDS {
        let at = BUFFERS + 0x1_0000;
        fail.set(n);
        net.tx(BUFFERS, &frame(n, 100));
        net.rx_post(&[&[(at, 2048, 0)]]);
        let _ = net.wire.send(&frame(n, 200));
        let sent = net.ring(TX).wait_used_for(SOON).is_some();
        let received = net.ring(RX).wait_used_for(SOON).is_some();
        met += u32::from(fail.met());
        fail.set(0);
        lost += u32::from(!sent) + u32::from(!received);
        for events in &net.events {
            stopped += u32::from(events.err.take() > 0);
        }
        while net.wire.recv(0).is_some() {}
        for index in [RX, TX] {
            net.dev
                .set_backend(index, -1)
                .map_err(|e| format!("detach: {e:?}"))?;
        }
        net.tap.drain();
        net.restart();
        net.check_tx(n)
            .and_then(|()| net.check_rx(n, 200))
            .map_err(|e| format!("after failure {n}: {e}"))?;
    }
    diag!("{met} failures, {lost} frames lost, {stopped} queues stopped");
    ensure!(met > 4, "only {met} failures were met");
    Ok(())
}
