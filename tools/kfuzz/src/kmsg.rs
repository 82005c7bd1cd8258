// SPDX-License-Identifier: GPL-2.0

//! Reports of the kernel. WARN, KASAN and UBSAN can stop the machine at once. Lockdep, RCU's
//! checks and others only write to the log.

use std::{
    fs::File,
    io::{ErrorKind, Read, Seek, SeekFrom},
    os::unix::fs::OpenOptionsExt,
};

/// Strings that identify a report, one in each line.
const REPORTS: &str = include_str!("../../../scripts/lib/reports");

fn is_report(text: &str) -> bool {
    let mut known = REPORTS.lines().filter(|line| !line.starts_with('#'));
    known.any(|report| text.contains(report))
}

/// The kernel's log from now on.
pub struct Log(File);

impl Log {
    pub fn new() -> Self {
        let path = "/dev/kmsg";
        let open = || {
            let mut file = File::options()
                .read(true)
                .custom_flags(libc::O_NONBLOCK)
                .open(path)?;
            file.seek(SeekFrom::End(0))?;
            Ok::<_, std::io::Error>(file)
        };
        Self(open().unwrap_or_else(|e| panic!("{path}: {e}")))
    }

    /// The first line since the last call that belongs to a report.
    pub fn report(&mut self) -> Option<String> {
        // A read returns one record.
        let mut record = [0; 8192];
        loop {
            match self.0.read(&mut record) {
                Ok(len) => {
                    let text = String::from_utf8_lossy(&record[..len]);
                    if is_report(&text) {
                        return Some(text.trim_end().to_owned());
                    }
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => return None,
                // Older records are gone; reading continues with the oldest one left.
                Err(e) if e.raw_os_error() == Some(libc::EPIPE) => (),
                Err(e) => panic!("the kernel's log: {e}"),
            }
        }
    }
}
