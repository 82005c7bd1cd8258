// SPDX-License-Identifier: GPL-2.0

//! Control groups.

use crate::{child::Child, ensure, tap::Outcome};
use std::{
    fs::{self, File},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

/// A control group; removed on drop. The files that are used at its limit are kept open, since
/// opening one takes memory of the group.
pub struct Group {
    path: PathBuf,
    max: File,
    events: File,
}

impl Group {
    pub fn new(limit: &str) -> std::io::Result<Self> {
        let root = Path::new("/sys/fs/cgroup");
        fs::write(root.join("cgroup.subtree_control"), "+memory")?;
        let path = root.join("vhost-selftests");
        fs::create_dir(&path)?;
        fs::write(path.join("memory.max"), limit)?;
        let group = Self {
            max: File::options().write(true).open(path.join("memory.max"))?,
            events: File::open(path.join("memory.events"))?,
            path,
        };
        group.reached()?;
        Ok(group)
    }

    /// Moves the calling process into it.
    pub fn join(&self) -> std::io::Result<()> {
        fs::write(self.path.join("cgroup.procs"), "0")
    }

    /// The memory that it uses, in bytes.
    pub fn current(&self) -> std::io::Result<u64> {
        let bytes = fs::read_to_string(self.path.join("memory.current"))?;
        Ok(bytes.trim().parse().unwrap_or(0))
    }

    /// The part of it that the kernel has allocated.
    pub fn kernel(&self) -> std::io::Result<i64> {
        let stat = fs::read_to_string(self.path.join("memory.stat"))?;
        let bytes = stat.lines().find_map(|line| line.strip_prefix("kernel "));
        Ok(bytes.and_then(|bytes| bytes.parse().ok()).unwrap_or(0))
    }

    /// Sets its limit.
    pub fn limit(&self, bytes: u64) -> std::io::Result<()> {
        self.max.write_all_at(bytes.to_string().as_bytes(), 0)
    }

    /// How often its limit has been reached.
    pub fn reached(&self) -> std::io::Result<u64> {
        let mut events = [0; 512];
        let len = self.events.read_at(&mut events, 0)?;
        let events = String::from_utf8_lossy(&events[..len]);
        let max = events.lines().find_map(|line| line.strip_prefix("max "));
        Ok(max.and_then(|count| count.parse().ok()).unwrap_or(0))
    }
}

/// Runs `body` in a child with a control group of its own.
pub fn in_group(body: impl FnOnce(&Group) -> Outcome) -> Outcome {
    let group = Group::new("max").map_err(|e| format!("no control group: {e}"))?;
    let status = Child::new(|| {
        group.join().expect("joining the control group");
        match body(&group) {
            Ok(()) => 0,
            Err(what) => {
                println!("# {what}");
                1
            }
        }
    })
    .wait();
    ensure!(status.success(), "the child ended with {status}");
    Ok(())
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.path);
    }
}
