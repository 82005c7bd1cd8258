// SPDX-License-Identifier: GPL-2.0

//! Traffic between a guest and its host. Both run this program.

mod guest;
mod host;
mod wire;

use clap::{Parser, Subcommand};
use std::{net::Ipv4Addr, process::ExitCode, time::Duration};

#[derive(Parser)]
struct Args {
    #[command(subcommand)]
    side: Side,
}

#[derive(Subcommand)]
enum Side {
    /// In the guest: serves requests of the host until it is killed.
    Serve,
    /// In the host: measures the cards of the guest in turn and prints CSV.
    Measure(Measure),
}

#[derive(clap::Args)]
struct Measure {
    /// A card of the guest, as NAME=ADDRESS.
    #[arg(long = "peer", required = true)]
    peers: Vec<String>,
    /// The rows to measure, each as KIND-NUMBER, see `host::Row`.
    #[arg(long, value_delimiter = ',', required = true)]
    rows: Vec<String>,
    /// A prefix of the names of the rows.
    #[arg(long, default_value = "")]
    prefix: String,
    /// The number of rounds; each measures all rows.
    #[arg(long, default_value_t = 15)]
    rounds: usize,
    /// The duration of each measurement, in milliseconds.
    #[arg(long, default_value_t = 700)]
    millis: u32,
}

fn main() -> ExitCode {
    let result = match Args::parse().side {
        Side::Serve => guest::serve().map_err(|e| e.to_string()),
        Side::Measure(measure) => run(&measure),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(what) => {
            eprintln!("{what}");
            ExitCode::FAILURE
        }
    }
}

/// Measures each row with all cards in turn, so that compared values are close in time. Another
/// card is first in each round.
fn run(measure: &Measure) -> Result<(), String> {
    let rows: Vec<host::Row> = measure
        .rows
        .iter()
        .map(|name| host::Row::parse(name).ok_or_else(|| format!("no row {name}")))
        .collect::<Result<_, _>>()?;
    let mut peers: Vec<(&str, Ipv4Addr)> = Vec::new();
    for peer in &measure.peers {
        let (name, address) = peer.split_once('=').ok_or("--peer NAME=ADDRESS")?;
        peers.push((name, address.parse().map_err(|_| format!("{address}?"))?));
    }
    let time = Duration::from_millis(measure.millis.into());
    for round in 0..measure.rounds {
        for (row, name) in rows.iter().zip(&measure.rows) {
            for i in 0..peers.len() {
                let (peer, address) = peers[(i + round) % peers.len()];
                let rate = row.measure(address, time);
                let rate = rate.map_err(|e| format!("{name} with {peer}: {e}"))?;
                println!("{}{name},{peer},{round},{rate:.0}", measure.prefix);
            }
        }
    }
    Ok(())
}
