// SPDX-License-Identifier: GPL-2.0
// Compiles: the same things, done as they are meant.
use crate::kapi::batch::{
    BatchError,
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
use crate::vhost::{
    session::Session,
    taken::Taken, //
};
use kernel::prelude::*;

fn needs_send<T: Send>(_: T) {}

fn needs_sync<T: Sync>(_: &T) {}

/// What may be shared and sent, of which a context and its evidence are not.
pub(crate) fn share(worker: &Worker, owner: Owner) {
    needs_sync(worker);
    needs_send(owner);
}

/// The backend, for as long as the work item runs.
pub(crate) fn read<'a>(slot: &'a Slot<u32>, ctx: &'a Context<'_>) -> Option<&'a u32> {
    slot.read(ctx)
}

pub(crate) fn swap(slot: &Slot<u32>) -> Option<KBox<u32>> {
    let retired: Retired<u32> = slot.swap(None);
    retired.reclaim()
}

pub(crate) fn user(mm: InMm<'_>, seg: IoVec) -> Result<u16> {
    UserMem::new(mm).read_u16(seg.base())
}

/// The evidence does not leave the owner, nor this thread.
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

/// A buffer, no longer than the session is borrowed.
pub(crate) fn take<'a, 'q>(session: &'a mut Session<'q>) -> Option<Taken<'a, 'q>> {
    session.take().ok().flatten()
}

/// One after the other, each looked at before it is handed back, and then published.
pub(crate) fn two(session: &mut Session<'_>) -> usize {
    let mut segs = 0;
    for _ in 0..2 {
        if let Some(taken) = take(session) {
            segs += taken.segs().len();
            taken.complete();
        }
    }
    session.publish();
    segs
}

/// A packet becomes part of the batch, which is then sent.
pub(crate) fn send(
    batch: &mut TxBatch,
    sock: &Socket,
    taken: &Taken<'_, '_>,
    mm: &InMm<'_>,
) -> Result<Result, BatchError> {
    let mut frame = batch.copy_in(sock, mm, taken.segs(), 0, taken.len(), 12)?;
    frame.header().fill(0);
    frame.commit();
    Ok(batch.send(sock))
}
