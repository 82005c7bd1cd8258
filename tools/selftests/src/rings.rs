// SPDX-License-Identifier: GPL-2.0

//! The ioctls of a ring and of its backend.

use crate::{
    ensure, ensure_eq,
    guest::{Memory, Ring},
    ioctl::{owned, BAD},
    net::Tap,
    setup::{Net, Options, RING_AT},
    tap::{Outcome, Suite},
    vhost::*,
};
use std::os::fd::AsRawFd;

pub fn run(suite: &mut Suite, path: &str) {
    suite.case("index of a ring", || index(path));
    suite.case("SET_VRING_NUM", || vring_num(path));
    suite.case("SET_VRING_BASE and GET_VRING_BASE", || vring_base(path));
    suite.case("SET_VRING_ADDR", || vring_addr(path));
    suite.case("SET_VRING_KICK, _CALL and _ERR", || vring_files(path));
    suite.case("NET_SET_BACKEND: refusals in order", || {
        backend_errors(path)
    });
    suite.case("NET_SET_BACKEND: attach, same, swap, detach", || {
        backend(path)
    });
    suite.case("live: what is refused while a backend is attached", || {
        live(path)
    });
}

fn index(path: &str) -> Outcome {
    let dev = owned(path);
    ensure_eq!(dev.set_num(2, 8), Err(ENOBUFS), "SET_VRING_NUM");
    ensure_eq!(dev.base(u32::MAX), Err(ENOBUFS), "GET_VRING_BASE");
    ensure_eq!(dev.set_kick(2, -1), Err(ENOBUFS), "SET_VRING_KICK");
    ensure_eq!(dev.set_backend(2, -1), Err(ENOBUFS), "NET_SET_BACKEND");
    ensure_eq!(dev.set_num(1, 8), Ok(()), "index 1");
    Ok(())
}

fn vring_num(path: &str) -> Outcome {
    let dev = owned(path);
    for (num, want) in [
        (0, Err(EINVAL)),
        (1, Ok(())),
        (3, Err(EINVAL)),
        (256, Ok(())),
        (32768, Ok(())),
        (65535, Err(EINVAL)),
        (65536, Err(EINVAL)),
        (1 << 31, Err(EINVAL)),
    ] {
        ensure_eq!(dev.set_num(TX, num), want, "{num}");
    }
    ensure_eq!(dev.raw(SET_VRING_NUM, BAD), Err(EFAULT), "bad pointer");
    Ok(())
}

fn vring_base(path: &str) -> Outcome {
    let dev = owned(path);
    for base in [0, 1, 0x1234, 0xffff] {
        ensure_eq!(dev.set_base(RX, base), Ok(()), "set {base}");
        ensure_eq!(dev.base(RX), Ok(base), "get {base}");
    }
    ensure_eq!(dev.set_base(RX, 0x1_0000), Err(EINVAL), "too large");
    ensure_eq!(
        dev.raw(SET_VRING_BASE, BAD),
        Err(EFAULT),
        "set, bad pointer"
    );
    ensure_eq!(
        dev.raw(GET_VRING_BASE, BAD),
        Err(EFAULT),
        "get, bad pointer"
    );
    ensure_eq!(dev.base(RX), Ok(0xffff), "after failures");
    ensure_eq!(dev.base(TX), Ok(0), "the other queue");
    Ok(())
}

fn vring_addr(path: &str) -> Outcome {
    let mem = Memory::new();
    let dev = owned(path);
    let ring = Ring::new(&mem, RING_AT[0], 256, false);
    let good = ring.addr(RX);
    ensure_eq!(dev.set_addr(good), Ok(()), "good");
    ensure_eq!(dev.raw(SET_VRING_ADDR, BAD), Err(EFAULT), "bad pointer");
    let with = |change: fn(&mut VringAddr)| {
        let mut addr = good;
        change(&mut addr);
        dev.set_addr(addr)
    };
    ensure_eq!(with(|a| a.flags = 2), Err(EOPNOTSUPP), "flags");
    ensure_eq!(with(|a| a.avail += 1), Err(EINVAL), "avail odd");
    ensure_eq!(with(|a| a.used += 2), Err(EINVAL), "used not aligned");
    ensure_eq!(with(|a| a.log = 2), Err(EINVAL), "log not aligned");
    ensure_eq!(with(|a| a.desc += 1), Ok(()), "desc need not be");
    ensure_eq!(
        with(|a| a.used = 0xffff_8000_0000_0000),
        Ok(()),
        "anything, without a backend"
    );
    let mut net = Net::start(path, &mem, Options::new(F_VERSION_1));
    let mut addr = net.rings[0].addr(RX);
    ensure_eq!(net.dev.set_addr(addr), Ok(()), "good, live");
    addr.used = 0xffff_8000_0000_0000;
    ensure_eq!(net.dev.set_addr(addr), Err(EINVAL), "kernel address, live");
    net.check_rx(3, 100)
}

