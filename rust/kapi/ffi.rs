// SPDX-License-Identifier: GPL-2.0

//! Foreign items: those that bindgen generates for the kernel being built against, and imported
//! ones.
//!
//! Private to [`crate::kapi`]. Items that the `kernel` crate's own bindings have are imported here
//! and nowhere else, so that an item missing in another kernel version affects one file only.

pub(super) use kernel::bindings::{
    _copy_from_user,
    _copy_to_user,
    bio_vec,
    eventfd_ctx,
    file,
    file_operations,
    iov_iter,
    iovec,
    misc_deregister,
    misc_register,
    miscdevice,
    mm_struct,
    msghdr,
    page,
    poll_table_struct,
    shrink_control,
    shrinker,
    shrinker_alloc,
    shrinker_free,
    shrinker_register,
    sk_buff,
    task_struct,
    ubuf_info,
    ubuf_info_ops,
    wait_queue_entry,
    wait_queue_entry_t,
    wait_queue_head,
    wait_queue_head_t,
    wake_up_process, //
};

pub(super) use generated::*;

#[allow(
    clippy::all,
    clippy::cast_lossless,
    clippy::ptr_as_ptr,
    clippy::ref_as_ptr,
    clippy::undocumented_unsafe_blocks,
    dead_code,
    improper_ctypes,
    missing_docs,
    non_camel_case_types,
    non_snake_case,
    non_upper_case_globals,
    unreachable_pub,
    unsafe_op_in_unsafe_fn,
    unused
)]
mod generated {
    use super::{
        bio_vec,
        eventfd_ctx,
        file,
        iov_iter,
        iovec,
        mm_struct,
        msghdr,
        page,
        poll_table_struct,
        sk_buff,
        task_struct,
        wait_queue_entry,
        wait_queue_head, //
    };
    use kernel::bindings::__poll_t;
    use kernel::ffi;
    use pin_init::MaybeZeroable;

    include!("bindings_generated.rs");
}
