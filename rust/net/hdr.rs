// SPDX-License-Identifier: GPL-2.0

//! `struct virtio_net_hdr`, as far as it is ours to look at (VIRTIO 1.3, 5.1.6).

/// The part that every variant of the header begins with, in bytes.
pub(super) const BASE: usize = 10;

/// The header with `num_buffers`, in bytes.
pub(super) const LEN: usize = 12;

/// Where `num_buffers` stands, in bytes.
pub(super) const NUM_BUFFERS: usize = 10;

/// `VIRTIO_NET_HDR_F_NEEDS_CSUM`: the checksum is still to be computed.
const F_NEEDS_CSUM: u8 = 1;

/// The checksum field itself, in bytes.
const CSUM_LEN: u32 = 2;

/// A header says that the checksum ends beyond the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BadChecksum;

/// Makes `hdr_len` cover the checksum that is to be computed, which the receiver of the header
/// relies on. `len` is the packet's length with its header.
///
/// A header too short to say anything is left alone.
///
/// # Errors
///
/// [`BadChecksum`], and then nothing is changed.
#[inline(always)]
pub(super) fn cover_checksum(header: &mut [u8], len: usize) -> Result<(), BadChecksum> {
    let Some((&mut [flags, _, ref mut hdr_len @ .., _, _, start0, start1, off0, off1], _)) =
        header.split_first_chunk_mut::<BASE>()
    else {
        return Ok(());
    };
    if flags & F_NEEDS_CSUM == 0 {
        return Ok(());
    }
    let start = u32::from(u16::from_le_bytes([start0, start1]));
    let offset = u32::from(u16::from_le_bytes([off0, off1]));
    // OVERFLOW: Two 16-bit numbers and a small one fit.
    let end = start.wrapping_add(offset).wrapping_add(CSUM_LEN);
    if end <= u32::from(u16::from_le_bytes(*hdr_len)) {
        return Ok(());
    }
    let end16 = u16::try_from(end).map_err(|_| BadChecksum)?;
    if usize::from(end16) > len {
        return Err(BadChecksum);
    }
    *hdr_len = end16.to_le_bytes();
    Ok(())
}
