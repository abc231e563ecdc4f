//! `cargo xtask city`: simulated cities, one for each seed, in a release build of the tests' world.

use crate::source;

/// Runs the cities that these arguments ask for.
pub fn run(arguments: &[&str]) -> Result<(), String> {
    let mut command = vec!["run", "--quiet", "--release", "--package", "tsm-testing", "--bin", "city", "--"];
    command.extend(arguments);
    source::run("cargo", &command)
}
