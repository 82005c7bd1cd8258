// SPDX-License-Identifier: GPL-2.0

//! Messages to and from a socket, and the runs of user memory that they are about.
//!
//! C headers: [`include/linux/socket.h`](srctree/include/linux/socket.h),
//! [`include/linux/uio.h`](srctree/include/linux/uio.h)

use core::{
    ffi::c_void,
    mem::{
        align_of,
        size_of,
        MaybeUninit, //
    },
};
use kernel::prelude::*;

use super::{
    ffi,
    iov::{
        runs,
        IoVec, //
    },
};

/// `ITER_DEST` and `ITER_SOURCE` of `struct iov_iter`: what the user memory is to the transfer.
pub(super) const ITER_DEST: u32 = 0;
pub(super) const ITER_SOURCE: u32 = 1;

/// The kind of iterator that has one run of user memory.
const ITER_UBUF: u8 = kernel::bindings::iter_type_ITER_UBUF as u8;

const _: () = assert!(size_of::<IoVec>() == size_of::<ffi::iovec>());
const _: () = assert!(align_of::<IoVec>() == align_of::<ffi::iovec>());

/// Points `iter` at `segs` without their first `skip` bytes, `len` bytes in all.
///
/// The iterator borrows `segs` by address: it must not be used after them. Here it lives in a
/// message on the stack of the function that was lent `segs`.
///
/// # Errors
///
/// `EINVAL` when `segs` have not that many bytes: the iterator itself counts no segments.
#[inline(always)]
pub(super) fn user_iter(
    iter: &mut ffi::iov_iter,
    direction: u32,
    segs: &[IoVec],
    skip: usize,
    len: usize,
) -> Result {
    if let [seg] = segs {
        if skip <= seg.len() && len <= seg.len().wrapping_sub(skip) {
            one_run(iter, direction, seg.base().wrapping_add(skip), len);
            return Ok(());
        }
    }
    runs(segs, skip, len, EINVAL, |_, _, _| Ok(()))?;
    // OVERFLOW: No more than `segs` have.
    let total = len.wrapping_add(skip);
    // SAFETY: CAST: `IoVec` has the layout of `struct iovec`, and `segs` is valid for the number
    // of elements given, which have `total` bytes. The addresses are checked when they are used.
    unsafe { ffi::iov_iter_init(iter, direction, segs.as_ptr().cast(), segs.len(), total) };
    if skip > 0 {
        // SAFETY: Initialised above, with at least `skip` bytes in the segments.
        unsafe { ffi::iov_iter_advance(iter, skip) };
    }
    Ok(())
}

/// As `iov_iter_ubuf`. `iter` is as [`message`] has it; the address is checked when it is used.
#[inline(always)]
fn one_run(iter: &mut ffi::iov_iter, direction: u32, addr: usize, len: usize) {
    iter.iter_type = ITER_UBUF;
    iter.data_source = direction == ITER_SOURCE;
    iter.__bindgen_anon_2.nr_segs = 1;
    // SAFETY: Integers and a pointer that is never followed: any bytes are a value of this variant.
    let run = unsafe { iter.__bindgen_anon_1.__bindgen_anon_1.as_mut() };
    run.__bindgen_anon_1.ubuf = addr as *mut c_void;
    run.count = len;
}

/// A message that does not wait, without data: its iterator is one of no bytes. `control` is what
/// `msg_control` points to.
#[inline]
pub(super) fn message(control: *mut c_void, len: usize) -> ffi::msghdr {
    // `Default` of `bindings` is a function call and a copy for each packet.
    // SAFETY: Integers, raw pointers and functions that may be missing: zeroes are valid for all.
    let mut msg: ffi::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
    msg.msg_flags = ffi::VNR_MSG_DONTWAIT;
    msg.msg_controllen = len;
    msg.__bindgen_anon_1.msg_control = control;
    msg
}
