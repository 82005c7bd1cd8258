// SPDX-License-Identifier: GPL-2.0

//! The messages of the IOTLB: the results of read, write and poll without an IOTLB.

use crate::{
    aio::{Aio, IoUring},
    child::Child,
    ensure, ensure_eq,
    tap::{Outcome, Suite},
    vhost::*,
};
use std::{mem::zeroed, os::fd::AsRawFd, ptr::null_mut};

pub fn run(suite: &mut Suite, path: &str) {
    suite.case("read, write and poll without an IOTLB", || without(path));
    suite.case("a read that waits ends with a signal", || signalled(path));
    suite.case("io_uring and aio wait for a message", || asked(path));
}

fn without(path: &str) -> Outcome {
    let dev = Vhost::open_with(path, libc::O_NONBLOCK).map_err(|e| format!("{e:?}"))?;
    let fd = dev.as_raw_fd();
    let mut buf = [0u8; 128];
    let mut read = |fd, len| {
        // SAFETY: At most as long as `buf`.
        match unsafe { libc::read(fd, buf.as_mut_ptr().cast(), len) } {
            n if n >= 0 => Ok(n),
            _ => Err(Errno::last()),
        }
    };
    ensure_eq!(read(fd, 71), Ok(0), "a short read");
    ensure_eq!(read(fd, 72), Err(EAGAIN), "a read that does not wait");
    let waiting = Vhost::open(path);
    ensure_eq!(
        read(waiting.as_raw_fd(), 72),
        Err(EBADFD),
        "a read that waits"
    );
    let write = |msg: &[u8]| {
        // SAFETY: The message is readable.
        match unsafe { libc::write(fd, msg.as_ptr().cast(), msg.len()) } {
            n if n >= 0 => Ok(n),
            _ => Err(Errno::last()),
        }
    };
    let mut msg = [0u8; 72];
    ensure_eq!(write(&msg[..3]), Err(EINVAL), "3 bytes");
    ensure_eq!(write(&msg), Err(EINVAL), "type 0");
    msg[0] = 2;
    ensure_eq!(write(&msg[..39]), Err(EINVAL), "39 bytes");
    msg[33] = 2;
    ensure_eq!(write(&msg), Err(EINVAL), "an update of no bytes");
    msg[16] = 1;
    ensure_eq!(write(&msg), Err(EFAULT), "an update");
    let mut poll = libc::pollfd {
        fd,
        events: libc::POLLIN | libc::POLLOUT,
        revents: 0,
    };
    // SAFETY: One entry.
    ensure_eq!(unsafe { libc::poll(&mut poll, 1, 0) }, 0, "events");
    Ok(())
}

extern "C" fn handled(_: libc::c_int) {}

/// The signal arrives when the read has begun and has checked nothing yet, at the system call stop
/// of a debugger.
fn signalled(path: &str) -> Outcome {
    let dev = Vhost::open(path);
    let fd = dev.as_raw_fd();
    let reader = Child::new(|| {
        // SAFETY: A handler that does nothing, and a stop until the parent is ready.
        unsafe {
            let mut action: libc::sigaction = zeroed();
            action.sa_sigaction = handled as extern "C" fn(libc::c_int) as usize;
            libc::sigaction(libc::SIGUSR1, &action, null_mut());
            libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0);
            libc::raise(libc::SIGSTOP);
        }
        let mut buf = [0u8; 72];
        // SAFETY: Room for a message.
        match unsafe { libc::read(fd, buf.as_mut_ptr().cast(), buf.len()) } {
            -1 => Errno::last().0,
            _ => 0,
        }
    });
    let pid = reader.pid();
    let (read, fd) = (libc::SYS_read as u64, fd as u64);
    loop {
        let mut status = 0;
        // SAFETY: A child of ours, stopped each time, whose registers have room.
        let regs = unsafe {
            libc::waitpid(pid, &mut status, 0);
            ensure!(
                libc::WIFSTOPPED(status),
                "the reader has ended: {status:#x}"
            );
            let mut regs: libc::user_regs_struct = zeroed();
            libc::ptrace(libc::PTRACE_GETREGS, pid, 0, &mut regs);
            regs
        };
        let found = (regs.orig_rax, regs.rdi) == (read, fd);
        // SAFETY: As above.
        unsafe {
            if found {
                libc::kill(pid, libc::SIGUSR1);
                break;
            }
            libc::ptrace(libc::PTRACE_SYSCALL, pid, 0, 0);
        }
    }
    // SAFETY: As above; from then on the signal is handled by the reader.
    unsafe { libc::ptrace(libc::PTRACE_DETACH, pid, 0, 0) };
    ensure_eq!(reader.wait().code(), Some(libc::EINTR), "the read");
    Ok(())
}

fn asked(path: &str) -> Outcome {
    let dev = Vhost::open(path);
    let ring = IoUring::new();
    ensure_eq!(
        ring.poll(dev.as_raw_fd()),
        None,
        "how a poll by io_uring ends"
    );
    let aio = Aio::new();
    ensure_eq!(aio.poll(dev.as_raw_fd()), Ok(()), "a poll by aio");
    Ok(())
}
