// SPDX-License-Identifier: GPL-2.0

//! Failures of allocations and of copies from and to user memory, one after the other, through the
//! kernel's fault injection (`fail-nth`). Requires a kernel with it.

mod effects;
mod files;
mod requests;
mod sweep;
mod traffic;

use crate::{
    lifecycle::{no_tap_left, no_worker_left},
    tap::{Outcome, Suite},
};
use std::{fs, os::unix::fs::FileExt, path::Path};

/// Where the kernel lists its kinds of failures.
const KINDS: [&str; 3] = ["failslab", "fail_page_alloc", "fail_usercopy"];

/// The result of a part of a case.
type Checked<T> = Result<T, String>;

/// More failures than any operation here can meet.
const ENOUGH: u32 = 2000;

pub fn run(suite: &mut Suite, path: &str) {
    prepare();
    files::run(suite, path);
    requests::run(suite, path);
    traffic::run(suite, path);
    suite.case("no worker is left", no_worker_left);
    suite.case("no tap is held on to", no_tap_left);
}

/// Makes all allocations fail, those that may sleep included, without messages in the log.
fn prepare() {
    for kind in KINDS {
        let dir = Path::new("/sys/kernel/debug").join(kind);
        assert!(dir.exists(), "the kernel cannot inject {kind}");
        for (file, value) in [
            ("verbose", "0"),
            ("ignore-gfp-wait", "0"),
            ("ignore-gfp-highmem", "0"),
            ("min-order", "0"),
            ("cache-filter", "0"),
        ] {
            let file = dir.join(file);
            if file.exists() {
                fs::write(&file, value).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
            }
        }
    }
}

/// Makes the nth possible failure of a thread happen.
struct FailNth(fs::File);

impl FailNth {
    fn of_this_thread() -> Self {
        Self::open("/proc/thread-self/fail-nth")
    }

    fn open(path: &str) -> Self {
        let file = fs::File::options().read(true).write(true).open(path);
        Self(file.unwrap_or_else(|e| panic!("{path}: {e}")))
    }

    fn set(&self, n: u32) {
        let n = n.to_string();
        // This write may meet a failure that is still set from before. Then no failure is set, and
        // a second write succeeds.
        let done =
            self.0.write_at(n.as_bytes(), 0).is_ok() || self.0.write_at(n.as_bytes(), 0).is_ok();
        assert!(done, "fail-nth cannot be set");
    }

    /// Whether the failure that was set has happened.
    fn met(&self) -> bool {
        let mut left = [0; 16];
        // The read may itself meet it; then the operation before did not.
        self.0.read_at(&mut left, 0).is_ok_and(|_| left[0] == b'0')
    }
}

/// Runs `op`, which sets the nth failure at the place under test, for each n until there are no
/// more. `check` gets the result of each run, and of the run without a failure. Returns the number
/// of failures.
fn each<T>(
    mut op: impl FnMut(&FailNth, u32) -> T,
    mut check: impl FnMut(T, bool) -> Outcome,
) -> Checked<u32> {
    let fail = FailNth::of_this_thread();
    for n in 1..ENOUGH {
        let out = op(&fail, n);
        let met = fail.met();
        fail.set(0);
        check(out, met).map_err(|e| {
            let what = if met { "met" } else { "not met any more" };
            format!("failure {n}, {what}: {e}")
        })?;
        if !met {
            return Ok(n - 1);
        }
    }
    Err(format!("more than {ENOUGH} failures"))
}
