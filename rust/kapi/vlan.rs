// SPDX-License-Identifier: GPL-2.0

//! VLAN tags that a packet socket stores outside the frame.
//!
//! The kernel removes the tag from a frame that it receives. A tap or tun puts it back when the
//! frame is read; a packet socket leaves that to its reader.
//!
//! C header: [`include/linux/if_vlan.h`](srctree/include/linux/if_vlan.h)

use core::{
    mem::size_of,
    ptr::null_mut, //
};
use kernel::prelude::*;

use super::{
    iov::{
        runs,
        IoVec, //
    },
    mm::InMm,
    socket::{
        Socket,
        VlanTag, //
    },
    uaccess::UserMem, //
};

/// The length of a tag in bytes.
const LEN: usize = size_of::<VlanTag>();

/// The byte offset of the tag in a frame, after the addresses.
const AT: usize = 12;

/// `struct virtio_net_hdr`, which a packet socket can put before a frame: its minimum length in
/// bytes, the flag for a partial checksum, and the byte offset of `csum_start`.
const HDR_LEN: usize = 10;
const HDR_F_NEEDS_CSUM: u8 = 1;
const HDR_CSUM_START: usize = 6;

/// Receives a packet with the tag `tag`, as [`Socket::receive`] does: `len` bytes in total, of
/// which the first `hlen` are the socket's header. The packet is consumed even if this fails.
///
/// If another reader has taken the packet in the meantime, the next one gets this tag.
///
/// # Errors
///
/// Those of the socket; `EINVAL` when the packet is too short for a tag; `EFAULT`; `ENOMEM`.
pub(super) fn receive(
    sock: &Socket,
    mm: &InMm<'_>,
    segs: &[IoVec],
    skip: usize,
    len: usize,
    hlen: usize,
    tag: VlanTag,
) -> Result<usize> {
    let at = skip.saturating_add(hlen).saturating_add(AT);
    let around = around(segs, at, skip.saturating_add(len)).inspect_err(|_| {
        // SAFETY: No entry is passed.
        let _ = unsafe { sock.receive(&[], 0, 0, null_mut()) };
    })?;
    // SAFETY: No entry is passed.
    let got = unsafe { sock.receive(&around, skip, len.saturating_sub(LEN), null_mut()) }?;
    let user = UserMem::new(*mm);
    write(&user, segs, at, &tag.0)?;
    if hlen >= HDR_LEN {
        move_checksum(&user, segs, skip)?;
    }
    Ok(got.saturating_add(LEN))
}

/// Returns the first `total` bytes of `segs` without the tag, which is at byte offset `at`.
fn around(segs: &[IoVec], at: usize, total: usize) -> Result<KVec<IoVec>> {
    let behind = at.saturating_add(LEN);
    // One segment may have to be split.
    let mut around = KVec::with_capacity(segs.len().saturating_add(1), GFP_KERNEL)?;
    for (from, len) in [(0, at), (behind, total.checked_sub(behind).ok_or(EINVAL)?)] {
        runs(segs, from, len, EINVAL, |base, _, len| {
            Ok(around.push(IoVec::new(base, len), GFP_KERNEL)?)
        })?;
    }
    Ok(around)
}

/// Corrects `csum_start`, which a packet socket reports for the frame without the tag.
fn move_checksum(user: &UserMem<'_>, segs: &[IoVec], hdr: usize) -> Result {
    let mut flags = [0];
    read(user, segs, hdr, &mut flags)?;
    if flags[0] & HDR_F_NEEDS_CSUM == 0 {
        return Ok(());
    }
    let at = hdr.saturating_add(HDR_CSUM_START);
    let mut start = [0; 2];
    read(user, segs, at, &mut start)?;
    let start = u16::from_ne_bytes(start).wrapping_add(LEN as u16);
    write(user, segs, at, &start.to_ne_bytes())
}

fn read(user: &UserMem<'_>, segs: &[IoVec], at: usize, out: &mut [u8]) -> Result {
    runs(segs, at, out.len(), EFAULT, |base, done, len| {
        let to = out.get_mut(done..done.wrapping_add(len)).ok_or(EFAULT)?;
        user.read_bytes(base, to)
    })
}

fn write(user: &UserMem<'_>, segs: &[IoVec], at: usize, data: &[u8]) -> Result {
    runs(segs, at, data.len(), EFAULT, |base, done, len| {
        let from = data.get(done..done.wrapping_add(len)).ok_or(EFAULT)?;
        user.write_bytes(base, from)
    })
}
