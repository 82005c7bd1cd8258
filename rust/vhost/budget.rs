// SPDX-License-Identifier: GPL-2.0

//! What one run over a queue may move, so that no queue starves another.

/// Packets, lost ones and buffers that were refused in one run.
const PKT_WEIGHT: usize = 256;

/// Descriptors that are as much work as a packet.
const DESCS: usize = 64;

/// Bytes in one run.
const WEIGHT: usize = 0x80000;

/// How much of it is used up.
pub(crate) struct Budget {
    /// Packets and bytes that have gone through.
    packets: usize,
    bytes: usize,
    /// Packets that were lost, and buffers that were refused.
    lost: usize,
    /// What of the packets and bytes is in the statistics.
    counted: (usize, usize),
}

impl Budget {
    /// That of a run that begins.
    pub(crate) const fn new() -> Self {
        Self {
            packets: 0,
            bytes: 0,
            lost: 0,
            counted: (0, 0),
        }
    }

    /// A packet has gone through: its length without virtio-net header.
    #[inline(always)]
    pub(crate) fn moved_one(&mut self, bytes: usize) {
        // OVERFLOW: A packet of at most 4 GiB, and no other behind so many bytes.
        self.packets = self.packets.wrapping_add(1);
        self.bytes = self.bytes.wrapping_add(bytes);
    }

    /// A packet was lost or a buffer refused, which has taken its time all the same.
    pub(crate) fn lost(&mut self) {
        self.lost = self.lost.wrapping_add(1);
    }

    /// So many descriptors were read for one packet: those of a long chain are as much work as many
    /// packets.
    #[inline]
    pub(crate) fn read(&mut self, descs: usize) {
        self.lost = self.lost.wrapping_add(descs / DESCS);
    }

    /// The packets that may still go through, be lost or be refused.
    #[inline]
    pub(crate) fn packets_left(&self) -> usize {
        PKT_WEIGHT.saturating_sub(self.packets())
    }

    /// Those that were.
    #[inline]
    pub(crate) fn packets(&self) -> usize {
        self.packets.wrapping_add(self.lost)
    }

    /// The bytes that may still be moved.
    #[inline(always)]
    pub(crate) fn bytes_left(&self) -> usize {
        WEIGHT.saturating_sub(self.bytes)
    }

    /// Whether it is another's turn.
    #[inline]
    pub(crate) fn is_spent(&self) -> bool {
        self.packets_left() == 0 || self.bytes_left() == 0
    }

    /// The packets that have gone through since the last call, and their bytes.
    pub(crate) fn uncounted(&mut self) -> (usize, usize) {
        let (packets, bytes) = self.counted;
        self.counted = (self.packets, self.bytes);
        (
            self.packets.wrapping_sub(packets),
            self.bytes.wrapping_sub(bytes),
        )
    }
}
