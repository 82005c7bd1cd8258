// SPDX-License-Identifier: GPL-2.0

//! Failures of allocations and of copies from and to user memory, each in its turn, by the
//! kernel's own fault injection (`fail-nth`). Needs a kernel that has it.

mod requests;
mod traffic;

use crate::tap::Suite;
use std::{fs, path::Path};

/// Where the kernel says which failures there are.
const KINDS: [&str; 3] = ["failslab", "fail_page_alloc", "fail_usercopy"];

pub fn run(suite: &mut Suite, path: &str) {
    prepare();
    requests::run(suite, path);
    traffic::run(suite, path);
}

/// All allocations may fail, also those that wait, and without a word in the log.
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

/// Lets the nth failure that a thread can meet be met by it.
struct FailNth(String);

impl FailNth {
    fn of_this_thread() -> Self {
        Self("/proc/thread-self/fail-nth".into())
    }

    fn of(tid: &str) -> Self {
        Self(format!("/proc/self/task/{tid}/fail-nth"))
    }

    fn set(&self, n: u32) {
        fs::write(&self.0, n.to_string()).expect("fail-nth");
    }

    /// Whether the failure that was set has been met.
    fn met(&self) -> bool {
        // Reading it may meet it, and then nothing before did.
        fs::read_to_string(&self.0).is_ok_and(|n| n.trim() == "0")
    }
}
