// SPDX-License-Identifier: GPL-2.0

//! The pure files of the module's `kapi`.

#[path = "../../../rust/kapi/iov.rs"]
pub(crate) mod iov;

#[cfg(test)]
mod tests;
