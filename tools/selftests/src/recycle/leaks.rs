// SPDX-License-Identifier: GPL-2.0

//! All pages are freed, whatever happens to a packet.

use super::{
    flow::Flow,
    held::{pass, reader, MIXED},
};
use crate::{
    diag, ensure,
    group::{in_group, Group},
    guest::Memory,
    net::Tap,
    pages,
    setup::{endurance, BUFFERS},
    tap::{Outcome, Suite},
    vhost::*,
};
use vhost_selftests::guest::{GPA, SIZE};

/// The number of free pages that may be missing after a run. Other activity uses as many.
const FEW: i64 = 8000;
/// The number of bytes of the group, which is more exact: half a page for each round.
const CHARGED: i64 = 256 << 10;
const ROUNDS: u32 = 16;

pub fn run(suite: &mut Suite, path: &str) {
    suite.case("no page is lost: frames held beyond the end", || {
        no_page_lost(path, |_| Ok(()))
    });
    suite.case_c_fails(
        "no page is lost: buffers that cannot be read",
        "they are tried again for ever",
        || no_page_lost(path, unreadable),
    );
    suite.case("no page is lost: headers that say nonsense", || {
        no_page_lost(path, wrong_header)
    });
    suite.case("no page is lost: the interface is down", || {
        no_page_lost(path, down)
    });
    suite.case("no page is lost: the packet is too long", || {
        no_page_lost(path, too_long)
    });
    suite.case_c_fails(
        "no page is lost: the tap is deleted",
        "a batch that cannot be sent is never handed back",
        || no_page_lost_with_it(path),
    );
}

/// Devices that are opened and closed, with frames that are held longer, and an error in between.
fn no_page_lost(path: &str, wrong: fn(&mut Flow<'_>) -> Outcome) -> Outcome {
    in_group(|group| {
        let tap = Tap::new(12);
        counted(group, || {
            tap.set_up(true);
            let mem = Memory::new();
            let mut flow = Flow::on(path, &mem, 1, tap.again());
            let slow = reader(&flow, 4 << 20);
            // More frames than there are pages in turn.
            pass(&mut flow, &MIXED, 4)?;
            for _ in 0..4 {
                wrong(&mut flow)?;
                flow.flush()?;
            }
            drop(flow);
            drop(slow);
            Ok(())
        })
    })
}

/// The same with a tap that is closed with the device.
fn no_page_lost_with_it(path: &str) -> Outcome {
    in_group(|group| {
        counted(group, || {
            let mem = Memory::new();
            let mut flow = Flow::start(path, &mem, 1);
            let slow = reader(&flow, 4 << 20);
            // More frames than there are pages in turn.
            pass(&mut flow, &MIXED, 4)?;
            crate::link::delete(&flow.net.tap.name)?;
            for _ in 0..4 {
                flow.send_all(MIXED)?;
            }
            drop(flow);
            drop(slow);
            Ok(())
        })
    })
}

/// The pages that are missing after many rounds.
fn counted(group: &Group, round: impl Fn() -> Outcome) -> Outcome {
    // Memory that is kept for reuse is allocated before the first count.
    for _ in 0..4 {
        round()?;
    }
    let used = || group.kernel().map_err(|e| e.to_string());
    let (before, charged) = (pages::free(), used()?);
    let mut rounds = 0u32;
    for _ in endurance(ROUNDS) {
        round()?;
        rounds += 1;
    }
    let lost = pages::lost(before, FEW);
    let charged = used()? - charged;
    diag!("{lost} pages fewer after {rounds} devices, and {charged} bytes more of the group's");
    ensure!(lost < FEW, "{lost} pages are gone");
    ensure!(charged < CHARGED, "{charged} bytes are charged");
    Ok(())
}

/// A buffer that begins in mapped memory and ends outside of it.
fn unreadable(flow: &mut Flow<'_>) -> Outcome {
    let gap = GPA + SIZE as u64 - 0x2_0000;
    let ring = flow.net.ring(TX);
    // SAFETY: A page of guest memory that nothing else is in.
    let ret = unsafe { libc::mprotect(ring.mem.at(gap).cast(), 4096, libc::PROT_NONE) };
    ensure!(ret == 0, "mprotect: {:?}", Errno::last());
    for len in [100, 1500, 3000, 4000, 20_000, 40_000, 60_000] {
        let ring = flow.net.ring(TX);
        ring.add(&[(gap + 7 - len, len as u32, 0)]);
        ring.add(&[(gap - len, 1000, 0), (gap, len as u32 - 50, 0)]);
    }
    Ok(())
}

/// A checksum that ends behind the packet, and segments of length 0.
fn wrong_header(flow: &mut Flow<'_>) -> Outcome {
    for len in [60, 1514, 3000, 9000, 40_000, 65_549] {
        for hdr in [
            [1, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0],
            [0, 1, 14, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            [0, 0x7f, 14, 0, 0, 1, 0, 0, 0, 0, 0, 0],
        ] {
            flow.put(&hdr, &crate::net::frame(1, len))?;
        }
    }
    Ok(())
}

fn down(flow: &mut Flow<'_>) -> Outcome {
    flow.net.tap.set_up(false);
    flow.send_all(MIXED)
}

/// More bytes than the kernel accepts at once.
fn too_long(flow: &mut Flow<'_>) -> Outcome {
    let ring = flow.net.ring(TX);
    for len in [17 * 4096, 17 * 4096 + 1, 100_000, 500_000] {
        ring.add(&[(BUFFERS, len, 0)]);
    }
    Ok(())
}
