// SPDX-License-Identifier: GPL-2.0

//! Every ioctl: success, each errno in its order, and that a failure changes nothing.

mod compat;
mod features;
mod messages;

use crate::{
    child::Child,
    ensure_eq,
    guest::Memory,
    setup::{Net, Options},
    tap::{Outcome, Suite},
    vhost::*,
    workers::{per_queue, settled},
};

/// An address without a mapping.
pub const BAD: usize = 8;
/// A number without a command.
pub const UNKNOWN: u64 = 0x4008_AF7F;

pub fn run(suite: &mut Suite, path: &str, c: bool) {
    suite.case("features: offered, restricted, refused", || {
        in_one_word(path)
    });
    features::run(suite, path);
    suite.case("backend features", || backend_features(path));
    suite.case("owner: none, one, twice, reset", || owner(path));
    suite.case("owner: everything that needs one is EPERM without", || {
        unowned(path)
    });
    suite.case("owner: another process is not", || other_process(path));
    suite.case("kind of worker", || fork_from_owner(path, c));
    suite.case("memory table", || mem_table(path));
    suite.case("memory table: as many regions as there may be", || {
        crate::slots::at_the_limit(path, c)
    });
    crate::rings::run(suite, path);
    suite.case("RESET_OWNER: as after open", || reset(path));
    suite.case("unknown commands", || unknown(path));
    messages::run(suite, path);
    compat::run(suite, path);
    crate::workers::run_requests(suite, path);
}

pub fn owned(path: &str) -> Vhost {
    let dev = Vhost::open(path);
    dev.set_owner().expect("SET_OWNER");
    dev
}

fn in_one_word(path: &str) -> Outcome {
    let dev = Vhost::open(path);
    let offered = dev.features().map_err(|e| format!("{e:?}"))?;
    ensure_eq!(offered, 0x10b_3d00_8000, "features that must be offered");
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
        ensure_eq!(dev.set_features(1 << bit), want, "feature bit {bit}");
    }
    ensure_eq!(dev.set_features(0), Ok(()), "no features");
    Ok(())
}

fn backend_features(path: &str) -> Outcome {
    let dev = Vhost::open(path);
    let offered = dev.backend_features().map_err(|e| format!("{e:?}"))?;
    ensure_eq!(offered, BACKEND_F_IOTLB_MSG_V2, "backend features");
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

const NEED_OWNER: [u64; 14] = [
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
    SET_VRING_BUSYLOOP_TIMEOUT,
    GET_VRING_BUSYLOOP_TIMEOUT,
    SET_LOG_BASE,
    SET_LOG_FD,
];

fn unowned(path: &str) -> Outcome {
    let dev = Vhost::open(path);
    for cmd in NEED_OWNER {
        // The owner is checked before the argument.
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

fn other_process(path: &str) -> Outcome {
    let dev = owned(path);
    let child = Child::new(|| {
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
        // Any process may use these.
        if dev.features().is_err() || dev.set_features(0).is_err() {
            return 52;
        }
        0
    });
    ensure_eq!(
        child.wait().code(),
        Some(0),
        "step that went wrong in the child"
    );
    ensure_eq!(dev.base(TX), Ok(0), "the owner's own call afterwards");
    Ok(())
}

/// Whether the module says that workers are threads of their owner by default.
fn default_kind(c: bool) -> std::result::Result<u8, String> {
    let module = if c { "vhost" } else { "vhost_net_rs" };
    let path = format!("/sys/module/{module}/parameters/fork_from_owner_default");
    let told = std::fs::read_to_string(&path).map_err(|e| format!("{path}: {e}"))?;
    Ok(u8::from(told.trim() == "Y"))
}

fn fork_from_owner(path: &str, c: bool) -> Outcome {
    let default = default_kind(c)?;

    let dev = Vhost::open(path);
    ensure_eq!(dev.fork_from_owner(), Ok(default), "after open");
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
    ensure_eq!(dev.fork_from_owner(), Ok(default), "after RESET_OWNER");
    // A thread of the owner is one of its tasks.
    let each = if !c && per_queue() { 2 } else { 1 };
    for kind in [1, 0] {
        ensure_eq!(dev.set_fork_from_owner(kind), Ok(()), "{kind} again");
        ensure_eq!(dev.set_owner(), Ok(()), "SET_OWNER with {kind}");
        ensure_eq!(
            settled(each * usize::from(kind)),
            each * usize::from(kind),
            "workers among the tasks"
        );
        ensure_eq!(dev.reset_owner(), Ok(()), "RESET_OWNER with {kind}");
    }
    ensure_eq!(dev.set_owner(), Ok(()), "SET_OWNER by default");
    ensure_eq!(
        settled(each * usize::from(default)),
        each * usize::from(default),
        "workers by default"
    );
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
    let many: Vec<_> = (0..64)
        .map(|i| region(i << 12, 4096, good[0].uaddr))
        .collect();
    ensure_eq!(dev.set_mem_table(&many, 0), Ok(()), "64 regions");
    let wraps = [region(u64::MAX - 10, 100, good[0].uaddr)];
    ensure_eq!(dev.set_mem_table(&wraps, 0), Err(EFAULT), "wrapping region");
    let empty = [region(4096, 0, good[0].uaddr)];
    ensure_eq!(dev.set_mem_table(&empty, 0), Err(EFAULT), "empty region");
    // The header at the end of a page, with no mapping behind it.
    let page = mem.at(crate::guest::GPA);
    // SAFETY: Our mapping; the second page is unmapped.
    unsafe {
        libc::munmap(page.add(4096).cast(), 4096);
        page.add(4088).cast::<u64>().write(1);
    }
    ensure_eq!(
        dev.raw(SET_MEM_TABLE, page as usize + 4088),
        Err(EFAULT),
        "regions not readable"
    );
    // With a backend, a table outside user space is refused, and the old one stays.
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
