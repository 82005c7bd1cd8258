// SPDX-License-Identifier: GPL-2.0

//! Tests of a vhost-net node, whichever module is behind it.

mod data;
mod history;
mod hostile;
mod ioctl;
mod lifecycle;
mod rings;
mod travel;

use clap::{Parser, ValueEnum};
use std::{process::ExitCode, time::Duration};
use vhost_selftests::{diag, ensure, ensure_eq, guest, net, setup, tap, tap::Suite, vhost};

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Which {
    Ioctl,
    Data,
    Hostile,
    Lifecycle,
    History,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Peer {
    C,
    Rust,
}

/// Runs one suite against a vhost-net node and prints TAP.
#[derive(Parser)]
struct Args {
    suite: Which,
    /// The node.
    #[arg(long, default_value = "/dev/vhost-net")]
    device: String,
    /// The module behind it: where the C module is known to fail, a case says so.
    #[arg(long, default_value = "rust")]
    peer: Peer,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let name = args.suite.to_possible_value().expect("a name");
    let limit = Duration::from_secs(240);
    let c = args.peer == Peer::C;
    let mut suite = Suite::new(name.get_name(), c, limit);
    let path = args.device.as_str();
    match args.suite {
        Which::Ioctl => ioctl::run(&mut suite, path, c),
        Which::Data => data::run(&mut suite, path),
        Which::Hostile => hostile::run(&mut suite, path, c),
        Which::History => history::run(&mut suite, path),
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
