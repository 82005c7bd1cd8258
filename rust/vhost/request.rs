// SPDX-License-Identifier: GPL-2.0

//! Decodes and validates ioctl requests before they are executed.

use kernel::prelude::*;

use crate::{
    vhost::uapi::{
        self,
        MemoryHeader,
        VringAddr, //
    },
    virtqueue::layout::Layout, //
};

/// The lower bound of the limit on regions, which userspace assumes if it cannot read the limit.
const MEM_REGIONS_MIN: u16 = 64;

/// The ioctls for one ring, named after what they set or get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RingCommand {
    SetNum,
    SetAddr,
    SetBase,
    GetBase,
    SetKick,
    SetCall,
    SetErr,
    SetBusyloop,
    GetBusyloop,
    AttachWorker,
    GetWorker,
}

impl RingCommand {
    /// Decodes the number of an ioctl.
    ///
    /// # Errors
    ///
    /// `ENOTTY` for any other ioctl.
    pub(crate) fn decode(cmd: u32) -> Result<Self> {
        Ok(match cmd {
            uapi::SET_VRING_NUM => Self::SetNum,
            uapi::SET_VRING_ADDR => Self::SetAddr,
            uapi::SET_VRING_BASE => Self::SetBase,
            uapi::GET_VRING_BASE => Self::GetBase,
            uapi::SET_VRING_KICK => Self::SetKick,
            uapi::SET_VRING_CALL => Self::SetCall,
            uapi::SET_VRING_ERR => Self::SetErr,
            uapi::SET_VRING_BUSYLOOP_TIMEOUT => Self::SetBusyloop,
            uapi::GET_VRING_BUSYLOOP_TIMEOUT => Self::GetBusyloop,
            uapi::ATTACH_VRING_WORKER => Self::AttachWorker,
            uapi::GET_VRING_WORKER => Self::GetWorker,
            _ => return Err(ENOTTY),
        })
    }
}

/// Returns the file descriptor, or `None` for [`uapi::VHOST_FILE_UNBIND`].
pub(crate) fn optional(fd: i32) -> Option<i32> {
    (fd != uapi::VHOST_FILE_UNBIND).then_some(fd)
}

/// Decodes the base of a ring, a 16-bit position in a 32-bit field.
///
/// # Errors
///
/// `EINVAL` when it does not fit into 16 bits.
pub(crate) fn base(num: u32) -> Result<u16> {
    u16::try_from(num).map_err(|_| EINVAL)
}

/// Applies the addresses of VHOST_SET_VRING_ADDR to `layout`. The second value is the guest physical
/// address at which the used ring is logged, if it is.
///
/// # Errors
///
/// In this order: `EOPNOTSUPP` for an unknown flag; `EINVAL` when an address is not aligned,
/// including that of the log even if it is not used.
pub(crate) fn places(layout: Layout, addr: &VringAddr) -> Result<(Layout, Option<u64>)> {
    if addr.flags & !uapi::VRING_F_LOG != 0 {
        return Err(EOPNOTSUPP);
    }
    if addr.log_guest_addr % 4 != 0 {
        return Err(EINVAL);
    }
    let layout = layout.with_places(addr.desc, addr.avail, addr.used)?;
    let logs = addr.flags & uapi::VRING_F_LOG != 0;
    Ok((layout, logs.then_some(addr.log_guest_addr)))
}

/// Returns the number of regions that follow the fixed part of a memory table. At most `max` are
/// allowed, but 64 always are.
///
/// # Errors
///
/// In this order: `EOPNOTSUPP` when the padding is not 0, `E2BIG` when there are too many regions.
pub(crate) fn regions(head: &MemoryHeader, max: u16) -> Result<usize> {
    if head.padding != 0 {
        return Err(EOPNOTSUPP);
    }
    match u16::try_from(head.nregions) {
        Ok(count) if count <= max.max(MEM_REGIONS_MIN) => Ok(usize::from(count)),
        _ => Err(E2BIG),
    }
}
