// SPDX-License-Identifier: GPL-2.0

//! The thread of a [`Worker`]: a vhost task, or a kthread that borrows the owner's address space.
//!
//! C headers: [`include/linux/sched/vhost_task.h`](srctree/include/linux/sched/vhost_task.h),
//! [`include/linux/kthread.h`](srctree/include/linux/kthread.h)

use core::{
    ffi::c_void,
    ptr::NonNull, //
};
use kernel::{
    error::{
        from_err_ptr,
        to_result, //
    },
    prelude::*,
    str::{
        CStr,
        CString, //
    },
    sync::{
        aref::ARef,
        atomic::{
            ordering::Relaxed,
            Atomic, //
        },
        Arc,
        Mutex, //
    },
    task::Task, //
};

use super::{
    domain::Flush,
    ffi,
    mm::Owner,
    param,
    work::{
        Context,
        Run,
        Work, //
    },
    worker::{
        Domain,
        Worker, //
    },
};

/// The kind of thread that runs the work.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum ThreadKind {
    /// A thread of the owner's thread group. The owner's accounting, cgroups and limits apply to
    /// it, and it ends with the owner.
    Task,
    /// A kernel thread that borrows the owner's address space and joins the owner's cgroups.
    Kthread,
}

impl ThreadKind {
    /// Returns the kind that the module parameter `fork_from_owner_default` selects.
    pub(crate) fn from_param() -> Self {
        if param::fork_from_owner_default() {
            Self::Task
        } else {
            Self::Kthread
        }
    }
}

/// The longest name of a thread in bytes.
const LONGEST: usize = ffi::VNR_TASK_COMM_LEN as usize - 1;

enum Handle {
    Task(NonNull<ffi::vhost_task>),
    Kthread(NonNull<ffi::task_struct>),
}

/// The running thread of a worker. Stopped on drop.
///
/// # Invariants
///
/// `handle` was started with a pointer to `worker`, which outlives the thread, and has not been
/// stopped.
pub(crate) struct Thread {
    worker: Arc<Worker>,
    handle: Handle,
    title: Arc<Work<Title>>,
}

// SAFETY: Both kinds of thread may be stopped by any thread. The other fields are `Send`.
unsafe impl Send for Thread {}

impl Thread {
    /// Starts the thread of a new worker of `domain`. The caller must run in the owner's address
    /// space.
    ///
    /// Sleeps. The name of the new thread is `vhost-` and the caller's thread ID in the initial PID
    /// namespace, followed by `suffix`. Names of more than 15 bytes are cut.
    ///
    /// # Errors
    ///
    /// `EPERM` when the caller does not run in the owner's address space, or is a kernel thread;
    /// `ENOMEM`; the errors of creating a thread and of joining the caller's cgroups.
    pub(crate) fn spawn(
        kind: ThreadKind,
        suffix: Option<&'static CStr>,
        owner: &Owner,
        domain: &Arc<Domain>,
    ) -> Result<Self> {
        // A vhost task shares the address space of its creator.
        owner.check_current()?;
        let title = Title::new()?;
        let name = title.with(suffix);
        let worker = Worker::new(owner.clone(), domain.clone());
        let worker = Arc::pin_init(worker, GFP_KERNEL_ACCOUNT)?;
        domain.add(&worker)?;
        let handle = match kind {
            ThreadKind::Task => Self::start_task(&worker, &name),
            ThreadKind::Kthread => Self::start_kthread(&worker, &name),
        };
        match handle {
            Ok(handle) => {
                // INVARIANT: The thread was started with a pointer to `worker`.
                let thread = Self {
                    worker,
                    handle,
                    title,
                };
                if kind == ThreadKind::Kthread {
                    thread.join_cgroups()?;
                }
                Ok(thread)
            }
            Err(e) => {
                // SAFETY: No thread was started.
                unsafe {
                    worker.discard();
                    domain.remove(&worker);
                }
                Err(e)
            }
        }
    }

