// SPDX-License-Identifier: GPL-2.0

//! What a request says, decoded from its numbers before anything is done.

use kernel::prelude::*;

use crate::{
    vhost::uapi::{
        self,
        MemoryHeader,
        VringAddr, //
    },
    virtqueue::layout::Layout, //
};

/// The regions that a memory table may have at the least: what userspace takes for the limit when
/// nothing tells it another.
const MEM_REGIONS_MIN: u16 = 64;

/// A command for one ring, by the part of it that it sets or tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RingCommand {
    SetNum,
    SetAddr,
    SetBase,
    GetBase,
    SetKick,
    SetCall,
    SetErr,
}

impl RingCommand {
    /// # Errors
    ///
    /// `ENOTTY` for what is not one.
    pub(crate) fn decode(cmd: u32) -> Result<Self> {
        Ok(match cmd {
            uapi::SET_VRING_NUM => Self::SetNum,
            uapi::SET_VRING_ADDR => Self::SetAddr,
            uapi::SET_VRING_BASE => Self::SetBase,
            uapi::GET_VRING_BASE => Self::GetBase,
            uapi::SET_VRING_KICK => Self::SetKick,
            uapi::SET_VRING_CALL => Self::SetCall,
            uapi::SET_VRING_ERR => Self::SetErr,
            _ => return Err(ENOTTY),
        })
    }
}

/// A file descriptor, or the one number that stands for none.
pub(crate) fn optional(fd: i32) -> Option<i32> {
    (fd != uapi::VHOST_FILE_UNBIND).then_some(fd)
}

/// A ring's base: a position, in a field that is wider.
///
/// # Errors
///
/// `EINVAL` for what is none.
pub(crate) fn base(num: u32) -> Result<u16> {
    u16::try_from(num).map_err(|_| EINVAL)
}

/// VHOST_SET_VRING_ADDR: `layout` in other places.
///
/// # Errors
///
/// In this order: `EOPNOTSUPP` for a flag, since there is none but logging, which is not offered;
/// `EINVAL` for a place that is not aligned, also that of the log, which is not used.
pub(crate) fn places(layout: Layout, addr: &VringAddr) -> Result<Layout> {
    if addr.flags != 0 {
        return Err(EOPNOTSUPP);
    }
    if addr.log_guest_addr % 4 != 0 {
        return Err(EINVAL);
    }
    layout.with_places(addr.desc, addr.avail, addr.used)
}

/// How many regions follow the head of a memory table, of which `max` are allowed, and 64 in any
/// case.
///
/// # Errors
///
/// In this order: `EOPNOTSUPP` when what must be zero is not, `E2BIG` for too many.
pub(crate) fn regions(head: &MemoryHeader, max: u16) -> Result<usize> {
    if head.padding != 0 {
        return Err(EOPNOTSUPP);
    }
    match u16::try_from(head.nregions) {
        Ok(count) if count <= max.max(MEM_REGIONS_MIN) => Ok(usize::from(count)),
        _ => Err(E2BIG),
    }
}
