// SPDX-License-Identifier: GPL-2.0

//! Known defects of vhost: at least one case for each entry of the record, named after it.

mod packets;
mod races;
mod requests;
mod taps;

use crate::{
    diag, hostile,
    tap::Suite,
    vhost::{Errno, F_EVENT_IDX, F_IN_ORDER},
};

/// Entries about zero copy, which is not offered.
const NOT_YET: [(&str, &str); 3] = [
    ("CVE-2012-2119: segments of a zerocopy packet", "zerocopy"),
    (
        "CVE-2013-4127: zerocopy counters on a change of backend",
        "zerocopy",
    ),
    ("2025, zerocopy counter used after its wake-up", "zerocopy"),
];

/// Entries that no test program can show, or that another suite covers, with how they are checked.
/// They are not counted here.
const ELSEWHERE: [(&str, &str); 16] = [
    ("CVE-2015-6252", "suite dirty: a log file kept"),
    (
        "CVE-2018-1118, CVE-2024-0340",
        "suite iotlb: padding of IOTLB messages",
    ),
    (
        "CVE-2019-14835",
        "suite dirty: chains of empty indirect descriptors",
    ),
    ("CVE-2022-48862", "suite iotlb: an IOTLB entry of no size"),
    (
        "ranges near the limit: IOTLB messages and the log",
        "suites iotlb and dirty: ranges near the limit, SET_LOG_BASE",
    ),
    ("one miss for each queue", "suite iotlb: the same name"),
    (
        "the translation cache after a change of size",
        "suite iotlb: the same name",
    ),
    (
        "ring addresses when ACCESS_PLATFORM changes",
        "suite iotlb: the same name",
    ),
    (
        "log pages that are gone",
        "suite dirty: a log that is not mapped",
    ),
    (
        "a blocked reader when the device goes",
        "suite iotlb: a blocked reader when the IOTLB goes",
    ),
    (
        "an IOTLB message without an owner",
        "suite iotlb: the same name",
    ),
    (
        "2021, PREEMPT_RT: guests that lose the network",
        "all suites on the rt-amd64 flavour: make test KERNEL=...-rt-amd64",
    ),
    (
        "speculation clamp: an index from the user",
        "by reading: array_index_nospec in rust/vhost/ioctl.rs, the one table that a user indexes",
    ),
    (
        "RLIMIT_NPROC 0",
        "suite limits: no more processes: no worker of the owner's",
    ),
    (
        "an eventfd at its maximum",
        "suite limits: eventfds at their maximum",
    ),
    (
        "fork and exec of the owner under load",
        "suite lifecycle: the owner executes another program under traffic",
    ),
];

pub fn run(suite: &mut Suite, path: &str) {
    rings(suite, path);
    requests(suite, path);
    taps(suite, path);
    livelock(suite, path);
    defences(suite, path);
    for (name, what) in NOT_YET {
        suite.not_yet(name, what);
    }
    for (name, how) in ELSEWHERE {
        diag!("checked elsewhere: {name} ({how})");
    }
}

fn rings(suite: &mut Suite, path: &str) {
    suite.case(
        "CVE-2014-0055: a head that cannot be fetched, and too few heads",
        || packets::bad_head(path),
    );
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
    suite.case("CVE-2019-3900: and the owner is killed meanwhile", || {
        packets::dropping_killed(path)
    });
    suite.case(
        "CVE-2019-3900: a buffer that may be retried, and the owner is killed",
        || packets::retried_killed(path),
    );
}

fn requests(suite: &mut Suite, path: &str) {
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
        "2025, waking an exited worker: kicks while the owner is killed",
        || requests::kicked_and_killed(path),
    );
    suite.case("ranges near and above the limit of user memory", || {
        requests::ranges(path)
    });
}

fn taps(suite: &mut Suite, path: &str) {
    suite.case(
        "CVE-2024-41091, CVE-2026-46321: short frames, and their pages",
        || taps::short_frames(path),
    );
    suite.case(
        "CVE-2024-41091, CVE-2026-46321: the same to a tap with XDP",
        || taps::short_frames_xdp(path),
    );
    suite.case(
        "CVE-2024-41090, CVE-2026-46320: the same to a macvtap",
        || taps::short_frames_macvtap(path),
    );
    suite.case_c_fails(
        "a tap is removed under load",
        "a batch that cannot be sent is never handed back",
        || taps::tap_removed(path),
    );
    suite.case("a macvtap is removed under load", || {
        taps::macvtap_removed(path)
    });
}

fn livelock(suite: &mut Suite, path: &str) {
    for features in [0, F_EVENT_IDX, F_IN_ORDER, F_IN_ORDER | F_EVENT_IDX] {
        suite.case(
            &format!("2026, receive livelock: a packet for more buffers, features {features:#x}"),
            || packets::livelock(path, features),
        );
        suite.case(
            &format!("2026, receive livelock: the owner is killed, features {features:#x}"),
            || packets::livelock_killed(path, features),
        );
    }
}

fn defences(suite: &mut Suite, path: &str) {
    suite.case("avail delta check: an index beyond the ring", || {
        hostile::indices_beyond(path)
    });
    suite.case(
        "poll stop before fput, flush after: kick files replaced while written to",
        || races::kicks_replaced(path),
    );
    suite.case(
        "descriptor copied once: it changes while it is fetched",
        || races::fetched_once(path),
    );
    suite.case("SET_OWNER of two processes", || races::two_owners(path));
    suite.case("SET_FEATURES by another process during traffic", || {
        races::features_by_another(path)
    });
}

fn err(e: Errno) -> String {
    format!("{e:?}")
}
