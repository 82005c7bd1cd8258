// SPDX-License-Identifier: GPL-2.0

//! What is offered, and what follows from what was accepted.
//!
//! Every yes or no that the data path needs is decided here, once, when features are set.

/// `VIRTIO_NET_F_MRG_RXBUF`: a packet may span several receive buffers.
const NET_F_MRG_RXBUF: u64 = 1 << 15;
/// `VIRTIO_F_NOTIFY_ON_EMPTY`: an interrupt whenever all buffers are used up.
const F_NOTIFY_ON_EMPTY: u64 = 1 << 24;
/// `VHOST_NET_F_VIRTIO_NET_HDR`: the header is ours, the socket has none. As
/// `VIRTIO_F_ANY_LAYOUT`, the same bit, it asks for nothing that is not always so.
const NET_F_VIRTIO_NET_HDR: u64 = 1 << 27;
/// `VIRTIO_RING_F_INDIRECT_DESC`.
const RING_F_INDIRECT_DESC: u64 = 1 << 28;
/// `VIRTIO_RING_F_EVENT_IDX`: both sides say from which index on they want to be told.
const RING_F_EVENT_IDX: u64 = 1 << 29;
/// `VIRTIO_F_VERSION_1`.
const F_VERSION_1: u64 = 1 << 32;

/// The features of VHOST_GET_FEATURES: those that work.
pub(crate) const OFFERED: u64 = NET_F_MRG_RXBUF
    | F_NOTIFY_ON_EMPTY
    | NET_F_VIRTIO_NET_HDR
    | RING_F_INDIRECT_DESC
    | RING_F_EVENT_IDX
    | F_VERSION_1;

/// The length of `struct virtio_net_hdr` and of the one with `num_buffers`, in bytes.
const HDR_LEN: usize = 10;
const HDR_LEN_MRG: usize = 12;

/// What was negotiated, as answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Negotiated {
    mergeable: bool,
    event_idx: bool,
    notify_on_empty: bool,
    sets_num_buffers: bool,
    vhost_hlen: usize,
    sock_hlen: usize,
}

impl Negotiated {
    /// Before anything was set; there is no header then.
    pub(crate) const NONE: Self = Self {
        mergeable: false,
        event_idx: false,
        notify_on_empty: false,
        sets_num_buffers: false,
        vhost_hlen: 0,
        sock_hlen: 0,
    };

    /// What follows from `features`.
    pub(crate) const fn new(features: u64) -> Self {
        let mergeable = features & NET_F_MRG_RXBUF != 0;
        let sets_num_buffers = mergeable || features & F_VERSION_1 != 0;
        let hlen = if sets_num_buffers {
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
            vhost_hlen: if ours { hlen } else { 0 },
            sock_hlen: if ours { 0 } else { hlen },
        }
    }

    /// Whether a packet may span several receive buffers.
    #[inline]
    pub(crate) const fn mergeable(&self) -> bool {
        self.mergeable
    }

    /// Whether notifications go by index.
    #[inline]
    pub(crate) const fn event_idx(&self) -> bool {
        self.event_idx
    }

    /// Whether using up the last buffer always interrupts.
    #[inline]
    pub(crate) const fn notify_on_empty(&self) -> bool {
        self.notify_on_empty
    }

    /// Whether the header of a received packet says how many buffers it spans.
    #[inline]
    pub(crate) const fn sets_num_buffers(&self) -> bool {
        self.sets_num_buffers
    }

    /// The bytes of header that we add and take away.
    #[inline]
    pub(crate) const fn vhost_hlen(&self) -> usize {
        self.vhost_hlen
    }

    /// The bytes of header that the socket expects and supplies.
    #[inline]
    pub(crate) const fn sock_hlen(&self) -> usize {
        self.sock_hlen
    }
}
