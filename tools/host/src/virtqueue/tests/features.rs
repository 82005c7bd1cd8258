// SPDX-License-Identifier: GPL-2.0

//! Features, and what they imply.

use crate::{
    vhost::uapi::BACKEND_OFFERED,
    virtqueue::features::{
        from_words,
        to_words,
        Negotiated,
        OFFERED, //
    },
};

const MRG: u128 = 1 << 15;
const ON_EMPTY: u128 = 1 << 24;
const HDR: u128 = 1 << 27;
const EVENT: u128 = 1 << 29;
const V1: u128 = 1 << 32;

const RECEIVES: u128 = 1 << 65;
const SENDS: u128 = 1 << 67;

#[test]
fn offered() {
    let bits: Vec<u32> = (0..128).filter(|bit| (OFFERED >> bit) & 1 != 0).collect();
    assert_eq!(bits, [15, 24, 26, 27, 28, 29, 32, 33, 35, 40, 65, 67]);
    // These are the features of the C module, which userspace requests by name.
    let [low, high] = to_words(OFFERED);
    assert_eq!((low, high), (0x0000_010B_3D00_8000, 0xA));
    assert_eq!(BACKEND_OFFERED, 2);
}

#[test]
fn words() {
    assert_eq!(to_words((2 << 64) | 1), [1, 2]);
    for bit in 0..128 {
        let words = to_words(1 << bit);
        assert_eq!(words[bit / 64], 1 << (bit % 64), "bit {bit}");
        assert_eq!(words[1 - bit / 64], 0, "bit {bit}");
        assert_eq!(from_words(words), 1 << bit);
    }
}

#[test]
fn nothing_set() {
    let none = Negotiated::NONE;
    assert_eq!((none.vhost_hlen(), none.sock_hlen()), (0, 0));
    assert!(!none.mergeable() && !none.event_idx() && !none.notify_on_empty());
    assert!(!none.sets_num_buffers());
    // Setting no features differs from not setting features: then the socket has a header.
    let empty = Negotiated::new(0);
    assert_eq!((empty.vhost_hlen(), empty.sock_hlen()), (0, 10));
}

/// The length of the header: on our side with the header feature, on the socket's without it.
#[test]
fn header_lengths() {
    let table = [
        (0, 0, 10),
        (V1, 0, 12),
        (MRG, 0, 12),
        (MRG | V1, 0, 12),
        (HDR, 10, 0),
        (HDR | V1, 12, 0),
        (HDR | MRG, 12, 0),
        (HDR | MRG | V1, 12, 0),
        (RECEIVES | V1, 0, 24),
        (SENDS | V1, 0, 24),
        (RECEIVES | SENDS | MRG | V1, 0, 24),
        (SENDS, 0, 24),
        (HDR | RECEIVES | V1, 24, 0),
        (HDR | SENDS, 24, 0),
    ];
    // Unrelated features.
    for other in [
        0,
        EVENT | ON_EMPTY | (1 << 28),
        !(MRG | V1 | HDR | RECEIVES | SENDS),
    ] {
        for (features, ours, socks) in table {
            let negotiated = Negotiated::new(features | other);
            assert_eq!(negotiated.vhost_hlen(), ours, "{features:#x}");
            assert_eq!(negotiated.sock_hlen(), socks, "{features:#x}");
        }
    }
}

#[test]
fn special() {
    for (features, log, platform) in [
        (1 << 26, true, false),
        (1 << 33, false, true),
        ((1 << 26) | (1 << 33) | V1, true, true),
        // In order is nothing special.
        ((1 << 35) | V1, false, false),
    ] {
        let negotiated = Negotiated::new(features);
        assert_eq!(negotiated.log_all(), log);
        assert_eq!(negotiated.access_platform(), platform);
        assert_eq!(negotiated.is_special(), log || platform);
    }
}

#[test]
fn answers() {
    for features in 0..1u128 << 5 {
        let bit = |at: u32| (features >> at) & 1 != 0;
        let (mrg, on_empty, event, v1, hdr) = (bit(0), bit(1), bit(2), bit(3), bit(4));
        let set = |yes: bool, bit: u128| if yes { bit } else { 0 };
        let negotiated = Negotiated::new(
            set(mrg, MRG)
                | set(on_empty, ON_EMPTY)
                | set(event, EVENT)
                | set(v1, V1)
                | set(hdr, HDR),
        );
        assert_eq!(negotiated.mergeable(), mrg);
        assert_eq!(negotiated.notify_on_empty(), on_empty);
        assert_eq!(negotiated.event_idx(), event);
        assert_eq!(negotiated.sets_num_buffers(), mrg || v1);
        assert!(!negotiated.is_special());
    }
}
