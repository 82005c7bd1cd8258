// SPDX-License-Identifier: GPL-2.0

//! A driver in userspace for vhost-net, the basis of the tests and the benchmarks.

pub mod child;
pub mod dice;
pub mod guest;
pub mod iommu;
pub mod mem;
pub mod net;
pub mod setup;
pub mod tap;
pub mod vhost;
