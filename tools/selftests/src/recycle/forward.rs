// SPDX-License-Identifier: GPL-2.0

//! Frames that pass a bridge, and wait in the middle or at the end of their way.

use super::{
    flow::{expect, held, Flow},
    held::{first_ones, pass, reader, MIXED},
    pattern::same,
};
use crate::{
    diag, ensure, ensure_eq,
    guest::Memory,
    net::{segmented, Tap, Wire, ETH_ALL, ETH_TYPE},
    setup::rounds,
    tap::{Outcome, Suite},
};
use std::{
    io::Write,
    process::{Command, Stdio},
    result::Result,
    sync::atomic::{AtomicU32, Ordering},
};

/// The longest frame that a bridge forwards from such a tap, without segmentation offload.
const LONGEST: usize = 65_000;

pub fn run(suite: &mut Suite, path: &str) {
    suite.case("through a bridge to slow readers", || slow_ends(path));
    suite.case("through a bridge to a queue that delays", || delayed(path));
    suite.case("through a bridge to a tap that is read late", || {
        another_tap(path)
    });
    suite.case("segmentation offload, through a bridge", || offload(path));
    suite.case(
        "segmentation offload, cut for a tap that is read late",
        || cut(path),
    );
}

/// Runs one program `ip` for all commands, since each start takes long on an emulated processor.
pub fn ip(commands: &str) -> Outcome {
    let failed = |e: std::io::Error| format!("ip: {e}");
    let mut ip = Command::new("ip")
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let mut stdin = ip.stdin.take().ok_or("no input of ip")?;
    stdin.write_all(commands.as_bytes()).map_err(failed)?;
    drop(stdin);
    ensure!(ip.wait().map_err(failed)?.success(), "ip: {commands}");
    Ok(())
}

/// A bridge between taps and a veth pair.
pub struct Bridge {
    name: String,
    /// The interface in the bridge, and the one at the other end.
    pub near: String,
    pub far: String,
}

impl Bridge {
    pub fn new(taps: &[&Tap]) -> Result<Self, String> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let id = std::process::id();
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let [name, near, far] = ["b", "n", "f"].map(|c| format!("v{c}{id}-{n}"));
        let mut commands = format!(
            "link add {name} type bridge mcast_snooping 0\n\
             link add {near} mtu 65535 type veth peer name {far} mtu 65535\n\
             link set {near} master {name} up\nlink set {far} up\nlink set {name} up\n"
        );
        for tap in taps {
            commands += &format!("link set {} mtu 65521 master {name}\n", tap.name);
        }
        ip(&commands)?;
        Ok(Self { name, near, far })
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        let _ = ip(&format!("link del {}\nlink del {}\n", self.near, self.name));
    }
}

/// A device on a tap in a bridge, and the bridge. On such a tap only packet sockets for all types
/// receive frames: the bridge takes a frame before sockets for one type get it.
fn bridged<'m>(path: &str, mem: &'m Memory, others: &[&Tap]) -> Result<(Flow<'m>, Bridge), String> {
    let flow = Flow::start(path, mem, 1);
    flow.net.wire.hear(&flow.net.tap, ETH_ALL);
    let taps = [&[&flow.net.tap], others].concat();
    let bridge = Bridge::new(&taps)?;
    Ok((flow, bridge))
}

fn lens() -> [usize; MIXED.len()] {
    MIXED.map(|len| len.min(LONGEST))
}

fn slow_ends(path: &str) -> Outcome {
    let mem = Memory::new();
    let (mut flow, bridge) = bridged(path, &mem, &[])?;
    let far = Wire::on(&bridge.far, false);
    far.option(libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, 1 << 20);
    let near = reader(&flow, 4 << 20);
    near.hear(&flow.net.tap, ETH_ALL);
    pass(&mut flow, &lens(), 100)?;
    first_ones(&flow, &near, 30)?;
    first_ones(&flow, &far, 30)
}

/// Frames in a queueing discipline are referenced by nothing else.
fn delayed(path: &str) -> Outcome {
    let mem = Memory::new();
    let (mut flow, bridge) = bridged(path, &mem, &[])?;
    let far = Wire::on(&bridge.far, false);
    let words = ["qdisc", "add", "dev", &bridge.near, "root", "netem"];
    let tc = Command::new("tc")
        .args(words)
        .args(["delay", "700ms", "limit", "5000"])
        .status();
    ensure!(tc.is_ok_and(|s| s.success()), "tc {words:?}");
    let mut next = 0;
    for _ in 0..4 {
        pass(&mut flow, &lens(), 15)?;
        // On a fast machine no frame has had the time to arrive, and on a slow one some have.
        let numbers = held(&far, &flow.sent)?;
        next += numbers.len() as u32;
    }
    diag!("{next} of {} frames on time", flow.sent.count());
    expect(&far, &flow.sent, next..flow.sent.count())
}

