// SPDX-License-Identifier: GPL-2.0

//! Measures the instructions per packet of the workers of vhost-net nodes, alternately.
//!
//! On a machine whose clock counts instructions (`-icount shift=0`), the run time that the
//! scheduler accounts to the worker is the number of instructions that it has executed.

mod guard;
mod report;
mod run;

use clap::Parser;
use std::process::ExitCode;
use vhost_bench::{
    case::{Case, Processor, CASES},
    measurements::{Measurement, Measurements},
};

/// Measures nodes alternately, one pair after the other.
#[derive(Parser)]
struct Args {
    /// A node to measure, as NAME=PATH; the others are compared with the first.
    #[arg(long = "peer", required = true)]
    peers: Vec<String>,
    /// The names of the rows to measure, separated by commas; by default all.
    #[arg(long, value_delimiter = ',')]
    rows: Vec<String>,
    /// The number of measurements of each row; by default 7, and 21 where the worker sleeps before
    /// each packet.
    #[arg(long)]
    pairs: Option<usize>,
    /// Packets in each measurement; by default 10,240, 640 large ones, and 4,096 where the worker
    /// sleeps before each packet.
    #[arg(long)]
    packets: Option<u32>,
    /// The CSV file for all measurements.
    #[arg(long)]
    csv: Option<String>,
    /// A file that `--csv` has written: print TAP instead of a table, and fail where the ratio of
    /// `rust` to `c` is higher than in this file.
    #[arg(long)]
    record: Option<String>,
}

impl Args {
    fn cases(&self) -> Result<Vec<&'static Case>, String> {
        if self.rows.is_empty() {
            return Ok(CASES.iter().collect());
        }
        self.rows.iter().map(|name| Case::named(name)).collect()
    }

    fn peers(&self) -> Result<Vec<(&str, &str)>, String> {
        let split = self.peers.iter().map(|peer| {
            let halves = peer.split_once('=');
            halves.ok_or_else(|| format!("not NAME=PATH: {peer}"))
        });
        split.collect()
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

/// Measures a row of all peers, one pair after the other.
fn measure(args: &Args, peers: &[(&str, &str)], case: &'static Case, into: &mut Measurements) {
    for pair in 0..args.pairs(case) {
        for (peer, path) in peers {
            into.push(Measurement {
                processor: Processor::this(),
                case,
                peer: (*peer).to_owned(),
                pair,
                instructions: run::measure(path, case, args.packets(case)),
            });
        }
    }
}

/// Whether all rows are within their limits.
fn run(args: &Args) -> Result<bool, String> {
    let (cases, peers) = (args.cases()?, args.peers()?);
    if let Some(record) = &args.record {
        return guard::check(record, &cases, |case, into| {
            measure(args, &peers, case, into)
        });
    }
    let mut measured = Measurements::default();
    for case in cases {
        measure(args, &peers, case, &mut measured);
    }
    let names: Vec<&str> = peers.iter().map(|peer| peer.0).collect();
    print!("{}", report::table(&measured, Processor::this(), &names)?);
    if let Some(path) = &args.csv {
        std::fs::write(path, measured.csv()).map_err(|e| format!("{path}: {e}"))?;
    }
    Ok(true)
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(what) => {
            eprintln!("{what}");
            ExitCode::FAILURE
        }
    }
}
