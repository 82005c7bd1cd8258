// SPDX-License-Identifier: GPL-2.0
// Compiles: the same operations, used correctly.
use crate::kapi::batch::{
    BatchError,
    Filling,
    TxBatch, //
};
use crate::kapi::{
    iov::IoVec,
    mm::{
        InMm,
        Owner, //
    },
    retire::{
        Retired,
        Slot, //
    },
    socket::Socket, //
};
use crate::kapi::{
    uaccess::UserMem,
    work::Context,
    worker::Worker, //
};
use crate::vhost::session::Session;
use crate::virtqueue::{
    path::Path,
    taken::Taken, //
};
use kernel::{
    prelude::*,
    sync::Arc, //
};

fn needs_send<T: Send>(_: T) {}

fn needs_sync<T: Sync>(_: &T) {}

/// These may be shared and sent, a context and its evidence may not.
pub(crate) fn share(worker: &Worker, owner: Owner) {
    needs_sync(worker);
    needs_send(owner);
}

/// The backend, while the work item runs.
pub(crate) fn read<'a>(slot: &'a Slot<u32>, ctx: &'a Context<'_>) -> Option<&'a u32> {
    slot.read(ctx)
}

pub(crate) fn swap(slot: &Slot<u32>) -> Option<Arc<u32>> {
    let retired: Retired<u32> = slot.swap(None);
    retired.reclaim()
}

pub(crate) fn user(mm: InMm<'_>, seg: IoVec) -> Result<u16> {
    UserMem::new(mm).read_u16(seg.base())
}

/// The evidence is used with its owner and on its thread.
pub(crate) fn owned() -> Result<u16> {
    let owner = Owner::current()?;
    UserMem::new(owner.check_current()?).read_u16(4096)
}

#[repr(C)]
#[derive(FromBytes, IntoBytes, zerocopy_derive::Immutable)]
struct Told {
    kind: u32,
    len: u32,
}

pub(crate) fn tell(user: &UserMem<'_>, kind: u32) -> Result {
    user.write_slice(4096, &[Told { kind, len: 1 }])
}

/// A buffer, while the session is borrowed.
pub(crate) fn take<'a, 'q, P: Path>(session: &'a mut Session<'q, P>) -> Option<Taken<'a, 'q, P>> {
    session.take().ok().flatten()
}

/// One buffer after the other is examined and completed; then they are published.
pub(crate) fn two<P: Path>(session: &mut Session<'_, P>) -> usize {
    let mut segs = 0;
    for _ in 0..2 {
        if let Some(taken) = take(session) {
            segs += taken.segs().len();
            taken.complete();
        }
    }
    let _ = session.publish();
    segs
}

/// A batch, while it and the socket are borrowed.
pub(crate) fn open<'a>(batch: &'a mut TxBatch, sock: &'a Socket) -> Option<Filling<'a>> {
    batch.open(sock, 12)
}

/// Packets are added to the batch one after the other. The batch is sent and may be filled again.
pub(crate) fn send<P: Path>(
    filling: &mut Filling<'_>,
    taken: &Taken<'_, '_, P>,
    mm: &InMm<'_>,
) -> Result<Result, BatchError> {
    for _ in 0..2 {
        let mut frame = filling.copy_in(mm, taken.segs(), 0, taken.len())?;
        frame.header().fill(0);
        frame.commit();
    }
    Ok(filling.send())
}

/// A batch is used for one socket and then for another.
pub(crate) fn both(batch: &mut TxBatch, one: &Socket, other: &Socket) -> usize {
    let sent = open(batch, one).map_or(0, |filling| filling.len());
    sent.wrapping_add(open(batch, other).map_or(0, |filling| filling.len()))
}
