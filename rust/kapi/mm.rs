// SPDX-License-Identifier: GPL-2.0

//! The owner: one address space, whose memory is the only one that is touched.

use core::marker::PhantomData;
use kernel::{
    current,
    mm::MmWithUser,
    prelude::*,
    sync::aref::ARef,
    types::NotThreadSafe, //
};

/// A user reference on the address space that owns a device.
///
/// The memory stays until this is dropped, also after the process is gone. Dropping may sleep.
pub(crate) struct Owner {
    mm: ARef<MmWithUser>,
}

impl Owner {
    /// Makes the caller's address space the owner.
    ///
    /// # Errors
    ///
    /// `EPERM` for a kernel thread, which has none.
    pub(crate) fn current() -> Result<Self> {
        let mm = current!().mm().map(ARef::from).ok_or(EPERM)?;
        Ok(Self { mm })
    }

    /// The evidence that the caller runs in the owner's address space.
    ///
    /// # Errors
    ///
    /// `EPERM` when it does not.
    pub(crate) fn enter(&self) -> Result<InMm<'_>> {
        let task = current!();
        let mm = task.mm().ok_or(EPERM)?;
        if mm.as_raw() != self.mm.as_raw() {
            return Err(EPERM);
        }
        // SAFETY: Just compared. A user task keeps its address space while it is in a system
        // call other than exec, and the result stays on this thread.
        Ok(unsafe { InMm::assume(&self.mm) })
    }

    /// Another reference on the same address space.
    pub(super) fn mm(&self) -> ARef<MmWithUser> {
        self.mm.clone()
    }
}

/// The evidence that the current thread runs in the owner's address space.
///
/// # Invariants
///
/// While a value exists, `current->mm` is the `mm` it was made for.
#[derive(Clone, Copy)]
pub(crate) struct InMm<'a> {
    _mm: PhantomData<&'a MmWithUser>,
    _thread: PhantomData<NotThreadSafe>,
}

impl<'a> InMm<'a> {
    /// # Safety
    ///
    /// `mm` is the current thread's address space for at least `'a`.
    pub(super) unsafe fn assume(_mm: &'a MmWithUser) -> Self {
        // INVARIANT: As the caller promises.
        Self {
            _mm: PhantomData,
            _thread: PhantomData,
        }
    }
}
