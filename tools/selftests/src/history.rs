// SPDX-License-Identifier: GPL-2.0

//! What has gone wrong in vhost before: one case for each entry of its record, named after it.

mod packets;
mod requests;

use crate::{
    tap::Suite,
    vhost::{Errno, F_EVENT_IDX},
};

/// Entries about what is not offered, and therefore cannot be reached.
const NOT_YET: [(&str, &str); 11] = [
    ("CVE-2012-2119: segments of a zerocopy packet", "zerocopy"),
    (
        "CVE-2013-4127: zerocopy counters on a change of backend",
        "zerocopy",
    ),
    ("CVE-2015-6252: a log file kept", "dirty logging"),
    (
        "CVE-2018-1118, CVE-2024-0340: padding of IOTLB messages",
        "device IOTLB",
    ),
    (
        "CVE-2019-14835: log entries of empty indirect descriptors",
        "dirty logging",
    ),
    ("2025, zerocopy counter used after its wake-up", "zerocopy"),
    ("one miss for each queue", "device IOTLB"),
    (
        "the translation cache after a change of size",
        "device IOTLB",
    ),
    (
        "ring addresses when ACCESS_PLATFORM changes",
        "device IOTLB",
    ),
    ("log pages that are gone", "dirty logging"),
    (
        "CVE-2024-41090, CVE-2026-46320: short frames to a tap with XDP, and to macvtap",
        "programs in the test machine",
    ),
];

pub fn run(suite: &mut Suite, path: &str) {
    suite.case("CVE-2014-0077: a packet longer than its buffer", || {
        packets::too_long(path)
    });
    suite.case(
        "CVE-2018-16880: a thousand heads behind a full batch",
        || packets::many_heads(path),
    );
    suite.case("CVE-2019-3900: packets that are always dropped", || {
        packets::always_dropped(path)
    });
    suite.case("CVE-2020-10942: sockets of every family", || {
        requests::every_family(path)
    });
    suite.case("CVE-2022-48862: a region of no size", || {
        requests::empty_region(path)
    });
    suite.case(
        "CVE-2023-1838: a file that changes while it is looked up",
        || requests::changing_file(path),
    );
    suite.case(
        "CVE-2024-41091, CVE-2026-46321: short frames, and their pages",
        || packets::short_frames(path),
    );
    suite.case(
        "2025, waking an exited worker: kicks while the owner is killed",
        || requests::kicked_and_killed(path),
    );
    for features in [0, F_EVENT_IDX] {
        suite.case(
            &format!("2026, receive livelock: a packet for more buffers, features {features:#x}"),
            || packets::livelock(path, features),
        );
    }
    suite.case("ranges near and above the limit of user memory", || {
        requests::ranges(path)
    });
    for (name, what) in NOT_YET {
        suite.not_yet(name, what);
    }
}

fn err(e: Errno) -> String {
    format!("{e:?}")
}
