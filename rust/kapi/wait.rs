// SPDX-License-Identifier: GPL-2.0

//! Queueing work when a file becomes ready.
//!
//! C headers: [`include/linux/poll.h`](srctree/include/linux/poll.h),
//! [`include/linux/wait.h`](srctree/include/linux/wait.h)

use core::{
    ffi::{
        c_int,
        c_uint,
        c_void, //
    },
    mem::offset_of,
    ops::Deref,
    ptr::null_mut, //
};
use kernel::{
    fs::File,
    prelude::*,
    sync::{
        aref::ARef,
        Arc, //
    },
    task::Task,
    types::Opaque, //
};

use super::{
    ffi,
    work::{
        Run,
        Work, //
    },
    worker::Worker, //
};

/// The event to wait for.
#[derive(Clone, Copy)]
pub(crate) enum Interest {
    /// The file becomes readable: `EPOLLIN`.
    Readable,
    /// The file becomes writable: `EPOLLOUT`.
    Writable,
}

impl Interest {
    const fn mask(self) -> u32 {
        match self {
            Self::Readable => kernel::bindings::POLLIN,
            Self::Writable => kernel::bindings::POLLOUT,
        }
    }

    /// Returns what `mask`, the result of a file's `poll` operation, says about this event.
    fn state(self, mask: u32) -> Result<Ready> {
        if mask & self.mask() != 0 {
            Ok(Ready::Yes)
        } else if mask & kernel::bindings::POLLERR != 0 {
            Err(EINVAL)
        } else {
            Ok(Ready::No)
        }
    }
}

/// The state of a file with regard to an event.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ready {
    /// The file is ready.
    Yes,
    /// The file is not ready.
    No,
}

/// A file whose first wait queue lives as long as the file.
///
/// Some other files free their wait queue earlier and announce it with `POLLFREE`, which
/// [`FilePoll`] does not handle.
///
/// # Invariants
///
/// The file's first wait queue lives as long as the file.
#[derive(Clone)]
pub(crate) struct Pollable(ARef<File>);

impl Pollable {
    /// Creates a [`Pollable`].
    ///
    /// # Safety
    ///
    /// The file's first wait queue must live as long as the file.
    pub(super) unsafe fn new(file: ARef<File>) -> Self {
        // INVARIANT: By the safety requirements of this function.
        Self(file)
    }

    /// Returns whether the file is ready now, even if it also reports an error. Does not start
    /// waiting. May sleep.
    ///
    /// # Errors
    ///
    /// `EINVAL` when the file reports an error and is not ready.
    pub(crate) fn poll(&self, interest: Interest) -> Result<Ready> {
        // SAFETY: The file is valid. Without a poll table no wait queue is used.
        interest.state(unsafe { ffi::vnr_vfs_poll(self.as_ptr().cast(), null_mut()) })
    }
}

impl PartialEq for Pollable {
    /// Returns whether both refer to the same open file.
    fn eq(&self, other: &Self) -> bool {
        core::ptr::eq::<File>(&**self, &**other)
    }
}

impl Deref for Pollable {
    type Target = File;

    fn deref(&self) -> &File {
        &self.0
    }
}

/// Checks that the current task has a table of file descriptors. A vhost task and an exiting task
/// have none.
///
/// # Errors
///
/// `EBADF` when it has none.
pub(super) fn check_files() -> Result {
    // SAFETY: The current task is valid, and no other task changes this field of it.
    let files = unsafe { (*Task::current_raw()).files };
    if files.is_null() {
        return Err(EBADF);
    }
    Ok(())
}

/// A wait queue entry and what its wake-up function needs.
#[repr(C)]
struct Hook<T> {
    entry: ffi::wait_queue_entry,
    interest: Interest,
    worker: Arc<Worker>,
    work: Arc<Work<T>>,
}

