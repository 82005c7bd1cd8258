// SPDX-License-Identifier: GPL-2.0

//! The rows of the benchmark, and the goal of each.

use std::fs;

/// The kind of processor. With fast string instructions, each step of one counts as an
/// instruction; without them, the kernel does not use string instructions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Processor {
    Fast,
    Plain,
}

impl Processor {
    /// Both, in the order of the tables.
    pub const ALL: [Self; 2] = [Self::Fast, Self::Plain];

    /// Its name in scripts and files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fast => "fast",
            Self::Plain => "plain",
        }
    }

    /// Its name in a table.
    pub fn title(self) -> &'static str {
        match self {
            Self::Fast => "fast string instructions",
            Self::Plain => "no fast string instructions",
        }
    }

    /// The kind with this name.
    pub fn named(name: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|p| p.name() == name);
        found.ok_or_else(|| format!("no processor {name}"))
    }

    /// The kind of this machine's processor.
    pub fn this() -> Self {
        let info = fs::read_to_string("/proc/cpuinfo").expect("cpuinfo");
        let flags = info.lines().find(|line| line.starts_with("flags"));
        if flags.is_some_and(|line| line.split(' ').any(|flag| flag == "erms")) {
            Self::Fast
        } else {
            Self::Plain
        }
    }
}

/// The descriptors of a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Layout {
    /// One descriptor for header and frame.
    One,
    /// A separate descriptor for the header.
    Two,
    /// A separate descriptor for the header, and two for the frame.
    Three,
    /// As `Two`, in an indirect table.
    Indirect,
}

impl Layout {
    /// The number of descriptors of the ring that it uses.
    pub fn descriptors(self) -> u32 {
        match self {
            Self::One | Self::Indirect => 1,
            Self::Two => 2,
            Self::Three => 3,
        }
    }
}

/// What guest and host do in a row.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Work {
    /// The guest sends `at_once` frames with each kick.
    Send { layout: Layout, at_once: u32 },
    /// `at_once` frames wait in the tap when the guest offers buffers.
    Waiting { at_once: u32 },
    /// Buffers are available, and `at_once` frames arrive whenever the worker sleeps.
    Waking { at_once: u32 },
}

/// A row of the table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Case {
    /// Its name on the command line.
    pub name: &'static str,
    /// Its name in a table.
    pub title: &'static str,
    pub work: Work,
    /// The length of each frame. A frame longer than Ethernet's maximum uses segmentation offload.
    pub len: usize,
    pub event_idx: bool,
    /// The goal, in percent of the C module's instructions: with fast string instructions, and
    /// without.
    most: [u32; 2],
}

impl Case {
    /// The row with this name.
    pub fn named(name: &str) -> Result<&'static Self, String> {
        let found = CASES.iter().find(|case| case.name == name);
        found.ok_or_else(|| {
            let names: Vec<&str> = CASES.iter().map(|case| case.name).collect();
            format!("no row {name}; there are {}", names.join(", "))
        })
    }

    /// Whether the frames use segmentation offload.
    pub fn segmented(&self) -> bool {
        self.len > 1514
    }

    /// The goal on this processor, relative to the C module.
    pub fn most(&self, processor: Processor) -> f64 {
        let [fast, plain] = self.most;
        f64::from(match processor {
            Processor::Fast => fast,
            Processor::Plain => plain,
        }) / 100.0
    }

    /// The number of packets that are moved before the guest waits for all of them.
    pub fn at_once(&self) -> u32 {
        match self.work {
            Work::Send { at_once, .. } | Work::Waiting { at_once } | Work::Waking { at_once } => {
                at_once
            }
        }
    }

    /// Whether the guest receives.
    pub fn receives(&self) -> bool {
        !matches!(self.work, Work::Send { .. })
    }

    /// Whether the worker sleeps before each packet or pair, so that wake-ups dominate the result.
    pub fn wakes(&self) -> bool {
        self.at_once() <= 2 && !self.segmented()
    }
}

const fn send(layout: Layout, at_once: u32) -> Work {
    Work::Send { layout, at_once }
}

const fn case(
    name: &'static str,
    title: &'static str,
    work: Work,
    len: usize,
    most: [u32; 2],
) -> Case {
    Case {
        name,
        title,
        work,
        len,
        event_idx: false,
        most,
    }
}

const BATCH: Work = send(Layout::One, 256);
const ONE: Work = send(Layout::One, 1);
const WAITING: Work = Work::Waiting { at_once: 256 };
const WAKING: Work = Work::Waking { at_once: 1 };
const PAIRS: Work = Work::Waking { at_once: 2 };

/// Every row, in the order of the table.
#[rustfmt::skip]
pub const CASES: [Case; 15] = [
    case("tx-60", "TX 60 B, 256 a kick", BATCH, 60, [62, 74]),
    case("tx-1514", "TX 1,514 B, 256 a kick", BATCH, 1514, [58, 70]),
    case("tx-two", "TX 60 B, header apart", send(Layout::Two, 256), 60, [64, 76]),
    case("tx-three", "TX 60 B, three descriptors", send(Layout::Three, 256), 60, [100, 100]),
    case("tx-indirect", "TX 60 B, indirect table of two", send(Layout::Indirect, 256), 60, [100, 100]),
    case("tx-gso", "TX 65,226 B, segmentation offload", send(Layout::One, 64), 65_226, [52, 50]),
    case("tx-one", "TX 60 B, one a kick", ONE, 60, [95, 94]),
    Case { event_idx: true, ..case("tx-one-idx", "TX 60 B, one a kick, EVENT_IDX", ONE, 60, [95, 95]) },
    case("rx-60", "RX 60 B, 256 waiting", WAITING, 60, [79, 78]),
    case("rx-1514", "RX 1,514 B, 256 waiting", WAITING, 1514, [89, 80]),
    case("rx-60-wake", "RX 60 B, each wakes the worker", WAKING, 60, [93, 93]),
    case("rx-1514-wake", "RX 1,514 B, each wakes the worker", WAKING, 1514, [93, 92]),
    case("rx-60-pair", "RX 60 B, two wake the worker", PAIRS, 60, [93, 93]),
    case("rx-1514-pair", "RX 1,514 B, two wake the worker", PAIRS, 1514, [93, 92]),
    case("rx-gso", "RX 60,054 B in 15 buffers", Work::Waiting { at_once: 2 }, 60_054, [98, 93]),
];
