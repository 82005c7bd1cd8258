// SPDX-License-Identifier: GPL-2.0

//! Numbers and records of `linux/vhost.h`, taken from its text.

use crate::{
    vhost::uapi::{
        self,
        MemoryHeader,
        VringAddr,
        VringFile,
        VringState, //
    },
    virtqueue::{
        table::MemoryRegion,
        uapi::{
            self as ring,
            Desc,
            UsedElem, //
        },
    },
};
use zerocopy::{
    FromBytes,
    IntoBytes, //
};

#[test]
fn ioctl_numbers() {
    let numbers = [
        (uapi::GET_FEATURES, 0x8008_AF00),
        (uapi::SET_FEATURES, 0x4008_AF00),
        (uapi::SET_OWNER, 0x0000_AF01),
        (uapi::RESET_OWNER, 0x0000_AF02),
        (uapi::SET_MEM_TABLE, 0x4008_AF03),
        (uapi::SET_LOG_BASE, 0x4008_AF04),
        (uapi::SET_LOG_FD, 0x4004_AF07),
        (uapi::SET_VRING_NUM, 0x4008_AF10),
        (uapi::SET_VRING_ADDR, 0x4028_AF11),
        (uapi::SET_VRING_BASE, 0x4008_AF12),
        (uapi::GET_VRING_BASE, 0xC008_AF12),
        (uapi::SET_VRING_KICK, 0x4008_AF20),
        (uapi::SET_VRING_CALL, 0x4008_AF21),
        (uapi::SET_VRING_ERR, 0x4008_AF22),
        (uapi::SET_VRING_BUSYLOOP_TIMEOUT, 0x4008_AF23),
        (uapi::GET_VRING_BUSYLOOP_TIMEOUT, 0x4008_AF24),
        (uapi::SET_BACKEND_FEATURES, 0x4008_AF25),
        (uapi::GET_BACKEND_FEATURES, 0x8008_AF26),
        (uapi::NET_SET_BACKEND, 0x4008_AF30),
        (uapi::NEW_WORKER, 0x8004_AF08),
        (uapi::FREE_WORKER, 0x4004_AF09),
        (uapi::ATTACH_VRING_WORKER, 0x4008_AF15),
        (uapi::GET_VRING_WORKER, 0xC008_AF16),
        (uapi::GET_FEATURES_ARRAY, 0x8008_AF83),
        (uapi::SET_FEATURES_ARRAY, 0x4008_AF83),
        (uapi::SET_FORK_FROM_OWNER, 0x4001_AF84),
        (uapi::GET_FORK_FROM_OWNER, 0x8001_AF85),
    ];
    for (at, (ours, theirs)) in numbers.into_iter().enumerate() {
        assert_eq!(ours, theirs, "number {at}: {ours:#x}");
    }
    assert_eq!(uapi::QUEUES, 2);
    assert_eq!(uapi::VHOST_FILE_UNBIND, -1);
}

/// Bytes that are all different.
fn bytes<const N: usize>() -> [u8; N] {
    core::array::from_fn(|at| 0x81u8.wrapping_add(at as u8))
}

#[test]
fn records_from_userspace() {
    let state = VringState::from_bytes(&bytes());
    assert_eq!((state.index, state.num), (0x8483_8281, 0x8887_8685));
    assert_eq!(state.to_bytes(), bytes());

    let file = VringFile::from_bytes(&bytes());
    assert_eq!((file.index, file.fd), (0x8483_8281, 0x8887_8685u32 as i32));

    let addr = VringAddr::from_bytes(&bytes());
    assert_eq!((addr.index, addr.flags), (0x8483_8281, 0x8887_8685));
    assert_eq!(addr.desc, 0x908f_8e8d_8c8b_8a89);
    assert_eq!(addr.used, 0x9897_9695_9493_9291);
    assert_eq!(addr.avail, 0xa09f_9e9d_9c9b_9a99);
    assert_eq!(addr.log_guest_addr, 0xa8a7_a6a5_a4a3_a2a1);

    let head = MemoryHeader::from_bytes(&bytes());
    assert_eq!((head.nregions, head.padding), (0x8483_8281, 0x8887_8685));

    let region = MemoryRegion::from_bytes(&bytes());
    assert_eq!(region.gpa, 0x8887_8685_8483_8281);
    assert_eq!(region.size, 0x908f_8e8d_8c8b_8a89);
    assert_eq!(region.uaddr, 0x9897_9695_9493_9291);
}

#[test]
fn records_of_the_ring() {
    let desc = Desc::read_from_bytes(&bytes::<16>()).unwrap();
    assert_eq!(desc.addr, 0x8887_8685_8483_8281);
    assert_eq!(desc.len, 0x8c8b_8a89);
    assert_eq!((desc.flags, desc.next), (0x8e8d, 0x908f));

    let elem = UsedElem {
        id: 0x8483_8281,
        len: 0x8887_8685,
    };
    assert_eq!(elem.as_bytes(), bytes::<8>());

    assert_eq!(ring::DESC_F_NEXT, 1);
    assert_eq!(ring::DESC_F_WRITE, 2);
    assert_eq!(ring::DESC_F_INDIRECT, 4);
    assert_eq!(ring::AVAIL_F_NO_INTERRUPT, 1);
    assert_eq!(ring::USED_F_NO_NOTIFY, 1);
}
