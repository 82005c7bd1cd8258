// SPDX-License-Identifier: GPL-2.0

//! Failures that the worker meets while it serves the rings: in copies of ring fields and of
//! packets, in page faults on both, and in allocations of packets.

use super::{Checked, FailNth, ENOUGH};
use crate::{
    diag, ensure,
    guest::Memory,
    net::frame,
    setup::{is_worker, Net, Options, BUFFERS},
    tap::{Outcome, Suite},
    vhost::*,
};
use std::{
    fs,
    time::{Duration, Instant},
};

/// The frames of a round in each direction.
const FRAMES: u32 = 4;

/// The number of last rounds without a failure. A single round may have needed fewer runs than
/// others.
const CALM: u32 = 3;

/// The nth access of the worker differs from round to round. About ten of forty failures lose a
/// frame or stop a queue; sometimes none of these is met, so the sweep is repeated.
const SWEEPS: u32 = 5;

/// The time limit for a frame.
const LONG: Duration = Duration::from_secs(10);

pub fn run(suite: &mut Suite, path: &str) {
    for features in [
        0,
        F_VERSION_1 | F_MRG_RXBUF,
        F_VERSION_1 | F_EVENT_IDX | F_INDIRECT,
    ] {
        suite.case(&format!("traffic, features {features:#x}"), || {
            traffic(path, features, 1)
        });
    }
    suite.case("traffic, served by a kernel thread", || {
        traffic(path, F_VERSION_1 | F_EVENT_IDX, 0)
    });
    for features in [0, F_VERSION_1 | F_EVENT_IDX] {
        suite.case(
            &format!("no asking for kicks, features {features:#x}"),
            || unasked(path, features),
        );
    }
}

/// The worker of the only device of this process.
fn worker(fork: u8) -> Option<FailNth> {
    let tasks = if fork == 1 {
        "/proc/self/task"
    } else {
        "/proc"
    };
    fs::read_dir(tasks)
        .ok()?
        .flatten()
        .find(|task| {
            let comm = fs::read_to_string(task.path().join("comm")).unwrap_or_default();
            is_worker(&comm)
        })
        .map(|task| FailNth::open(&task.path().join("fail-nth").to_string_lossy()))
}

/// The outcomes of the failures: lost frames, stopped queues.
#[derive(Debug, Default)]
struct Tally {
    lost: u32,
    stopped: u32,
}

/// Sends frames both ways while the worker meets failures, until each kind of outcome has
/// occurred.
fn traffic(path: &str, features: u64, fork: u8) -> Outcome {
    let mem = Memory::new();
    let dev = Vhost::open(path);
    dev.set_fork_from_owner(fork)
        .map_err(|e| format!("{e:?}"))?;
    let mut net = Net::start_with(dev, &mem, Options::new(features), false);
    let fail = worker(fork).ok_or("no worker")?;
    let mut tally = Tally::default();
    for _ in 0..SWEEPS {
        sweep(&mut net, &fail, &mut tally)?;
        if tally.lost > 0 && tally.stopped > 0 {
            break;
        }
    }
    diag!("{tally:?}");
    ensure!(tally.lost > 0, "no failure lost a frame");
    ensure!(tally.stopped > 0, "no failure stopped a queue");
    Ok(())
}

/// Makes the worker meet its nth failure, for each n until it meets none.
fn sweep(net: &mut Net<'_>, fail: &FailNth, tally: &mut Tally) -> Outcome {
    let (mut calm, mut n, mut all) = (0, 0, 0);
    while calm < CALM {
        n += 1;
        ensure!(n < ENOUGH, "more than {ENOUGH} failures");
        let met = round(net, fail, n, tally).map_err(|e| format!("failure {n}: {e}"))?;
        all += u32::from(met);
        calm = if met { 0 } else { calm + 1 };
    }
    diag!("{all} failures in {n} rounds");
    ensure!(all >= 30, "only {all} failures were met");
    Ok(())
}

/// One round. Whether the failure was met.
fn round(net: &mut Net<'_>, fail: &FailNth, n: u32, tally: &mut Tally) -> Checked<bool> {
    anew(net)?;
    let drops = net.counter("rx-drops")?;
    fail.set(n);
    for i in 0..FRAMES {
        post(net, i);
        net.wire
            .send(&frame(i, 200))
            .map_err(|e| format!("{e:?}"))?;
        send(net, i);
    }
    let told = account(net, drops)?;
    let met = fail.met();
    fail.set(0);
    tally.stopped += told.iter().map(|&told| u32::from(told)).sum::<u32>();
    tally.lost += FRAMES.saturating_sub(arrived(net));
    ensure!(
        met || told == [false; 2],
        "a mistake is told where nothing failed"
    );
    go_on(net, told)?;
    if told != [false; 2] {
        anew(net)?;
        go_on(net, [false; 2]).map_err(|e| format!("set up anew: {e}"))?;
    }
    Ok(met)
}

