// SPDX-License-Identifier: GPL-2.0

//! What a guest can get wrong in a ring.

/// A guest's mistake. The queue stops there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The available ring cannot be read.
    AvailUnreadable,
    /// More buffers are said to be available than the ring has entries.
    AvailJump,
    /// A chain starts outside the descriptor table.
    HeadRange,
    /// A chain goes on outside the descriptor table.
    NextRange,
    /// A chain is longer than the descriptor table.
    Loop,
    /// The descriptor table cannot be read.
    DescUnreadable,
    /// The length of an indirect table is not one of whole descriptors.
    IndirectLength,
    /// An indirect table has more descriptors than a chain can number.
    IndirectTooLong,
    /// The chain in an indirect table runs over its end.
    IndirectLoop,
    /// An indirect table cannot be read.
    IndirectUnreadable,
    /// An indirect table refers to another.
    IndirectNested,
    /// A buffer is not in guest memory.
    Unmapped,
    /// A buffer is in more pieces than a packet may have.
    TooManySegments,
    /// A buffer to read follows one to write.
    Order,
    /// A buffer to write where there is only reading, or the reverse.
    Direction,
    /// A buffer without a packet in it.
    NoPacket,
    /// The header of a received packet cannot be written.
    HeaderUnwritable,
    /// As many pieces as a packet may have do not hold the one that is to be received.
    NoRoom,
    /// The used ring cannot be written.
    UsedUnwritable,
}

impl Fault {
    /// Whether userspace is told through the error eventfd.
    pub(crate) fn is_reported(self) -> bool {
        !matches!(self, Self::NoRoom)
    }
}
