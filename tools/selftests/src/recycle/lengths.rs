// SPDX-License-Identifier: GPL-2.0

//! Frames of every length at which some boundary is crossed.

use super::{flow::Flow, pattern::HEAD};
use crate::{
    diag, ensure_eq,
    guest::Memory,
    tap::{Outcome, Suite},
};

/// The longest packet in 17 pages, with its header; longer ones are sent in another way.
const SEVENTEEN: usize = 17 * 4096;

pub fn run(suite: &mut Suite, path: &str) {
    suite.case("each length up to 4200 bytes", || small(path));
    suite.case("lengths around whole pages", || pages(path));
    suite.case("the longest packets before all others", || first(path));
}

fn small(path: &str) -> Outcome {
    let mem = Memory::new();
    let mut flow = Flow::start(path, &mem, 1);
    // Shorter than an Ethernet header: sent, and dropped.
    flow.send_all(1..HEAD)?;
    ensure_eq!(flow.net.wire.recv(0), None, "a frame without a header");
    for from in (HEAD..4200).step_by(400) {
        let first = flow.sent.count();
        flow.send_all(from..4200.min(from + 400))?;
        flow.arrived(first)?;
    }
    Ok(())
}

/// The lengths at which a frame begins another page: of those that it is sent from, of its buffer,
/// or behind the part that a queue copies.
fn around() -> Vec<usize> {
    let near = [
        -129, -128, -127, -77, -13, -12, -11, -2, -1, 0, 1, 2, 11, 12, 13,
    ];
    let mut lens: Vec<usize> = (1..=17)
        .flat_map(|page| near.map(|by| (page * 4096 + by) as usize))
        .collect();
    lens.extend(65_530..65_553);
    lens.extend(SEVENTEEN - 14..SEVENTEEN + 14);
    lens
}

fn pages(path: &str) -> Outcome {
    let mem = Memory::new();
    let mut flow = Flow::start(path, &mem, 1);
    let lens = around();
    for lens in lens.chunks(40) {
        let first = flow.sent.count();
        flow.send_all(lens.iter().copied())?;
        flow.arrived(first)?;
    }
    diag!("{} frames", lens.len());
    Ok(())
}

/// Then there are no pages from earlier packets.
fn first(path: &str) -> Outcome {
    for len in [65_549, 32_757, SEVENTEEN - 12] {
        let mem = Memory::new();
        let mut flow = Flow::start(path, &mem, 1);
        for _ in 0..3 {
            let from = flow.sent.count();
            flow.send_all([len])?;
            flow.arrived(from)?;
        }
    }
    Ok(())
}
