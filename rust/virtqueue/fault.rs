// SPDX-License-Identifier: GPL-2.0

//! Errors in a ring or a buffer that the guest causes.

/// An error that the guest has caused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The available ring is not readable.
    AvailUnreadable,
    /// The available index is more than the queue size ahead.
    AvailJump,
    /// A head in the available ring is outside the descriptor table.
    HeadRange,
    /// The `next` field of a descriptor is outside the descriptor table.
    NextRange,
    /// A chain has more descriptors than the descriptor table.
    Loop,
    /// The descriptor table is not readable.
    DescUnreadable,
    /// The used ring is not writable, or kicks cannot be enabled.
    UsedUnwritable,
    /// The length of an indirect table is not a multiple of the size of a descriptor.
    IndirectLength,
    /// The indirect tables of a chain have more descriptors than allowed.
    IndirectTooLong,
    /// The chain in an indirect table continues past the end of the table.
    IndirectLoop,
    /// An indirect table is not readable.
    IndirectUnreadable,
    /// A descriptor in an indirect table refers to another indirect table.
    IndirectNested,
    /// An address of a buffer is in no region of the memory table.
    Unmapped,
    /// A buffer has more segments than a packet may have.
    TooManySegments,
    /// A readable segment follows a writable one.
    Order,
    /// A transmit buffer has a writable segment, or a receive buffer has a readable one.
    Direction,
    /// A transmit buffer contains no packet.
    NoPacket,
    /// A buffer is in the memory table but not readable.
    Unreadable,
    /// A buffer is in the memory table but not writable.
    Unwritable,
    /// The IOTLB does not permit the access to a buffer.
    Denied,
    /// The IOTLB has no translation yet. This is no fault of the guest: userspace is asked for it.
    Missing,
}

impl Fault {
    /// The names of the faults in the statistics, indexed by [`Self::index`].
    pub(crate) const NAMES: [&'static str; 21] = [
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
        "denied",
        "missing",
    ];

    /// Returns the index of the fault in [`Self::NAMES`].
    pub(crate) const fn index(self) -> usize {
        // CAST: Fieldless variants number themselves from zero.
        self as usize
    }

    /// Returns whether the fault concerns only one buffer, which can be returned to the guest.
    /// Otherwise there is no head to return, or the ring cannot be trusted, and the queue stops.
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
                | Self::Missing
        )
    }
}
