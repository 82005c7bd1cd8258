// SPDX-License-Identifier: GPL-2.0

//! The fields of `struct virtio_net_hdr` that the device reads or writes (VIRTIO 1.3, 5.1.6).

/// The length in bytes of the fields that all variants of the header have.
pub(super) const BASE: usize = 10;

/// The length in bytes of the header with `num_buffers`.
pub(super) const LEN: usize = 12;

/// The length in bytes of the header with the offsets of a UDP tunnel.
pub(super) const TUNNEL: usize = 24;

/// The byte offset of `num_buffers`.
pub(super) const NUM_BUFFERS: usize = 10;

/// `VIRTIO_NET_HDR_F_NEEDS_CSUM`: the packet has a partial checksum.
const F_NEEDS_CSUM: u8 = 1;

/// The length of the checksum field in bytes.
const CSUM_LEN: u32 = 2;

/// The checksum field that a header refers to ends beyond the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BadChecksum;

/// Increases `hdr_len` so that it includes the checksum field of a partial checksum, as the socket
/// requires. `len` is the length of the packet in bytes, including its header.
///
/// A header shorter than [`BASE`] is not changed.
///
/// # Errors
///
/// [`BadChecksum`] when the checksum field ends beyond the packet; the header is unchanged then.
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
    // OVERFLOW: The sum of two 16-bit numbers and 2 fits into 32 bits.
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
