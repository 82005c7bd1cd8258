// SPDX-License-Identifier: GPL-2.0

//! What a packet costs the worker of a vhost-net node, side by side with another.
//!
//! On a machine whose clock counts instructions (`-icount shift=0`), the run time that the
//! scheduler accounts to the worker is the number of instructions that it has executed.

mod report;
mod run;

use clap::Parser;
use report::Report;
use run::{Case, Direction};

/// Measures nodes in turn, one pair after the other.
#[derive(Parser)]
struct Args {
    /// A node to measure, as NAME=PATH; the first is what the others are compared with.
    #[arg(long = "peer", required = true)]
    peers: Vec<String>,
    /// How often each is measured.
    #[arg(long, default_value_t = 7)]
    pairs: usize,
    /// Packets for each measurement.
    #[arg(long, default_value_t = 10_240)]
    packets: u32,
    /// Where to write every measurement, as CSV.
    #[arg(long)]
    csv: Option<String>,
}

fn main() {
    let args = Args::parse();
    let peers: Vec<(&str, &str)> = args
        .peers
        .iter()
        .map(|p| p.split_once('=').expect("--peer NAME=PATH"))
        .collect();
    let mut report = Report::new();
    for case in [
        Case::new(Direction::Tx, 60),
        Case::new(Direction::Tx, 1514),
        Case::new(Direction::Rx, 60),
        Case::new(Direction::Rx, 1514),
    ] {
        for pair in 0..args.pairs {
            for (name, path) in &peers {
                let cost = run::measure(path, case, args.packets);
                report.add(case, name, pair, cost);
            }
        }
    }
    let names: Vec<&str> = peers.iter().map(|p| p.0).collect();
    print!("{}", report.table(&names));
    if let Some(path) = args.csv {
        std::fs::write(&path, report.csv()).unwrap_or_else(|e| panic!("{path}: {e}"));
    }
}
