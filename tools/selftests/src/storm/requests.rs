// SPDX-License-Identifier: GPL-2.0

//! The requests of a storm: each known request, alone and in the order that starts a device.

use super::{place::Place, tally::Kind::*};
use crate::{dice::Dice, setup::RING_AT, vhost::*};
use std::os::fd::AsRawFd;

/// The number of entries of a ring, and the addresses of its parts.
pub const SIZE: u64 = 256;
pub const AVAIL: u64 = 0x1000;
const USED: u64 = 0x2000;
/// Not offered.
const SET_VRING_ENDIAN: u64 = 0x4008_AF13;
/// Mostly features with which frames reach the taps.
const FEATURES: [u64; 12] = [
    F_VERSION_1,
    F_VERSION_1 | F_EVENT_IDX,
    F_VERSION_1 | F_MRG_RXBUF,
    F_VERSION_1 | F_INDIRECT,
    F_VERSION_1 | F_MRG_RXBUF | F_INDIRECT | F_EVENT_IDX,
    F_MRG_RXBUF | F_NOTIFY_ON_EMPTY,
    F_VERSION_1 | F_NET_HDR,
    0,
    F_VERSION_1 | F_LOG_ALL,
    F_VERSION_1 | F_MRG_RXBUF | F_LOG_ALL | F_IN_ORDER,
    F_VERSION_1 | F_ACCESS_PLATFORM,
    F_VERSION_1 | F_EVENT_IDX | F_ACCESS_PLATFORM | F_LOG_ALL,
];

impl Place {
    /// Any single request.
    pub fn request(&self, dev: &Vhost, dice: &mut Dice) {
        let queue = dice.below(2) as u32;
        match self.turn(1, 20, dice) {
            0 => self.did(GetFeatures, dev.features()),
            1 => self.did(SetFeatures, dev.set_features(*dice.of(&FEATURES))),
            2 => self.did(GetBackendFeatures, dev.backend_features()),
            3 => {
                self.did(SetBackendFeatures, dev.set_backend_features(0));
                self.did(SetBackendFeatures, dev.set_backend_features(2));
            }
            4 => self.did(SetOwner, dev.set_owner()),
            5 | 6 => self.did(ResetOwner, dev.reset_owner()),
            7 => {
                let keep = dice.below(4) as usize;
                self.did(
                    SetMemTable,
                    dev.set_mem_table(&self.ground.regions()[..keep], 0),
                );
            }
            8 => self.did(
                SetNum,
                dev.set_num(queue, *dice.of(&[1, 3, 64, 256, 32768])),
            ),
            9 => self.set_addr(dev, queue),
            10 => self.did(SetBase, dev.set_base(queue, dice.below(1 << 17) as u32)),
            11 => self.did(GetBase, dev.base(queue)),
            12 => self.did(SetKick, dev.set_kick(queue, self.event(dice))),
            13 => self.did(SetCall, dev.set_call(queue, self.event(dice))),
            14 => self.did(SetErr, dev.set_err(queue, self.event(dice))),
            15 => self.did(Detach, dev.set_backend(queue, -1)),
            16 => self.attach(dev, queue, dice),
            17 => self.did(SetFork, dev.set_fork_from_owner(dice.below(2) as u8)),
            18 => self.did(GetFork, dev.fork_from_owner()),
            _ => {
                let state = VringState {
                    index: queue,
                    num: 0,
                };
                let arg = std::ptr::from_ref(&state) as usize;
                self.did(Unknown, dev.raw(SET_VRING_ENDIAN, arg));
            }
        }
    }

    /// Starts a device, unless another thread interferes.
    pub fn set_up(&self, dev: &Vhost, dice: &mut Dice) {
        if dice.once_in(2) {
            for queue in [RX, TX] {
                self.did(Detach, dev.set_backend(queue, -1));
            }
        }
        self.did(SetFork, dev.set_fork_from_owner(dice.below(2) as u8));
        self.did(SetOwner, dev.set_owner());
        self.did(SetFeatures, dev.set_features(*dice.of(&FEATURES)));
        if !dice.once_in(4) {
            self.did(Map, self.ground.map());
        }
        self.did(SetMemTable, dev.set_mem_table(self.ground.regions(), 0));
        for queue in [RX, TX] {
            self.did(SetNum, dev.set_num(queue, SIZE as u32));
            self.set_addr(dev, queue);
            // Buffers that were posted before are mostly not waited for.
            let idx = self.ground.mem.read(RING_AT[queue as usize] + AVAIL + 2, 2);
            let idx = u32::from(u16::from_le_bytes([idx[0], idx[1]]));
            let base = idx.wrapping_sub(dice.below(8) as u32) & 0xffff;
            self.did(SetBase, dev.set_base(queue, base));
            self.did(SetKick, dev.set_kick(queue, self.event(dice)));
            self.did(SetCall, dev.set_call(queue, self.event(dice)));
            self.did(SetErr, dev.set_err(queue, self.event(dice)));
            self.attach(dev, queue, dice);
        }
    }

    fn set_addr(&self, dev: &Vhost, index: u32) {
        let at = self.ground.at(RING_AT[index as usize]);
        let addr = VringAddr {
            index,
            desc: at,
            avail: at + AVAIL,
            used: at + USED,
            ..Default::default()
        };
        self.did(SetAddr, dev.set_addr(addr));
    }

    pub fn attach(&self, dev: &Vhost, queue: u32, dice: &mut Dice) {
        let tap = dice.of(&self.taps).as_raw_fd();
        self.did(Attach, dev.set_backend(queue, tap));
    }
}
