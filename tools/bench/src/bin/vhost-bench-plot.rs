// SPDX-License-Identifier: GPL-2.0

//! Draws what `vhost-bench --csv` has written: for each case a bar per module.

use clap::Parser;
use plotters::prelude::*;
use std::{error::Error, fs};

/// Draws measurements as an SVG file.
#[derive(Parser)]
struct Args {
    /// What `vhost-bench` has written.
    csv: String,
    /// The file to draw into.
    svg: String,
}

/// All costs of one case and peer.
struct Series {
    case: String,
    peer: String,
    costs: Vec<f64>,
}

impl Series {
    /// Least, median, most.
    fn spread(&self) -> [f64; 3] {
        let mut costs = self.costs.clone();
        costs.sort_by(f64::total_cmp);
        let last = costs.len() - 1;
        let median = (costs[last / 2] + costs[costs.len() / 2]) / 2.0;
        [costs[0], median, costs[last]]
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    let series = parse(&fs::read_to_string(&args.csv)?)?;
    draw(&series, &args.svg)
}

/// The rows of the file, put together by case and peer in the order of their appearance.
fn parse(text: &str) -> Result<Vec<Series>, Box<dyn Error>> {
    let mut all: Vec<Series> = Vec::new();
    for line in text.lines().skip(1) {
        let fields: Vec<&str> = line.split(',').collect();
        let [case, peer, _, cost] = fields[..] else {
            return Err(format!("not a measurement: {line}").into());
        };
        let cost = cost.parse()?;
        match all.iter_mut().find(|s| s.case == case && s.peer == peer) {
            Some(series) => series.costs.push(cost),
            None => all.push(Series {
                case: case.to_owned(),
                peer: peer.to_owned(),
                costs: vec![cost],
            }),
        }
    }
    if all.is_empty() {
        return Err("no measurements".into());
    }
    Ok(all)
}

/// The distinct values of a column, in the order of their appearance.
fn distinct<'s>(series: &'s [Series], of: impl Fn(&'s Series) -> &'s str) -> Vec<&'s str> {
    let mut seen = Vec::new();
    for value in series.iter().map(of) {
        if !seen.contains(&value) {
            seen.push(value);
        }
    }
    seen
}

fn draw(series: &[Series], path: &str) -> Result<(), Box<dyn Error>> {
    const COLOURS: [RGBColor; 3] = [RGBColor(120, 120, 120), RGBColor(200, 80, 30), BLUE];
    let cases = distinct(series, |s| &s.case);
    let peers = distinct(series, |s| &s.peer);
    let most = series.iter().map(|s| s.spread()[2]).fold(0.0, f64::max);

    let area = SVGBackend::new(path, (720, 400)).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .margin(12)
        .caption(
            "Worker instructions per packet: median, least to most",
            ("sans-serif", 18),
        )
        .x_label_area_size(28)
        .y_label_area_size(56)
        .build_cartesian_2d((0..cases.len() - 1).into_segmented(), 0.0..most * 1.15)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .max_light_lines(1)
        .x_label_formatter(&|at| match at {
            SegmentValue::CenterOf(i) => cases.get(*i).map_or(String::new(), |c| (*c).to_owned()),
            _ => String::new(),
        })
        .y_label_formatter(&|cost| format!("{cost:.0}"))
        .draw()?;

    let plot = chart.plotting_area();
    let (width, height) = plot.dim_in_pixel();
    let (left, top) = plot.get_base_pixel();
    let slot = f64::from(width) / cases.len() as f64;
    let bar = slot * 0.7 / peers.len() as f64;
    let x_of =
        |case: usize, peer: f64| left + (slot * (case as f64 + 0.15) + bar * peer).round() as i32;
    let y_of = |cost: f64| top + (f64::from(height) * (1.0 - cost / (most * 1.15))).round() as i32;
    for s in series {
        let case = cases.iter().position(|c| *c == s.case).unwrap_or(0);
        let peer = peers.iter().position(|p| *p == s.peer).unwrap_or(0);
        let [least, median, most] = s.spread();
        let (from, to) = (x_of(case, peer as f64), x_of(case, peer as f64 + 0.92));
        let colour = COLOURS[peer % COLOURS.len()];
        let body = [(from, y_of(median)), (to, y_of(0.0))];
        area.draw(&Rectangle::new(body, colour.filled()))?;
        let middle = (from + to) / 2;
        let whisker = vec![(middle, y_of(least)), (middle, y_of(most))];
        area.draw(&PathElement::new(whisker, BLACK.stroke_width(2)))?;
        let label = format!("{} {median:.0}", s.peer);
        area.draw(&Text::new(
            label,
            (from, y_of(most) - 16),
            ("sans-serif", 13),
        ))?;
    }
    area.present()?;
    Ok(())
}