/// Waits for an event of a file, and queues one work item when it occurs. Stops waiting on drop.
///
/// The file can be replaced, so that a new one needs no allocation.
///
/// # Invariants
///
/// - `hook` is initialised, and the function of `hook.entry` is [`wake`] for this `T`.
/// - `head` is null, or the wait queue of `file` that `hook.entry` is on.
#[pin_data(PinnedDrop)]
pub(crate) struct FilePoll<T: Run> {
    #[pin]
    hook: Opaque<Hook<T>>,
    head: *mut ffi::wait_queue_head,
    file: Option<Pollable>,
}

// SAFETY: Any thread may remove the entry from its wait queue, and `head` is only an address.
unsafe impl<T: Run> Send for FilePoll<T> {}

/// The poll table that [`FilePoll::arm`] passes to the file's `poll` operation.
///
/// # Invariants
///
/// `entry` is valid, and on no wait queue as long as `head` is null.
#[repr(C)]
struct Table {
    table: ffi::poll_table_struct,
    entry: *mut ffi::wait_queue_entry,
    head: *mut ffi::wait_queue_head,
}

impl<T: Run> FilePoll<T> {
    /// Creates a value that can queue `work` to `worker` when a file is ready. It has no file yet.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new(
        interest: Interest,
        worker: Arc<Worker>,
        work: Arc<Work<T>>,
    ) -> Result<Pin<KBox<Self>>> {
        let hook = Hook {
            entry: ffi::wait_queue_entry::default(),
            interest,
            worker,
            work,
        };
        let poll = KBox::pin_init(
            // INVARIANT: On no wait queue. The entry is completed below, before the value is used.
            pin_init!(Self {
                hook: Opaque::new(hook),
                head: null_mut(),
                file: None,
            }),
            GFP_KERNEL,
        )?;
        // SAFETY: The hook is initialised and pinned, and its entry is on no wait queue.
        unsafe {
            ffi::vnr_init_waitqueue_func_entry(&raw mut (*poll.hook.get()).entry, Some(wake::<T>));
        }
        Ok(poll)
    }

    /// Returns the file whose event can be waited for, if there is one.
    pub(crate) fn file(&self) -> Option<&Pollable> {
        self.file.as_ref()
    }

    /// Replaces the file and returns the old one. Stops waiting, as [`Self::stop`] does.
    pub(crate) fn set_file(self: Pin<&mut Self>, file: Option<Pollable>) -> Option<Pollable> {
        // SAFETY: Nothing is moved out of `self` but the file, which is not pinned.
        let this = unsafe { self.get_unchecked_mut() };
        this.unhook();
        // INVARIANT: `head` is null.
        core::mem::replace(&mut this.file, file)
    }

    /// Returns whether it waits for the file to become readable.
    pub(crate) fn is_for_reading(&self) -> bool {
        matches!(self.interest(), Interest::Readable)
    }

    fn interest(&self) -> Interest {
        // SAFETY: The hook is initialised by the invariant, and this field never changes.
        unsafe { (*self.hook.get()).interest }
    }

    /// Starts waiting. If the file is ready now, queues the work at once, even if the file also
    /// reports an error. May sleep.
    ///
    /// # Errors
    ///
    /// As for [`Self::arm`].
    pub(crate) fn start(mut self: Pin<&mut Self>) -> Result {
        if self.as_mut().arm()? == Ready::Yes {
            self.queue();
        }
        Ok(())
    }

    /// Starts waiting, and returns whether the file is ready now, even if it also reports an error.
    /// The work is not queued in this case, but when the file becomes ready later. If this value is
    /// waiting already, the file is not polled, and the result is [`Ready::No`], as it is without a
    /// file. May sleep.
    ///
    /// # Errors
    ///
    /// `EINVAL` when the file reports an error and is not ready. The value is waiting nevertheless,
    /// because the file may become ready later. But if the file has no wait queue now, no event
    /// will queue the work.
    pub(crate) fn arm(self: Pin<&mut Self>) -> Result<Ready> {
        // SAFETY: Nothing is moved out of `self`.
        let this = unsafe { self.get_unchecked_mut() };
        let Some(file) = &this.file else {
            return Ok(Ready::No);
        };
        if !this.head.is_null() {
            return Ok(Ready::No);
        }
        let mut table = Table {
            table: ffi::poll_table_struct {
                _qproc: Some(enqueue),
                _key: !0,
            },
            // SAFETY: Only the address of the field is computed.
            entry: unsafe { &raw mut (*this.hook.get()).entry },
            head: null_mut(),
        };
        // SAFETY: The file is valid, and `table` is what `enqueue` requires. Its entry is valid
        // and, as `head` is null, on no wait queue by the invariant.
        let mask = unsafe { ffi::vnr_vfs_poll(file.as_ptr().cast(), (&raw mut table).cast()) };
        // INVARIANT: Null, or the file's wait queue to which `enqueue` has added the entry.
        this.head = table.head;
        this.interest().state(mask)
    }

    /// Queues the work now.
    pub(crate) fn queue(&self) {
        let hook = self.hook.get();
        // SAFETY: The hook is initialised by the invariant, and these fields never change.
        let (worker, work) = unsafe { (&(*hook).worker, &(*hook).work) };
        worker.queue(work);
    }

    /// Stops waiting. When this returns, the wake-up function is not running and will not be
    /// called. Work that it has queued may still run.
    pub(crate) fn stop(self: Pin<&mut Self>) {
        // SAFETY: Nothing is moved out of `self`.
        unsafe { self.get_unchecked_mut() }.unhook();
    }

    fn unhook(&mut self) {
        if !self.head.is_null() {
            // SAFETY: By the invariant the entry is on this wait queue of `file`, which by the
            // invariant of `Pollable` lives as long as the file.
            unsafe { ffi::remove_wait_queue(self.head, &raw mut (*self.hook.get()).entry) };
            // INVARIANT: The entry is on no wait queue.
            self.head = null_mut();
        }
    }
}

