// SPDX-License-Identifier: GPL-2.0

//! Files that are passed to other processes, rings that are moved, and packet sockets as backends.

use crate::{
    changes::flood,
    child::Child,
    ensure, ensure_eq,
    guest::{Memory, GPA},
    lifecycle::no_worker_left,
    net::{frame, Tap, Wire, ETH_ALL},
    setup::{Net, Options, BUFFERS},
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
    suite.case("a packet socket as the backend", || packet_socket(path));
    suite.case_c_fails(
        "a tun of layer 3 as the backend",
        "what is sent is taken for an Ethernet frame",
        || layer3(path),
    );
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
fn packet_socket(path: &str) -> Outcome {
    let mem = Memory::new();
    let mut net = Net::start(path, &mem, Options::new(F_VERSION_1 | F_NET_HDR));
    let tap = Tap::new(0);
    let wire = Wire::new(&tap, false);
    for queue in [RX, TX] {
        net.dev
            .set_backend(queue, wire.as_raw_fd())
            .map_err(|e| format!("{e:?}"))?;
    }
    for len in [60, 1000, 1514] {
        let sent = frame(len as u32, len);
        net.tx(BUFFERS, &sent);
        net.ring(TX).wait_used().ok_or("no used entry for TX")?;
        let mut got = vec![0u8; 2000];
        // SAFETY: Room for that much.
        let n = unsafe { libc::read(tap.as_raw_fd(), got.as_mut_ptr().cast(), got.len()) };
        ensure_eq!(n, len as isize, "length of what the tap got");
        ensure!(got[..len] == sent, "a sent frame arrived changed");
        net.rx_post(&[&[(BUFFERS + 0x1000, 2048, 0)]]);
        // SAFETY: The frame is readable.
        let n = unsafe { libc::write(tap.as_raw_fd(), sent.as_ptr().cast(), len) };
        ensure_eq!(n, len as isize, "length of what the tap took");
        let (_, used) = net.ring(RX).wait_used().ok_or("no used entry for RX")?;
        ensure_eq!(used as usize, 12 + len, "used length");
        ensure!(
            mem.read(BUFFERS + 0x1000 + 12, len) == sent,
            "a received frame changed"
        );
    }
    for queue in [RX, TX] {
        net.dev
            .set_backend(queue, -1)
            .map_err(|e| format!("{e:?}"))?;
    }
    Ok(())
}

/// Packets without an Ethernet header, in both directions.
fn layer3(path: &str) -> Outcome {
    let mem = Memory::new();
    let mut net = Net::prepare(Vhost::open(path), &mem, Options::new(F_VERSION_1), false);
    net.tap = Tap::layer3(12);
    net.wire = Wire::new(&net.tap, false);
    net.wire.hear(&net.tap, ETH_ALL);
    net.attach();
    for len in [60, 200, 1000, 1480] {
        // An IPv4 packet of a protocol that has no handler.
        let mut packet = frame(len as u32, len);
        packet[..20].fill(0);
        packet[0] = 0x45;
        packet[2..4].copy_from_slice(&(len as u16).to_be_bytes());
        packet[8..10].copy_from_slice(&[64, 253]);
        packet[12..20].copy_from_slice(&[10, 99, 0, 1, 10, 99, 0, 2]);
        net.tx(BUFFERS, &packet);
        net.ring(TX).wait_used().ok_or("no used entry for TX")?;
        let got = net.wire.recv(2000).ok_or("what was sent did not arrive")?;
        ensure!(got == packet, "what was sent arrived changed");
        net.rx_post(&[&[(BUFFERS + 0x1000, 2048, 0)]]);
        net.wire.send(&packet).map_err(|e| format!("send: {e:?}"))?;
        let (_, used) = net.ring(RX).wait_used().ok_or("no used entry for RX")?;
        ensure_eq!(used as usize, 12 + len, "used length");
        ensure!(
            mem.read(BUFFERS + 0x1000 + 12, len) == packet,
            "what was received changed"
        );
    }
    Ok(())
}

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
