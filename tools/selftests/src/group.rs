// SPDX-License-Identifier: GPL-2.0

//! Control groups.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// A control group, removed when dropped.
pub struct Group(PathBuf);

impl Group {
    pub fn new(limit: &str) -> std::io::Result<Self> {
        let root = Path::new("/sys/fs/cgroup");
        fs::write(root.join("cgroup.subtree_control"), "+memory")?;
        let group = Self(root.join("vhost-selftests"));
        fs::create_dir(&group.0)?;
        fs::write(group.0.join("memory.max"), limit)?;
        Ok(group)
    }

    /// The calling process is in it from here on.
    pub fn join(&self) -> std::io::Result<()> {
        fs::write(self.0.join("cgroup.procs"), "0")
    }

    /// What its processes use, in bytes.
    pub fn current(&self) -> std::io::Result<u64> {
        let bytes = fs::read_to_string(self.0.join("memory.current"))?;
        Ok(bytes.trim().parse().unwrap_or(0))
    }

    /// What the kernel uses for them, in bytes.
    pub fn kernel(&self) -> std::io::Result<u64> {
        let stat = fs::read_to_string(self.0.join("memory.stat"))?;
        let kernel = stat.lines().find_map(|line| line.strip_prefix("kernel "));
        Ok(kernel.and_then(|bytes| bytes.parse().ok()).unwrap_or(0))
    }

    /// How often something has met its limit.
    pub fn reached(&self) -> std::io::Result<u64> {
        let events = fs::read_to_string(self.0.join("memory.events"))?;
        let max = events.lines().find_map(|line| line.strip_prefix("max "));
        Ok(max.and_then(|count| count.parse().ok()).unwrap_or(0))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}
