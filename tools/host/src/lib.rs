// SPDX-License-Identifier: GPL-2.0

//! The module's pure code, built and tested on the host.
//!
//! The files are those of the module. [`prelude`] replaces the kernel's prelude. Of `kapi` they
//! use only `iov`, which is pure as well.

#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    expect(dead_code, reason = "nothing but the tests uses the code here")
)]

// The module's files import the prelude by this name.
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

/// The given number of cases, and no file of failures: a failure becomes a test of its own.
#[cfg(test)]
fn cases(cases: u32) -> proptest::test_runner::Config {
    proptest::test_runner::Config {
        cases,
        failure_persistence: None,
        ..proptest::test_runner::Config::default()
    }
}