#[pinned_drop]
impl<T: Run> PinnedDrop for FilePoll<T> {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: Nothing is moved out of `self`.
        let this = unsafe { self.get_unchecked_mut() };
        this.unhook();
        // SAFETY: The hook is initialised by the invariant, on no wait queue, and not used again.
        unsafe { core::ptr::drop_in_place(this.hook.get()) };
    }
}

/// Called by the file's `poll` operation for each of its wait queues. Only the first one is used.
///
/// # Safety
///
/// `pt` must be the first field of a [`Table`]. `head` must live as long as the file that is
/// polled.
unsafe extern "C" fn enqueue(
    _file: *mut ffi::file,
    head: *mut ffi::wait_queue_head_t,
    pt: *mut ffi::poll_table_struct,
) {
    // SAFETY: CAST: `Table` is `repr(C)` with the poll table first.
    let table = unsafe { &mut *pt.cast::<Table>() };
    if table.head.is_null() && !head.is_null() {
        // SAFETY: By the invariant the entry is valid and on no wait queue.
        unsafe { ffi::add_wait_queue(head, table.entry) };
        table.head = head;
    }
}

/// The wake-up function: queues the work. Called with the wait queue's lock held and interrupts
/// disabled.
///
/// # Safety
///
/// `entry` must be a field of a [`Hook`] for this `T` that stays valid during the call.
unsafe extern "C" fn wake<T: Run>(
    entry: *mut ffi::wait_queue_entry_t,
    _mode: c_uint,
    _flags: c_int,
    key: *mut c_void,
) -> c_int {
    // SAFETY: The entry is a field of a `Hook`, which is valid as long as the entry is on a wait
    // queue: removing the entry takes the queue's lock, which is held here.
    let hook = unsafe { entry.byte_sub(offset_of!(Hook<T>, entry)) }.cast::<Hook<T>>();
    // SAFETY: As above; these fields never change. There is no reference to the entry itself, which
    // is written to when its neighbours in the wait queue change.
    let (interest, worker, work) = unsafe { ((*hook).interest, &(*hook).worker, &(*hook).work) };
    // SAFETY: Only the value of the key is used.
    if unsafe { ffi::vnr_key_to_poll(key) } & interest.mask() != 0 {
        worker.queue(work);
    }
    0
}
