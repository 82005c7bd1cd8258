// SPDX-License-Identifier: GPL-2.0

//! The features in an array of words.

use super::BAD;
use crate::{
    child::Child,
    ensure, ensure_eq,
    guest::Memory,
    setup::{Net, Options},
    tap::{Outcome, Suite},
    vhost::*,
};
use std::{mem::zeroed, ptr::null_mut};

/// The words that features have.
const WORDS: usize = 2;

pub fn run(suite: &mut Suite, path: &str) {
    suite.case("features in an array: read", || read(path));
    suite.case("features in an array: set", || set(path));
    suite.case("features in an array: the ones set are in effect", || {
        in_effect(path)
    });
    suite.case_c_fails(
        "features in an array: a signal ends an endless array",
        "it reads on",
        || endless(path),
    );
}

/// A page with nothing accessible behind it.
struct End(*mut u8);

impl End {
    const PAGE: usize = 4096;

    fn new() -> Self {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: A new mapping, of which the second page is made inaccessible.
        unsafe {
            let prot = libc::PROT_READ | libc::PROT_WRITE;
            let at = libc::mmap(null_mut(), 2 * Self::PAGE, prot, flags, -1, 0);
            assert!(at != libc::MAP_FAILED, "mmap");
            assert_eq!(
                libc::mprotect(at.add(Self::PAGE), Self::PAGE, libc::PROT_NONE),
                0
            );
            Self(at.cast())
        }
    }

    /// Writes words at the end of the page, and returns the address of the first one.
    fn write(&self, words: &[u64]) -> usize {
        assert!(words.len() * 8 <= Self::PAGE, "too many words");
        // SAFETY: They end where the page does.
        unsafe {
            let at = self.0.add(Self::PAGE - words.len() * 8).cast::<u64>();
            at.copy_from_nonoverlapping(words.as_ptr(), words.len());
            at as usize
        }
    }
}

impl Drop for End {
    fn drop(&mut self) {
        // SAFETY: The mapping is ours.
        unsafe { libc::munmap(self.0.cast(), 2 * Self::PAGE) };
    }
}

/// What GET_FEATURES_ARRAY leaves of these words.
fn got<const N: usize>(dev: &Vhost, count: u64) -> Result<[u64; N]> {
    let mut array = [u64::MAX; N];
    array[0] = count;
    dev.raw(GET_FEATURES_ARRAY, array.as_mut_ptr() as usize)?;
    Ok(array)
}

fn put(dev: &Vhost, array: &[u64]) -> Result {
    dev.raw(SET_FEATURES_ARRAY, array.as_ptr() as usize)
}

fn read(path: &str) -> Outcome {
    const ALL: u64 = u64::MAX;
    let dev = Vhost::open(path);
    let low = dev.features().map_err(|e| format!("{e:?}"))?;
    let [count, first, high, ..] = got::<6>(&dev, 2).map_err(|e| format!("{e:?}"))?;
    ensure_eq!(high, 0xa, "the second word");
    ensure_eq!((count, first), (2, low), "count and first word");
    ensure_eq!(got(&dev, 0), Ok([0, ALL, ALL]), "no words");
    ensure_eq!(got(&dev, 1), Ok([1, low, ALL]), "one word");
    ensure_eq!(got(&dev, 2), Ok([2, low, high, ALL]), "two words");
    ensure_eq!(got(&dev, 4), Ok([4, low, high, 0, 0, ALL]), "four words");
    ensure_eq!(dev.raw(GET_FEATURES_ARRAY, BAD), Err(EFAULT), "no array");
    // So many that their size in bytes is no number.
    for count in [1 << 40, 1 << 61, u64::MAX] {
        ensure_eq!(got::<4>(&dev, count), Err(EFAULT), "{count:#x} words");
    }
    let end = End::new();
    for (words, count, want) in [
        (0, 0, Ok(())),
        (0, 1, Err(EFAULT)),
        (1, 1, Ok(())),
        (1, 2, Err(EFAULT)),
        (2, 2, Ok(())),
        (2, 3, Err(EFAULT)),
    ] {
        // The array ends after so many words.
        let at = end.write(&[&[count], &[0; WORDS][..words]].concat());
        let result = dev.raw(GET_FEATURES_ARRAY, at);
        ensure_eq!(result, want, "{count} words where {words} can be");
        let result = dev.raw(SET_FEATURES_ARRAY, at);
        ensure_eq!(result, want, "{count} words where {words} are");
    }
    Ok(())
}

