// SPDX-License-Identifier: GPL-2.0

//! Checks that no row has become slower. Compares the ratio to the C module with the recorded
//! ratio. The counts themselves are not compared, since they differ between machines.

use std::{fs, time::Duration};
use vhost_bench::{
    case::{Case, Processor},
    measurements::Measurements,
};
use vhost_selftests::{
    diag, ensure,
    tap::{Outcome, Suite},
};

/// The increase over the recorded ratio that is too much. Between two boots the ratio of a row
/// differs by at most 0.3 %.
const TOO_MUCH: f64 = 0.02;

/// Checks that the ratio of each row is at most the recorded one, within this limit. Prints TAP.
/// `measure` measures a row with both modules.
pub fn check(
    record: &str,
    cases: &[&'static Case],
    mut measure: impl FnMut(&'static Case, &mut Measurements),
) -> Result<bool, String> {
    let text = fs::read_to_string(record).map_err(|e| format!("{record}: {e}"))?;
    let record = Measurements::parse(&text)?;
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").map_err(|e| e.to_string())?;
    let recorded = record.fact("kernel")?;
    let mut suite = Suite::new("bench guard", false, Duration::from_secs(240));
    for case in cases {
        let name = format!("{}: of C's cost no more than is recorded", case.name);
        if kernel.trim_end() == recorded {
            suite.case(&name, || compare(&record, case, &mut measure));
        } else {
            suite.skip(&name, &format!("the record is of {recorded}"));
        }
    }
    Ok(suite.finish())
}

fn compare(
    record: &Measurements,
    case: &'static Case,
    measure: &mut impl FnMut(&'static Case, &mut Measurements),
) -> Outcome {
    let processor = Processor::this();
    let recorded = record.ratio(processor, case)?;
    let mut measured = Measurements::default();
    measure(case, &mut measured);
    let ratio = measured.ratio(processor, case)?;
    let more = ratio / recorded - 1.0;
    let what = format!(
        "{ratio:.4} of C; recorded {recorded:.4}, {:+.1} %",
        100.0 * more
    );
    diag!("{}: {what}", case.name);
    ensure!(more <= TOO_MUCH, "{what}");
    Ok(())
}
