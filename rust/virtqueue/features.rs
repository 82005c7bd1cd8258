// SPDX-License-Identifier: GPL-2.0

//! The feature bits that the device offers, and what the negotiated ones imply.
//!
//! The properties that the data path needs are derived once, when userspace sets the features.

/// `VIRTIO_NET_F_MRG_RXBUF`: a packet may span several receive buffers.
const NET_F_MRG_RXBUF: u128 = 1 << 15;
/// `VIRTIO_F_NOTIFY_ON_EMPTY`: interrupt the guest when it has no more available buffers, even if
/// it suppresses interrupts.
const F_NOTIFY_ON_EMPTY: u128 = 1 << 24;
/// `VHOST_NET_F_VIRTIO_NET_HDR`: the device adds and removes the virtio-net header, and the socket
/// does not use one. For a guest the same bit is `VIRTIO_F_ANY_LAYOUT`, which needs no support here
/// because any layout of descriptors is accepted in any case.
const NET_F_VIRTIO_NET_HDR: u128 = 1 << 27;
/// `VHOST_F_LOG_ALL`: log writes to buffers.
const F_LOG_ALL: u128 = 1 << 26;
/// `VIRTIO_RING_F_INDIRECT_DESC`.
const RING_F_INDIRECT_DESC: u128 = 1 << 28;
/// `VIRTIO_RING_F_EVENT_IDX`: each side tells the other at which index it wants a notification.
const RING_F_EVENT_IDX: u128 = 1 << 29;
/// `VIRTIO_F_VERSION_1`.
const F_VERSION_1: u128 = 1 << 32;

/// `VIRTIO_F_ACCESS_PLATFORM`: addresses are I/O virtual, and translated by a device IOTLB.
const F_ACCESS_PLATFORM: u128 = 1 << 33;
/// `VIRTIO_F_IN_ORDER`: buffers are made available in the order of the descriptor table, and used in
/// that order. The device uses them in order in any case. It may then derive heads from the length
/// of chains and skip used entries, which it does not: a driver writes the heads nevertheless, they
/// are read many at once, and they are right where the length of earlier chains is not known, as
/// after VHOST_SET_VRING_BASE.
const F_IN_ORDER: u128 = 1 << 35;

/// `VIRTIO_F_RING_RESET`: the driver may reset a single queue. For the device that is a sequence of
/// requests from userspace, which are valid for one queue while the other one runs.
const F_RING_RESET: u128 = 1 << 40;

/// `VIRTIO_NET_F_GUEST_UDP_TUNNEL_GSO`: the driver receives packets for segmentation within a UDP
/// tunnel.
const NET_F_GUEST_UDP_TUNNEL_GSO: u128 = 1 << 65;
/// `VIRTIO_NET_F_HOST_UDP_TUNNEL_GSO`: the driver sends such packets.
const NET_F_HOST_UDP_TUNNEL_GSO: u128 = 1 << 67;

/// The number of 64-bit words that the feature bits have in VHOST_GET_FEATURES_ARRAY.
pub(crate) const WORDS: usize = 2;

/// The features that VHOST_GET_FEATURES_ARRAY returns.
pub(crate) const OFFERED: u128 = NET_F_MRG_RXBUF
    | F_NOTIFY_ON_EMPTY
    | F_LOG_ALL
    | NET_F_VIRTIO_NET_HDR
    | RING_F_INDIRECT_DESC
    | RING_F_EVENT_IDX
    | F_VERSION_1
    | F_ACCESS_PLATFORM
    | F_IN_ORDER
    | F_RING_RESET
    | NET_F_GUEST_UDP_TUNNEL_GSO
    | NET_F_HOST_UDP_TUNNEL_GSO;

/// Returns the words of feature bits, the least significant one first.
pub(crate) const fn to_words(features: u128) -> [u64; WORDS] {
    // CAST: The lower and the upper half.
    [features as u64, (features >> 64) as u64]
}