/// New rings and no frames in flight. The memory that the device writes to has no pages yet.
fn anew(net: &mut Net<'_>) -> Outcome {
    for index in [RX, TX] {
        net.dev
            .set_backend(index, -1)
            .map_err(|e| format!("detach: {e:?}"))?;
    }
    net.tap.drain();
    arrived(net);
    net.restart();
    flush(net)?;
    for events in &net.events {
        events.err.take();
    }
    for ring in &net.rings {
        // The flags may be set: they only suppress kicks.
        let used = ring.mem.read(ring.used() + 2, 4094);
        ensure!(used == [0; 4094], "a used ring is not fresh");
        without_pages(ring.mem, ring.used(), 1);
    }
    without_pages(net.rings[0].mem, buffer(RX, 0), 2 * FRAMES as usize);
    Ok(())
}

fn without_pages(mem: &Memory, at: u64, pages: usize) {
    // SAFETY: Our mapping, which reads as zero afterwards, page by page.
    let ret = unsafe { libc::madvise(mem.at(at).cast(), pages * 4096, libc::MADV_DONTNEED) };
    assert!(ret == 0, "madvise: {:?}", Errno::last());
}

/// Waits until everything that was queued to the worker has run.
fn flush(net: &Net<'_>) -> Outcome {
    net.dev
        .fork_from_owner()
        .map(drop)
        .map_err(|e| format!("{e:?}"))
}

/// The address of the ith buffer of a queue, on a page of its own.
fn buffer(queue: u32, i: u32) -> u64 {
    BUFFERS + 0x10_0000 * u64::from(queue) + 4096 * u64::from(i)
}

fn post(net: &mut Net<'_>, i: u32) {
    net.rx_post(&[&[(buffer(RX, i), 2048, 0)]]);
}

fn send(net: &mut Net<'_>, i: u32) {
    net.tx(buffer(TX, i), &frame(i, 100));
}

/// Waits until each frame has been moved or counted as dropped, or the error eventfd has been
/// signalled. Returns the queues whose error eventfd has been signalled.
fn account(net: &mut Net<'_>, drops: u64) -> Checked<[bool; 2]> {
    let end = Instant::now() + LONG;
    let mut told = [false; 2];
    let all = [u64::from(FRAMES); 2];
    loop {
        let used = [RX, TX].map(|index| u64::from(net.ring(index).used_idx()));
        let done = [used[0] + net.counter("rx-drops")? - drops, used[1]];
        if (0..2).all(|i| told[i] || done[i] == all[i]) {
            // The rest of the run after the last frame counts as well.
            flush(net)?;
            tell(net, &mut told);
            return Ok(told);
        }
        ensure!(
            Instant::now() < end,
            "served {done:?} of {all:?}, told {told:?}"
        );
        std::thread::sleep(Duration::from_millis(1));
        tell(net, &mut told);
    }
}

fn tell(net: &Net<'_>, told: &mut [bool; 2]) {
    for (events, told) in net.events.iter().zip(told) {
        *told |= events.err.take() > 0;
    }
}

/// The number of frames that the tap has sent.
fn arrived(net: &Net<'_>) -> u32 {
    let mut count = 0;
    while net.wire.recv(0).is_some() {
        count += 1;
    }
    count
}

/// Each queue that has reported nothing continues: it moves one more frame, complete.
fn go_on(net: &mut Net<'_>, told: [bool; 2]) -> Outcome {
    for index in [RX, TX] {
        while net.ring(index).pop_used().is_some() {}
    }
    if !told[1] {
        net.check_tx(1)?;
    }
    if !told[0] {
        receive(net)?;
    }
    Ok(())
}

/// Moves one more frame, in the first unused buffer. On new rings, buffers are numbered in the
/// order in which they were posted.
fn receive(net: &mut Net<'_>) -> Outcome {
    let next = net.ring(RX).avail_idx().into();
    post(net, next);
    let sent = frame(2, 300);
    net.wire.send(&sent).map_err(|e| format!("{e:?}"))?;
    let (head, _) = net.ring(RX).wait_used().ok_or("no used entry for RX")?;
    let at = buffer(RX, head.into()) + net.options.hdr() as u64;
    let got = net.ring(RX).mem.read(at, sent.len());
    ensure!(got == sent, "the received frame is another or changed");
    Ok(())
}

/// A kick without a buffer, after which notifications cannot be enabled. This is reported, since
/// the guest may not kick any more.
fn unasked(path: &str, features: u64) -> Outcome {
    let mem = Memory::new();
    let mut net = Net::start(path, &mem, Options::new(features));
    net.check_tx(1)?;
    flush(&net)?;
    let at = mem.at(net.rings[1].used());
    // SAFETY: Our mapping, of which the used ring has a page of its own; put back below.
    unsafe { libc::mprotect(at.cast(), 4096, libc::PROT_READ) };
    net.kick(TX);
    let told = net.events[1].err.wait(10_000);
    // SAFETY: As above.
    unsafe { libc::mprotect(at.cast(), 4096, libc::PROT_READ | libc::PROT_WRITE) };
    ensure!(told, "the error eventfd did not fire");
    net.restart();
    net.check_tx(2)
}
