// SPDX-License-Identifier: GPL-2.0

//! Messages to and from a socket, with iterators over user memory.
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

/// `ITER_DEST` and `ITER_SOURCE` of `linux/uio.h`: whether the user memory is written or read.
pub(super) const ITER_DEST: u32 = 0;
pub(super) const ITER_SOURCE: u32 = 1;

/// The type of an iterator over one segment.
const ITER_UBUF: u8 = kernel::bindings::iter_type_ITER_UBUF as u8;

const _: () = assert!(size_of::<IoVec>() == size_of::<ffi::iovec>());
const _: () = assert!(align_of::<IoVec>() == align_of::<ffi::iovec>());

/// Initialises `iter` for `len` bytes of `segs`, after their first `skip` bytes.
///
/// The iterator refers to `segs` by address, and must not be used longer than they are borrowed.
/// Here it is a part of a message on the stack of the function that borrows `segs`.
///
/// # Errors
///
/// `EINVAL` when `segs` has fewer bytes, which the iterator itself would not notice.
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
    // OVERFLOW: The sum is at most the length of `segs`.
    let total = len.wrapping_add(skip);
    // SAFETY: CAST: `IoVec` has the layout of `struct iovec`. `segs` is valid for the number of
    // elements passed, which have `total` bytes. The addresses are checked when they are used.
    unsafe { ffi::iov_iter_init(iter, direction, segs.as_ptr().cast(), segs.len(), total) };
    if skip > 0 {
        // SAFETY: The iterator was initialised above, and its segments have at least `skip` bytes.
        unsafe { ffi::iov_iter_advance(iter, skip) };
    }
    Ok(())
}

/// Does what `iov_iter_ubuf()` does. `iter` must be as [`message`] returns it. The address is
/// checked when it is used.
#[inline(always)]
fn one_run(iter: &mut ffi::iov_iter, direction: u32, addr: usize, len: usize) {
    iter.iter_type = ITER_UBUF;
    iter.data_source = direction == ITER_SOURCE;
    iter.__bindgen_anon_2.nr_segs = 1;
    // SAFETY: Integers and a pointer that is never dereferenced: any bytes are valid here.
    let run = unsafe { iter.__bindgen_anon_1.__bindgen_anon_1.as_mut() };
    run.__bindgen_anon_1.ubuf = addr as *mut c_void;
    run.count = len;
}

/// Creates a message that does not block and has no data. `control` and `len` are its `msg_control`
/// and `msg_controllen`.
#[inline]
pub(super) fn message(control: *mut c_void, len: usize) -> ffi::msghdr {
    // `Default` of `bindings` would be a function call and a copy for each packet.
    // SAFETY: Integers, raw pointers and optional functions: zeroes are valid for all of them.
    let mut msg: ffi::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
    msg.msg_flags = ffi::VNR_MSG_DONTWAIT;
    msg.msg_controllen = len;
    msg.__bindgen_anon_1.msg_control = control;
    msg
}
