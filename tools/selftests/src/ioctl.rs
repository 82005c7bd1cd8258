// SPDX-License-Identifier: GPL-2.0

//! Every ioctl: success, each errno in its order, and nothing changed after a failure.

use crate::{
    ensure, ensure_eq,
    guest::{Memory, Ring},
    net::Tap,
    setup::{Net, Options, RING_AT},
    tap::{Outcome, Suite},
    vhost::*,
};
use std::os::fd::AsRawFd;

const EPERM: Errno = Errno(libc::EPERM);
const E2BIG: Errno = Errno(libc::E2BIG);
const EBADF: Errno = Errno(libc::EBADF);
const EAGAIN: Errno = Errno(libc::EAGAIN);
const EFAULT: Errno = Errno(libc::EFAULT);
const EBUSY: Errno = Errno(libc::EBUSY);
const EINVAL: Errno = Errno(libc::EINVAL);
const ENOTTY: Errno = Errno(libc::ENOTTY);
const EBADFD: Errno = Errno(libc::EBADFD);
const ENOTSOCK: Errno = Errno(libc::ENOTSOCK);
const EOPNOTSUPP: Errno = Errno(libc::EOPNOTSUPP);
const ENOBUFS: Errno = Errno(libc::ENOBUFS);

/// An address that is not mapped.
const BAD: usize = 8;
/// A number that no command has.
const UNKNOWN: u64 = 0x4008_AF7F;

pub fn run(suite: &mut Suite, path: &str, c: bool) {
    suite.case("features: offered, restricted, refused", || {
        features(path, c)
    });
    suite.case("backend features", || backend_features(path, c));
    suite.case("owner: none, one, twice, reset", || owner(path));
    suite.case("owner: everything that needs one is EPERM without", || {
        unowned(path)
    });
    suite.case("owner: another process is not", || other_process(path));
    suite.case("kind of worker", || fork_from_owner(path));
    suite.case("memory table", || mem_table(path));
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
    suite.case("RESET_OWNER: as after open", || reset(path));
    suite.case("unknown commands", || unknown(path));
    suite.case("read, write and poll without an IOTLB", || messages(path));
}

fn owned(path: &str) -> Vhost {
    let dev = Vhost::open(path);
    dev.set_owner().expect("SET_OWNER");
    dev
}

fn features(path: &str, c: bool) -> Outcome {
    let dev = Vhost::open(path);
    let offered = dev.features().map_err(|e| format!("{e:?}"))?;
    let ours = F_MRG_RXBUF | F_NOTIFY_ON_EMPTY | F_NET_HDR | F_INDIRECT | F_EVENT_IDX | F_VERSION_1;
    ensure_eq!(offered & ours, ours, "features that must be offered");
    if !c {
        ensure_eq!(offered, ours, "features offered early");
    }
    ensure_eq!(
        dev.raw(GET_FEATURES, BAD),
        Err(EFAULT),
        "GET_FEATURES, bad pointer"
    );
    ensure_eq!(
        dev.raw(SET_FEATURES, BAD),
        Err(EFAULT),
        "SET_FEATURES, bad pointer"
    );
    for bit in 0..64 {
        let want = if offered & (1 << bit) != 0 {
            Ok(())
        } else {
            Err(EOPNOTSUPP)
        };
        // That needs an IOTLB, and is another matter.
        if bit != 33 {
            ensure_eq!(dev.set_features(1 << bit), want, "feature bit {bit}");
        }
    }
    ensure_eq!(dev.set_features(0), Ok(()), "no features");
    Ok(())
}

fn backend_features(path: &str, c: bool) -> Outcome {
    let dev = Vhost::open(path);
    let offered = dev.backend_features().map_err(|e| format!("{e:?}"))?;
    ensure_eq!(offered, if c { 2 } else { 0 }, "backend features");
    ensure_eq!(
        dev.raw(GET_BACKEND_FEATURES, BAD),
        Err(EFAULT),
        "GET, bad pointer"
    );
    ensure_eq!(
        dev.raw(SET_BACKEND_FEATURES, BAD),
        Err(EFAULT),
        "SET, bad pointer"
    );
    ensure_eq!(dev.set_backend_features(offered), Ok(()), "what is offered");
    ensure_eq!(
        dev.set_backend_features(1 << 40),
        Err(EOPNOTSUPP),
        "what is not"
    );
    Ok(())
}

