// SPDX-License-Identifier: GPL-2.0

//! Work that is queued when a file becomes ready.
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

/// What to wait for.
#[derive(Clone, Copy)]
pub(crate) enum Interest {
    /// Something to read: `EPOLLIN`.
    Readable,
    /// Room to write: `EPOLLOUT`.
    Writable,
}

impl Interest {
    const fn mask(self) -> u32 {
        match self {
            Self::Readable => kernel::bindings::POLLIN,
            Self::Writable => kernel::bindings::POLLOUT,
        }
    }
}

/// Whether a file is ready for what is awaited.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ready {
    /// It is.
    Yes,
    /// It is not; the work is queued when it is.
    No,
}

/// A file whose first wait queue lives as long as the file does. That is not so of every file:
/// some free theirs earlier, and say so with `POLLFREE`, which nobody here would hear.
///
/// # Invariants
///
/// As said.
#[derive(Clone)]
pub(crate) struct Pollable(ARef<File>);

impl Pollable {
    /// # Safety
    ///
    /// The invariant holds for the file.
    pub(super) unsafe fn new(file: ARef<File>) -> Self {
        // INVARIANT: As the caller promises.
        Self(file)
    }
}

impl Deref for Pollable {
    type Target = File;

    fn deref(&self) -> &File {
        &self.0
    }
}

/// Fails where file descriptors mean nothing, for the current task has no table of them: a vhost
/// task, or one that is exiting.
///
/// # Errors
///
/// `EBADF`.
pub(super) fn check_files() -> Result {
    // SAFETY: The current task is valid, and nobody else changes this field of it.
    let files = unsafe { (*Task::current_raw()).files };
    if files.is_null() {
        return Err(EBADF);
    }
    Ok(())
}

/// What the wake-up function needs, reachable from the wait queue's entry.
#[repr(C)]
struct Hook<T> {
    entry: ffi::wait_queue_entry,
    mask: u32,
    worker: Arc<Worker>,
    work: Arc<Work<T>>,
}

/// Waits on one file on behalf of one work item. Stopped on drop.
///
/// # Invariants
///
/// - `hook` is initialised, and `hook.entry` has [`wake`] of this `T` as its function.
/// - `head` is null, or the wait queue of `file` that `hook.entry` is on.
#[pin_data(PinnedDrop)]
pub(crate) struct FilePoll<T: Run> {
    #[pin]
    hook: Opaque<Hook<T>>,
    head: *mut ffi::wait_queue_head,
    file: Pollable,
}

// SAFETY: The entry may be taken off its queue by any thread, and `head` is only a place.
unsafe impl<T: Run> Send for FilePoll<T> {}

/// What [`FilePoll::start`] hands to the file's poll function.
///
/// # Invariants
///
/// `entry` is on no queue as long as `head` is null.
#[repr(C)]
struct Table {
    table: ffi::poll_table_struct,
    entry: *mut ffi::wait_queue_entry,
    head: *mut ffi::wait_queue_head,
}

