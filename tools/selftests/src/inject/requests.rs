// SPDX-License-Identifier: GPL-2.0

//! The requests to a device with an owner, the effect of each, and its possible errors.

use super::{
    effects,
    sweep::{
        sweep, Request, Spare,
        When::{Detached, Serving},
    },
};
use crate::{setup::Net, tap::Suite, vhost::*};
use std::os::fd::AsRawFd;

/// Not an errno of any request: the request succeeded and returned a wrong value.
const WRONG: Errno = Errno(libc::EBADMSG);

/// The value that a request returned.
fn tells<T: PartialEq>(got: Result<T>, expected: T) -> Result {
    match got {
        Ok(got) if got == expected => Ok(()),
        Ok(_) => Err(WRONG),
        Err(e) => Err(e),
    }
}

/// The second word of the features.
const TUNNELS: u64 = F_GUEST_UDP_TUNNEL_GSO | F_HOST_UDP_TUNNEL_GSO;

/// A request to a detached device that only copies its argument.
const COPIES: Request = Request {
    name: "",
    when: &[Detached],
    op: |_, _| Ok(()),
    effect: effects::ANSWERED,
    errnos: &[EFAULT],
    least: 1,
};

const DEVICE: [Request; 9] = [
    Request {
        name: "GET_FEATURES",
        op: |n, s| tells(n.dev.features(), s.features),
        ..COPIES
    },
    Request {
        name: "SET_FEATURES",
        op: |n, _| n.dev.set_features(F_VERSION_1 | F_EVENT_IDX),
        effect: effects::event_idx,
        ..COPIES
    },
    Request {
        name: "GET_FEATURES_ARRAY",
        op: |n, s| tells(n.dev.features_array(), [s.features, TUNNELS, 0, 0]),
        least: 3,
        ..COPIES
    },
    Request {
        name: "SET_FEATURES_ARRAY",
        op: |n, _| n.dev.set_features_array(&[F_VERSION_1 | F_EVENT_IDX, 0, 0]),
        effect: effects::event_idx,
        least: 4,
        ..COPIES
    },
    Request {
        name: "GET_BACKEND_FEATURES",
        op: |n, _| tells(n.dev.backend_features(), BACKEND_F_IOTLB_MSG_V2),
        ..COPIES
    },
    Request {
        name: "SET_BACKEND_FEATURES",
        op: |n, _| n.dev.set_backend_features(0),
        ..COPIES
    },
    Request {
        name: "GET_FORK_FROM_OWNER",
        op: |n, _| tells(n.dev.fork_from_owner(), 1),
        ..COPIES
    },
    Request {
        name: "SET_MEM_TABLE",
        when: &[Detached, Serving],
        op: |n, _| n.dev.set_mem_table(&n.rings[0].mem.regions()[1..], 0),
        effect: effects::half_table,
        errnos: &[EFAULT, ENOMEM],
        least: 5,
    },
    Request {
        name: "RESET_OWNER",
        when: &[Detached, Serving],
        op: |n, _| n.dev.reset_owner(),
        effect: effects::unowned,
        errnos: &[ENOMEM],
        least: 1,
    },
];

const RINGS: [Request; 7] = [
    Request {
        name: "SET_VRING_NUM",
        op: |n, _| n.dev.set_num(TX, 2),
        effect: effects::two,
        least: 2,
        ..COPIES
    },
    Request {
        name: "SET_VRING_BASE",
        op: |n, _| n.dev.set_base(TX, effects::BASE),
        effect: effects::base,
        least: 2,
        ..COPIES
    },
    Request {
        name: "GET_VRING_BASE",
        op: |n, _| tells(n.dev.base(TX), 0),
        least: 3,
        ..COPIES
    },
    Request {
        name: "SET_VRING_ADDR",
        when: &[Detached, Serving],
        op: |n, _| {
            let mut addr = n.rings[1].addr(TX);
            addr.used = n.rings[1].mem.at(effects::ELSEWHERE) as u64;
            n.dev.set_addr(addr)
        },
        effect: effects::used_elsewhere,
        ..COPIES
    },
    Request {
        name: "SET_VRING_KICK",
        when: &[Detached, Serving],
        op: |n, s| n.dev.set_kick(TX, s.fd()),
        effect: effects::kicked,
        least: 2,
        ..COPIES
    },
    Request {
        name: "SET_VRING_CALL",
        when: &[Detached, Serving],
        op: |n, s| n.dev.set_call(TX, s.fd()),
        effect: effects::called,
        least: 2,
        ..COPIES
    },
    Request {
        name: "SET_VRING_ERR",
        when: &[Detached, Serving],
        op: |n, s| n.dev.set_err(TX, s.fd()),
        effect: effects::told,
        least: 2,
        ..COPIES
    },
];

fn swap(n: &Net<'_>, s: &Spare, index: u32) -> Result {
    n.dev.set_backend(index, s.tap.as_raw_fd())
}

const BACKENDS: [Request; 3] = [
    Request {
        name: "NET_SET_BACKEND, transmit",
        when: &[Detached, Serving],
        op: |n, s| swap(n, s, TX),
        effect: effects::sends_to_spare,
        errnos: &[EFAULT, ENOMEM],
        least: 2,
    },
    Request {
        name: "NET_SET_BACKEND, receive",
        when: &[Detached, Serving],
        op: |n, s| swap(n, s, RX),
        effect: effects::receives_from_spare,
        errnos: &[EFAULT, ENOMEM],
        least: 2,
    },
    Request {
        name: "NET_SET_BACKEND, none",
        when: &[Serving],
        op: |n, _| n.dev.set_backend(TX, -1),
        effect: effects::detached,
        ..COPIES
    },
];

pub fn run(suite: &mut Suite, path: &str) {
    for request in DEVICE.iter().chain(&RINGS).chain(&BACKENDS) {
        for &when in request.when {
            let how = match when {
                Detached => "",
                Serving => ", under traffic",
            };
            suite.case(&format!("{}{how}", request.name), || {
                sweep(path, request, when)
            });
        }
    }
}
