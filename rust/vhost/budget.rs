// SPDX-License-Identifier: GPL-2.0

//! What one run over a queue may move.

/// Packets that one run may move.
const PKT_WEIGHT: usize = 256;

/// Bytes that one run may move.
const WEIGHT: usize = 0x80000;

/// What one run may move, so that no queue starves another.
pub(crate) struct Budget {
    /// Packets and lost ones.
    turns: usize,
    packets: usize,
    bytes: usize,
}

impl Budget {
    pub(crate) const fn new() -> Self {
        Self {
            turns: 0,
            packets: 0,
            bytes: 0,
        }
    }

    /// A packet has gone through.
    #[inline]
    pub(crate) fn moved_one(&mut self, bytes: usize) {
        self.turns = self.turns.wrapping_add(1);
        self.packets = self.packets.wrapping_add(1);
        self.bytes = self.bytes.saturating_add(bytes);
    }

    /// A packet was lost, which has taken its time all the same.
    pub(crate) fn lost(&mut self) {
        self.turns = self.turns.wrapping_add(1);
    }

    /// Whether another packet may follow one of `len` bytes.
    pub(crate) fn has_room_for(&self, len: usize) -> bool {
        self.bytes.saturating_add(len) < WEIGHT
    }

    /// Whether it is another's turn.
    #[inline]
    pub(crate) fn is_spent(&self) -> bool {
        self.turns >= PKT_WEIGHT || self.bytes >= WEIGHT
    }

    /// The packets that have gone through, and their bytes without the header of `hlen` bytes
    /// that each had.
    pub(crate) fn moved(&self, hlen: usize) -> (usize, usize) {
        let headers = self.packets.saturating_mul(hlen);
        (self.packets, self.bytes.saturating_sub(headers))
    }
}
