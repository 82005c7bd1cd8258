// SPDX-License-Identifier: GPL-2.0

//! Memory that is freed when the kernel is short of memory.
//!
//! C header: [`include/linux/shrinker.h`](srctree/include/linux/shrinker.h)

use core::ptr::NonNull;
use kernel::{
    ffi::c_ulong,
    prelude::*,
    sync::Arc, //
};

use super::{
    ffi,
    work::Work, //
};

/// `SHRINK_STOP`: nothing more can be freed now.
const STOP: c_ulong = c_ulong::MAX;

/// An object that keeps memory which it does not need at once.
///
/// Both functions are called from memory reclaim, in process context. Any lock may be held, so they
/// must neither wait for a lock nor allocate memory.
pub(crate) trait Shrink: Send + Sync + 'static {
    /// Returns how much memory can be freed now, in small pages; 0 if that cannot be determined
    /// without waiting.
    fn count(&self) -> usize;

    /// Frees this memory and returns its amount in small pages.
    fn scan(&self) -> usize;
}

impl<T: Shrink> Shrink for Work<T> {
    fn count(&self) -> usize {
        T::count(self)
    }

    fn scan(&self) -> usize {
        T::scan(self)
    }
}

/// Registers an object with the kernel's shrinkers. Unregisters it on drop.
///
/// The module is not unloaded before that: a value belongs to an open file, which references the
/// module.
///
/// # Invariants
///
/// `shrinker` is registered with `count::<T>` and `scan::<T>`. Its `private_data` is the object
/// that `_keeper` refers to.
pub(crate) struct Shrinker<T: Shrink> {
    shrinker: NonNull<ffi::shrinker>,
    /// Dropped after `shrinker` is freed, see `drop`.
    _keeper: Arc<T>,
}

// SAFETY: Any thread that may sleep may free a shrinker, and `T` is `Send` and `Sync`.
unsafe impl<T: Shrink> Send for Shrinker<T> {}

impl<T: Shrink> Shrinker<T> {
    /// Registers `keeper`.
    ///
    /// May sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new(keeper: Arc<T>) -> Result<Self> {
        // SAFETY: The format is a valid string without conversions.
        let shrinker = unsafe { ffi::shrinker_alloc(0, c"vhost-net".as_char_ptr()) };
        let shrinker = NonNull::new(shrinker).ok_or(ENOMEM)?;
        let asked = Arc::as_ptr(&keeper).cast_mut().cast();
        // SAFETY: The shrinker was just allocated, and nobody else uses it before it is registered.
        // The functions take an object of type `T` in `private_data`, and `keeper` keeps it until
        // the shrinker is freed.
        unsafe {
            let raw = shrinker.as_ptr();
            (*raw).count_objects = Some(count::<T>);
            (*raw).scan_objects = Some(scan::<T>);
            (*raw).private_data = asked;
            // With the default, 128, reclaim calls for so few pages only as a last resort.
            (*raw).batch = 1;
            ffi::shrinker_register(raw);
        }
        // INVARIANT: Registered above, with the object that `keeper` refers to.
        Ok(Self {
            shrinker,
            _keeper: keeper,
        })
    }
}

impl<T: Shrink> Drop for Shrinker<T> {
    /// Waits for calls of the functions to return. Since these wait for no lock, the caller may
    /// hold a lock of the object.
    fn drop(&mut self) {
        // SAFETY: The shrinker is registered by the invariant, and this is the only place where it
        // is freed. Nobody calls its functions afterwards.
        unsafe { ffi::shrinker_free(self.shrinker.as_ptr()) };
    }
}

/// # Safety
///
/// [`Shrinker::<T>::new`] must have registered `shrinker`, which is not freed yet.
unsafe extern "C" fn count<T: Shrink>(
    shrinker: *mut ffi::shrinker,
    _: *mut ffi::shrink_control,
) -> c_ulong {
    // SAFETY: By the safety requirements of this function and the invariant of [`Shrinker`],
    // `private_data` is a valid `T`.
    let keeper = unsafe { &*(*shrinker).private_data.cast::<T>() };
    keeper.count()
}

/// # Safety
///
/// As for [`count`], and `control` must be valid for writes.
unsafe extern "C" fn scan<T: Shrink>(
    shrinker: *mut ffi::shrinker,
    control: *mut ffi::shrink_control,
) -> c_ulong {
    // SAFETY: By the safety requirements of this function and the invariant of [`Shrinker`],
    // `private_data` is a valid `T`.
    let keeper = unsafe { &*(*shrinker).private_data.cast::<T>() };
    match keeper.scan() {
        0 => STOP,
        freed => {
            // All that can be freed is freed: reclaim must not call again for the rest of its
            // share.
            // SAFETY: `control` is valid and ours during the call by the safety requirements.
            unsafe { (*control).nr_scanned = (*control).nr_to_scan.max(freed) };
            freed
        }
    }
}
