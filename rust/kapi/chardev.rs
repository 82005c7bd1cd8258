// SPDX-License-Identifier: GPL-2.0

//! A misc device with `poll`, and with a node name that the administrator may choose.
//!
//! This extends [`kernel::miscdevice`]: the file operations are those of that module, with `poll`
//! and `llseek` added, and the name and the minor number are set at registration.
//!
//! C header: [`include/linux/miscdevice.h`](srctree/include/linux/miscdevice.h)

use kernel::{
    error::to_result,
    fs::{
        File,
        Kiocb, //
    },
    miscdevice::{
        MiscDevice,
        MiscDeviceOptions, //
    },
    prelude::*,
    str::CStr,
    sync::poll::PollTable,
    types::{
        ForeignOwnable,
        Opaque, //
    },
};

use super::ffi;

/// The default name of the node, which hypervisors use. Only this node has a fixed minor number.
const DEFAULT_NODE: &CStr = c"vhost-net";

/// The file operations of a node that [`MiscDevice`] does not have.
pub(crate) trait Node: MiscDevice {
    /// Returns the pending events of an open file, and registers with `table` for further events.
    fn poll(
        device: <Self::Ptr as ForeignOwnable>::Borrowed<'_>,
        file: &File,
        table: &PollTable<'_>,
    ) -> u32;
}

/// A registered node. Deregistered on drop.
///
/// The layout is that of [`kernel::miscdevice::MiscDeviceRegistration`], to which the `open`
/// operation casts its pointer.
///
/// # Invariants
///
/// `inner` is registered and does not move.
#[repr(transparent)]
#[pin_data(PinnedDrop)]
pub(crate) struct Registration<T> {
    #[pin]
    inner: Opaque<ffi::miscdevice>,
    _node: core::marker::PhantomData<T>,
}

// SAFETY: A node may be deregistered by another thread than the one that registered it.
unsafe impl<T> Send for Registration<T> {}
// SAFETY: Nothing can be done through `&self`.
unsafe impl<T> Sync for Registration<T> {}

/// Provides the file operations for `T`.
struct Operations<T>(core::marker::PhantomData<T>);

impl<T: Node> Operations<T> {
    const DEVICE: ffi::miscdevice = MiscDeviceOptions { name: DEFAULT_NODE }.into_raw::<T>();

    const FILE: ffi::file_operations = ffi::file_operations {
        poll: Some(Self::poll),
        llseek: Some(kernel::bindings::noop_llseek),
        // SAFETY: `into_raw` has made the pointer refer to a constant.
        ..unsafe { *Self::DEVICE.fops }
    };

    const FILE_REF: &'static ffi::file_operations = &Self::FILE;

    /// The `poll` operation.
    ///
    /// # Safety
    ///
    /// `file` must be an open file of a node with these operations. `table` must be null or valid.
    unsafe extern "C" fn poll(
        file: *mut ffi::file,
        table: *mut ffi::poll_table_struct,
    ) -> kernel::bindings::__poll_t {
        // SAFETY: `open` has stored the device there, and `release` has not been called.
        let device = unsafe { <T::Ptr as ForeignOwnable>::borrow((*file).private_data) };
        // SAFETY: The file is valid during this call, and this thread is in no `fdget_pos` section
        // on it.
        let file = unsafe { File::from_raw_file(file) };
        // SAFETY: By the safety requirements of this function, during this call.
        let table = unsafe { PollTable::from_raw(table) };
        T::poll(device, file, &table)
    }
}

impl<T: Node> Registration<T> {
    /// Registers the node whose name is in the module parameter `node`.
    ///
    /// # Errors
    ///
    /// `EINVAL` for an invalid name, `EBUSY` or `EEXIST` when it is in use. The reason is logged.
    pub(crate) fn register() -> impl PinInit<Self, Error> {
        // INVARIANT: The initialiser succeeds only if the device was registered, and it is pinned.
        try_pin_init!(Self {
            inner <- Opaque::try_ffi_init(|slot: *mut ffi::miscdevice| {
                let name = node_name()?;
                let mut device = Operations::<T>::DEVICE;
                device.fops = Operations::<T>::FILE_REF;
                device.name = name.as_char_ptr();
                if name == DEFAULT_NODE {
                    device.minor = ffi::VNR_VHOST_NET_MINOR as i32;
                }
                // SAFETY: The slot is valid for writes.
                unsafe { slot.write(device) };
                // SAFETY: The device is initialised and pinned, and is deregistered before it is
                // freed.
                to_result(unsafe { ffi::misc_register(slot) }).inspect_err(|&e| {
                    pr_err!("/dev/{name}: {e:?}, is another driver using it?\n");
                })
            }),
            _node: core::marker::PhantomData,
        })
    }
}

#[pinned_drop]
impl<T> PinnedDrop for Registration<T> {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: The device is registered by the invariant.
        unsafe { ffi::misc_deregister(self.inner.get()) };
    }
}

/// Returns whether the file of a read or write has `O_NONBLOCK` set.
pub(crate) fn is_nonblocking<T: ForeignOwnable>(kiocb: &Kiocb<'_, T>) -> bool {
    // SAFETY: A `Kiocb` is valid, and so is its file. The flags may change concurrently, which the
    // kernel's own readers accept as well.
    let flags = unsafe { (&raw const (*(*kiocb.as_raw()).ki_filp).f_flags).read_volatile() };
    flags & kernel::fs::file::flags::O_NONBLOCK != 0
}

/// Returns the value of the module parameter `node`.
///
/// # Errors
///
/// `EINVAL` when the value cannot be the name of a file in `/dev`.
fn node_name() -> Result<&'static CStr> {
    // SAFETY: The parameter is a NUL-terminated array that is written only while the module is
    // being loaded, before any of its code runs.
    let name = unsafe { CStr::from_char_ptr((&raw const ffi::vnr_node).cast()) };
    let bytes = name.to_bytes();
    if bytes.is_empty() || bytes.contains(&b'/') || bytes.starts_with(b".") {
        pr_err!("node={name}: not a name for a file in /dev\n");
        return Err(EINVAL);
    }
    Ok(name)
}
