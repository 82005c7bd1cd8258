// SPDX-License-Identifier: GPL-2.0
// Error: E0499
// Names: `*batch`
// Names: batch.send(sock)
// A batch is sent while a packet is being put into it.
use crate::kapi::{
    batch::TxBatch,
    mm::InMm,
    socket::Socket, //
};

pub(crate) fn early(batch: &mut TxBatch, sock: &Socket, mm: &InMm<'_>) {
    if let Ok(frame) = batch.copy_in(sock, mm, &[], 0, 0, 0) {
        let _ = batch.send(sock);
        frame.commit();
    }
}
