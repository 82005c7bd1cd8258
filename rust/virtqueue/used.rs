// SPDX-License-Identifier: GPL-2.0

//! Returning buffers to the guest in batches (VIRTIO 1.3, 2.7.8).

use crate::virtqueue::{
    fault::Fault,
    features::Negotiated,
    mem::{
        GuestMemory,
        MemFault, //
    },
    notify::wants_interrupt,
    ring::Ring,
    uapi::UsedElem, //
};

/// The result of publishing used entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Published {
    /// Whether the guest wants an interrupt.
    pub(crate) signal: bool,
    /// Set if the used ring was not writable; the used index is unchanged then.
    pub(crate) fault: Option<Fault>,
}

/// Writes `elems` to the used ring, advances the used index once, and decides about an interrupt.
///
/// Without a call eventfd, when `has_call` is false, no decision is made and `signal` is false.
pub(crate) fn publish<M: GuestMemory>(
    ring: &mut Ring,
    mem: &M,
    negotiated: Negotiated,
    elems: &[UsedElem],
    has_call: bool,
) -> Published {
    let fault = write(ring, mem, elems)
        .err()
        .map(|MemFault| Fault::UsedUnwritable);
    Published {
        signal: has_call && wants_interrupt(ring, mem, negotiated),
        fault,
    }
}

fn write<M: GuestMemory>(ring: &mut Ring, mem: &M, elems: &[UsedElem]) -> Result<(), MemFault> {
    let layout = ring.layout();
    let mut at = ring.next_used();
    let mut rest = elems;
    while !rest.is_empty() {
        let len = rest.len().min(layout.until_wrap(at));
        let (now, later) = rest.split_at_checked(len).ok_or(MemFault)?;
        mem.write_used(layout.used_entry(at), now)?;
        at = at.wrapping_add(u16::try_from(len).map_err(|_| MemFault)?);
        rest = later;
    }
    mem.wmb();
    let count = u16::try_from(elems.len()).map_err(|_| MemFault)?;
    ring.advance_used(mem, count)
}
