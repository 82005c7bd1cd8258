// SPDX-License-Identifier: GPL-2.0

//! The messages of the IOTLB: what read, write and poll say where there is none.

use crate::{
    ensure_eq,
    tap::{Outcome, Suite},
    vhost::*,
};
use std::os::fd::AsRawFd;

pub fn run(suite: &mut Suite, path: &str) {
    suite.case("read, write and poll without an IOTLB", || without(path));
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
