// SPDX-License-Identifier: GPL-2.0

//! A misc device whose node the administrator names, with `poll`.
//!
//! Builds on [`kernel::miscdevice`], which has neither: the file operations are that module's
//! with `poll` and `llseek` added, and the name and minor number are filled in at registration.
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

/// The node that hypervisors know, and the only one with a fixed minor number.
const DEFAULT_NODE: &CStr = c"vhost-net";

/// What a node does besides what [`MiscDevice`] describes.
pub(crate) trait Node: MiscDevice {
    /// The events that are pending on an open file, as `poll` reports them. Whoever polls waits
    /// for more on what is registered with `table`.
    fn poll(
        device: <Self::Ptr as ForeignOwnable>::Borrowed<'_>,
        file: &File,
        table: &PollTable<'_>,
    ) -> u32;
}

/// A registered node; deregistered on drop.
///
/// The layout is that of [`kernel::miscdevice::MiscDeviceRegistration`], which the `open`
/// operation takes it for.
///
/// # Invariants
///
/// `inner` is registered, and stays where it is.
#[repr(transparent)]
#[pin_data(PinnedDrop)]
pub(crate) struct Registration<T> {
    #[pin]
    inner: Opaque<ffi::miscdevice>,
    _node: core::marker::PhantomData<T>,
}

// SAFETY: A node may be deregistered on another thread than it was registered on.
unsafe impl<T> Send for Registration<T> {}
// SAFETY: There is nothing to be done through `&self`.
unsafe impl<T> Sync for Registration<T> {}

/// Carrier of the file operations of `T`.
struct Operations<T>(core::marker::PhantomData<T>);

impl<T: Node> Operations<T> {
    const DEVICE: ffi::miscdevice = MiscDeviceOptions { name: DEFAULT_NODE }.into_raw::<T>();

    const FILE: ffi::file_operations = ffi::file_operations {
        poll: Some(Self::poll),
        llseek: Some(kernel::bindings::noop_llseek),
        // SAFETY: `into_raw` made it point to a constant.
        ..unsafe { *Self::DEVICE.fops }
    };

    const FILE_REF: &'static ffi::file_operations = &Self::FILE;

    /// # Safety
    ///
    /// `file` is an open file of a node with these operations; `table` is null or valid.
    unsafe extern "C" fn poll(
        file: *mut ffi::file,
        table: *mut ffi::poll_table_struct,
    ) -> kernel::bindings::__poll_t {
        // SAFETY: `open` put the device there, and `release` has not been called.
        let device = unsafe { <T::Ptr as ForeignOwnable>::borrow((*file).private_data) };
        // SAFETY: The file is valid for the duration of this call, and this thread is in no
        // `fdget_pos` section on it.
        let file = unsafe { File::from_raw_file(file) };
        // SAFETY: As the caller promises, for the duration of this call.
        let table = unsafe { PollTable::from_raw(table) };
        T::poll(device, file, &table)
    }
}

impl<T: Node> Registration<T> {
    /// Registers the node that the module's parameter `node` names.
    ///
    /// # Errors
    ///
    /// `EINVAL` for a name that is none, `EBUSY` or `EEXIST` when it is taken; then nothing is
    /// left behind. The log says why.
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
                // SAFETY: The device is complete, pinned, and deregistered before it is freed.
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
        // SAFETY: Registered by the invariant.
        unsafe { ffi::misc_deregister(self.inner.get()) };
    }
}

/// Whether the file of a read or write was opened not to wait; `O_NONBLOCK`.
pub(crate) fn is_nonblocking<T: ForeignOwnable>(kiocb: &Kiocb<'_, T>) -> bool {
    // SAFETY: A `Kiocb` is valid, and so is the file it belongs to. Others may change the flags
    // meanwhile, as the kernel's own readers have it.
    let flags = unsafe { (&raw const (*(*kiocb.as_raw()).ki_filp).f_flags).read_volatile() };
    flags & kernel::fs::file::flags::O_NONBLOCK != 0
}

/// The value of the parameter `node`.
///
/// # Errors
///
/// `EINVAL` when it cannot name a file in `/dev`.
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
