// SPDX-License-Identifier: GPL-2.0

//! What a device takes of the kernel's memory, and how long it takes to make and to unmake
//! one, side by side with another node's.

mod memory;
mod place;

use clap::Parser;
use memory::{Fillers, Used};
use place::{Place, Running};
use std::{
    fmt::Write,
    thread,
    time::{Duration, Instant},
};
use vhost_selftests::vhost::Vhost;

/// Measures nodes in turn, one pair after the other.
#[derive(Parser)]
struct Args {
    /// A node to measure, as NAME=PATH.
    #[arg(long = "peer", required = true)]
    peers: Vec<String>,
    /// How many devices there are at a time; each of these numbers is measured.
    #[arg(long, value_delimiter = ',', default_value = "1,64")]
    devices: Vec<usize>,
    /// How often memory is measured, for each number of devices.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// How often time is, for one device at a time.
    #[arg(long, default_value_t = 21)]
    times: usize,
    /// How often time is, for several.
    #[arg(long, default_value_t = 5)]
    times_of_many: usize,
    /// After how many seconds without a packet a device is taken to be idle.
    #[arg(long, default_value_t = 5)]
    idle: u64,
    /// Where to write every measurement, as CSV.
    #[arg(long)]
    csv: String,
}

/// What was measured: row, peer, round, value.
struct Report(String);

impl Report {
    fn add(&mut self, row: &str, peer: &str, round: usize, value: f64) {
        let _ = writeln!(self.0, "{row},{peer},{round},{value:.1}");
    }
}

fn main() {
    let args = Args::parse();
    let peers: Vec<(&str, &str)> = args
        .peers
        .iter()
        .map(|p| p.split_once('=').expect("--peer NAME=PATH"))
        .collect();
    let most = args.devices.iter().max().expect("a number of devices");
    let places: Vec<Place> = (0..*most).map(|_| Place::new()).collect();
    let mut used = Used::new();
    let mut report = Report(String::from("row,peer,round,value\n"));
    for &count in &args.devices {
        let places = &places[..count];
        // What is made only once is made in a round that nobody counts.
        for (_, path) in &peers {
            measure_memory(&mut used, path, places, Duration::ZERO);
        }
        for round in 0..args.rounds {
            for (peer, path) in in_turn(&peers, round) {
                let idle = Duration::from_secs(args.idle);
                for (state, bytes) in measure_memory(&mut used, path, places, idle) {
                    report.add(&format!("memory-{count}-{state}"), peer, round, bytes);
                }
            }
        }
        let times = if count == 1 {
            args.times
        } else {
            args.times_of_many
        };
        for round in 0..times {
            for (peer, path) in in_turn(&peers, round) {
                for (step, micros) in measure_time(path, places) {
                    report.add(&format!("time-{count}-{step}"), peer, round, micros);
                }
            }
        }
    }
    std::fs::write(&args.csv, report.0).unwrap_or_else(|e| panic!("{}: {e}", args.csv));
}

/// The peers, another of them first in each round.
fn in_turn<'p>(
    peers: &'p [(&'p str, &'p str)],
    round: usize,
) -> impl Iterator<Item = (&'p str, &'p str)> {
    let from = round % peers.len();
    peers[from..].iter().chain(&peers[..from]).copied()
}

/// The bytes for each device in each of its states, one after the other.
fn measure_memory(
    used: &mut Used,
    path: &str,
    places: &[Place],
    idle: Duration,
) -> Vec<(&'static str, f64)> {
    // Stacks that are given back come a while later.
    used.settle();
    let fillers = Fillers::new();
    let before = used.settle();
    let mut states = Vec::with_capacity(8);
    let mut note = |state, used: &mut Used| {
        let more = used.bytes() - before;
        states.push((state, more as f64 / places.len() as f64));
    };

    let devices: Vec<Vhost> = places.iter().map(|_| Vhost::open(path)).collect();
    note("open", used);
    for dev in &devices {
        dev.set_owner().expect("SET_OWNER");
    }
    note("owner", used);
    let mut running: Vec<Running> = places
        .iter()
        .zip(&devices)
        .map(|(place, dev)| Running::start(place, dev))
        .collect();
    note("attached", used);
    running.iter_mut().for_each(Running::move_small);
    note("small", used);
    running.iter_mut().for_each(Running::move_large);
    note("large", used);
    running.iter_mut().for_each(Running::leave_unread);
    note("unread", used);
    running.iter().for_each(Running::read);
    thread::sleep(idle);
    note("idle", used);
    drop(running);
    drop(devices);
    let left = used.settle() - before;
    drop(fillers);
    states.push(("closed", left as f64 / places.len() as f64));
    states
}

/// The microseconds for each device that each step takes.
fn measure_time(path: &str, places: &[Place]) -> [(&'static str, f64); 7] {
    let rings: Vec<_> = places.iter().map(Place::rings).collect();
    let mut last = Instant::now();
    let mut step = || {
        let micros = last.elapsed().as_nanos() as f64 / 1e3;
        last = Instant::now();
        micros / places.len() as f64
    };
    let devices: Vec<Vhost> = places.iter().map(|_| Vhost::open(path)).collect();
    let open = step();
    for dev in &devices {
        dev.set_owner().expect("SET_OWNER");
    }
    let owner = step();
    for ((place, dev), rings) in places.iter().zip(&devices).zip(&rings) {
        place.tell(dev, rings);
    }
    let told = step();
    for (place, dev) in places.iter().zip(&devices) {
        place.attach(dev);
    }
    let attach = step();
    drop(devices);
    let close = step();
    [
        ("open", open),
        ("setup", owner + told + attach),
        ("owner", owner),
        ("rings", told),
        ("attach", attach),
        ("close", close),
        ("all", open + owner + told + attach + close),
    ]
}
