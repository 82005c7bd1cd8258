// SPDX-License-Identifier: GPL-2.0

//! Medians and spread.

use crate::case::{Case, Processor};
use std::fmt::Write;

/// All measurements: of which row and peer, in which pair, and the cost.
pub struct Report(Vec<(&'static Case, String, usize, f64)>);

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

    pub fn add(&mut self, case: &'static Case, peer: &str, pair: usize, cost: f64) {
        self.0.push((case, peer.to_owned(), pair, cost));
    }

    fn cases(&self) -> Vec<&'static Case> {
        let mut cases: Vec<&Case> = self.0.iter().map(|m| m.0).collect();
        cases.dedup();
        cases
    }

    fn summary(&self, case: &Case, peer: &str) -> Summary {
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

    /// For people: what a packet costs with each peer, what that is of the first one's, and
    /// what it may be.
    pub fn table(&self, peers: &[&str], processor: Processor) -> String {
        let mut out = format!(
            "{} string instructions; of the worker for each packet, median [least, most]\n",
            match processor {
                Processor::Fast => "fast",
                Processor::Plain => "without fast",
            }
        );
        for case in self.cases() {
            let _ = write!(out, "{:<13}{:<35}", case.name, case.title);
            let first = self.summary(case, peers[0]).median;
            for (i, peer) in peers.iter().enumerate() {
                let s = self.summary(case, peer);
                let range = format!("[{:.0}, {:.0}]", s.least, s.most);
                let _ = write!(out, "{peer} {:>6.0} {range:<17}", s.median);
                if i > 0 {
                    let (ratio, most) = (s.median / first, case.most(processor));
                    let met = if ratio <= most { "met" } else { "-" };
                    let _ = write!(out, " {ratio:.3} of {}; {most:.2}: {met:<5}", peers[0]);
                }
            }
            let _ = writeln!(out, "n={}", self.summary(case, peers[0]).count);
        }
        out
    }

    /// For programs.
    pub fn csv(&self) -> String {
        let mut out = String::from("case,peer,pair,ns_per_packet\n");
        for (case, peer, pair, cost) in &self.0 {
            let _ = writeln!(out, "{},{peer},{pair},{cost:.1}", case.name);
        }
        out
    }
}