impl<T: Run> FilePoll<T> {
    /// Prepares to queue `work` to `worker` when `file` is ready. Nothing is waited for yet.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new(
        file: Pollable,
        interest: Interest,
        worker: Arc<Worker>,
        work: Arc<Work<T>>,
    ) -> Result<Pin<KBox<Self>>> {
        let hook = Hook {
            entry: ffi::wait_queue_entry::default(),
            mask: interest.mask(),
            worker,
            work,
        };
        let poll = KBox::pin_init(
            // INVARIANT: On no queue; the entry is completed below, before anybody sees it.
            pin_init!(Self {
                hook: Opaque::new(hook),
                head: null_mut(),
                file,
            }),
            GFP_KERNEL,
        )?;
        // SAFETY: The hook is initialised and pinned, and on no queue.
        unsafe {
            ffi::vnr_init_waitqueue_func_entry(&raw mut (*poll.hook.get()).entry, Some(wake::<T>));
        }
        Ok(poll)
    }

    /// The file that is waited on.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Whether what is awaited is something to read.
    pub(crate) fn is_for_reading(&self) -> bool {
        // SAFETY: Initialised by the invariant; this field never changes.
        unsafe { (*self.hook.get()).mask == Interest::Readable.mask() }
    }

    /// Starts waiting. If the file is ready now the work is queued at once, whatever else the file
    /// reports. Sleeps.
    ///
    /// # Errors
    ///
    /// As [`Self::arm`].
    pub(crate) fn start(mut self: Pin<&mut Self>) -> Result {
        if self.as_mut().arm()? == Ready::Yes {
            self.queue();
        }
        Ok(())
    }

    /// Starts waiting, and tells whether the file is ready now, whatever else it reports: nothing is
    /// queued for that. It is not asked, and is not ready, while it is being waited on. Sleeps.
    ///
    /// # Errors
    ///
    /// `EINVAL` when the file reports an error and is not ready. It is waited on all the same, for
    /// it may become ready later, unless it has no wait queue now: nothing can be relied on to
    /// queue the work then.
    pub(crate) fn arm(self: Pin<&mut Self>) -> Result<Ready> {
        // SAFETY: Nothing is moved.
        let this = unsafe { self.get_unchecked_mut() };
        if !this.head.is_null() {
            return Ok(Ready::No);
        }
        let mut table = Table {
            table: ffi::poll_table_struct {
                _qproc: Some(enqueue),
                _key: !0,
            },
            // SAFETY: Only the place is computed.
            entry: unsafe { &raw mut (*this.hook.get()).entry },
            head: null_mut(),
        };
        // SAFETY: The file is valid, and `table` is what `enqueue` expects, with an entry that is
        // on no queue by the invariant.
        let mask = unsafe { ffi::vnr_vfs_poll(this.file.as_ptr().cast(), (&raw mut table).cast()) };
        // INVARIANT: `enqueue` put the entry on this queue, which belongs to the file.
        this.head = table.head;
        // SAFETY: Initialised by the invariant; this field never changes.
        let want = unsafe { (*this.hook.get()).mask };
        if mask & want != 0 {
            Ok(Ready::Yes)
        } else if mask & kernel::bindings::POLLERR != 0 {
            Err(EINVAL)
        } else {
            Ok(Ready::No)
        }
    }

    /// Queues the work.
    pub(crate) fn queue(&self) {
        let hook = self.hook.get();
        // SAFETY: Initialised by the invariant; these fields never change.
        let (worker, work) = unsafe { (&(*hook).worker, &(*hook).work) };
        worker.queue(work);
    }

    /// Stops waiting. The wake-up function does not run any more when this returns; what it has
    /// queued may still run.
    pub(crate) fn stop(self: Pin<&mut Self>) {
        // SAFETY: Nothing is moved.
        unsafe { self.get_unchecked_mut() }.unhook();
    }

    fn unhook(&mut self) {
        if !self.head.is_null() {
            // SAFETY: By the invariants the entry is on this queue, which lives as long as the
            // file does, by that of `Pollable`.
            unsafe { ffi::remove_wait_queue(self.head, &raw mut (*self.hook.get()).entry) };
            // INVARIANT: On no queue.
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
        // SAFETY: Initialised by the invariant, on no queue, and not used again.
        unsafe { core::ptr::drop_in_place(this.hook.get()) };
    }
}

/// Called by the file's poll function for each of its wait queues; only the first is used.
///
/// # Safety
///
/// `pt` is the first field of a [`Table`]; `head` lives as long as the file that is polled.
unsafe extern "C" fn enqueue(
    _file: *mut ffi::file,
    head: *mut ffi::wait_queue_head_t,
    pt: *mut ffi::poll_table_struct,
) {
    // SAFETY: CAST: `Table` is `repr(C)` with the poll table first.
    let table = unsafe { &mut *pt.cast::<Table>() };
    if table.head.is_null() && !head.is_null() {
        // SAFETY: By the invariant the entry is valid and on no queue.
        unsafe { ffi::add_wait_queue(head, table.entry) };
        table.head = head;
    }
}

/// The wake-up function: queues the work. Called with the queue's lock held, interrupts off.
///
/// # Safety
///
/// `entry` is part of a [`Hook`] of this `T` that stays valid for the call.
unsafe extern "C" fn wake<T: Run>(
    entry: *mut ffi::wait_queue_entry_t,
    _mode: c_uint,
    _flags: c_int,
    key: *mut c_void,
) -> c_int {
    // SAFETY: The entry is a field of a `Hook`, which is valid as long as the entry is on a queue;
    // taking it off waits for the queue's lock, which is held here.
    let hook = unsafe { entry.byte_sub(offset_of!(Hook<T>, entry)) }.cast::<Hook<T>>();
    // SAFETY: As above; these fields never change. The entry itself, which its neighbours on the
    // queue write to, is not borrowed.
    let (want, worker, work) = unsafe { ((*hook).mask, &(*hook).worker, &(*hook).work) };
    // SAFETY: Only looks at the key.
    if unsafe { ffi::vnr_key_to_poll(key) } & want != 0 {
        worker.queue(work);
    }
    0
}
