// SPDX-License-Identifier: GPL-2.0

//! What a packet costs the worker of a vhost-net node, side by side with another.
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
    /// What `--csv` has written elsewhere: prints TAP, and no table, and fails where `rust` now
    /// costs more of what `c` does.
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

/// Whether all is well.
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
