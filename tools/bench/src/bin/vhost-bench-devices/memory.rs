// SPDX-License-Identifier: GPL-2.0

//! How much memory is in use, to the byte as far as the kernel tells.

use std::{
    fs::{self, File},
    io::Write,
    os::unix::fs::FileExt,
    sync::{
        atomic::{AtomicBool, Ordering},
        Arc,
    },
    thread::{self, JoinHandle},
    time::Duration,
};

const PAGE: i64 = 4096;

/// What it is read from, opened once so that reading makes nothing.
pub struct Used {
    zones: File,
    slabs: File,
    refresh: File,
    shrink: Vec<File>,
    text: Vec<u8>,
}

fn open(path: &str) -> File {
    File::open(path).unwrap_or_else(|e| panic!("{path}: {e}"))
}

fn open_to_write(path: &str) -> File {
    let file = File::options().write(true).open(path);
    file.unwrap_or_else(|e| panic!("{path}: {e}"))
}

impl Used {
    pub fn new() -> Self {
        let caches = fs::read_dir("/sys/kernel/slab").expect("caches").flatten();
        // Of a cache with several names one is no link.
        let caches = caches.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        let shrink =
            caches.map(|entry| open_to_write(&format!("{}/shrink", entry.path().display())));
        Self {
            zones: open("/proc/zoneinfo"),
            slabs: open("/proc/slabinfo"),
            refresh: open_to_write("/proc/sys/vm/stat_refresh"),
            shrink: shrink.collect(),
            text: vec![0; 1 << 17],
        }
    }

    /// Has freed what is to be freed later, and waits until no more is. Whoever holds memory
    /// that the kernel may ask back gives it: no device should be open.
    pub fn settle(&mut self) -> i64 {
        fs::write("/proc/sys/vm/drop_caches", "2").expect("drop_caches");
        let mut last = self.bytes();
        for _ in 0..50 {
            let now = self.bytes();
            // Dozens of bytes come and go.
            if now.abs_diff(last) < 1024 {
                return now;
            }
            last = now;
        }
        panic!("memory comes and goes by itself");
    }

    /// Pages that are in use otherwise than for slabs, and the objects in those.
    pub fn bytes(&mut self) -> i64 {
        // Of a grace period or two, and of what a processor has counted for itself.
        thread::sleep(Duration::from_millis(100));
        for cache in &mut self.shrink {
            // What a processor keeps of free objects would count as in use.
            let _ = cache.write_all(b"1");
        }
        let _ = self.refresh.write_all(b"1");
        let (objects, slab_pages) = self.slabs();
        -(self.free_pages() + slab_pages) * PAGE + objects
    }

    /// Pages that nobody has, those that a processor keeps included.
    fn free_pages(&mut self) -> i64 {
        let text = read(&self.zones, &mut self.text);
        let words = text.lines().map(str::split_whitespace);
        words
            .filter_map(|mut line| match line.next()? {
                "nr_free_pages" | "count:" => line.next()?.parse::<i64>().ok(),
                _ => None,
            })
            .sum()
    }

    /// The length of all objects in slabs, and the pages that these have.
    fn slabs(&mut self) -> (i64, i64) {
        let text = read(&self.slabs, &mut self.text);
        let mut sums = (0, 0);
        for line in text.lines().skip(2) {
            // name active_objs num_objs objsize objperslab pagesperslab : tunables ... :
            // slabdata active_slabs num_slabs sharedavail
            let fields = line.split_whitespace().skip(1);
            let numbers: Vec<i64> = fields.filter_map(|word| word.parse().ok()).collect();
            let [active, _, size, _, pages, .., slabs, _] = numbers[..] else {
                panic!("not a cache: {line}");
            };
            sums.0 += active * size;
            sums.1 += slabs * pages;
        }
        sums
    }
}

/// All of a file of the kernel's, which makes it anew for each reader.
fn read<'t>(file: &File, text: &'t mut [u8]) -> &'t str {
    let mut len = 0;
    loop {
        let got = file.read_at(&mut text[len..], len as u64).expect("read");
        if got == 0 {
            return std::str::from_utf8(&text[..len]).expect("text");
        }
        len += got;
        assert!(len < text.len(), "no room");
    }
}

/// Threads that do nothing but have what each processor keeps of stacks for new threads, so
/// that a device's thread gets a fresh one. Gone when dropped.
pub struct Fillers {
    over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Fillers {
    pub fn new() -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let filler = || {
            let over = over.clone();
            let wait = move || {
                while !over.load(Ordering::Acquire) {
                    thread::park();
                }
            };
            let thread = thread::Builder::new().stack_size(1 << 16);
            thread.spawn(wait).expect("thread")
        };
        // Two are kept by each processor.
        let count = 2 * thread::available_parallelism().map_or(2, usize::from) + 4;
        let threads = (0..count).map(|_| filler()).collect();
        Self { over, threads }
    }
}

impl Drop for Fillers {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Release);
        for thread in self.threads.drain(..) {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}
