// SPDX-License-Identifier: GPL-2.0

//! Names and kinds of faults.

use super::model::STOPS;
use crate::virtqueue::fault::Fault;

/// All faults in order; a new fault must be added here.
pub(super) fn all() -> Vec<Fault> {
    let next = |fault: &Fault| match fault {
        Fault::AvailUnreadable => Some(Fault::AvailJump),
        Fault::AvailJump => Some(Fault::HeadRange),
        Fault::HeadRange => Some(Fault::NextRange),
        Fault::NextRange => Some(Fault::Loop),
        Fault::Loop => Some(Fault::DescUnreadable),
        Fault::DescUnreadable => Some(Fault::UsedUnwritable),
        Fault::UsedUnwritable => Some(Fault::IndirectLength),
        Fault::IndirectLength => Some(Fault::IndirectTooLong),
        Fault::IndirectTooLong => Some(Fault::IndirectLoop),
        Fault::IndirectLoop => Some(Fault::IndirectUnreadable),
        Fault::IndirectUnreadable => Some(Fault::IndirectNested),
        Fault::IndirectNested => Some(Fault::Unmapped),
        Fault::Unmapped => Some(Fault::TooManySegments),
        Fault::TooManySegments => Some(Fault::Order),
        Fault::Order => Some(Fault::Direction),
        Fault::Direction => Some(Fault::NoPacket),
        Fault::NoPacket => Some(Fault::Unreadable),
        Fault::Unreadable => Some(Fault::Unwritable),
        Fault::Unwritable => Some(Fault::Denied),
        Fault::Denied => Some(Fault::Missing),
        Fault::Missing => None,
    };
    std::iter::successors(Some(Fault::AvailUnreadable), next).collect()
}

/// Each has a name of its own, that of the variant. Each either stops the queue or concerns one
/// buffer.
#[test]
fn names_and_kinds() {
    let all = all();
    assert_eq!(all.len(), Fault::NAMES.len());
    for (at, fault) in all.into_iter().enumerate() {
        assert_eq!(fault.index(), at);
        let mut name = String::new();
        for letter in format!("{fault:?}").chars() {
            if letter.is_uppercase() && !name.is_empty() {
                name.push('-');
            }
            name.extend(letter.to_lowercase());
        }
        assert_eq!(Fault::NAMES[at], name);
        assert_eq!(fault.is_buffer(), !STOPS.contains(&fault), "{fault:?}");
    }
}
