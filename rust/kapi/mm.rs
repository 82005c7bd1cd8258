// SPDX-License-Identifier: GPL-2.0

//! The owner: one address space, whose memory is the only one that is touched.
//!
//! A device holds the structure alone, to compare with. A user reference would keep the memory of
//! a process that has died for as long as the device's file is open, and for ever when that file
//! can be reached from within the memory, as a file that is registered with an io_uring can. The
//! threads that use the memory have their own: a vhost task as any thread of the owner has, a
//! kthread while it works.

use core::marker::PhantomData;
use kernel::{
    current,
    mm::{
        Mm,
        MmWithUser, //
    },
    prelude::*,
    sync::aref::ARef,
    task::Task,
    types::NotThreadSafe, //
};

use super::ffi;

/// The address space that owns a device. Its memory goes with its last user all the same.
#[derive(Clone)]
pub(crate) struct Owner {
    mm: ARef<Mm>,
}

impl Owner {
    /// Makes the caller's address space the owner.
    ///
    /// # Errors
    ///
    /// `EPERM` for a kernel thread, which has none.
    pub(crate) fn current() -> Result<Self> {
        let task = current!();
        let mm: &Mm = task.mm().ok_or(EPERM)?;
        Ok(Self { mm: mm.into() })
    }

    /// Compares the caller's address space with the owner's; the result is the evidence that it
    /// is the same.
    ///
    /// # Errors
    ///
    /// `EPERM` when it is not. Also for a kernel thread, which can only have borrowed it.
    pub(crate) fn check_current(&self) -> Result<InMm<'_>> {
        // SAFETY: The current task is valid, and only it changes its flags.
        if unsafe { (*Task::current_raw()).flags } & kernel::bindings::PF_KTHREAD != 0 {
            return Err(EPERM);
        }
        let task = current!();
        let mm = task.mm().ok_or(EPERM)?;
        if mm.as_raw() != self.mm.as_raw() {
            return Err(EPERM);
        }
        // SAFETY: Just compared. A thread of a process, as a vhost task is, has its address space
        // and is a user of it until it executes a program or exits, neither of which it does with
        // our code on its stack, and the result stays on this thread.
        Ok(unsafe { InMm::assume() })
    }

    /// Runs `f` in the owner's address space, with a user reference on it. When it has no user
    /// any more `f` is dropped, and the result is `None`.
    ///
    /// # Safety
    ///
    /// The current thread is a kthread of ours that uses no address space.
    pub(super) unsafe fn borrow<T>(&self, f: impl FnOnce(InMm<'_>) -> T) -> Option<T> {
        // The last reference may be this one. What then goes may wait for what waits for this
        // thread, so that is left to another.
        let user = MmWithUser::into_mmput_async(self.mm.mmget_not_zero()?);
        // SAFETY: We hold a user reference, and the kthread has no address space of its own.
        unsafe { ffi::kthread_use_mm(user.as_raw().cast()) };
        // SAFETY: `user` keeps it, and it is this thread's until `f`, which can keep nothing of
        // the evidence, has returned.
        let result = f(unsafe { InMm::assume() });
        // SAFETY: Undoes `kthread_use_mm`.
        unsafe { ffi::kthread_unuse_mm(user.as_raw().cast()) };
        Some(result)
    }
}

/// The evidence that the current thread runs in the owner's address space.
///
/// # Invariants
///
/// While a value exists, `current->mm` is the owner's and this thread is a user of it.
#[derive(Clone, Copy)]
pub(crate) struct InMm<'a> {
    _owner: PhantomData<&'a Owner>,
    _thread: PhantomData<NotThreadSafe>,
}

impl InMm<'_> {
    /// # Safety
    ///
    /// The owner's address space is the current thread's, and the thread a user of it, for as
    /// long as the result is used.
    unsafe fn assume() -> Self {
        // INVARIANT: As the caller promises.
        Self {
            _owner: PhantomData,
            _thread: PhantomData,
        }
    }
}
