// SPDX-License-Identifier: GPL-2.0

//! Counts of the operations of a storm by kind. A storm without operations of a kind proves
//! nothing about that kind.

use crate::{diag, ensure, tap::Outcome, vhost::Result};
use std::{
    ptr,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

macro_rules! kinds {
    ($($kind:ident = $name:literal,)*) => {
        #[derive(Clone, Copy, PartialEq, Eq)]
        pub enum Kind { $($kind),* }
        const KINDS: &[(Kind, &str)] = &[$((Kind::$kind, $name)),*];
    };
}

kinds! {
    GetFeatures = "GET_FEATURES",
    SetFeatures = "SET_FEATURES",
    GetBackendFeatures = "GET_BACKEND_FEATURES",
    SetBackendFeatures = "SET_BACKEND_FEATURES",
    SetOwner = "SET_OWNER",
    ResetOwner = "RESET_OWNER",
    SetMemTable = "SET_MEM_TABLE",
    SetNum = "SET_VRING_NUM",
    SetAddr = "SET_VRING_ADDR",
    SetBase = "SET_VRING_BASE",
    GetBase = "GET_VRING_BASE",
    SetKick = "SET_VRING_KICK",
    SetCall = "SET_VRING_CALL",
    SetErr = "SET_VRING_ERR",
    Attach = "NET_SET_BACKEND",
    Detach = "detach",
    SetFork = "SET_FORK_FROM_OWNER",
    GetFork = "GET_FORK_FROM_OWNER",
    Unknown = "unknown",
    Post = "post",
    Kick = "kick",
    Call = "call",
    Send = "send",
    Receive = "receive",
    Unmap = "munmap",
    Map = "mmap",
    Protect = "mprotect",
    Dup = "dup",
    Close = "close",
    CloseEvent = "close eventfd",
    CloseTap = "close tap",
    DeleteTap = "delete tap",
    Info = "fdinfo",
    Reclaim = "drop_caches",
    Kill = "SIGKILL",
    Exec = "exec",
    MovedTx = "tx-packets",
    MovedRx = "rx-packets",
}

/// How often each kind was done and refused, by this process and its children.
#[derive(Clone, Copy)]
pub struct Tally(&'static [[AtomicU64; 2]; KINDS.len()]);

impl Tally {
    pub fn new() -> Self {
        let prot = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
        let len = size_of::<[[AtomicU64; 2]; KINDS.len()]>();
        // SAFETY: A fresh mapping.
        let at = unsafe { libc::mmap(ptr::null_mut(), len, prot, flags, -1, 0) };
        assert!(at != libc::MAP_FAILED);
        // SAFETY: Zero, as long as the process, and of nobody else.
        Self(unsafe { &*at.cast() })
    }

    pub fn add(self, kind: Kind, n: u64) {
        self.0[kind as usize][0].fetch_add(n, Relaxed);
    }

    /// Takes back an operation that did not happen.
    pub fn failed(self, kind: Kind) {
        self.0[kind as usize][0].fetch_sub(1, Relaxed);
        self.0[kind as usize][1].fetch_add(1, Relaxed);
    }

    pub fn did<T>(self, kind: Kind, result: Result<T>) -> Result<T> {
        self.0[kind as usize][usize::from(result.is_err())].fetch_add(1, Relaxed);
        result
    }

    pub fn done(self, kind: Kind) -> u64 {
        self.0[kind as usize][0].load(Relaxed)
    }

    fn refused(self, kind: Kind) -> u64 {
        self.0[kind as usize][1].load(Relaxed)
    }

    /// Prints all counts. Fails unless each kind selected by `wanted` has occurred.
    pub fn check(self, wanted: impl Fn(Kind) -> bool) -> Outcome {
        let counts: Vec<String> = KINDS
            .iter()
            .map(|&(kind, name)| (name, self.done(kind), self.refused(kind)))
            .filter(|&(_, done, refused)| done + refused > 0)
            .map(|(name, done, refused)| match refused {
                0 => format!("{name} {done}"),
                _ => format!("{name} {done} ({refused} refused)"),
            })
            .collect();
        diag!("{}", counts.join(", "));
        // Unknown requests are made, and none may succeed.
        ensure!(self.done(Kind::Unknown) == 0, "the unknown was done");
        let missing: Vec<&str> = KINDS
            .iter()
            .filter(|&&(kind, _)| wanted(kind) && kind != Kind::Unknown && self.done(kind) == 0)
            .map(|&(_, name)| name)
            .collect();
        ensure!(missing.is_empty(), "never done: {}", missing.join(", "));
        Ok(())
    }
}