fn another_tap(path: &str) -> Outcome {
    let mem = Memory::new();
    let other = Tap::new(0);
    let (mut flow, _bridge) = bridged(path, &mem, &[&other])?;
    pass(&mut flow, &lens(), 250)?;
    let mut numbers = Vec::new();
    while let Some(got) = other.recv(0) {
        // Frames that the interfaces send by themselves.
        if got[12..14] != ETH_TYPE.to_be_bytes() {
            continue;
        }
        let number = flow.sent.check(&got)?;
        ensure!(numbers.last() < Some(&number), "frame {number} too late");
        numbers.push(number);
    }
    let (count, all) = (numbers.len(), flow.sent.count());
    diag!("{count} of {all} frames held");
    ensure!(count >= 900.min(all as usize), "{count} frames only");
    Ok(())
}

/// Payloads of packets to be segmented, each sent with its header; the rest is sent separately.
const PAYLOADS: [usize; 6] = [65_480, 1449, 20_000, 32_700, 4000, 50_000];
const MSS: u16 = 1448;

/// Sends the packet with these payloads, whichever is asked for.
fn send_segmented(flow: &mut Flow<'_>, seed: u32) -> Outcome {
    let (hdr, frame) = segmented(seed, PAYLOADS[seed as usize % PAYLOADS.len()], MSS);
    let hdr = [&hdr[..], &[0, 0]].concat();
    flow.put(&hdr, &frame)
}

fn offload(path: &str) -> Outcome {
    let mem = Memory::new();
    let (mut flow, bridge) = bridged(path, &mem, &[])?;
    let wires = [Wire::new(&flow.net.tap, true), Wire::on(&bridge.far, true)];
    let count = rounds(2400).max(60);
    for wire in &wires {
        wire.option(libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, 2 << 20);
    }
    for seed in 0..count {
        send_segmented(&mut flow, seed)?;
        if seed % 4 == 0 {
            flow.send(60)?;
        }
    }
    flow.flush()?;
    let mut least = count;
    for wire in &wires {
        let mut seed = 0;
        while let Some(got) = wire.recv(100) {
            // It receives all other frames as well.
            if got[22..24] != 0x0800u16.to_be_bytes() {
                continue;
            }
            let (mut hdr, frame) = segmented(seed, PAYLOADS[seed as usize % PAYLOADS.len()], MSS);
            // The kernel decides how much of the packet is outside its pages.
            hdr[2..4].copy_from_slice(&got[2..4]);
            same(&[&hdr[..], &frame].concat(), &got).map_err(|e| format!("packet {seed}: {e}"))?;
            seed += 1;
        }
        least = least.min(seed);
    }
    diag!("{least} of {count} packets held");
    ensure!(least > 30, "{least} packets only");
    Ok(())
}

/// The segments of a packet share its pages, each with a reference of its own.
fn cut(path: &str) -> Outcome {
    let mem = Memory::new();
    // It does not accept segments that are too long.
    let other = Tap::new(0);
    let (mut flow, _bridge) = bridged(path, &mem, &[&other])?;
    ip(&format!("link set {} mtu 1500\n", other.name))?;
    const COUNT: u32 = 24;
    for seed in 0..COUNT {
        send_segmented(&mut flow, seed)?;
    }
    flow.flush()?;
    while flow.net.wire.recv(0).is_some() {}
    pass(&mut flow, &lens(), 40)?;
    for seed in 0..COUNT {
        let (_, frame) = segmented(seed, PAYLOADS[seed as usize % PAYLOADS.len()], MSS);
        let payload = &frame[54..];
        for from in (0..payload.len()).step_by(usize::from(MSS)) {
            let got = loop {
                let got = other.recv(1000).ok_or("a piece did not arrive")?;
                if got[12..14] == 0x0800u16.to_be_bytes() {
                    break got;
                }
            };
            let to = payload.len().min(from + usize::from(MSS));
            let what = format!("packet {seed}, piece at {from}");
            let at = u32::from_be_bytes([got[38], got[39], got[40], got[41]]);
            ensure_eq!(at as usize, from, "{what}: sequence number");
            same(&payload[from..to], &got[54..]).map_err(|e| format!("{what}: {e}"))?;
        }
    }
    Ok(())
}
