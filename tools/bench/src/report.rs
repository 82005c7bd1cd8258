// SPDX-License-Identifier: GPL-2.0

//! Medians and spread.

use crate::run::Case;
use std::fmt::Write;

/// All measurements.
pub struct Report(Vec<(Case, String, usize, f64)>);

/// Of one case and peer: the median, the smallest, the largest.
struct Summary {
    median: f64,
    least: f64,
    most: f64,
    count: usize,
}

impl Report {
    pub fn new() -> Self {
        Self(Vec::new())
    }

    pub fn add(&mut self, case: Case, peer: &str, pair: usize, cost: f64) {
        self.0.push((case, peer.to_owned(), pair, cost));
    }

    fn cases(&self) -> Vec<Case> {
        let mut cases: Vec<Case> = Vec::new();
        for (case, ..) in &self.0 {
            if !cases.contains(case) {
                cases.push(*case);
            }
        }
        cases
    }

    fn summary(&self, case: Case, peer: &str) -> Summary {
        let mut costs: Vec<f64> = self
            .0
            .iter()
            .filter(|m| m.0 == case && m.1 == peer)
            .map(|m| m.3)
            .collect();
        costs.sort_by(f64::total_cmp);
        let half = costs.len() / 2;
        let median = if costs.len() % 2 == 0 {
            (costs[half - 1] + costs[half]) / 2.0
        } else {
            costs[half]
        };
        Summary {
            median,
            least: costs[0],
            most: costs[costs.len() - 1],
            count: costs.len(),
        }
    }

    /// For people.
    pub fn table(&self, peers: &[&str]) -> String {
        let mut out = String::from("worker's run time per packet, median [least, most], in ns\n");
        for case in self.cases() {
            let _ = write!(out, "{:<14}", case.name());
            let first = self.summary(case, peers[0]).median;
            for (i, peer) in peers.iter().enumerate() {
                let s = self.summary(case, peer);
                let _ = write!(
                    out,
                    "  {peer} {:.0} [{:.0}, {:.0}]",
                    s.median, s.least, s.most
                );
                if i > 0 {
                    let _ = write!(out, " {:+.1} %", (s.median / first - 1.0) * 100.0);
                }
                let _ = write!(out, " n={}", s.count);
            }
            out.push('\n');
        }
        out
    }

    /// For programs.
    pub fn csv(&self) -> String {
        let mut out = String::from("case,peer,pair,ns_per_packet\n");
        for (case, peer, pair, cost) in &self.0 {
            let _ = writeln!(out, "{},{peer},{pair},{cost:.1}", case.name());
        }
        out
    }
}