/// Returns the feature bits from their words.
pub(crate) const fn from_words([low, high]: [u64; WORDS]) -> u128 {
    // CAST: Widening.
    low as u128 | ((high as u128) << 64)
}

/// The lengths in bytes of `struct virtio_net_hdr`, `struct virtio_net_hdr_mrg_rxbuf` and `struct
/// virtio_net_hdr_v1_hash_tunnel`.
const HDR_LEN: usize = 10;
const HDR_LEN_MRG: usize = 12;
const HDR_LEN_TUNNEL: usize = 24;

/// The properties that follow from the negotiated features.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Negotiated {
    mergeable: bool,
    event_idx: bool,
    notify_on_empty: bool,
    sets_num_buffers: bool,
    log_all: bool,
    access_platform: bool,
    vhost_hlen: usize,
    sock_hlen: usize,
}

impl Negotiated {
    /// The properties before features are set: all false, and no header.
    pub(crate) const NONE: Self = Self {
        mergeable: false,
        event_idx: false,
        notify_on_empty: false,
        sets_num_buffers: false,
        log_all: false,
        access_platform: false,
        vhost_hlen: 0,
        sock_hlen: 0,
    };

    /// Derives the properties from the feature bits of VHOST_SET_FEATURES_ARRAY.
    pub(crate) const fn new(features: u128) -> Self {
        let mergeable = features & NET_F_MRG_RXBUF != 0;
        let sets_num_buffers = mergeable || features & F_VERSION_1 != 0;
        let tunnel = NET_F_GUEST_UDP_TUNNEL_GSO | NET_F_HOST_UDP_TUNNEL_GSO;
        let hlen = if features & tunnel != 0 {
            HDR_LEN_TUNNEL
        } else if sets_num_buffers {
            HDR_LEN_MRG
        } else {
            HDR_LEN
        };
        let ours = features & NET_F_VIRTIO_NET_HDR != 0;
        Self {
            mergeable,
            event_idx: features & RING_F_EVENT_IDX != 0,
            notify_on_empty: features & F_NOTIFY_ON_EMPTY != 0,
            sets_num_buffers,
            log_all: features & F_LOG_ALL != 0,
            access_platform: features & F_ACCESS_PLATFORM != 0,
            vhost_hlen: if ours { hlen } else { 0 },
            sock_hlen: if ours { 0 } else { hlen },
        }
    }

    /// Returns whether a packet may span several receive buffers.
    #[inline]
    pub(crate) const fn mergeable(&self) -> bool {
        self.mergeable
    }

    /// Returns whether notifications are controlled by `used_event` and `avail_event` instead of
    /// flags.
    #[inline]
    pub(crate) const fn event_idx(&self) -> bool {
        self.event_idx
    }

    /// Returns whether using the last available buffer always causes an interrupt.
    #[inline]
    pub(crate) const fn notify_on_empty(&self) -> bool {
        self.notify_on_empty
    }

    /// Returns whether the header of a received packet contains the number of its buffers.
    #[inline]
    pub(crate) const fn sets_num_buffers(&self) -> bool {
        self.sets_num_buffers
    }

    /// Returns whether writes to buffers are logged.
    #[inline]
    pub(crate) const fn log_all(&self) -> bool {
        self.log_all
    }

    /// Returns whether the device has an IOTLB.
    #[inline]
    pub(crate) const fn access_platform(&self) -> bool {
        self.access_platform
    }

    /// Returns whether any feature needs the way to memory that can do everything.
    #[inline]
    pub(crate) const fn is_special(&self) -> bool {
        self.log_all || self.access_platform
    }

    /// Returns the length in bytes of the header that the device adds and removes.
    #[inline]
    pub(crate) const fn vhost_hlen(&self) -> usize {
        self.vhost_hlen
    }

    /// Returns the length in bytes of the header that the socket expects and supplies.
    #[inline]
    pub(crate) const fn sock_hlen(&self) -> usize {
        self.sock_hlen
    }
}
