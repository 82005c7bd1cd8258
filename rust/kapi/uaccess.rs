// SPDX-License-Identifier: GPL-2.0

//! Access to the owner's memory.
//!
//! Every access is checked by the kernel: an address outside user space or a page that cannot be
//! had is an error, never anything worse. What makes it the *owner's* memory is the token
//! [`InMm`], without which there is no [`UserMem`].
//!
//! C header: [`include/linux/uaccess.h`](srctree/include/linux/uaccess.h)

use kernel::prelude::*;

use super::{
    ffi,
    mm::InMm, //
};

/// The owner's memory, for a thread that runs in it.
///
/// All methods may sleep, and fail with `EFAULT` when any byte is not accessible.
#[derive(Clone, Copy)]
pub(crate) struct UserMem<'a> {
    _mm: InMm<'a>,
}

impl<'a> UserMem<'a> {
    /// The memory of the address space that `mm` stands for.
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

    /// Fills `out` from `addr` on.
    #[inline]
    pub(crate) fn read_bytes(&self, addr: usize, out: &mut [u8]) -> Result {
        // SAFETY: `out` is valid for writes of its length, so there is nothing to learn from a look
        // at the object that it is in; the address is checked.
        match unsafe { ffi::_copy_from_user(out.as_mut_ptr().cast(), addr as *const _, out.len()) }
        {
            0 => Ok(()),
            _ => Err(EFAULT),
        }
    }

    /// Copies `data` to `addr` on.
    #[inline]
    pub(crate) fn write_bytes(&self, addr: usize, data: &[u8]) -> Result {
        // SAFETY: `data` is valid for reads of its length, so there is nothing to learn from a look
        // at the object that it is in; the address is checked.
        match unsafe { ffi::_copy_to_user(addr as *mut _, data.as_ptr().cast(), data.len()) } {
            0 => Ok(()),
            _ => Err(EFAULT),
        }
    }

    /// Fills `out` with what lies at `addr`, element by element.
    #[inline]
    pub(crate) fn read_slice<T: FromBytes + IntoBytes>(
        &self,
        addr: usize,
        out: &mut [T],
    ) -> Result {
        self.read_bytes(addr, out.as_mut_bytes())
    }

    /// Copies the elements of `data` to `addr` on.
    #[inline]
    pub(crate) fn write_slice<T: IntoBytes + zerocopy::Immutable>(
        &self,
        addr: usize,
        data: &[T],
    ) -> Result {
        self.write_bytes(addr, data.as_bytes())
    }
}

/// Whether `len` bytes from `addr` on lie in user space; `access_ok`.
///
/// Says nothing of what is mapped there.
pub(crate) fn access_ok(addr: u64, len: u64) -> bool {
    match (usize::try_from(addr), usize::try_from(len)) {
        // SAFETY: Pure arithmetic on numbers.
        (Ok(addr), Ok(len)) => unsafe { ffi::vnr_access_ok(addr, len) },
        _ => false,
    }
}
