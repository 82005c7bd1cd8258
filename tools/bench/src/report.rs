// SPDX-License-Identifier: GPL-2.0

//! The table on the terminal.

use std::fmt::Write;
use vhost_bench::{case::Processor, measurements::Measurements};

/// The instructions per packet of each peer, the ratio to the first peer, and the goal.
pub fn table(
    measured: &Measurements,
    processor: Processor,
    peers: &[&str],
) -> Result<String, String> {
    let title = processor.title();
    let mut out = format!("{title}; of the worker for each packet, median [least, most]\n");
    for case in measured.cases(processor) {
        let _ = write!(out, "{:<13}{:<35}", case.name, case.title);
        let first = measured.summary(processor, case, peers[0])?;
        for (i, peer) in peers.iter().enumerate() {
            let s = measured.summary(processor, case, peer)?;
            let range = format!("[{:.0}, {:.0}]", s.least, s.most);
            let _ = write!(out, "{peer} {:>6.0} {range:<17}", s.median);
            if i > 0 {
                let (ratio, most) = (s.median / first.median, case.most(processor));
                let met = if ratio <= most { "met" } else { "-" };
                let _ = write!(out, " {ratio:.3} of {}; {most:.2}: {met:<5}", peers[0]);
            }
        }
        let _ = writeln!(out, "n={}", first.count);
    }
    Ok(out)
}