fn owner(path: &str) -> Outcome {
    let dev = Vhost::open(path);
    ensure_eq!(dev.reset_owner(), Err(EPERM), "RESET_OWNER without owner");
    ensure_eq!(dev.set_owner(), Ok(()), "SET_OWNER");
    ensure_eq!(dev.set_owner(), Err(EBUSY), "SET_OWNER twice");
    ensure_eq!(dev.reset_owner(), Ok(()), "RESET_OWNER");
    ensure_eq!(dev.base(RX), Err(EPERM), "GET_VRING_BASE after it");
    ensure_eq!(dev.set_owner(), Ok(()), "SET_OWNER again");
    ensure_eq!(dev.base(RX), Ok(0), "GET_VRING_BASE again");
    Ok(())
}

const NEED_OWNER: [u64; 12] = [
    RESET_OWNER,
    SET_MEM_TABLE,
    SET_VRING_NUM,
    SET_VRING_ADDR,
    SET_VRING_BASE,
    GET_VRING_BASE,
    SET_VRING_KICK,
    SET_VRING_CALL,
    SET_VRING_ERR,
    UNKNOWN,
    0x4008_AF04,
    0x8004_AF08,
];

fn unowned(path: &str) -> Outcome {
    let dev = Vhost::open(path);
    for cmd in NEED_OWNER {
        // Whose device it is comes before what the argument says.
        ensure_eq!(dev.raw(cmd, BAD), Err(EPERM), "{cmd:#x}, bad pointer");
    }
    ensure_eq!(
        dev.raw(NET_SET_BACKEND, BAD),
        Err(EFAULT),
        "backend, bad pointer"
    );
    ensure_eq!(dev.set_backend(RX, -1), Err(EPERM), "backend");
    ensure_eq!(dev.set_backend(9, -1), Err(EPERM), "backend, bad index");
    Ok(())
}

/// Runs `body` in a forked child; its exit status is the number of what went wrong.
fn in_child(body: impl FnOnce() -> i32) -> i32 {
    // SAFETY: The child only makes system calls and exits.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0);
    if pid == 0 {
        let status = body();
        // SAFETY: Ends the child.
        unsafe { libc::_exit(status) };
    }
    let mut status = 0;
    // SAFETY: Our child.
    unsafe { libc::waitpid(pid, &mut status, 0) };
    libc::WEXITSTATUS(status)
}

fn other_process(path: &str) -> Outcome {
    let dev = owned(path);
    let status = in_child(|| {
        for (i, cmd) in (1..).zip(NEED_OWNER) {
            if dev.raw(cmd, BAD) != Err(EPERM) {
                return i;
            }
        }
        if dev.set_backend(RX, -1) != Err(EPERM) {
            return 50;
        }
        if dev.set_owner() != Err(EBUSY) {
            return 51;
        }
        // These are anybody's.
        if dev.features().is_err() || dev.set_features(0).is_err() {
            return 52;
        }
        0
    });
    ensure_eq!(status, 0, "step that went wrong in the child");
    ensure_eq!(dev.base(TX), Ok(0), "the owner's own call afterwards");
    Ok(())
}

fn fork_from_owner(path: &str) -> Outcome {
    let dev = Vhost::open(path);
    ensure_eq!(dev.fork_from_owner(), Ok(1), "after open");
    ensure_eq!(dev.set_fork_from_owner(2), Err(EINVAL), "2");
    ensure_eq!(
        dev.raw(SET_FORK_FROM_OWNER, BAD),
        Err(EFAULT),
        "bad pointer"
    );
    ensure_eq!(dev.set_fork_from_owner(0), Ok(()), "0");
    ensure_eq!(dev.fork_from_owner(), Ok(0), "after 0");
    ensure_eq!(dev.set_owner(), Ok(()), "SET_OWNER");
    ensure_eq!(dev.set_fork_from_owner(1), Err(EBUSY), "with an owner");
    ensure_eq!(
        dev.raw(SET_FORK_FROM_OWNER, BAD),
        Err(EBUSY),
        "owner before pointer"
    );
    ensure_eq!(dev.reset_owner(), Ok(()), "RESET_OWNER");
    ensure_eq!(dev.fork_from_owner(), Ok(1), "after RESET_OWNER");
    Ok(())
}

