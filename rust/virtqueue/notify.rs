// SPDX-License-Identifier: GPL-2.0

//! Whether the guest is to be interrupted (VIRTIO 1.3, 2.7.7 and 2.7.10).

use crate::virtqueue::{
    features::Negotiated,
    mem::GuestMemory,
    ring::Ring,
    uapi::AVAIL_F_NO_INTERRUPT, //
};

/// Whether going from `old` to `new` passes `event`: the index plus one is among the new ones.
#[inline]
pub(crate) const fn passes(event: u16, new: u16, old: u16) -> bool {
    new.wrapping_sub(event).wrapping_sub(1) < new.wrapping_sub(old)
}

/// Decides about the interrupt for what has been published, and remembers that it was decided.
///
/// A wish that cannot be read counts as one for an interrupt.
pub(super) fn wants_interrupt<M: GuestMemory>(
    ring: &mut Ring,
    mem: &M,
    negotiated: Negotiated,
) -> bool {
    // The guest writes its wish and then looks at the used index; we do it the other way round.
    mem.mb();
    if negotiated.notify_on_empty() && ring.is_drained() {
        return true;
    }
    if !negotiated.event_idx() {
        return match ring.interrupt_wish(mem) {
            Ok(flags) => flags & AVAIL_F_NO_INTERRUPT == 0,
            Err(_) => true,
        };
    }
    let new = ring.next_used();
    let Some(old) = ring.signalled_used.replace(new) else {
        return true;
    };
    match ring.interrupt_wish(mem) {
        Ok(event) => passes(event, new, old),
        Err(_) => true,
    }
}
