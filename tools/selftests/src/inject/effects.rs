// SPDX-License-Identifier: GPL-2.0

//! The effects of requests: how a successful request is recognised.

use super::sweep::{serving, settle, Spare, When};
use crate::{
    ensure, ensure_eq,
    guest::Ring,
    net::frame,
    setup::{Net, BUFFERS, RING_AT},
    tap::Outcome,
    vhost::*,
};
use std::time::{Duration, Instant};

/// Another address for the used ring of the transmit queue, on a page of its own.
pub(super) const ELSEWHERE: u64 = RING_AT[0] + 0x8_0000;

/// The base that is set instead of 0.
pub(super) const BASE: u32 = 7;

type Effect = fn(&mut Net<'_>, &Spare, When) -> Outcome;

/// The answer has already been checked.
pub(super) const ANSWERED: Effect = |_, _, _| Ok(());

/// EVENT_IDX is in effect.
pub(super) fn event_idx(net: &mut Net<'_>, _: &Spare, _: When) -> Outcome {
    let mem = net.rings[0].mem;
    let size = net.options.size;
    net.rings = RING_AT.map(|at| Ring::new(mem, at, size, true));
    net.attach();
    // The second buffer is kicked only if the device has requested it.
    net.check_tx(1)?;
    net.check_tx(2)
}

/// The first half of the memory is not in the table.
pub(super) fn half_table(net: &mut Net<'_>, spare: &Spare, when: When) -> Outcome {
    serving(net, spare, when);
    net.tx(BUFFERS, &frame(1, 100));
    let told = net.events[1].err.wait(10_000);
    ensure!(told, "a buffer outside the table is no mistake");
    Ok(())
}

/// More than two buffers are a fault.
pub(super) fn two(net: &mut Net<'_>, _: &Spare, _: When) -> Outcome {
    net.attach();
    for _ in 0..3 {
        net.ring(TX).add(&[(BUFFERS, 100, 0)]);
    }
    net.ring(TX).publish();
    net.kick(TX);
    let told = net.events[1].err.wait(10_000);
    ensure!(told, "three buffers in a ring of two are no mistake");
    Ok(())
}

pub(super) fn base(net: &mut Net<'_>, _: &Spare, _: When) -> Outcome {
    ensure_eq!(net.dev.base(TX), Ok(BASE), "base");
    Ok(())
}

/// The used ring is at the other address.
pub(super) fn used_elsewhere(net: &mut Net<'_>, spare: &Spare, when: When) -> Outcome {
    serving(net, spare, when);
    let mem = net.rings[1].mem;
    mem.write(ELSEWHERE + 2, &[0; 2]);
    net.tx(BUFFERS, &frame(1, 100));
    net.kick(TX);
    let end = Instant::now() + Duration::from_secs(10);
    while mem.read(ELSEWHERE + 2, 2) == [0; 2] {
        ensure!(
            Instant::now() < end,
            "the used ring is not where it was put"
        );
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// The device listens to the spare eventfd, and not to the other one.
pub(super) fn kicked(net: &mut Net<'_>, spare: &Spare, when: When) -> Outcome {
    serving(net, spare, when);
    net.ring(TX).mem.write(BUFFERS, &[0; 112]);
    net.ring(TX).add(&[(BUFFERS, 112, 0)]);
    net.ring(TX).publish();
    net.kick(TX);
    let used = net.ring(TX).wait_used_for(Duration::from_millis(200));
    ensure_eq!(used, None, "served for the eventfd that was replaced");
    ensure!(spare.event.signal(1), "the eventfd is full");
    net.ring(TX)
        .wait_used()
        .ok_or("not served for the new eventfd")?;
    ensure!(spare.event.take() > 0, "the eventfd was read");
    Ok(())
}

/// The device signals the spare eventfd.
pub(super) fn called(net: &mut Net<'_>, spare: &Spare, when: When) -> Outcome {
    serving(net, spare, when);
    net.events[1].call.take();
    net.check_tx(1)?;
    ensure!(spare.event.wait(10_000), "no interrupt");
    ensure_eq!(
        net.events[1].call.take(),
        0,
        "of the other eventfd, signals"
    );
    spare.event.take();
    Ok(())
}

/// The device signals the spare eventfd for a fault.
pub(super) fn told(net: &mut Net<'_>, spare: &Spare, when: When) -> Outcome {
    serving(net, spare, when);
    net.mistake(TX);
    ensure!(spare.event.wait(10_000), "a mistake is not told");
    ensure_eq!(net.events[1].err.take(), 0, "of the other eventfd, signals");
    spare.event.take();
    Ok(())
}

/// Sent frames go to the spare tap, and only there.
pub(super) fn sends_to_spare(net: &mut Net<'_>, spare: &Spare, _: When) -> Outcome {
    settle(net, spare);
    let sent = frame(7, 777);
    net.tx(BUFFERS, &sent);
    let got = spare.wire.recv(10_000);
    ensure!(got == Some(sent), "nothing came out of the new tap");
    ensure!(net.wire.recv(0).is_none(), "sent to the old one, too");
    Ok(())
}

/// Received frames come from the spare tap, and only from there.
pub(super) fn receives_from_spare(net: &mut Net<'_>, spare: &Spare, _: When) -> Outcome {
    settle(net, spare);
    net.rx_post(&[&[(BUFFERS, 2048, 0)], &[(BUFFERS + 4096, 2048, 0)]]);
    net.wire
        .send(&frame(5, 555))
        .map_err(|e| format!("{e:?}"))?;
    let used = net.ring(RX).wait_used_for(Duration::from_millis(200));
    ensure_eq!(used, None, "received from the old tap");
    spare
        .wire
        .send(&frame(7, 777))
        .map_err(|e| format!("{e:?}"))?;
    let (_, len) = net.ring(RX).wait_used().ok_or("nothing was received")?;
    ensure_eq!(len, 12 + 777, "used length");
    Ok(())
}

/// Nothing is served.
pub(super) fn detached(net: &mut Net<'_>, spare: &Spare, _: When) -> Outcome {
    settle(net, spare);
    net.tx(BUFFERS, &frame(1, 100));
    net.kick(TX);
    let came = net.wire.recv(200).is_some();
    ensure!(!came, "a frame was sent without a backend");
    let size = net.options.size.into();
    ensure_eq!(net.dev.set_num(TX, size), Ok(()), "SET_VRING_NUM");
    Ok(())
}

/// There is no owner, and only the test has the tap open.
pub(super) fn unowned(net: &mut Net<'_>, spare: &Spare, _: When) -> Outcome {
    settle(net, spare);
    ensure_eq!(net.dev.base(TX), Err(EPERM), "GET_VRING_BASE");
    ensure_eq!(net.dev.set_owner(), Ok(()), "SET_OWNER");
    net.configure();
    net.tap.drain();
    net.restart();
    net.check_tx(1)
}