    /// Returns the worker, to which work for this thread is queued.
    pub(crate) fn worker(&self) -> &Arc<Worker> {
        &self.worker
    }

    /// Replaces the suffix of the name. The thread does this itself, before it runs anything that
    /// is queued later. Has no effect on a kthread, whose visible name is fixed.
    pub(crate) fn set_suffix(&self, suffix: Option<&'static CStr>) {
        if matches!(self.handle, Handle::Task(_)) {
            *self.title.suffix.lock() = suffix;
            self.worker.queue(&self.title);
        }
    }

    fn start_task(worker: &Arc<Worker>, name: &Name) -> Result<Handle> {
        // SAFETY: `arg` is what the functions require, a worker that outlives the task. The name is
        // copied.
        let task = from_err_ptr(unsafe {
            ffi::vhost_task_create(
                Some(task_run),
                Some(task_killed),
                Arc::as_ptr(worker).cast_mut().cast(),
                name.as_ptr().cast(),
            )
        })?;
        let task = NonNull::new(task).ok_or(ENOMEM)?;
        // SAFETY: The task was just created and has not been started.
        unsafe { ffi::vhost_task_start(task.as_ptr()) };
        Ok(Handle::Task(task))
    }

    fn start_kthread(worker: &Arc<Worker>, name: &Name) -> Result<Handle> {
        // SAFETY: As in `start_task`; the format requires one string.
        let task = from_err_ptr(unsafe {
            ffi::kthread_create_on_node(
                Some(kthread_run),
                Arc::as_ptr(worker).cast_mut().cast(),
                kernel::bindings::NUMA_NO_NODE,
                c"%s".as_char_ptr(),
                name.as_ptr().cast::<core::ffi::c_char>(),
            )
        })?;
        let task = NonNull::new(task).ok_or(ENOMEM)?;
        // SAFETY: The thread is new, and ends only when it is stopped.
        unsafe { ffi::wake_up_process(task.as_ptr()) };
        Ok(Handle::Kthread(task))
    }

    fn join_cgroups(&self) -> Result {
        let join = Arc::pin_init(
            Work::new::<Error>(Ok(Join {
                from: ARef::from(&**kernel::current!()),
                result: Atomic::new(ENOMEM.to_errno()),
            })),
            GFP_KERNEL,
        )?;
        self.worker.queue(&join);
        self.worker.flush();
        to_result(join.result.load(Relaxed))
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        match self.handle {
            // SAFETY: By the invariant the task was started and not stopped. This frees it.
            Handle::Task(task) => unsafe { ffi::vhost_task_stop(task.as_ptr()) },
            Handle::Kthread(task) => {
                // SAFETY: By the invariant the thread was started and not stopped. It does not end
                // by itself.
                unsafe { ffi::kthread_stop(task.as_ptr()) };
            }
        }
        // Releases the items that were queued in the meantime.
        // SAFETY: The thread has ended, so nothing runs any more.
        unsafe {
            self.worker.discard();
            self.worker.domain().remove(&self.worker);
        }
    }
}

/// Runs the queued items on a vhost task. Returns false if there are none.
///
/// # Safety
///
/// `data` must point to a `Worker` whose vhost task is the current thread.
unsafe extern "C" fn task_run(data: *mut c_void) -> bool {
    // SAFETY: By the safety requirements of this function.
    let worker = unsafe { &*data.cast::<Worker>() };
    worker.announce();
    // SAFETY: By the safety requirements of this function.
    let Some(queued) = (unsafe { worker.take() }) else {
        return false;
    };
    // A vhost task shares the address space of its creator, which was the owner.
    if let Ok(mm) = worker.owner().check_current() {
        queued.run(mm);
    }
    true
}

/// Runs the items that are left when a vhost task is killed.
///
/// # Safety
///
/// As for [`task_run`], which must not be called again.
unsafe extern "C" fn task_killed(data: *mut c_void) {
    // SAFETY: By the safety requirements of this function.
    let worker = unsafe { &*data.cast::<Worker>() };
    // SAFETY: By the safety requirements of this function.
    let queued = unsafe { worker.take_last() };
    if let Ok(mm) = worker.owner().check_current() {
        queued.run(mm);
    }
    // SAFETY: By the safety requirements of this function no more items are run.
    unsafe { worker.discard() };
}