fn vring_files(path: &str) -> Outcome {
    let dev = owned(path);
    let event = EventFd::new();
    let tap = Tap::new(12);
    type Set = fn(&Vhost, u32, i32) -> Result;
    let sets: [(&str, Set); 3] = [
        ("kick", Vhost::set_kick),
        ("call", Vhost::set_call),
        ("err", Vhost::set_err),
    ];
    for (name, set) in sets {
        ensure_eq!(
            set(&dev, TX, event.as_raw_fd()),
            Ok(()),
            "{name}: an eventfd"
        );
        ensure_eq!(set(&dev, TX, event.as_raw_fd()), Ok(()), "{name}: the same");
        ensure_eq!(set(&dev, TX, 12345), Err(EBADF), "{name}: not open");
        ensure_eq!(set(&dev, TX, -2), Err(EBADF), "{name}: -2");
        ensure_eq!(set(&dev, TX, tap.as_raw_fd()), Err(EINVAL), "{name}: a tap");
        ensure_eq!(
            set(&dev, TX, dev.as_raw_fd()),
            Err(EINVAL),
            "{name}: itself"
        );
        ensure_eq!(set(&dev, TX, -1), Ok(()), "{name}: none");
        ensure_eq!(set(&dev, TX, -1), Ok(()), "{name}: none again");
    }
    // A counter at its maximum reports an error.
    ensure!(event.signal(u64::MAX - 1), "eventfd to its maximum");
    ensure_eq!(
        dev.set_kick(TX, event.as_raw_fd()),
        Ok(()),
        "kick: full but for one"
    );
    Ok(())
}

fn backend_errors(path: &str) -> Outcome {
    let mem = Memory::new();
    let dev = owned(path);
    let tap = Tap::new(12);
    let fd = tap.as_raw_fd();
    ensure_eq!(dev.raw(NET_SET_BACKEND, BAD), Err(EFAULT), "bad pointer");
    ensure_eq!(dev.set_backend(RX, fd), Err(EFAULT), "no memory table");
    ensure_eq!(
        dev.set_backend(RX, -1),
        Err(EFAULT),
        "no memory table, detaching"
    );
    dev.set_mem_table(&mem.regions(), 0).expect("memory table");
    let ring = Ring::new(&mem, RING_AT[0], 256, false);
    dev.set_num(RX, 256).expect("num");
    let mut addr = ring.addr(RX);
    addr.used = 0xffff_8000_0000_0000;
    dev.set_addr(addr).expect("addr");
    ensure_eq!(dev.set_backend(RX, fd), Err(EFAULT), "ring in the kernel");
    addr.used = 0x10_0000;
    dev.set_addr(addr).expect("addr");
    ensure_eq!(dev.set_backend(RX, fd), Err(EFAULT), "ring not mapped");
    dev.set_addr(ring.addr(RX)).expect("addr");
    let event = EventFd::new();
    // SAFETY: No pointers.
    let udp = unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM, 0) };
    // SAFETY: No pointers.
    let raw = unsafe { libc::socket(libc::AF_INET, libc::SOCK_RAW, libc::IPPROTO_UDP) };
    for (what, bad) in [
        ("closed", 12345),
        ("an eventfd", event.as_raw_fd()),
        ("UDP", udp),
        ("raw IP", raw),
        ("itself", dev.as_raw_fd()),
        ("-2", -2),
    ] {
        ensure_eq!(dev.set_backend(RX, bad), Err(ENOTSOCK), "{what}");
    }
    // SAFETY: A terminated path.
    let bare = unsafe { libc::open(c"/dev/net/tun".as_ptr(), libc::O_RDWR) };
    ensure_eq!(
        dev.set_backend(RX, bare),
        Err(EINVAL),
        "a tun without interface"
    );
    ensure_eq!(dev.set_backend(RX, fd), Ok(()), "and then a tap");
    for fd in [udp, raw, bare] {
        // SAFETY: Ours.
        unsafe { libc::close(fd) };
    }
    Ok(())
}

fn backend(path: &str) -> Outcome {
    let mem = Memory::new();
    let mut net = Net::start(path, &mem, Options::new(F_VERSION_1));
    net.check_tx(1)?;
    let fd = net.tap.as_raw_fd();
    ensure_eq!(net.dev.set_backend(TX, fd), Ok(()), "the same");
    net.check_tx(2)?;
    ensure_eq!(net.dev.base(TX), Ok(2), "base, attached");
    ensure_eq!(net.dev.set_backend(TX, -1), Ok(()), "detach");
    ensure_eq!(net.dev.set_backend(TX, -1), Ok(()), "detach again");
    ensure_eq!(net.dev.base(TX), Ok(2), "base, detached");
    ensure_eq!(
        net.dev.set_backend(TX, 12345),
        Err(ENOTSOCK),
        "a closed one"
    );
    ensure_eq!(net.dev.set_backend(TX, fd), Ok(()), "attach again");
    net.check_tx(3)?;
    net.check_rx(4, 1000)?;
    let other = Tap::new(12);
    ensure_eq!(
        net.dev.set_backend(TX, other.as_raw_fd()),
        Ok(()),
        "another"
    );
    let before = other.stat("rx_packets");
    net.tx(crate::setup::BUFFERS, &crate::net::frame(9, 100));
    net.ring(TX).wait_used().ok_or("no used entry")?;
    ensure_eq!(
        other.stat("rx_packets"),
        before + 1,
        "frames at the other tap"
    );
    Ok(())
}

fn live(path: &str) -> Outcome {
    let mem = Memory::new();
    let mut net = Net::start(path, &mem, Options::new(F_VERSION_1));
    for queue in [RX, TX] {
        ensure_eq!(net.dev.set_num(queue, 256), Err(EBUSY), "SET_VRING_NUM");
        ensure_eq!(net.dev.set_base(queue, 0), Err(EBUSY), "SET_VRING_BASE");
    }
    ensure_eq!(net.dev.set_features(F_VERSION_1), Ok(()), "SET_FEATURES");
    ensure_eq!(
        net.dev.set_mem_table(&mem.regions(), 0),
        Ok(()),
        "SET_MEM_TABLE"
    );
    net.check_tx(1)?;
    net.check_rx(2, 300)
}
