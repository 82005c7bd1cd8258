// SPDX-License-Identifier: GPL-2.0

//! The figure: for each row and processor, instructions per packet relative to the C module.

use crate::tables::grouped;
use plotters::{
    coord::Shift,
    prelude::*,
    style::text_anchor::{HPos, Pos, VPos},
};
use std::{error::Error, path::Path};
use vhost_bench::{
    case::{Case, Processor},
    measurements::{Measurements, C, OURS},
};

const OURS_COLOUR: RGBColor = RGBColor(206, 100, 48);
const GRID: RGBColor = RGBColor(214, 214, 214);
const BOUND: RGBColor = RGBColor(30, 70, 160);

/// Widths and heights in pixels: the titles on the left, a processor's panel, the gap between
/// panels, the space above and below them, and a row.
const TITLES: i32 = 236;
const PANEL: i32 = 318;
const GAP: i32 = 30;
const ABOVE: i32 = 66;
const BELOW: i32 = 30;
const ROW: i32 = 24;
/// The right end of a panel, relative to C.
const END: f64 = 1.1;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn = Result<(), Box<dyn Error>>;

pub fn draw(measured: &Measurements, path: &Path) -> Drawn {
    let cases = measured.cases(Processor::Fast);
    let width = TITLES + (PANEL + GAP) * Processor::ALL.len() as i32;
    let height = ABOVE + ROW * cases.len() as i32 + BELOW;
    let area = SVGBackend::new(path, (width as u32, height as u32)).into_drawing_area();
    area.fill(&WHITE)?;
    text(
        &area,
        "Instructions of the worker for each packet, of what it costs the C module (1.0)",
        (width / 2, 16),
        (HPos::Center, 16),
    )?;
    for (i, case) in cases.iter().enumerate() {
        text(
            &area,
            case.title,
            (TITLES - 8, middle(i)),
            (HPos::Right, 12),
        )?;
    }
    for (i, processor) in Processor::ALL.into_iter().enumerate() {
        let left = TITLES + (PANEL + GAP) * i as i32;
        panel(&area, left, measured, processor, &cases)?;
    }
    area.present()?;
    Ok(())
}

/// The vertical middle of a row.
fn middle(row: usize) -> i32 {
    ABOVE + ROW * row as i32 + ROW / 2
}

/// Text beside or around a place; its alignment and size.
fn text(area: &Area<'_>, words: &str, at: (i32, i32), (side, size): (HPos, i32)) -> Drawn {
    let style = TextStyle::from(("sans-serif", size)).pos(Pos::new(side, VPos::Center));
    area.draw(&Text::new(words.to_owned(), at, style))?;
    Ok(())
}

fn line(area: &Area<'_>, from: (i32, i32), to: (i32, i32), style: ShapeStyle) -> Drawn {
    area.draw(&PathElement::new(vec![from, to], style))?;
    Ok(())
}

fn panel(
    area: &Area<'_>,
    left: i32,
    measured: &Measurements,
    processor: Processor,
    cases: &[&'static Case],
) -> Drawn {
    let x_of = |ratio: f64| left + (f64::from(PANEL) * ratio / END).round() as i32;
    let bottom = ABOVE + ROW * cases.len() as i32;
    text(
        area,
        processor.title(),
        (x_of(0.5), ABOVE - 26),
        (HPos::Center, 13),
    )?;
    for tenths in (0..=10).step_by(2) {
        let (ratio, x) = (f64::from(tenths) / 10.0, x_of(f64::from(tenths) / 10.0));
        let style = if tenths == 10 {
            BLACK.stroke_width(1)
        } else {
            GRID.stroke_width(1)
        };
        line(area, (x, ABOVE), (x, bottom), style)?;
        text(
            area,
            &format!("{ratio:.1}"),
            (x, bottom + 12),
            (HPos::Center, 11),
        )?;
        text(
            area,
            &format!("{ratio:.1}"),
            (x, ABOVE - 9),
            (HPos::Center, 11),
        )?;
    }
    for (i, case) in cases.iter().enumerate() {
        row(area, &x_of, middle(i), measured, processor, case)?;
    }
    Ok(())
}

/// A bar up to the median, the values as text, a whisker from minimum to maximum, and a mark at
/// the goal.
fn row(
    area: &Area<'_>,
    x_of: &dyn Fn(f64) -> i32,
    y: i32,
    measured: &Measurements,
    processor: Processor,
    case: &Case,
) -> Drawn {
    let theirs = measured.summary(processor, case, C)?.median;
    let ours = measured.summary(processor, case, OURS)?;
    let of_c = |cost: f64| x_of(cost / theirs);
    let bar = [(x_of(0.0), y - 8), (of_c(ours.median), y + 8)];
    area.draw(&Rectangle::new(bar, OURS_COLOUR.mix(0.55).filled()))?;
    line(
        area,
        (of_c(ours.least), y),
        (of_c(ours.most), y),
        BLACK.stroke_width(3),
    )?;
    let bound = x_of(case.most(processor));
    line(
        area,
        (bound, y - 10),
        (bound, y + 10),
        BOUND.stroke_width(2),
    )?;
    let words = format!("{} of {}", grouped(ours.median), grouped(theirs));
    text(area, &words, (x_of(0.0) + 6, y), (HPos::Left, 12))
}
