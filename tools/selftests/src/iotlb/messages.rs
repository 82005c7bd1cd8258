// SPDX-License-Identifier: GPL-2.0

//! The messages: their form, their errors, and when there are none.

use super::{bare, map, map_rings};
use crate::{
    child::Child,
    ensure, ensure_eq,
    guest::{Memory, GPA},
    iommu::{Msg, MISS, MSG, PAGE, RO, RW, WO},
    setup::Options,
    tap::{Outcome, Suite},
    vhost::*,
};
use std::{os::fd::AsRawFd, time::Duration};

pub fn run(suite: &mut Suite, path: &str) {
    suite.case("IOTLB messages: what is refused", || refused(path));
    suite.case("ranges near the limit: IOTLB messages", || limits(path));
    suite.case("CVE-2022-48862: an IOTLB entry of no size", || empty(path));
    suite.case("an IOTLB message without an owner", || ownerless(path));
    suite.case(
        "CVE-2018-1118, CVE-2024-0340: padding of IOTLB messages",
        || padding(path),
    );
    suite.case("a message that cannot be copied is lost", || lost(path));
    suite.case("messages go with the backend and the feature", || {
        cleared(path)
    });
    suite.case("a blocked reader when the IOTLB goes", || blocked(path));
}

fn with_iotlb(path: &str) -> Vhost {
    let dev = Vhost::open(path);
    let features = F_VERSION_1 | F_ACCESS_PLATFORM;
    dev.set_features(features).expect("features");
    dev
}

fn refused(path: &str) -> Outcome {
    let dev = with_iotlb(path);
    let good = Msg::update(0x1000, PAGE, 0x7000, RW);
    for version in [1, 2] {
        ensure_eq!(
            dev.write(&good.bytes(version)),
            Ok(MSG),
            "version {version}"
        );
    }
    for version in [0, 3, u32::MAX] {
        let wrote = dev.write(&good.bytes(version));
        ensure_eq!(wrote, Err(EINVAL), "version {version}");
    }
    let bytes = good.bytes(2);
    for len in [0, 3, 4, 39] {
        let wrote = dev.write(&bytes[..len]);
        let want = if len == 0 { Ok(0) } else { Err(EINVAL) };
        ensure!(
            wrote == Err(EINVAL) || wrote == want,
            "{len} bytes: {wrote:?}"
        );
    }
    ensure_eq!(dev.write(&bytes[..40]), Ok(MSG), "40 bytes");
    for kind in [0, MISS, 4, 5, 6, 7, 255] {
        let wrote = dev.tell(Msg { kind, ..good });
        ensure_eq!(wrote, Err(EFAULT), "kind {kind}");
    }
    dev.set_features(F_VERSION_1)
        .map_err(|e| format!("{e:?}"))?;
    ensure_eq!(dev.tell(good), Err(EFAULT), "without an IOTLB");
    ensure_eq!(
        dev.tell(Msg::invalidate(0, 1)),
        Err(EFAULT),
        "without an IOTLB"
    );
    Ok(())
}

fn limits(path: &str) -> Outcome {
    let dev = with_iotlb(path);
    let kernel = 0xffff_8000_0000_0000;
    for (iova, size, uaddr, perm, want) in [
        (0, 1, 0, RW, Ok(())),
        (u64::MAX, 1, 0, RW, Ok(())),
        (u64::MAX, 2, 0, RW, Err(EFAULT)),
        (1, u64::MAX, 0, 0, Ok(())),
        (2, u64::MAX, 0, 0, Err(EFAULT)),
        (0x1000, PAGE, kernel, RO, Err(EFAULT)),
        (0x1000, PAGE, kernel, WO, Err(EFAULT)),
        (0x1000, PAGE, kernel, 0, Ok(())),
        (0x1000, PAGE, u64::MAX - 1, 0, Err(EFAULT)),
        (0x1000, 1 << 47, 0x1000, RW, Err(EFAULT)),
    ] {
        let told = dev.tell(Msg::update(iova, size, uaddr, perm));
        ensure_eq!(told, want, "{iova:#x}, {size:#x} to {uaddr:#x}, {perm}");
    }
    for (iova, size, want) in [(0, u64::MAX, Ok(())), (u64::MAX, 1, Ok(())), (0, 1, Ok(()))] {
        let told = dev.tell(Msg::invalidate(iova, size));
        ensure_eq!(told, want, "invalidate {iova:#x}, {size:#x}");
    }
    Ok(())
}

fn empty(path: &str) -> Outcome {
    let dev = with_iotlb(path);
    let none = Msg::update(0, 0, 0, RW);
    for version in [1, 2] {
        ensure_eq!(dev.write(&none.bytes(version)), Err(EINVAL), "an update");
    }
    ensure_eq!(
        dev.tell(Msg::invalidate(0x1000, 0)),
        Err(EFAULT),
        "a removal"
    );
    Ok(())
}

fn ownerless(path: &str) -> Outcome {
    let dev = with_iotlb(path);
    let told = Child::new(|| match dev.tell(Msg::update(GPA, PAGE, 0x7000, RW)) {
        Ok(()) => 0,
        Err(e) => e.0,
    });
    ensure_eq!(told.wait().code(), Some(0), "by another process");
    ensure_eq!(dev.tell(Msg::invalidate(GPA, PAGE)), Ok(()), "a removal");
    Ok(())
}

/// The next message as bytes, into a buffer that was not zero.
fn next(dev: &Vhost) -> std::result::Result<[u8; MSG], String> {
    let mut bytes = [0xee; MSG];
    ensure!(readable(dev, 2000), "no message");
    ensure_eq!(dev.read(&mut bytes), Ok(MSG), "read");
    Ok(bytes)
}

