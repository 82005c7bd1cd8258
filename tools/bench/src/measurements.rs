// SPDX-License-Identifier: GPL-2.0

//! Measurements, and the file that records them.

use crate::case::{Case, Processor};
use std::fmt::Write;

/// The names of the modules in files: the reference, and this module.
pub const C: &str = "c";
pub const OURS: &str = "rust";

const HEAD: &str = "processor,row,peer,pair,instructions";

/// One measurement: the instructions per packet of a peer's worker.
pub struct Measurement {
    pub processor: Processor,
    pub case: &'static Case,
    pub peer: String,
    pub pair: usize,
    pub instructions: f64,
}

/// All measurements of one run, and the facts about it.
#[derive(Default)]
pub struct Measurements {
    facts: Vec<(String, String)>,
    all: Vec<Measurement>,
}

/// The measurements of one row and peer.
pub struct Summary {
    pub median: f64,
    pub least: f64,
    pub most: f64,
    pub count: usize,
}

impl Measurements {
    pub fn push(&mut self, measurement: Measurement) {
        self.all.push(measurement);
    }

    /// The fact with this name.
    pub fn fact(&self, name: &str) -> Result<&str, String> {
        let found = self.facts.iter().find(|fact| fact.0 == name);
        let fact = found.ok_or_else(|| format!("nothing says what the {name} was"))?;
        Ok(&fact.1)
    }

    /// The rows that were measured on this processor, in the order of their appearance.
    pub fn cases(&self, processor: Processor) -> Vec<&'static Case> {
        let mut cases = Vec::new();
        for m in self.all.iter().filter(|m| m.processor == processor) {
            if !cases.contains(&m.case) {
                cases.push(m.case);
            }
        }
        cases
    }

    pub fn summary(
        &self,
        processor: Processor,
        case: &Case,
        peer: &str,
    ) -> Result<Summary, String> {
        let of_it = |m: &&Measurement| m.processor == processor && m.case == case && m.peer == peer;
        let mut costs: Vec<f64> = self
            .all
            .iter()
            .filter(of_it)
            .map(|m| m.instructions)
            .collect();
        costs.sort_by(f64::total_cmp);
        let (Some(least), Some(most)) = (costs.first(), costs.last()) else {
            return Err(format!("{} of {peer} was not measured", case.name));
        };
        Ok(Summary {
            median: (costs[(costs.len() - 1) / 2] + costs[costs.len() / 2]) / 2.0,
            least: *least,
            most: *most,
            count: costs.len(),
        })
    }

    /// The ratio of the medians: this module to the C module.
    pub fn ratio(&self, processor: Processor, case: &Case) -> Result<f64, String> {
        let ours = self.summary(processor, case, OURS)?.median;
        Ok(ours / self.summary(processor, case, C)?.median)
    }

    /// The file, without facts, which the caller adds.
    pub fn csv(&self) -> String {
        let mut out = format!("{HEAD}\n");
        for m in &self.all {
            let (processor, row) = (m.processor.name(), m.case.name);
            let _ = writeln!(
                out,
                "{processor},{row},{},{},{:.1}",
                m.peer, m.pair, m.instructions
            );
        }
        out
    }

    /// Parses the output of [`Self::csv`] after facts, which are lines of `# NAME: WHAT`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut found = Self::default();
        for line in text.lines().filter(|line| *line != HEAD) {
            let bad = || format!("not a measurement: {line}");
            if let Some(fact) = line.strip_prefix("# ") {
                let (name, what) = fact.split_once(": ").ok_or_else(bad)?;
                found.facts.push((name.to_owned(), what.to_owned()));
                continue;
            }
            let fields: Vec<&str> = line.split(',').collect();
            let [processor, row, peer, pair, instructions] = fields[..] else {
                return Err(bad());
            };
            found.push(Measurement {
                processor: Processor::named(processor)?,
                case: Case::named(row)?,
                peer: peer.to_owned(),
                pair: pair.parse().map_err(|_| bad())?,
                instructions: instructions.parse().map_err(|_| bad())?,
            });
        }
        Ok(found)
    }
}
