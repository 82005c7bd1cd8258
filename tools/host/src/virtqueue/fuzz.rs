// SPDX-License-Identifier: GPL-2.0

//! Functions that take their input from arbitrary bytes and panic when an invariant does not hold.
//! The fuzz targets call them, and a test calls them with the corpus.

mod chain;
mod iotlb;
mod request;
mod table;
mod used;

use arbitrary::{
    Result,
    Unstructured, //
};

pub use chain::run as chain;
pub use iotlb::run as iotlb;
pub use request::run as request;
pub use table::run as table;
pub use used::run as used;

/// The end of user space on x86-64 with four levels of page tables.
const USER_END: u64 = 0x7fff_ffff_f000;

/// The number of addresses.
const ADDRESSES: u128 = 1 << 64;

/// The little endian number in the `len` bytes from `at` on.
fn number(bytes: &[u8], at: usize, len: usize) -> u128 {
    let high_first = bytes[at..at + len].iter().rev();
    high_first.fold(0, |number, byte| number * 256 + u128::from(*byte))
}

/// Whether these bytes are all below `end`, without wrapping.
fn below(end: u64, at: u128, len: u128) -> bool {
    at + len <= u128::from(end)
}

/// An address: any, or one close to a boundary.
fn address(u: &mut Unstructured<'_>, end: u64) -> Result<u64> {
    let any: u64 = u.arbitrary()?;
    Ok(match u.int_in_range(0..=3)? {
        0 => any,
        1 => any % 0x1000,
        _ => end.wrapping_sub(any % 0x10_0000),
    })
}

/// Runs the inputs of the corpus.
#[cfg(test)]
#[test]
fn corpus() {
    type Target = fn(&[u8]);
    let targets: [(&str, Target); 5] = [
        ("chain", chain),
        ("iotlb", iotlb),
        ("request", request),
        ("table", table),
        ("used", used),
    ];
    for (name, target) in targets {
        let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus/");
        let mut count = 0;
        for entry in std::fs::read_dir(format!("{dir}{name}")).expect(name) {
            let path = entry.expect(name).path();
            println!("{}", path.display());
            target(&std::fs::read(path).expect(name));
            count += 1;
        }
        assert!(count > 0, "no input for {name}");
    }
}
