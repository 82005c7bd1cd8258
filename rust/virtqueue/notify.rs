// SPDX-License-Identifier: GPL-2.0

//! Decides whether to interrupt the guest (VIRTIO 1.3, 2.7.7 and 2.7.10).

use crate::virtqueue::{
    features::Negotiated,
    mem::GuestMemory,
    ring::Ring,
    uapi::AVAIL_F_NO_INTERRUPT, //
};

/// Returns whether the used index passes `event` when it moves from `old` to `new`: whether `old <=
/// event < new`, modulo 2^16. This is `vring_need_event()`.
#[inline]
pub(crate) const fn passes(event: u16, new: u16, old: u16) -> bool {
    new.wrapping_sub(event).wrapping_sub(1) < new.wrapping_sub(old)
}

/// Returns whether to interrupt the guest for the used entries that have been published. With
/// EVENT_IDX the used index is recorded for the next comparison, except where
/// VIRTIO_F_NOTIFY_ON_EMPTY decides.
///
/// If `used_event` or the flags cannot be read, the guest is interrupted.
pub(super) fn wants_interrupt<M: GuestMemory>(
    ring: &mut Ring,
    mem: &M,
    negotiated: Negotiated,
) -> bool {
    // The guest writes `used_event` or its flags and then reads the used index. The device has
    // written the used index and reads the others next. Pairs with the guest's full barrier.
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
