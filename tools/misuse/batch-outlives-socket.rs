// SPDX-License-Identifier: GPL-2.0
// Error: E0621
// Names: &'a Socket
// A batch is filled for longer than its socket exists.
use crate::kapi::{
    batch::{
        Filling,
        TxBatch, //
    },
    socket::Socket, //
};

pub(crate) fn keep<'a>(batch: &'a mut TxBatch, sock: &Socket) -> Option<Filling<'a>> {
    batch.open(sock, 12)
}
