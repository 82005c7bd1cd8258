// SPDX-License-Identifier: GPL-2.0

//! What a guest can get wrong in a ring.

/// A guest's mistake.
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
    /// The used ring cannot be written, or the guest cannot be asked for kicks.
    UsedUnwritable,
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
    /// A buffer that cannot be read although it is in guest memory.
    Unreadable,
    /// A buffer that cannot be written although it is in guest memory.
    Unwritable,
}

impl Fault {
    /// Their names in the statistics, by [`Self::index`].
    pub(crate) const NAMES: [&'static str; 19] = [
        "avail-unreadable",
        "avail-jump",
        "head-range",
        "next-range",
        "loop",
        "desc-unreadable",
        "used-unwritable",
        "indirect-length",
        "indirect-too-long",
        "indirect-loop",
        "indirect-unreadable",
        "indirect-nested",
        "unmapped",
        "too-many-segments",
        "order",
        "direction",
        "no-packet",
        "unreadable",
        "unwritable",
    ];

    /// Its place in [`Self::NAMES`].
    pub(crate) const fn index(self) -> usize {
        // CAST: Fieldless variants number themselves from zero.
        self as usize
    }

    /// Whether nothing is wrong but one buffer, which can be handed back. Otherwise there is no
    /// head to hand back, or the ring cannot be trusted, and the queue stops.
    pub(crate) const fn is_buffer(self) -> bool {
        !matches!(
            self,
            Self::AvailUnreadable
                | Self::AvailJump
                | Self::HeadRange
                | Self::NextRange
                | Self::Loop
                | Self::DescUnreadable
                | Self::UsedUnwritable
        )
    }
}