fn set(path: &str) -> Outcome {
    let dev = Vhost::open(path);
    let [_, low, high] = got(&dev, 2).map_err(|e| format!("{e:?}"))?;
    ensure_eq!(put(&dev, &[0]), Ok(()), "no words");
    ensure_eq!(put(&dev, &[1, F_VERSION_1]), Ok(()), "one word");
    ensure_eq!(put(&dev, &[3, F_VERSION_1, 0, 0]), Ok(()), "three words");
    for bit in 0..64 {
        let answer = |offered: u64| match (offered >> bit) & 1 {
            1 => Ok(()),
            _ => Err(EOPNOTSUPP),
        };
        let result = put(&dev, &[1, 1 << bit]);
        ensure_eq!(result, answer(low), "feature bit {bit}");
        let result = put(&dev, &[2, 0, 1 << bit]);
        ensure_eq!(result, answer(high), "feature bit {}", 64 + bit);
        let result = put(&dev, &[3, 0, 0, 1 << bit]);
        ensure_eq!(result, Err(EOPNOTSUPP), "feature bit {}", 128 + bit);
    }
    ensure_eq!(dev.raw(SET_FEATURES_ARRAY, BAD), Err(EFAULT), "no array");
    // The further words come before the first ones.
    let end = End::new();
    let result = dev.raw(SET_FEATURES_ARRAY, end.write(&[3, u64::MAX, 0]));
    ensure_eq!(result, Err(EFAULT), "a third word that cannot be read");
    Ok(())
}

/// The length of the header tells which features are in effect. A refused array changes nothing, and
/// the upper word of SET_FEATURES is zero.
fn in_effect(path: &str) -> Outcome {
    let mem = Memory::new();
    let mut net = Net::start(path, &mem, Options::new(F_VERSION_1));
    net.dev.set_features(0).map_err(|e| format!("{e:?}"))?;
    ensure_eq!(put(&net.dev, &[1, F_VERSION_1]), Ok(()), "one word");
    net.check_rx(1, 100)?;
    net.check_tx(2)?;
    let refused = put(&net.dev, &[3, 0, 0, 1]);
    ensure_eq!(refused, Err(EOPNOTSUPP), "a feature that no device has");
    net.check_rx(3, 100)?;
    net.check_tx(4)
}

extern "C" fn handled(_: libc::c_int) {}

/// An array of eight million words, all of them the same page of zeroes.
fn endless(path: &str) -> Outcome {
    const LEN: usize = 64 << 20;
    let dev = Vhost::open(path);
    let reader = Child::new(|| {
        // SAFETY: A handler that does nothing, and a new mapping.
        let at = unsafe {
            let mut action: libc::sigaction = zeroed();
            action.sa_sigaction = handled as extern "C" fn(libc::c_int) as usize;
            libc::sigaction(libc::SIGALRM, &action, null_mut());
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
            let prot = libc::PROT_READ | libc::PROT_WRITE;
            let at = libc::mmap(null_mut(), LEN, prot, flags, -1, 0);
            at.cast::<u64>().write(LEN as u64 / 8 - 1);
            // Again and again, for the first one may come before the request.
            let each = libc::timeval {
                tv_sec: 0,
                tv_usec: 20_000,
            };
            let timer = libc::itimerval {
                it_interval: each,
                it_value: each,
            };
            libc::setitimer(libc::ITIMER_REAL, &timer, null_mut());
            at
        };
        match dev.raw(SET_FEATURES_ARRAY, at as usize) {
            Ok(()) => 0,
            Err(e) => e.0,
        }
    });
    ensure_eq!(reader.wait().code(), Some(libc::EINTR), "the request");
    // The device is as it was.
    ensure!(dev.features().is_ok(), "GET_FEATURES");
    ensure_eq!(put(&dev, &[0]), Ok(()), "no words");
    Ok(())
}
