// SPDX-License-Identifier: GPL-2.0

//! The thread behind a [`Worker`]: a vhost task, or a kthread that borrows the owner's mm.
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
    str::CString,
    sync::{
        aref::ARef,
        atomic::{
            ordering::Relaxed,
            Atomic, //
        },
        Arc, //
    },
    task::Task, //
};

use super::{
    domain::Flush,
    ffi,
    mm::Owner,
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

/// What kind of thread runs the work.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum ThreadKind {
    /// A thread of the owner's thread group: its accounting, cgroups and limits apply, and it
    /// dies with the owner.
    Task,
    /// A kernel thread that borrows the owner's address space and joins its cgroups.
    Kthread,
}

enum Handle {
    Task(NonNull<ffi::vhost_task>),
    Kthread(NonNull<ffi::task_struct>),
}

/// A running worker thread; stopped on drop.
///
/// # Invariants
///
/// `handle` was started with a pointer to `worker`, which therefore outlives it, and has not been
/// stopped.
pub(crate) struct Thread {
    worker: Arc<Worker>,
    handle: Handle,
}

// SAFETY: Both kinds of thread may be stopped from any thread.
unsafe impl Send for Thread {}

impl Thread {
    /// Starts a worker of `domain` in the owner's address space, which is the caller's.
    ///
    /// Sleeps. The new thread is named `vhost-` and the caller's thread number.
    ///
    /// # Errors
    ///
    /// `EPERM` when the caller is not the owner, or is a kernel thread; those of creating a thread,
    /// of joining the caller's cgroups, and `ENOMEM`.
    pub(crate) fn spawn(kind: ThreadKind, owner: &Owner, domain: &Arc<Domain>) -> Result<Self> {
        // A vhost task shares the address space of who creates it.
        owner.check_current()?;
        let worker = Arc::pin_init(Worker::new(owner.clone(), domain.clone()), GFP_KERNEL)?;
        domain.add(&worker)?;
        let handle = match kind {
            ThreadKind::Task => Self::start_task(&worker),
            ThreadKind::Kthread => Self::start_kthread(&worker),
        };
        match handle {
            Ok(handle) => {
                // INVARIANT: Just started with a pointer to `worker`.
                let thread = Self { worker, handle };
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

    /// Where to queue what this thread is to run.
    pub(crate) fn worker(&self) -> &Arc<Worker> {
        &self.worker
    }

    fn name() -> Result<CString> {
        CString::try_from_fmt(fmt!("vhost-{}", kernel::current!().pid()))
    }

    fn start_task(worker: &Arc<Worker>) -> Result<Handle> {
        let name = Self::name()?;
        // SAFETY: The functions take what `arg` is, a worker that outlives the task; the name is
        // copied.
        let task = from_err_ptr(unsafe {
            ffi::vhost_task_create(
                Some(task_run),
                Some(task_killed),
                Arc::as_ptr(worker).cast_mut().cast(),
                name.as_char_ptr(),
            )
        })?;
        let task = NonNull::new(task).ok_or(ENOMEM)?;
        // SAFETY: Just created and not started.
        unsafe { ffi::vhost_task_start(task.as_ptr()) };
        Ok(Handle::Task(task))
    }

    fn start_kthread(worker: &Arc<Worker>) -> Result<Handle> {
        let name = Self::name()?;
        // SAFETY: As in `start_task`; the format takes one string.
        let task = from_err_ptr(unsafe {
            ffi::kthread_create_on_node(
                Some(kthread_run),
                Arc::as_ptr(worker).cast_mut().cast(),
                kernel::bindings::NUMA_NO_NODE,
                c"%s".as_char_ptr(),
                name.as_char_ptr(),
            )
        })?;
        let task = NonNull::new(task).ok_or(ENOMEM)?;
        // SAFETY: A new thread, which ends only when it is stopped.
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
            // SAFETY: By the invariant a started task; this frees it.
            Handle::Task(task) => unsafe { ffi::vhost_task_stop(task.as_ptr()) },
            Handle::Kthread(task) => {
                // SAFETY: By the invariant a started thread, which does not end by itself.
                unsafe { ffi::kthread_stop(task.as_ptr()) };
            }
        }
        // What was queued meanwhile is given back.
        // SAFETY: The thread has ended: nothing runs any more.
        unsafe {
            self.worker.discard();
            self.worker.domain().remove(&self.worker);
        }
    }
}

/// # Safety
///
/// `data` is a `Worker`, and the current thread is its vhost task.
unsafe extern "C" fn task_run(data: *mut c_void) -> bool {
    // SAFETY: As the caller promises.
    let worker = unsafe { &*data.cast::<Worker>() };
    worker.announce();
    // SAFETY: As the caller promises.
    let Some(queued) = (unsafe { worker.take() }) else {
        return false;
    };
    // A vhost task shares the address space of who created it, which was the owner.
    if let Ok(mm) = worker.owner().check_current() {
        queued.run(mm);
    }
    true
}

/// # Safety
///
/// As [`task_run`]; nothing follows.
unsafe extern "C" fn task_killed(data: *mut c_void) {
    // SAFETY: As the caller promises.
    let worker = unsafe { &*data.cast::<Worker>() };
    // SAFETY: As the caller promises.
    let queued = unsafe { worker.take_last() };
    if let Ok(mm) = worker.owner().check_current() {
        queued.run(mm);
    }
    // SAFETY: As the caller promises, nothing follows.
    unsafe { worker.discard() };
}

/// # Safety
///
/// `data` is a `Worker`, and the current thread is its kthread.
unsafe extern "C" fn kthread_run(data: *mut c_void) -> core::ffi::c_int {
    // SAFETY: As the caller promises.
    let worker = unsafe { &*data.cast::<Worker>() };
    worker.announce();
    loop {
        // SAFETY: Setting the state of the current task is always allowed; a full barrier.
        unsafe { ffi::vnr_set_current_state(ffi::VNR_TASK_INTERRUPTIBLE as i32) };
        // SAFETY: The current task is a kthread.
        if unsafe { ffi::kthread_should_stop() } {
            break;
        }
        // SAFETY: As the caller promises.
        match unsafe { worker.take() } {
            // The reference is given up each time: work that never ends must not keep the memory
            // of a process that has died. Without the memory nothing is run.
            Some(queued) => {
                // SAFETY: A kthread, which uses an address space nowhere else.
                unsafe { worker.owner().borrow(|mm| queued.run(mm)) };
            }
            // SAFETY: Process context with nothing held.
            None => unsafe { ffi::schedule() },
        }
    }
    // SAFETY: As above.
    unsafe { ffi::vnr_finish_state(ffi::VNR_TASK_RUNNING as i32) };
    0
}

/// Moves the thread that runs it into the cgroups of another.
struct Join {
    from: ARef<Task>,
    result: Atomic<i32>,
}

impl Run for Join {
    fn run(work: &Arc<Work<Self>>, _ctx: &Context<'_>) {
        // SAFETY: Both tasks are valid, one by reference and one by being the current one.
        let result =
            unsafe { ffi::cgroup_attach_task_all(work.from.as_ptr().cast(), Task::current_raw()) };
        work.result.store(result, Relaxed);
    }
}
