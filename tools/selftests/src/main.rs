// SPDX-License-Identifier: GPL-2.0

//! Tests of a vhost-net node of either module.

mod aio;
mod backends;
mod budget;
mod busy;
mod changes;
mod cycles;
mod data;
mod dirty;
mod errors;
mod group;
mod history;
mod hostile;
mod idle;
mod inject;
mod interrupts;
mod ioctl;
mod iotlb;
mod large;
mod lifecycle;
mod limits;
mod link;
mod pages;
mod recycle;
mod retries;
mod rings;
mod serve;
mod slots;
mod spare;
mod storm;
mod told;
mod travel;
mod tunnel;
mod vlan;
mod waits;
mod workers;

use clap::{Parser, ValueEnum};
use std::{process::ExitCode, sync::atomic::Ordering, time::Duration};
use vhost_selftests::{
    child, diag, dice, ensure, ensure_eq, guest, iommu, net, setup, setup::Way, tap, tap::Suite,
    vhost,
};

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Which {
    Ioctl,
    Data,
    Dirty,
    Iotlb,
    Hostile,
    Lifecycle,
    History,
    Limits,
    Recycle,
    Cycles,
    Inject,
    Storm,
    /// Not a suite: serves a device until the process is killed.
    Serve,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Peer {
    C,
    Rust,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum How {
    Table,
    Iotlb,
    Logged,
}

/// Runs one suite against a vhost-net node and prints TAP.
#[derive(Parser)]
struct Args {
    suite: Which,
    /// The node.
    #[arg(long, default_value = "/dev/vhost-net")]
    device: String,
    /// The module of the node: for the C module, cases that it is known to fail say so.
    #[arg(long, default_value = "rust")]
    peer: Peer,
    /// How devices reach guest memory.
    #[arg(long, default_value = "table")]
    way: How,
    /// The kernel is slow: shorten long tests.
    #[arg(long)]
    slow: bool,
    /// The duration of a storm.
    #[arg(long, default_value_t = 30)]
    seconds: u64,
    /// The seed of a storm.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

fn main() -> ExitCode {
    let args = Args::parse();
    if args.suite == Which::Serve {
        let end = serve::run(&args.device);
        eprintln!("serve: {end:?}");
        return ExitCode::FAILURE;
    }
    let name = args.suite.to_possible_value().expect("a name");
    setup::SLOW.store(args.slow, Ordering::Relaxed);
    match args.way {
        How::Table => Way::Table.set(),
        How::Iotlb => Way::Iotlb.set(),
        How::Logged => Way::Logged.set(),
    }
    let mut limit = Duration::from_secs(if args.slow { 900 } else { 240 });
    if args.suite == Which::Storm {
        // One storm of threads and one of processes.
        limit += Duration::from_secs(2 * args.seconds);
    }
    let c = args.peer == Peer::C;
    let way = args.way.to_possible_value().expect("a name");
    let name = match args.way {
        How::Table => name.get_name().to_owned(),
        _ => format!("{}-{}", name.get_name(), way.get_name()),
    };
    let mut suite = Suite::new(&name, c, limit);
    let path = args.device.as_str();
    match args.suite {
        Which::Ioctl => ioctl::run(&mut suite, path, c),
        Which::Data => data::run(&mut suite, path),
        Which::Dirty => dirty::run(&mut suite, path, c),
        Which::Iotlb => iotlb::run(&mut suite, path),
        Which::Hostile => hostile::run(&mut suite, path),
        Which::History => history::run(&mut suite, path),
        Which::Limits => limits::run(&mut suite, path, c),
        Which::Recycle => recycle::run(&mut suite, path, c),
        Which::Cycles => cycles::run(&mut suite, path),
        Which::Inject => inject::run(&mut suite, path),
        Which::Storm => storm::run(&mut suite, path, c, args.seconds, args.seed),
        Which::Serve => unreachable!(),
        Which::Lifecycle => {
            travel::run(&mut suite, path);
            lifecycle::run(&mut suite, path);
        }
    }
    if suite.finish() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
