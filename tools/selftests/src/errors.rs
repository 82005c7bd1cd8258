// SPDX-License-Identifier: GPL-2.0

//! Files that report an error while they are being waited on.

use crate::{
    ensure, ensure_eq,
    guest::Memory,
    net::{frame, Tap, Wire},
    setup::{Net, Options, BUFFERS},
    tap::{Outcome, Suite},
    vhost::*,
};
use std::{os::fd::AsRawFd, time::Duration};

/// The time limit for events that must happen.
const SOON: Duration = Duration::from_secs(4);

pub fn run(suite: &mut Suite, path: &str) {
    suite.case("a backend with an error and no frame is refused", || {
        alone(path)
    });
    suite.case(
        "a backend that is refused leaves the old one in place",
        || replaced_by_none(path),
    );
    suite.case_c_fails(
        "a backend with an error and a frame is attached",
        "it looks at the error only",
        || with_frame(path),
    );
    suite.case_c_fails(
        "a backend whose error comes and goes wakes its queue again",
        "it stops waiting for the socket at an error",
        || comes_and_goes(path),
    );
    for features in [F_VERSION_1, F_VERSION_1 | F_EVENT_IDX] {
        suite.case_c_fails(
            &format!("a backend that was gone wakes its queue again, features {features:#x}"),
            "it waits neither for the tap nor for kicks",
            || gone(path, features),
        );
    }
    suite.case_c_fails(
        "a kick eventfd at its maximum is waited for",
        "it is refused, for it reports an error as well",
        || full_kick(path),
    );
}

/// A tap that another process reads and writes, and a packet socket on it, for a device without a
/// backend.
fn packet_socket<'m>(path: &str, mem: &'m Memory) -> (Net<'m>, Tap, Wire) {
    let options = Options::new(F_VERSION_1 | F_NET_HDR);
    let net = Net::prepare(Vhost::open(path), mem, options, false);
    let tap = Tap::new(0);
    let wire = Wire::new(&tap, false);
    (net, tap, wire)
}

fn received(net: &mut Net<'_>, sent: &[u8]) -> Outcome {
    let used = net.ring(RX).wait_used_for(SOON);
    let (_, used) = used.ok_or("no used entry for RX")?;
    ensure_eq!(used as usize, 12 + sent.len(), "used length");
    let got = net.ring(RX).mem.read(BUFFERS + 12, sent.len());
    ensure!(got == sent, "the frame arrived changed");
    Ok(())
}

fn alone(path: &str) -> Outcome {
    let mem = Memory::new();
    let (net, tap, wire) = packet_socket(path, &mem);
    tap.set_up(false);
    ensure_eq!(
        net.dev.set_backend(RX, wire.as_raw_fd()),
        Err(EINVAL),
        "a socket whose interface is down"
    );
    Ok(())
}

fn replaced_by_none(path: &str) -> Outcome {
    let mem = Memory::new();
    let mut net = Net::start(path, &mem, Options::new(F_VERSION_1));
    let down = Tap::new(0);
    let refused = Wire::new(&down, false);
    down.set_up(false);
    // The run that this causes waits for a frame.
    net.rx_post(&[&[(BUFFERS, 2048, 0)]]);
    std::thread::sleep(Duration::from_millis(300));
    ensure_eq!(
        net.dev.set_backend(RX, refused.as_raw_fd()),
        Err(EINVAL),
        "a socket whose interface is down"
    );
    let sent = frame(1, 300);
    net.wire.send(&sent).map_err(|e| format!("send: {e:?}"))?;
    received(&mut net, &sent)?;
    net.check_tx(2)
}

fn with_frame(path: &str) -> Outcome {
    let mem = Memory::new();
    let (mut net, tap, wire) = packet_socket(path, &mem);
    let sent = frame(1, 300);
    tap.inject(&sent).map_err(|e| format!("inject: {e:?}"))?;
    ensure!(readable(&wire, 2000), "the frame did not arrive");
    tap.set_up(false);
    net.rx_post(&[&[(BUFFERS, 2048, 0)]]);
    ensure_eq!(
        net.dev.set_backend(RX, wire.as_raw_fd()),
        Ok(()),
        "a socket with a frame"
    );
    received(&mut net, &sent)
}

fn comes_and_goes(path: &str) -> Outcome {
    let mem = Memory::new();
    let (mut net, tap, wire) = packet_socket(path, &mem);
    ensure_eq!(
        net.dev.set_backend(RX, wire.as_raw_fd()),
        Ok(()),
        "the backend"
    );
    tap.set_up(false);
    // The run that this causes finds no frame and an error.
    net.rx_post(&[&[(BUFFERS, 2048, 0)]]);
    std::thread::sleep(Duration::from_millis(300));
    tap.set_up(true);
    let sent = frame(2, 300);
    tap.inject(&sent).map_err(|e| format!("inject: {e:?}"))?;
    received(&mut net, &sent)
}

fn gone(path: &str, features: u64) -> Outcome {
    let mem = Memory::new();
    let mut net = Net::start(path, &mem, Options::new(features));
    // With EVENT_IDX, the device has not read the second one.
    net.rx_post(&[&[(BUFFERS, 2048, 0)]]);
    net.rx_post(&[&[(BUFFERS + 0x1000, 2048, 0)]]);
    std::thread::sleep(Duration::from_millis(300));
    ensure!(net.tap.delete(), "ip link del failed");
    // The run that this causes finds no interface.
    net.kick(RX);
    std::thread::sleep(Duration::from_millis(300));
    net.tap.make(12);
    net.wire = Wire::new(&net.tap, false);
    net.rx_post(&[&[(BUFFERS + 0x2000, 2048, 0)]]);
    let sent = frame(3, 300);
    net.wire.send(&sent).map_err(|e| format!("send: {e:?}"))?;
    received(&mut net, &sent)
}

fn full_kick(path: &str) -> Outcome {
    let mem = Memory::new();
    let mut net = Net::start(path, &mem, Options::new(F_VERSION_1));
    // Only userspace can fill the counter up to its maximum minus one.
    let full = EventFd::new();
    ensure!(full.signal(u64::MAX - 1), "filling the eventfd");
    net.dev
        .set_call(TX, full.as_raw_fd())
        .map_err(|e| format!("{e:?}"))?;
    net.check_tx(1)?;
    net.dev.set_call(TX, -1).map_err(|e| format!("{e:?}"))?;
    ensure_eq!(net.dev.set_kick(TX, full.as_raw_fd()), Ok(()), "the kick");
    ensure!(full.take() == u64::MAX, "the eventfd is not at its maximum");
    net.tx(BUFFERS, &frame(2, 100));
    ensure!(full.signal(1), "a kick");
    net.ring(TX).wait_used().ok_or("no used entry for TX")?;
    Ok(())
}
