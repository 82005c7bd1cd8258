// SPDX-License-Identifier: GPL-2.0

//! What the pure files must do, for valid and for hostile guests.

mod anew;
mod chain;
mod collect;
mod each_once;
mod fault;
mod features;
mod general;
mod hostile;
mod iotlb;
mod log;
mod mem;
mod notify;
mod plain;
mod prefetch;
mod refused;
mod ring;
mod straight;
mod taken;
mod used;
mod windows;

pub(crate) use super::model;
