// SPDX-License-Identifier: GPL-2.0

//! What a queue has done so far, for `/proc/PID/fdinfo/FD`.
//!
//! Written by the queue's worker alone, once per run or per batch, and read by anybody.

use kernel::{
    seq_file::SeqFile,
    seq_print,
    sync::atomic::{
        ordering::Relaxed,
        Atomic, //
    },
};

/// The kinds of mistakes that are told apart, at the most.
const REASONS: usize = 20;

/// A counter with one writer at a time.
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

/// The counters of one queue. They start at zero with the file and are never reset.
pub(crate) struct QueueStats {
    packets: Counter,
    bytes: Counter,
    buffers: Counter,
    signals: Counter,
    suppressed: Counter,
    runs: Counter,
    drops: Counter,
    faults: Counter,
    reasons: [Counter; REASONS],
}

impl QueueStats {
    /// All zero.
    pub(crate) const fn new() -> Self {
        Self {
            packets: Counter::new(),
            bytes: Counter::new(),
            buffers: Counter::new(),
            signals: Counter::new(),
            suppressed: Counter::new(),
            runs: Counter::new(),
            drops: Counter::new(),
            faults: Counter::new(),
            reasons: [const { Counter::new() }; REASONS],
        }
    }

    /// The worker has served the queue once more.
    pub(crate) fn run(&self) {
        self.runs.add(1);
    }

    /// How often it has.
    pub(crate) fn runs(&self) -> u64 {
        self.runs.get()
    }

    /// That many packets and bytes have gone through, without virtio-net headers.
    pub(crate) fn moved(&self, packets: usize, bytes: usize) {
        self.packets.add(packets);
        self.bytes.add(bytes);
    }

    /// Packets were lost for a reason that is the guest's or the backend's.
    pub(crate) fn dropped(&self, packets: usize) {
        self.drops.add(packets);
    }

    /// The guest made a mistake, of the kind with that number.
    pub(crate) fn fault(&self, reason: usize) {
        self.faults.add(1);
        if let Some(counter) = self.reasons.get(reason) {
            counter.add(1);
        }
    }

    /// That many buffers were handed back at once, with an interrupt or without.
    pub(crate) fn published(&self, buffers: usize, signalled: bool) {
        self.buffers.add(buffers);
        if signalled {
            self.signals.add(1);
        } else {
            self.suppressed.add(1);
        }
    }

    /// Prints one line per counter, each name behind `prefix`, and one for each kind of mistake
    /// that was made; `reasons` are their names.
    pub(crate) fn show(&self, m: &SeqFile, prefix: &str, reasons: &[&str]) {
        // A batch is handed back with an interrupt or without.
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
