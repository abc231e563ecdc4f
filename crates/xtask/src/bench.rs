//! Every benchmark: the criterion benches of the crates, then the program's own.

use crate::source;

/// Runs the benches of the protocol crates and the stores, and `opentsm bench`, one after the other.
pub fn run() -> Result<(), String> {
    source::run("cargo", &["bench", "--package", "tsm-globalplatform", "--benches"])?;
    source::run("cargo", &["bench", "--package", "tsm-storage", "--features", "postgres", "--benches"])?;
    source::run("cargo", &["run", "--release", "--package", "opentsm", "--", "bench"])
}
