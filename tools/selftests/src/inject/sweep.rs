// SPDX-License-Identifier: GPL-2.0

//! A request with each failure that it can meet. After an error, the errno and the unchanged
//! device are checked; after success, also with a failure that the kernel handled, the effect of
//! the request.

use super::{
    each,
    files::{at_least, documented},
};
use crate::{
    ensure, ensure_eq,
    guest::{Memory, Piece},
    net::{frame, Tap, Wire},
    setup::{Net, Options, BUFFERS},
    tap::Outcome,
    vhost::*,
};
use std::{os::fd::AsRawFd, time::Duration};

/// The state of the device under test.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum When {
    /// Set up, and not attached.
    Detached,
    /// Attached, with frames in flight in both directions.
    Serving,
}

pub(super) struct Request {
    pub name: &'static str,
    pub when: &'static [When],
    pub op: fn(&Net<'_>, &Spare) -> Result,
    /// Its effect when it succeeds.
    pub effect: fn(&mut Net<'_>, &Spare, When) -> Outcome,
    pub errnos: &'static [Errno],
    /// The number of failures that it must at least be able to meet.
    pub least: u32,
}

/// The replacements that a request would install, and the value that it must return.
pub(super) struct Spare {
    pub tap: Tap,
    pub wire: Wire,
    pub event: EventFd,
    pub features: u64,
}

impl Spare {
    fn new(path: &str) -> Self {
        let tap = Tap::new(12);
        Self {
            wire: Wire::new(&tap, false),
            tap,
            event: EventFd::new(),
            features: Vhost::open(path).features().expect("features"),
        }
    }

    pub fn fd(&self) -> i32 {
        self.event.as_raw_fd()
    }

    /// Checks that none of this was used.
    fn is_unused(&self) -> Outcome {
        ensure_eq!(
            self.event.take(),
            0,
            "signals of the eventfd that was refused"
        );
        let came = self.wire.recv(0).is_some();
        ensure!(!came, "a frame came out of the tap that was refused");
        Ok(())
    }
}

pub(super) fn sweep(path: &str, request: &Request, when: When) -> Outcome {
    let mem = Memory::new();
    let spare = Spare::new(path);
    let count = each(
        |fail, n| {
            let mut net = Net::prepare(Vhost::open(path), &mem, Options::new(F_VERSION_1), false);
            if when == When::Serving {
                net.attach();
                send_off(&mut net);
            }
            fail.set(n);
            let result = (request.op)(&net, &spare);
            (net, result)
        },
        |(mut net, result), met| match result {
            Ok(()) => {
                (request.effect)(&mut net, &spare, when).map_err(|e| format!("after success: {e}"))
            }
            Err(e) => {
                documented(e, met, request.errnos)?;
                as_before(&mut net, &spare, when).map_err(|what| format!("after {e:?}: {what}"))
            }
        },
    )?;
    at_least(request.least, count)
}

/// The number of frames in flight in each direction.
const UNDER_WAY: u32 = 4;

fn buffer(i: u32) -> u64 {
    BUFFERS + 0x1_0000 + 4096 * u64::from(i)
}

fn outgoing(i: u32) -> Vec<u8> {
    frame(100 + i, 200 + i as usize)
}

fn incoming(i: u32) -> Vec<u8> {
    frame(200 + i, 300 + i as usize)
}

/// Starts frames both ways and does not wait for them.
fn send_off(net: &mut Net<'_>) {
    let room: Vec<Piece> = (0..UNDER_WAY).map(|i| (buffer(i), 2048, 0)).collect();
    let room: Vec<&[Piece]> = room.iter().map(std::slice::from_ref).collect();
    net.rx_post(&room);
    for i in 0..UNDER_WAY {
        net.wire.send(&incoming(i)).expect("send");
        net.tx(buffer(UNDER_WAY + i), &outgoing(i));
    }
}

/// Checks that all of them arrive, in order and complete.
fn arrive(net: &mut Net<'_>) -> Outcome {
    let hdr = net.options.hdr();
    for i in 0..UNDER_WAY {
        net.ring(TX).wait_used().ok_or("a frame was not sent")?;
        let got = net.wire.recv(10_000);
        ensure!(got == Some(outgoing(i)), "a sent frame is lost or changed");
        let (_, used) = net.ring(RX).wait_used().ok_or("a frame was not received")?;
        let sent = incoming(i);
        ensure_eq!(used as usize, hdr + sent.len(), "used length");
        let got = net.ring(RX).mem.read(buffer(i) + hdr as u64, sent.len());
        ensure!(got == sent, "a received frame is changed");
    }
    Ok(())
}

/// A request has failed: frames in flight and later frames must arrive at the earlier backends,
/// the earlier eventfds must be in use, and the request must have had no effect.
fn as_before(net: &mut Net<'_>, spare: &Spare, when: When) -> Outcome {
    let attached = when == When::Serving;
    for index in [RX, TX] {
        if !attached {
            ensure_eq!(net.dev.base(index), Ok(0), "base");
        }
        let set = net.dev.set_base(index, 0);
        let expected = if attached { Err(EBUSY) } else { Ok(()) };
        ensure_eq!(set, expected, "whether queue {index} is attached");
    }
    ensure_eq!(net.dev.fork_from_owner(), Ok(1), "kind of worker");
    if attached {
        arrive(net)?;
    } else {
        net.attach();
    }
    for seed in 1..3 {
        for events in &net.events {
            events.call.take();
        }
        net.check_tx(seed)?;
        net.check_rx(seed, 300)?;
        for events in &net.events {
            ensure!(events.call.wait(10_000), "no interrupt");
        }
    }
    spare.is_unused()?;
    net.mistake(TX);
    ensure!(net.events[1].err.wait(10_000), "a mistake is not told");
    spare.is_unused()
}

/// Waits until all frames in flight have arrived or been lost.
pub(super) fn settle(net: &mut Net<'_>, spare: &Spare) {
    let mut idle = false;
    while !idle {
        std::thread::sleep(Duration::from_millis(100));
        idle = true;
        for index in [RX, TX] {
            while net.ring(index).pop_used().is_some() {
                idle = false;
            }
        }
    }
    while net.wire.recv(0).or_else(|| spare.wire.recv(0)).is_some() {}
}

/// Attaches the backends that are not attached.
pub(super) fn serving(net: &mut Net<'_>, spare: &Spare, when: When) {
    if when == When::Detached {
        net.attach();
    }
    settle(net, spare);
}