fn region(gpa: u64, size: u64, uaddr: u64) -> Region {
    Region {
        gpa,
        size,
        uaddr,
        flags: 0,
    }
}

fn mem_table(path: &str) -> Outcome {
    let mem = Memory::new();
    let dev = owned(path);
    let good = mem.regions();
    ensure_eq!(dev.raw(SET_MEM_TABLE, BAD), Err(EFAULT), "bad pointer");
    ensure_eq!(dev.set_mem_table(&[], 0), Ok(()), "no region");
    ensure_eq!(dev.set_mem_table(&good, 0), Ok(()), "two regions");
    ensure_eq!(dev.set_mem_table(&good, 1), Err(EOPNOTSUPP), "padding");
    let many = vec![region(0, 4096, good[0].uaddr); 65];
    ensure_eq!(dev.set_mem_table(&many, 0), Err(E2BIG), "65 regions");
    ensure_eq!(
        dev.set_mem_table(&many, 1),
        Err(EOPNOTSUPP),
        "padding before number"
    );
    let many: Vec<_> = (0..64)
        .map(|i| region(i << 12, 4096, good[0].uaddr))
        .collect();
    ensure_eq!(dev.set_mem_table(&many, 0), Ok(()), "64 regions");
    let wraps = [region(u64::MAX - 10, 100, good[0].uaddr)];
    ensure_eq!(dev.set_mem_table(&wraps, 0), Err(EFAULT), "wrapping region");
    let empty = [region(4096, 0, good[0].uaddr)];
    ensure_eq!(dev.set_mem_table(&empty, 0), Err(EFAULT), "empty region");
    // The head at the end of a page, and nothing behind it.
    let page = mem.at(crate::guest::GPA);
    // SAFETY: Our mapping; the second page goes.
    unsafe {
        libc::munmap(page.add(4096).cast(), 4096);
        page.add(4088).cast::<u64>().write(1);
    }
    ensure_eq!(
        dev.raw(SET_MEM_TABLE, page as usize + 4088),
        Err(EFAULT),
        "regions not readable"
    );
    // With a backend, a table that reaches out of user space is refused, and the old one stays.
    let mem = Memory::new();
    let net = Net::start(path, &mem, Options::new(F_VERSION_1));
    let kernel = [region(0, 4096, 0xffff_8000_0000_0000)];
    ensure_eq!(
        net.dev.set_mem_table(&kernel, 0),
        Err(EFAULT),
        "kernel addresses, live"
    );
    let mut net = net;
    net.check_tx(1)
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
    // A counter at its maximum polls as an error.
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

fn reset(path: &str) -> Outcome {
    let mem = Memory::new();
    let mut net = Net::start(path, &mem, Options::new(F_VERSION_1));
    net.check_tx(1)?;
    ensure_eq!(net.dev.reset_owner(), Ok(()), "RESET_OWNER, running");
    ensure_eq!(net.dev.base(TX), Err(EPERM), "nobody's now");
    net.dev.set_owner().map_err(|e| format!("{e:?}"))?;
    ensure_eq!(net.dev.base(TX), Ok(0), "base");
    ensure_eq!(
        net.dev.set_backend(TX, -1),
        Ok(()),
        "detach, with the empty table"
    );
    net.restart();
    net.check_tx(2)?;
    net.check_rx(3, 400)
}

fn unknown(path: &str) -> Outcome {
    let dev = owned(path);
    let index = 0u64;
    let bad = 7u64;
    ensure_eq!(dev.raw(UNKNOWN, BAD), Err(EFAULT), "bad pointer");
    ensure_eq!(
        dev.raw(UNKNOWN, std::ptr::from_ref(&bad) as usize),
        Err(ENOBUFS),
        "index 7"
    );
    ensure_eq!(
        dev.raw(UNKNOWN, std::ptr::from_ref(&index) as usize),
        Err(ENOTTY),
        "index 0"
    );
    Ok(())
}

fn messages(path: &str) -> Outcome {
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
