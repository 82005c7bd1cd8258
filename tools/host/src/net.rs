// SPDX-License-Identifier: GPL-2.0

//! The pure files of the module's `net`.

#[path = "../../../rust/net/hdr.rs"]
pub(crate) mod hdr;

#[cfg(test)]
mod tests;
