// SPDX-License-Identifier: GPL-2.0

//! Stands in for the module's layer of that name.

pub(crate) mod iov;
