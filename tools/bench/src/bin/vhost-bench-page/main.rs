// SPDX-License-Identifier: GPL-2.0

//! Writes the measurements into the documentation: the tables between the markers of
//! `performance.rst`, and its figure.

mod figure;
mod profile;
mod tables;

use clap::Parser;
use std::{fs, path::PathBuf, process::ExitCode};
use vhost_bench::measurements::Measurements;

/// Generates `performance.rst` and `instructions.svg` from the measurements.
#[derive(Parser)]
struct Args {
    /// The directory of these files, with `instructions.csv` and `profile.tsv`.
    directory: PathBuf,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(what) => {
            eprintln!("{what}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<(), String> {
    let path = |name: &str| args.directory.join(name);
    let read = |name: &str| fs::read_to_string(path(name)).map_err(|e| format!("{name}: {e}"));
    let measured = Measurements::parse(&read("instructions.csv")?)?;
    let mut page = read("performance.rst")?;
    for (name, text) in [
        ("instructions", tables::instructions(&measured)?),
        ("profile", profile::tables(&read("profile.tsv")?)?),
    ] {
        page = replaced(&page, name, &text)?;
    }
    fs::write(path("performance.rst"), page).map_err(|e| e.to_string())?;
    figure::draw(&measured, &path("instructions.svg")).map_err(|e| e.to_string())
}

/// The page with this text between the two markers of a part.
fn replaced(page: &str, part: &str, text: &str) -> Result<String, String> {
    let begin = format!(".. begin of {part}, which \"make bench\" writes\n");
    let end = format!(".. end of {part}\n");
    let missing = |marker: &str| format!("performance.rst: no line {marker}");
    let (before, rest) = page.split_once(&begin).ok_or_else(|| missing(&begin))?;
    let (_, after) = rest.split_once(&end).ok_or_else(|| missing(&end))?;
    Ok(format!("{before}{begin}\n{text}\n{end}{after}"))
}
