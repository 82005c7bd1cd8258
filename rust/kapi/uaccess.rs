// SPDX-License-Identifier: GPL-2.0

//! Access to the owner's memory, and to the arguments of ioctls.
//!
//! The kernel checks each access: an address outside user space or a page that is not accessible
//! results in an error. A [`UserMem`] needs the token [`InMm`], which proves that the memory is the
//! owner's.
//!
//! Unlike [`kernel::uaccess`], these functions do not check at run time that the kernel's side of a
//! copy is within one object: a slice guarantees it, and the check takes longer than a short copy.
//!
//! C header: [`include/linux/uaccess.h`](srctree/include/linux/uaccess.h)

use kernel::prelude::*;

use super::{
    ffi,
    mm::InMm, //
};

/// The owner's memory, for a thread that runs in the owner's address space.
///
/// All methods may sleep, and fail with `EFAULT` if any byte is not accessible.
#[derive(Clone, Copy)]
pub(crate) struct UserMem<'a> {
    _mm: InMm<'a>,
}

impl<'a> UserMem<'a> {
    /// Creates access to the address space of `mm`.
    #[inline]
    pub(crate) fn new(mm: InMm<'a>) -> Self {
        Self { _mm: mm }
    }

    /// Reads a 16-bit word in one access.
    #[inline]
    pub(crate) fn read_u16(&self, addr: usize) -> Result<u16> {
        let mut value = 0;
        // SAFETY: `value` is valid for writes; `get_user` checks the address.
        match unsafe { ffi::vnr_get_user16(&mut value, addr as *const u16) } {
            0 => Ok(value),
            _ => Err(EFAULT),
        }
    }

    /// Writes a 16-bit word in one access.
    #[inline]
    pub(crate) fn write_u16(&self, addr: usize, value: u16) -> Result {
        // SAFETY: `put_user` checks the address.
        match unsafe { ffi::vnr_put_user16(value, addr as *mut u16) } {
            0 => Ok(()),
            _ => Err(EFAULT),
        }
    }

    /// Sets bits of an aligned 32-bit word, in one atomic access.
    #[inline]
    pub(crate) fn set_bits(&self, addr: usize, bits: u32) -> Result {
        // An atomic access across two cache lines may be fatal.
        if addr % align_of::<u32>() != 0 {
            return Err(EFAULT);
        }
        // SAFETY: The function checks the address.
        match unsafe { ffi::vnr_set_user_bits(addr as *mut u32, bits) } {
            0 => Ok(()),
            _ => Err(EFAULT),
        }
    }

    /// Reads bytes at `addr` into `out`.
    #[inline]
    pub(crate) fn read_bytes(&self, addr: usize, out: &mut [u8]) -> Result {
        copy_from(addr, out)
    }

    /// Writes `data` at `addr`.
    #[inline]
    pub(crate) fn write_bytes(&self, addr: usize, data: &[u8]) -> Result {
        copy_to(addr, data)
    }

    /// Reads elements at `addr` into `out`.
    #[inline]
    pub(crate) fn read_slice<T: FromBytes + IntoBytes>(
        &self,
        addr: usize,
        out: &mut [T],
    ) -> Result {
        self.read_bytes(addr, out.as_mut_bytes())
    }

    /// Writes the elements of `data` at `addr`.
    #[inline]
    pub(crate) fn write_slice<T: IntoBytes + zerocopy::Immutable>(
        &self,
        addr: usize,
        data: &[T],
    ) -> Result {
        self.write_bytes(addr, data.as_bytes())
    }
}

/// Reads `N` bytes at `addr` in the current address space. May sleep.
///
/// For the arguments of ioctls, which are in the memory of the caller. Work items use [`UserMem`].
///
/// # Errors
///
/// `EFAULT` if any byte is not accessible.
pub(crate) fn read_current<const N: usize>(addr: usize) -> Result<[u8; N]> {
    let mut bytes = [0; N];
    copy_from(addr, &mut bytes)?;
    Ok(bytes)
}

/// Writes `data` at `addr` in the current address space. May sleep. See [`read_current`].
///
/// # Errors
///
/// `EFAULT` if any byte is not accessible.
pub(crate) fn write_current(addr: usize, data: &[u8]) -> Result {
    copy_to(addr, data)
}

/// Zeroes `len` bytes at `addr` in the current address space. May sleep.
///
/// # Errors
///
/// `EFAULT` if any byte is not accessible.
pub(crate) fn clear_current(addr: usize, len: usize) -> Result {
    // SAFETY: `clear_user` checks the address.
    match unsafe { ffi::vnr_clear_user(addr as *mut _, len) } {
        0 => Ok(()),
        _ => Err(EFAULT),
    }
}

#[inline]
fn copy_from(addr: usize, out: &mut [u8]) -> Result {
    // SAFETY: `out` is valid for writes of its length, so the object size check that this function
    // omits is not needed. The user address is checked.
    match unsafe { ffi::_copy_from_user(out.as_mut_ptr().cast(), addr as *const _, out.len()) } {
        0 => Ok(()),
        _ => Err(EFAULT),
    }
}

#[inline]
fn copy_to(addr: usize, data: &[u8]) -> Result {
    // SAFETY: `data` is valid for reads of its length, so the object size check that this function
    // omits is not needed. The user address is checked.
    match unsafe { ffi::_copy_to_user(addr as *mut _, data.as_ptr().cast(), data.len()) } {
        0 => Ok(()),
        _ => Err(EFAULT),
    }
}

/// Returns whether the `len` bytes at `addr` are in user space; `access_ok()`.
///
/// Does not check whether anything is mapped there.
pub(crate) fn access_ok(addr: u64, len: u64) -> bool {
    match (usize::try_from(addr), usize::try_from(len)) {
        // SAFETY: Pure arithmetic on the arguments.
        (Ok(addr), Ok(len)) => unsafe { ffi::vnr_access_ok(addr, len) },
        _ => false,
    }
}
