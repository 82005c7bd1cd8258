// SPDX-License-Identifier: GPL-2.0

//! What a packet costs the worker of a vhost-net node, side by side with another.
//!
//! On a machine whose clock counts instructions (`-icount shift=0`), the run time that the
//! scheduler accounts to the worker is the number of instructions that it has executed.

mod case;
mod report;
mod run;

use case::{Case, Processor, CASES};
use clap::Parser;
use report::Report;
use std::process::ExitCode;

/// Measures nodes in turn, one pair after the other.
#[derive(Parser)]
struct Args {
    /// A node to measure, as NAME=PATH; the first is what the others are compared with.
    #[arg(long = "peer", required = true)]
    peers: Vec<String>,
    /// The rows to measure, by name, with commas between them; all of them otherwise.
    #[arg(long, value_delimiter = ',')]
    rows: Vec<String>,
    /// How often each is measured; otherwise 7 times, and 21 times where the worker sleeps
    /// before each packet.
    #[arg(long)]
    pairs: Option<usize>,
    /// Packets for each measurement; otherwise 10,240, but 640 large ones, and 4,096 where the
    /// worker sleeps before each.
    #[arg(long)]
    packets: Option<u32>,
    /// Where to write every measurement, as CSV.
    #[arg(long)]
    csv: Option<String>,
}

impl Args {
    fn cases(&self) -> Result<Vec<&'static Case>, String> {
        if self.rows.is_empty() {
            return Ok(CASES.iter().collect());
        }
        let named = |name: &String| {
            let found = CASES.iter().find(|c| c.name == *name);
            found.ok_or_else(|| {
                let names: Vec<&str> = CASES.iter().map(|c| c.name).collect();
                format!("no row {name}; there are {}", names.join(", "))
            })
        };
        self.rows.iter().map(named).collect()
    }

    fn pairs(&self, case: &Case) -> usize {
        self.pairs.unwrap_or(if case.wakes() { 21 } else { 7 })
    }

    fn packets(&self, case: &Case) -> u32 {
        let usual = if case.segmented() {
            640
        } else if case.wakes() {
            4096
        } else {
            10_240
        };
        self.packets.unwrap_or(usual)
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    let cases = match args.cases() {
        Ok(cases) => cases,
        Err(what) => {
            eprintln!("{what}");
            return ExitCode::FAILURE;
        }
    };
    let peers: Vec<(&str, &str)> = args
        .peers
        .iter()
        .map(|p| p.split_once('=').expect("--peer NAME=PATH"))
        .collect();
    let mut report = Report::new();
    for case in cases {
        for pair in 0..args.pairs(case) {
            for (name, path) in &peers {
                let cost = run::measure(path, case, args.packets(case));
                report.add(case, name, pair, cost);
            }
        }
    }
    let names: Vec<&str> = peers.iter().map(|p| p.0).collect();
    print!("{}", report.table(&names, Processor::this()));
    if let Some(path) = args.csv {
        std::fs::write(&path, report.csv()).unwrap_or_else(|e| panic!("{path}: {e}"));
    }
    ExitCode::SUCCESS
}
