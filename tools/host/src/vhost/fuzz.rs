// SPDX-License-Identifier: GPL-2.0

//! What may be made of any bytes: each function takes its input from them, and panics when what
//! must hold does not. The fuzz targets call them, and a test does with the inputs that are kept.

mod chain;
mod request;
mod table;
mod used;

pub use chain::run as chain;
pub use request::run as request;
pub use table::run as table;
pub use used::run as used;

/// What has been found once is not forgotten.
#[cfg(test)]
#[test]
fn corpus() {
    type Target = fn(&[u8]);
    let targets: [(&str, Target); 4] = [
        ("chain", chain),
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
