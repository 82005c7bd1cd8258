// SPDX-License-Identifier: GPL-2.0

//! Fuzzes a vhost-net module from userspace. libFuzzer generates the inputs. It is guided by the
//! kernel's coverage of the module (KCOV), of the calling thread and of the workers.
//!
//! Each input is written to a file before it is run, so it remains after a crash of the kernel.
//! The fuzzer stops when the kernel has reported something: the last input is the cause, or close
//! to it. With `VNR_UNGUIDED` no coverage is collected, and inputs can be run again on any kernel.

#![no_main]

mod kcov;
mod kmsg;
mod program;

use kcov::{Kcov, Reached};
use kmsg::Log;
use program::Program;
use std::{
    cell::RefCell,
    env,
    fs::{File, OpenOptions},
    os::{
        fd::AsRawFd,
        unix::fs::{FileExt, OpenOptionsExt},
    },
    sync::mpsc::{channel, Receiver, Sender},
};

/// Counters that libFuzzer uses as coverage besides its own.
const COUNTERS: usize = 1 << 16;
#[link_section = "__libfuzzer_extra_counters"]
static mut EXTRA: [u8; COUNTERS] = [0; COUNTERS];

/// Counts a place in the module's text.
fn count(at: u32) {
    let slot = (at.wrapping_mul(0x9e37_79b1) >> 16) as usize % COUNTERS;
    // SAFETY: In the array; libFuzzer reads it between inputs, on this thread.
    unsafe {
        let counter = (&raw mut EXTRA).cast::<u8>().add(slot);
        *counter = (*counter).saturating_add(1);
    }
}

/// A thread with coverage of its workers: it makes the requests of the owner.
struct Owner {
    ask: Sender<i32>,
    done: Receiver<()>,
    remote: Option<Kcov>,
}

impl Owner {
    fn new(remote: Option<Kcov>) -> Self {
        let (ask, asked) = channel();
        let (tell, done) = channel();
        let enable = remote.as_ref().map(Kcov::enabler);
        std::thread::spawn(move || {
            if let Some(enable) = enable {
                enable.remote();
            }
            let _ = tell.send(());
            for fd in asked {
                // SAFETY: No pointers.
                unsafe { libc::ioctl(fd, vhost_selftests::vhost::SET_OWNER as _, 0) };
                let _ = tell.send(());
            }
        });
        done.recv().expect("the owner's thread");
        Self { ask, done, remote }
    }

    fn own(&self, fd: i32) {
        self.ask.send(fd).expect("the owner's thread");
        self.done.recv().expect("the owner's thread");
    }
}

struct Fuzzer {
    owner: Owner,
    own: Option<Kcov>,
    program: Program,
    reached: Reached,
    log: Log,
    input: File,
}

impl Fuzzer {
    fn new() -> Self {
        let path = env::var("VNR_INPUT").unwrap_or_else(|_| "/tmp/kfuzz-input".into());
        let input = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .custom_flags(libc::O_DSYNC)
            .open(&path)
            .unwrap_or_else(|e| panic!("{path}: {e}"));
        let guided = env::var_os("VNR_UNGUIDED").is_none();
        let owner = Owner::new(guided.then(Kcov::open));
        let own = guided.then(Kcov::open);
        if let Some(own) = &own {
            own.enabler().own();
        }
        Self {
            owner,
            own,
            program: Program::new(),
            reached: Reached::new(),
            log: Log::new(),
            input,
        }
    }

    fn run(&mut self, data: &[u8]) {
        self.input.set_len(0).expect("the input's file");
        self.input.write_all_at(data, 0).expect("the input's file");
        let owner = &self.owner;
        for kcov in self.own.iter().chain(&owner.remote) {
            kcov.clear();
        }
        self.program.run(data, |dev| owner.own(dev.as_raw_fd()));
        for (kcov, by) in [(&self.own, "caller"), (&owner.remote, "worker")] {
            for pc in kcov.iter().flat_map(Kcov::read) {
                if let Some(at) = self.reached.add(pc, by) {
                    count(at);
                }
            }
        }
        if let Some(report) = self.log.report() {
            panic!("the kernel reports: {report}");
        }
    }
}

thread_local! {
    static FUZZER: RefCell<Option<Fuzzer>> = const { RefCell::new(None) };
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    FUZZER.with_borrow_mut(|fuzzer| fuzzer.get_or_insert_with(Fuzzer::new).run(data));
});
