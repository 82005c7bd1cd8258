// SPDX-License-Identifier: GPL-2.0

//! The module's pure code, built for the host, where it is tested.
//!
//! The files are those of the module. What they use of the kernel is what [`prelude`] offers, and
//! of the layer below them one record; both stand in here for the real ones.

#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    expect(dead_code, reason = "nothing but the tests uses the code here")
)]

// By this name the module's files ask for the prelude.
extern crate self as kernel;

pub mod prelude;

mod kapi;
mod net;
mod vhost;
mod virtqueue;

#[cfg(any(test, feature = "fuzz"))]
pub use virtqueue::fuzz;

#[cfg(any(test, feature = "fuzz"))]
mod device;
#[cfg(any(test, feature = "fuzz"))]
mod driver;

/// As many cases, and no file: what a failure has found becomes a test of its own.
#[cfg(test)]
fn cases(cases: u32) -> proptest::test_runner::Config {
    proptest::test_runner::Config {
        cases,
        failure_persistence: None,
        ..proptest::test_runner::Config::default()
    }
}
