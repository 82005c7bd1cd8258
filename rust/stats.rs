// SPDX-License-Identifier: GPL-2.0

//! The counters of a queue, which `/proc/PID/fdinfo/FD` shows.
//!
//! Only runs write them, once per run or batch, with the queue's lock held. They can be read in any
//! context.

use kernel::{
    seq_file::SeqFile,
    seq_print,
    sync::atomic::{
        ordering::Relaxed,
        Atomic, //
    },
};

/// The maximum number of kinds of faults.
const REASONS: usize = 20;

/// A counter, which must have only one writer at a time.
struct Counter(Atomic<u64>);

impl Counter {
    const fn new() -> Self {
        Self(Atomic::new(0))
    }

    fn add(&self, n: usize) {
        // CAST: Lossless on 64-bit.
        self.0
            .store(self.0.load(Relaxed).wrapping_add(n as u64), Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// The counters of a queue. They are zero when the file is opened and are never reset.
pub(crate) struct QueueStats {
    packets: Counter,
    bytes: Counter,
    buffers: Counter,
    signals: Counter,
    suppressed: Counter,
    runs: Counter,
    drops: Counter,
    misses: Counter,
    faults: Counter,
    reasons: [Counter; REASONS],
}

impl QueueStats {
    /// Creates counters that are zero.
    pub(crate) const fn new() -> Self {
        Self {
            packets: Counter::new(),
            bytes: Counter::new(),
            buffers: Counter::new(),
            signals: Counter::new(),
            suppressed: Counter::new(),
            runs: Counter::new(),
            drops: Counter::new(),
            misses: Counter::new(),
            faults: Counter::new(),
            reasons: [const { Counter::new() }; REASONS],
        }
    }

    /// Counts a run of the queue.
    pub(crate) fn run(&self) {
        self.runs.add(1);
    }

    /// Returns the number of runs.
    pub(crate) fn runs(&self) -> u64 {
        self.runs.get()
    }

    /// Adds packets that were transferred, and their bytes without virtio-net headers.
    pub(crate) fn moved(&self, packets: usize, bytes: usize) {
        self.packets.add(packets);
        self.bytes.add(bytes);
    }

    /// Adds packets that were lost.
    pub(crate) fn dropped(&self, packets: usize) {
        self.drops.add(packets);
    }

    /// Counts a translation that the queue has to wait for.
    pub(crate) fn missed(&self) {
        self.misses.add(1);
    }

    /// Counts a fault of the guest. `reason` is the index of its kind.
    pub(crate) fn fault(&self, reason: usize) {
        self.faults.add(1);
        if let Some(counter) = self.reasons.get(reason) {
            counter.add(1);
        }
    }

    /// Counts a batch of `buffers` used entries, published with or without an interrupt.
    pub(crate) fn published(&self, buffers: usize, signalled: bool) {
        self.buffers.add(buffers);
        if signalled {
            self.signals.add(1);
        } else {
            self.suppressed.add(1);
        }
    }

    /// Prints one line per counter, with `prefix` before each name, and one for each kind of fault
    /// that has occurred. `reasons` are the names of these kinds.
    pub(crate) fn show(&self, m: &SeqFile, prefix: &str, reasons: &[&str]) {
        // Each batch was published either with an interrupt or without.
        let batches = self.signals.get().wrapping_add(self.suppressed.get());
        let lines = [
            ("packets", self.packets.get()),
            ("bytes", self.bytes.get()),
            ("buffers", self.buffers.get()),
            ("batches", batches),
            ("signals", self.signals.get()),
            ("suppressed", self.suppressed.get()),
            ("runs", self.runs.get()),
            ("drops", self.drops.get()),
            ("misses", self.misses.get()),
            ("faults", self.faults.get()),
        ];
        for (name, count) in lines {
            seq_print!(m, "{}-{}:\t{}\n", prefix, name, count);
        }
        for (name, counter) in reasons.iter().zip(&self.reasons) {
            match counter.get() {
                0 => {}
                count => seq_print!(m, "{}-fault-{}:\t{}\n", prefix, name, count),
            }
        }
    }
}
