// SPDX-License-Identifier: GPL-2.0

//! Tables in reStructuredText.

use std::fmt::Write;
use vhost_bench::{
    case::{Case, Processor},
    measurements::{Measurements, Summary, C, OURS},
};

/// A simple table: the first line is its head.
pub fn simple(lines: &[Vec<String>]) -> String {
    let columns = lines.first().map_or(0, Vec::len);
    let width = |i: usize| lines.iter().map(|line| line[i].chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|i| width(i).unwrap_or(0)).collect();
    let row = |cells: Vec<String>| {
        let padded = cells
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:<width$}"));
        format!("{}\n", padded.collect::<Vec<_>>().join("  ").trim_end())
    };
    let rule = row(widths.iter().map(|width| "=".repeat(*width)).collect());
    let mut out = rule.clone();
    for (i, line) in lines.iter().enumerate() {
        out += &row(line.clone());
        if i == 0 {
            out += &rule;
        }
    }
    out + &rule
}

/// A number, with commas between thousands.
pub fn grouped(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i) % 3 == 0 {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

fn spread(s: &Summary) -> String {
    let [median, least, most] = [s.median, s.least, s.most].map(grouped);
    format!("{median} [{least}, {most}]")
}

/// The facts of the measurement, and a table for each processor.
pub fn instructions(measured: &Measurements) -> Result<String, String> {
    let mut out = format!(
        "Written by ``make bench``: kernel {}, QEMU {}, the module as of commit {}.\n",
        measured.fact("kernel")?,
        measured.fact("QEMU")?,
        measured.fact("module")?,
    );
    for processor in Processor::ALL {
        out += "\n";
        out += &of_processor(measured, processor)?;
    }
    Ok(out)
}

fn of_processor(measured: &Measurements, processor: Processor) -> Result<String, String> {
    let words = [
        "row",
        "packets",
        "C module",
        "this module",
        "of C",
        "at most",
        "pairs",
    ];
    let mut lines = vec![words.map(str::to_owned).to_vec()];
    let mut above = Vec::new();
    for case in measured.cases(processor) {
        if measured.ratio(processor, case)? > case.most(processor) {
            above.push(format!("``{}``", case.name));
        }
        lines.push(line(measured, processor, case)?);
    }
    let title = processor.title();
    let mut out = format!(
        "{}{} (``-cpu {}``), instructions for each packet:\n\n{}\n",
        title[..1].to_uppercase(),
        &title[1..],
        measured.fact(processor.name())?,
        simple(&lines)
    );
    let _ = match &above[..] {
        [] => writeln!(out, "Every row is within what it is to cost at most."),
        rows => writeln!(
            out,
            "Above what they are to cost at most: {}.",
            rows.join(", ")
        ),
    };
    Ok(out)
}

fn line(measured: &Measurements, processor: Processor, case: &Case) -> Result<Vec<String>, String> {
    let [theirs, ours] = [C, OURS].map(|peer| measured.summary(processor, case, peer));
    let (theirs, ours) = (theirs?, ours?);
    Ok(vec![
        format!("``{}``", case.name),
        case.title.to_owned(),
        spread(&theirs),
        spread(&ours),
        format!("{:.3}", ours.median / theirs.median),
        format!("{:.2}", case.most(processor)),
        ours.count.to_string(),
    ])
}
