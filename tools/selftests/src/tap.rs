// SPDX-License-Identifier: GPL-2.0

//! Test Anything Protocol, as kselftests print it.

use std::time::{Duration, Instant};

/// The result of a case: success, or what was expected and what was found.
pub type Outcome = Result<(), String>;

/// A suite that is running.
pub struct Suite {
    run: usize,
    failed: usize,
    peer_fails: bool,
}

impl Suite {
    /// Starts a suite. It must end within `limit`. Otherwise the process is killed without
    /// printing a plan, which counts as a failure.
    pub fn new(name: &str, peer_fails: bool, limit: Duration) -> Self {
        println!("TAP version 13");
        println!("# suite {name} ({})", if peer_fails { "c" } else { "rust" });
        // SAFETY: Only sets a timer.
        unsafe { libc::alarm(limit.as_secs() as u32) };
        Self {
            run: 0,
            failed: 0,
            peer_fails,
        }
    }

    /// Runs one case.
    pub fn case(&mut self, name: &str, body: impl FnOnce() -> Outcome) {
        self.timed(name, None, body);
    }

    /// Runs a case that the C module is known to fail, for this reason.
    pub fn case_c_fails(&mut self, name: &str, why: &str, body: impl FnOnce() -> Outcome) {
        self.timed(name, Some(why), body);
    }

    /// Skips a case, for this reason.
    pub fn skip(&mut self, name: &str, why: &str) {
        self.run += 1;
        println!("ok {} - {name} # SKIP {why}", self.run);
    }

    /// Lists cases that cannot be tested yet, by name. They are not counted.
    pub fn not_yet(&self, name: &str, what: &str) {
        println!("# not applicable yet: {name} ({what})");
    }

    fn timed(&mut self, name: &str, c_fails: Option<&str>, body: impl FnOnce() -> Outcome) {
        let started = Instant::now();
        let outcome = body();
        self.report(name, outcome, c_fails);
        let took = started.elapsed();
        if took > Duration::from_secs(1) {
            println!("# took {:.1} s", took.as_secs_f32());
        }
    }

    fn report(&mut self, name: &str, outcome: Outcome, c_fails: Option<&str>) {
        self.run += 1;
        let expected = self.peer_fails.then_some(c_fails).flatten();
        match (outcome, expected) {
            (Ok(()), None) => println!("ok {} - {name}", self.run),
            (Ok(()), Some(why)) => {
                println!("ok {} - {name} # C was expected to fail: {why}", self.run);
            }
            (Err(what), Some(why)) => {
                println!("ok {} - {name} # C fails: {why}: {what}", self.run);
            }
            (Err(what), None) => {
                self.failed += 1;
                println!("not ok {} - {name}", self.run);
                for line in what.lines() {
                    println!("# {line}");
                }
            }
        }
    }

    /// Prints the plan; true when all cases have passed.
    pub fn finish(self) -> bool {
        println!("1..{}", self.run);
        // SAFETY: Only clears the timer.
        unsafe { libc::alarm(0) };
        self.failed == 0
    }
}

/// A diagnostic.
#[macro_export]
macro_rules! diag {
    ($($arg:tt)*) => { println!("# {}", format!($($arg)*)) };
}

/// Fails the case unless the condition holds.
#[macro_export]
macro_rules! ensure {
    ($cond:expr, $($arg:tt)*) => {
        if !$cond {
            return Err(format!("{} ({}:{})", format!($($arg)*), file!(), line!()));
        }
    };
}

/// Fails the case unless both are equal.
#[macro_export]
macro_rules! ensure_eq {
    ($got:expr, $want:expr, $($arg:tt)*) => {{
        let (got, want) = (&$got, &$want);
        if got != want {
            return Err(format!(
                "{}: got {got:?}, expected {want:?} ({}:{})",
                format!($($arg)*), file!(), line!()
            ));
        }
    }};
}
