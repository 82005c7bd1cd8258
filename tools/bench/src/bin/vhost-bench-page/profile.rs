// SPDX-License-Identifier: GPL-2.0

//! The tables of the profile that `profile.py` has counted.

use crate::tables::{grouped, simple};
use vhost_bench::case::{Case, Processor};

const HEAD: &str = "processor\trow\tkind\tname\tshare\tinstructions";
/// The number of functions shown for each row.
const FUNCTIONS: usize = 10;

/// The share of one function or part of the kernel in one row.
struct Share<'t> {
    name: &'t str,
    share: f64,
    instructions: f64,
}

/// The shares of one row.
struct Profile<'t> {
    processor: Processor,
    case: &'static Case,
    total: f64,
    parts: Vec<Share<'t>>,
    functions: Vec<Share<'t>>,
}

/// A table for each row: a sentence with the parts, and the first functions.
pub fn tables(text: &str) -> Result<String, String> {
    let profiles = parse(text)?;
    let tables: Vec<String> = profiles.iter().map(table).collect();
    if tables.is_empty() {
        return Err("no profile".to_owned());
    }
    Ok(tables.join("\n"))
}

fn parse(text: &str) -> Result<Vec<Profile<'_>>, String> {
    let mut profiles: Vec<Profile<'_>> = Vec::new();
    for line in text.lines().filter(|line| *line != HEAD) {
        let bad = || format!("not a share: {line}");
        let fields: Vec<&str> = line.split('\t').collect();
        let [processor, row, kind, name, share, instructions] = fields[..] else {
            return Err(bad());
        };
        let share = Share {
            name,
            share: share.parse().map_err(|_| bad())?,
            instructions: instructions.parse().map_err(|_| bad())?,
        };
        if kind == "all" {
            profiles.push(Profile {
                processor: Processor::named(processor)?,
                case: Case::named(row)?,
                total: share.instructions,
                parts: Vec::new(),
                functions: Vec::new(),
            });
            continue;
        }
        let profile = profiles.last_mut().ok_or_else(bad)?;
        match kind {
            "part" => profile.parts.push(share),
            "function" => profile.functions.push(share),
            _ => return Err(bad()),
        }
    }
    Ok(profiles)
}

fn table(profile: &Profile<'_>) -> String {
    let percent = |share: &Share<'_>| format!("{:.1} %", share.share);
    let part = |share: &Share<'_>| format!("{} {}", share.name, percent(share));
    let parts: Vec<String> = profile.parts.iter().map(part).collect();
    let mut lines = vec![["share", "instructions", "function"]
        .map(str::to_owned)
        .to_vec()];
    for share in profile.functions.iter().take(FUNCTIONS) {
        lines.push(vec![
            percent(share),
            grouped(share.instructions),
            format!("``{}``", share.name),
        ]);
    }
    format!(
        "``{}``, {}, {} instructions: {}.\n\n{}",
        profile.case.name,
        profile.processor.title(),
        grouped(profile.total),
        parts.join(", "),
        simple(&lines)
    )
}
