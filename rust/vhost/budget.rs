// SPDX-License-Identifier: GPL-2.0

//! The limit on what one run of a queue may transfer, so that no queue starves another.

/// The limit of packets, lost packets and invalid buffers in one run.
const PKT_WEIGHT: usize = 256;

/// The number of descriptors that are counted as one more packet.
const DESCS: usize = 64;

/// The limit of bytes in one run.
const WEIGHT: usize = 0x80000;

/// What a run has used of the limits.
pub(crate) struct Budget {
    /// The packets that were transferred, and their bytes.
    packets: usize,
    bytes: usize,
    /// The lost packets, the invalid buffers, and the additional work of long chains.
    lost: usize,
    /// The part of `packets` and `bytes` that is in the statistics.
    counted: (usize, usize),
}

impl Budget {
    /// Creates the budget of a new run.
    pub(crate) const fn new() -> Self {
        Self {
            packets: 0,
            bytes: 0,
            lost: 0,
            counted: (0, 0),
        }
    }

    /// Counts a packet that was transferred, of `bytes` without virtio-net header.
    #[inline(always)]
    pub(crate) fn moved_one(&mut self, bytes: usize) {
        // OVERFLOW: A packet has at most 4 GiB, and exceeding [`WEIGHT`] ends the run.
        self.packets = self.packets.wrapping_add(1);
        self.bytes = self.bytes.wrapping_add(bytes);
    }

    /// Counts a lost packet or an invalid buffer, which takes time as well.
    pub(crate) fn lost(&mut self) {
        self.lost = self.lost.wrapping_add(1);
    }

    /// Counts the descriptors read for one packet: a long chain is as much work as several packets.
    #[inline]
    pub(crate) fn read(&mut self, descs: usize) {
        self.lost = self.lost.wrapping_add(descs / DESCS);
    }

    /// Returns how many packets may still be transferred, lost or rejected.
    #[inline]
    pub(crate) fn packets_left(&self) -> usize {
        PKT_WEIGHT.saturating_sub(self.packets())
    }

    /// Returns how many packets were transferred, lost or rejected, including the work of long
    /// chains.
    #[inline]
    pub(crate) fn packets(&self) -> usize {
        self.packets.wrapping_add(self.lost)
    }

    /// Returns how many bytes may still be transferred.
    #[inline(always)]
    pub(crate) fn bytes_left(&self) -> usize {
        WEIGHT.saturating_sub(self.bytes)
    }

    /// Returns whether the run has to end so that other queues are served.
    #[inline]
    pub(crate) fn is_spent(&self) -> bool {
        self.packets_left() == 0 || self.bytes_left() == 0
    }

    /// Returns the packets and bytes that were transferred since the last call.
    pub(crate) fn uncounted(&mut self) -> (usize, usize) {
        let (packets, bytes) = self.counted;
        self.counted = (self.packets, self.bytes);
        (
            self.packets.wrapping_sub(packets),
            self.bytes.wrapping_sub(bytes),
        )
    }
}
