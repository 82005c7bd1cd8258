// SPDX-License-Identifier: GPL-2.0
// Error: E0499
// Names: `*batch`
// Names: batch.open(other, 12)
// A batch that is being filled for one socket is opened for another, which may need other space
// around packets.
use crate::kapi::{
    batch::TxBatch,
    socket::Socket, //
};

pub(crate) fn both(batch: &mut TxBatch, one: &Socket, other: &Socket) -> usize {
    let filling = batch.open(one, 12);
    let _ = batch.open(other, 12);
    filling.map_or(0, |filling| filling.len())
}
