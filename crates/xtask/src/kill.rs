//! `cargo xtask kill`: SIGKILL to a whole city under load, many times, on each store.

use std::process::Command;

/// Runs the tests of `crates/opentsm/tests/it/killed.rs` in release, each with this many kills.
pub fn run(times: &str) -> Result<(), String> {
    times.parse::<usize>().map_err(|_| format!("{times} is no number of kills"))?;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["test", "--release", "--package", "opentsm", "--test", "it", "killed::"]);
    command.args(["--", "--nocapture", "--test-threads", "1"]).env("OPENTSM_KILLS", times);
    let status = command.status().map_err(|error| format!("cargo does not start: {error}"))?;
    if status.success() { Ok(()) } else { Err("a killed city lost or doubled something; see above".into()) }
}
