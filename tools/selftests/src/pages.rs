// SPDX-License-Identifier: GPL-2.0

//! The kernel's account of its pages, which shows leaks.

use std::{
    fs,
    time::{Duration, Instant},
};

/// The number of free pages.
pub fn free() -> i64 {
    let text = fs::read_to_string("/proc/vmstat").expect("/proc/vmstat");
    let line = text.lines().find_map(|l| l.strip_prefix("nr_free_pages "));
    let pages = line.expect("nr_free_pages").parse();
    pages.expect("a number of pages")
}

/// How many fewer pages are free than `before`. Other activity may hold pages for a while, and
/// leaked pages never come back, so it waits until there are less than `few`.
pub fn lost(before: i64, few: i64) -> i64 {
    let end = Instant::now() + Duration::from_secs(3);
    loop {
        let lost = before - free();
        if lost < few || Instant::now() > end {
            break lost;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}