/// Runs the queued items on a kthread until it is stopped.
///
/// # Safety
///
/// `data` must point to a `Worker` whose kthread is the current thread.
unsafe extern "C" fn kthread_run(data: *mut c_void) -> core::ffi::c_int {
    // SAFETY: By the safety requirements of this function.
    let worker = unsafe { &*data.cast::<Worker>() };
    worker.announce();
    loop {
        // SAFETY: The current task may always set its own state. This is a full barrier.
        unsafe { ffi::vnr_set_current_state(ffi::VNR_TASK_INTERRUPTIBLE as i32) };
        // SAFETY: The current task is a kthread.
        if unsafe { ffi::kthread_should_stop() } {
            break;
        }
        // SAFETY: By the safety requirements of this function.
        match unsafe { worker.take() } {
            // The reference on the memory is dropped each time: work that never ends must not keep
            // the memory of a process that has died. Without the memory the items are released.
            Some(queued) => {
                // SAFETY: The current thread is a kthread that uses no address space elsewhere.
                unsafe { worker.owner().borrow(|mm| queued.run(mm)) };
            }
            // SAFETY: This is process context with no lock held.
            None => unsafe { ffi::schedule() },
        }
    }
    // SAFETY: The current task may always set its own state.
    unsafe { ffi::vnr_finish_state(ffi::VNR_TASK_RUNNING as i32) };
    0
}

/// The name of a thread, which ends with a 0.
type Name = [u8; ffi::VNR_TASK_COMM_LEN as usize];

/// A work item that sets the name of the thread running it.
#[pin_data]
struct Title {
    /// The name without suffix.
    name: CString,
    #[pin]
    suffix: Mutex<Option<&'static CStr>>,
}

impl Title {
    /// Creates the item for a name of `vhost-` and the thread ID of the current task.
    fn new() -> Result<Arc<Work<Self>>> {
        let name = CString::try_from_fmt(fmt!("vhost-{}", kernel::current!().pid()))?;
        Arc::pin_init(
            Work::new::<Error>(try_pin_init!(Self {
                name,
                suffix <- kernel::new_mutex!(None, "vhost_net_rs::Title::suffix"),
            }? Error)),
            GFP_KERNEL_ACCOUNT,
        )
    }

    /// Returns the name with this suffix. What is too long is cut.
    fn with(&self, suffix: Option<&CStr>) -> Name {
        let mut name = [0; ffi::VNR_TASK_COMM_LEN as usize];
        // The last byte stays 0.
        let mut to = name.iter_mut().take(LONGEST);
        for part in [self.name.to_bytes(), suffix.map_or(&[], CStr::to_bytes)] {
            for (from, to) in part.iter().zip(to.by_ref()) {
                *to = *from;
            }
        }
        name
    }
}

impl Run for Title {
    fn run(work: &Arc<Work<Self>>, _ctx: &Context<'_>) {
        let suffix = *work.suffix.lock();
        let name = work.with(suffix);
        // SAFETY: The name ends with a 0. A task may set its own name; readers tolerate that it
        // changes while they read it.
        unsafe { ffi::vnr_set_current_comm(name.as_ptr().cast()) };
    }
}

/// A work item that moves the thread running it into the cgroups of another task.
struct Join {
    from: ARef<Task>,
    result: Atomic<i32>,
}

impl Run for Join {
    fn run(work: &Arc<Work<Self>>, _ctx: &Context<'_>) {
        // SAFETY: Both tasks are valid: we hold a reference on one, and the other is the current
        // one.
        let result =
            unsafe { ffi::cgroup_attach_task_all(work.from.as_ptr().cast(), Task::current_raw()) };
        work.result.store(result, Relaxed);
    }
}
