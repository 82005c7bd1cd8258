// SPDX-License-Identifier: GPL-2.0

//! The owner of a device: the address space whose memory the device may access.
//!
//! A device only holds a reference on the structure (`mm_count`), to compare it. A reference as a
//! user (`mm_users`) would keep the memory of a dead process as long as the device's file is open,
//! and forever if the file can be reached from within the memory, as a file that is registered with
//! an io_uring can. The threads that access the memory are its users: a vhost task like any thread
//! of the owner, a kthread while it runs items.

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

/// The address space that owns a device. This value does not keep its memory.
#[derive(Clone)]
pub(crate) struct Owner {
    mm: ARef<Mm>,
}

impl Owner {
    /// Creates the owner from the current task's address space.
    ///
    /// # Errors
    ///
    /// `EPERM` for a kernel thread, which has no address space.
    pub(crate) fn current() -> Result<Self> {
        let task = current!();
        let mm: &Mm = task.mm().ok_or(EPERM)?;
        Ok(Self { mm: mm.into() })
    }

    /// Compares the current task's address space with the owner's, and returns the proof that they
    /// are the same.
    ///
    /// # Errors
    ///
    /// `EPERM` when they are not, and for a kernel thread, which can only have borrowed it.
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
        // SAFETY: The address spaces were just compared. A thread of a process, which a vhost task
        // is, is a user of its address space until it executes a program or exits. It does neither
        // with our code on its stack, and the result stays on this thread.
        Ok(unsafe { InMm::assume() })
    }

    /// Runs `f` in the owner's address space, as a user of it. If it has no users any more, drops
    /// `f` and returns `None`.
    ///
    /// # Safety
    ///
    /// The current thread must be a kthread of this module that uses no address space.
    pub(super) unsafe fn borrow<T>(&self, f: impl FnOnce(InMm<'_>) -> T) -> Option<T> {
        // This may be the last user. What is released with the address space may wait for this
        // thread, so another one must release it.
        let user = MmWithUser::into_mmput_async(self.mm.mmget_not_zero()?);
        // SAFETY: We hold a reference as a user, and the kthread has no address space of its own.
        unsafe { ffi::kthread_use_mm(user.as_raw().cast()) };
        // SAFETY: `user` keeps the address space, which is this thread's until `f` has returned;
        // `f` cannot keep the proof any longer.
        let result = f(unsafe { InMm::assume() });
        // SAFETY: Reverts `kthread_use_mm`.
        unsafe { ffi::kthread_unuse_mm(user.as_raw().cast()) };
        Some(result)
    }
}

/// The proof that the current thread runs in the owner's address space.
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
    /// Creates the proof.
    ///
    /// # Safety
    ///
    /// As long as the result is used, the current thread's address space must be the owner's, and
    /// the thread must be a user of it.
    unsafe fn assume() -> Self {
        // INVARIANT: By the safety requirements of this function.
        Self {
            _owner: PhantomData,
            _thread: PhantomData,
        }
    }
}