fn padding(path: &str) -> Outcome {
    let mem = Memory::new();
    for version in [1, 2] {
        let net = bare(path, &mem, Options::new(F_VERSION_1));
        let v2 = if version == 2 {
            BACKEND_F_IOTLB_MSG_V2
        } else {
            0
        };
        ensure_eq!(
            net.dev.set_backend_features(v2),
            Ok(()),
            "version {version}"
        );
        for index in [RX, TX] {
            let attached = net.dev.set_backend(index, net.tap.as_raw_fd());
            ensure_eq!(attached, Err(EFAULT), "attached, and nothing is mapped");
            let errs = net.events[index as usize].err.take();
            ensure!(errs > 0, "no error was signalled");
        }
        for (index, ring) in net.rings.iter().enumerate() {
            let got = next(&net.dev)?;
            let want = Msg {
                kind: MISS,
                iova: ring.used(),
                size: 0,
                uaddr: 0,
                // For the index of the used ring the C module asks for reading.
                perm: if got[32] == RO { RO } else { WO },
            };
            ensure!(got == want.bytes(version), "queue {index}: {got:x?}");
        }
        ensure!(!readable(&net.dev, 0), "another message");
        let mut short = [0; MSG - 1];
        ensure_eq!(net.dev.read(&mut short), Ok(0), "a short read");
    }
    Ok(())
}

fn lost(path: &str) -> Outcome {
    let mem = Memory::new();
    let net = bare(path, &mem, Options::new(F_VERSION_1));
    let attach = || net.dev.set_backend(RX, net.tap.as_raw_fd());
    ensure_eq!(attach(), Err(EFAULT), "attached");
    ensure!(readable(&net.dev, 0), "no message");
    // SAFETY: The kernel finds out that there is nothing.
    let got = unsafe {
        libc::read(
            net.dev.as_raw_fd(),
            std::ptr::without_provenance_mut(8),
            MSG,
        )
    };
    ensure!(got <= 0, "{got} bytes to nowhere");
    ensure!(!readable(&net.dev, 0), "the message is still there");
    ensure_eq!(attach(), Err(EFAULT), "attached again");
    next(&net.dev)?;
    Ok(())
}

fn cleared(path: &str) -> Outcome {
    let mem = Memory::new();
    let net = bare(path, &mem, Options::new(F_VERSION_1));
    let attach = || net.dev.set_backend(RX, net.tap.as_raw_fd());
    ensure_eq!(attach(), Err(EFAULT), "attached");
    ensure!(readable(&net.dev, 0), "no message");
    // The removal of a backend of any queue.
    ensure_eq!(net.dev.set_backend(TX, -1), Ok(()), "detached");
    ensure!(
        !readable(&net.dev, 0),
        "a message after a backend was removed"
    );
    ensure_eq!(attach(), Err(EFAULT), "attached");
    let features = net.options.features;
    ensure_eq!(net.dev.set_features(features), Ok(()), "another IOTLB");
    ensure!(readable(&net.dev, 0), "no message with another IOTLB");
    let off = features & !F_ACCESS_PLATFORM;
    ensure_eq!(net.dev.set_features(off), Ok(()), "no IOTLB");
    ensure!(!readable(&net.dev, 0), "a message without an IOTLB");
    // Another IOTLB has none of the old translations.
    ensure_eq!(net.dev.set_features(features), Ok(()), "an IOTLB");
    super::place(&net, RX);
    ensure_eq!(map(&net, net.rings[0].used(), RW), Ok(()), "mapped");
    ensure_eq!(attach(), Ok(()), "attached");
    ensure_eq!(net.dev.set_backend(RX, -1), Ok(()), "detached");
    ensure_eq!(net.dev.set_features(features), Ok(()), "another IOTLB");
    ensure_eq!(attach(), Err(EFAULT), "attached with a new IOTLB");
    Ok(())
}

fn blocked(path: &str) -> Outcome {
    let mem = Memory::new();
    for reset in [false, true] {
        let net = bare(path, &mem, Options::new(F_VERSION_1));
        map_rings(&net).map_err(|e| format!("{e:?}"))?;
        let dev = net.dev.try_clone().map_err(|e| format!("{e:?}"))?;
        let reader = std::thread::spawn(move || dev.read(&mut [0; MSG]));
        std::thread::sleep(Duration::from_millis(50));
        ensure!(!reader.is_finished(), "the read has ended");
        if reset {
            ensure_eq!(net.dev.reset_owner(), Ok(()), "RESET_OWNER");
        } else {
            ensure_eq!(net.dev.set_features(F_VERSION_1), Ok(()), "no IOTLB");
        }
        let got = reader.join().map_err(|_| "the reader has failed")?;
        ensure_eq!(got, Err(EBADFD), "the read");
    }
    // One that waits gets what it waits for.
    let net = bare(path, &mem, Options::new(F_VERSION_1));
    let dev = net.dev.try_clone().map_err(|e| format!("{e:?}"))?;
    let reader = std::thread::spawn(move || {
        let mut bytes = [0; MSG];
        dev.read(&mut bytes)
            .map(|len| (len, Msg::parse(&bytes).1.kind))
    });
    std::thread::sleep(Duration::from_millis(50));
    let _ = net.dev.set_backend(RX, net.tap.as_raw_fd());
    let got = reader.join().map_err(|_| "the reader has failed")?;
    ensure_eq!(got, Ok((MSG, MISS)), "the read");
    Ok(())
}
