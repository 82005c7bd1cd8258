// SPDX-License-Identifier: GPL-2.0

//! Files that are passed to other processes, rings that are moved, and packet sockets as backends.

use crate::{
    changes::flood,
    child::Child,
    ensure, ensure_eq,
    guest::{Memory, GPA},
    lifecycle::no_worker_left,
    setup::{Net, Options},
    tap::{Outcome, Suite},
    vhost::*,
};
use std::{
    mem::zeroed,
    os::fd::{AsRawFd, RawFd},
    time::{Duration, Instant},
};

pub fn run(suite: &mut Suite, path: &str) {
    suite.case("a file passed to another process is not its device", || {
        passed(path)
    });
    suite.case("the owner executes another program under traffic", || {
        executes(path)
    });
    suite.case("the rings move 200 times between packets", || moving(path));
    suite.case("a call eventfd at its maximum", || full_call(path));
}

/// Sends a file descriptor over a socket.
pub fn send_fd(sock: RawFd, fd: RawFd) -> bool {
    let mut byte = 0u8;
    let mut iov = libc::iovec {
        iov_base: std::ptr::from_mut(&mut byte).cast(),
        iov_len: 1,
    };
    let mut control = [0u64; 4];
    // SAFETY: All zero is a valid message, completed below with buffers that outlive the call.
    unsafe {
        let mut msg: libc::msghdr = zeroed();
        msg.msg_iov = &mut iov;
        msg.msg_iovlen = 1;
        msg.msg_control = control.as_mut_ptr().cast();
        msg.msg_controllen = libc::CMSG_SPACE(4) as _;
        let cmsg = libc::CMSG_FIRSTHDR(&msg);
        (*cmsg).cmsg_level = libc::SOL_SOCKET;
        (*cmsg).cmsg_type = libc::SCM_RIGHTS;
        (*cmsg).cmsg_len = libc::CMSG_LEN(4) as _;
        libc::CMSG_DATA(cmsg).cast::<RawFd>().write_unaligned(fd);
        libc::sendmsg(sock, &msg, 0) == 1
    }
}

/// Receives a file descriptor.
fn recv_fd(sock: RawFd) -> RawFd {
    let mut byte = 0u8;
    let mut iov = libc::iovec {
        iov_base: std::ptr::from_mut(&mut byte).cast(),
        iov_len: 1,
    };
    let mut control = [0u64; 4];
    // SAFETY: As in `send_fd`.
    unsafe {
        let mut msg: libc::msghdr = zeroed();
        msg.msg_iov = &mut iov;
        msg.msg_iovlen = 1;
        msg.msg_control = control.as_mut_ptr().cast();
        msg.msg_controllen = size_of_val(&control);
        if libc::recvmsg(sock, &mut msg, 0) != 1 {
            return -1;
        }
        libc::CMSG_DATA(libc::CMSG_FIRSTHDR(&msg))
            .cast::<RawFd>()
            .read_unaligned()
    }
}

fn passed(path: &str) -> Outcome {
    let mut pair = [0; 2];
    // SAFETY: Room for two.
    let ret = unsafe { libc::socketpair(libc::AF_UNIX, libc::SOCK_STREAM, 0, pair.as_mut_ptr()) };
    ensure_eq!(ret, 0, "socketpair");
    // The receiver is forked before there is a device, so it can get the device only this way.
    let receiver = Child::new(|| {
        let fd = recv_fd(pair[1]);
        let mut state = VringState { index: 0, num: 0 };
        let at = std::ptr::from_mut(&mut state);
        // SAFETY: A record of the command's type.
        let ret = unsafe { libc::ioctl(fd, GET_VRING_BASE as _, at) };
        let refused = ret < 0 && Errno::last() == Errno(libc::EPERM);
        let mut features = 0u64;
        let at = std::ptr::from_mut(&mut features);
        // SAFETY: As above.
        let allowed = unsafe { libc::ioctl(fd, GET_FEATURES as _, at) } == 0;
        i32::from(!refused) | (i32::from(!allowed) << 1)
    });
    let mem = Memory::new();
    let mut net = Net::start(path, &mem, Options::new(F_VERSION_1));
    ensure!(
        send_fd(pair[0], net.dev.as_raw_fd()),
        "the file was not sent"
    );
    let status = receiver.wait();
    ensure_eq!(status.code(), Some(0), "what went wrong in the receiver");
    net.check_tx(1)
}

fn executes(path: &str) -> Outcome {
    let program = Child::new(|| {
        let mem = Memory::new();
        let mut net = Net::start(path, &mem, Options::new(F_VERSION_1));
        let end = Instant::now() + Duration::from_millis(300);
        // SAFETY: A flag of an open file.
        unsafe { libc::fcntl(net.dev.as_raw_fd(), libc::F_SETFD, 0) };
        flood(&mut net, || Instant::now() < end);
        let args = [c"sleep".as_ptr(), c"1".as_ptr(), std::ptr::null()];
        // SAFETY: Terminated strings and list.
        unsafe { libc::execv(c"/bin/sleep".as_ptr(), args.as_ptr()) };
        1
    });
    ensure_eq!(program.wait().code(), Some(0), "status of the program");
    no_worker_left()
}

fn moving(path: &str) -> Outcome {
    let mem = Memory::new();
    let mut net = Net::start(path, &mem, Options::new(F_VERSION_1 | F_EVENT_IDX));
    for i in 0..200u32 {
        net.check_tx(i)?;
        net.check_rx(i, 300)?;
        for queue in [RX, TX] {
            let place = GPA + 0x60_0000 + u64::from(queue + 2 * (i % 2)) * 0x1_0000;
            net.ring(queue).move_to(place);
            let addr = net.rings[queue as usize].addr(queue);
            net.dev.set_addr(addr).map_err(|e| format!("{e:?}"))?;
        }
    }
    for events in &net.events {
        ensure_eq!(events.err.take(), 0, "errors signalled");
    }
    Ok(())
}

/// The packet socket is the backend, and the test reads and writes the tap.
/// A signal to a full eventfd is lost and does no harm.
fn full_call(path: &str) -> Outcome {
    let mem = Memory::new();
    let mut net = Net::start(path, &mem, Options::new(F_VERSION_1));
    ensure!(
        net.events[1].call.signal(u64::MAX - 1),
        "filling the eventfd"
    );
    for seed in 0..5 {
        net.check_tx(seed)?;
    }
    Ok(())
}
