//! `cargo xtask test`: every check of the project, the tests last.
//!
//! The tests drive real readers and tools, so the Debian packages they need are installed first.
//! A missing component is an error: nothing is skipped in silence.

use std::process::Command;

use crate::source::{self, present};
use crate::{tidy, trace};

/// How much to run.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// What CI runs.
    Everything,
    /// What one runs between edits: no packages, no lints, no readers.
    Fast,
}

/// Debian packages that the tests drive: the virtual reader, the PC/SC daemon and its tools, an
/// independent card tool, the header that the PC/SC client library links against, what isolates
/// them, what the host in Python needs, the database server, and a browser for the live page.
const PACKAGES: [&str; 12] = [
    "vsmartcard-vpcd",
    "pcscd",
    "pcsc-tools",
    "opensc",
    "libpcsclite-dev",
    "pkg-config",
    "iproute2",
    "util-linux",
    "python3",
    "python3-cryptography",
    "postgresql",
    "chromium",
];

/// Runs everything, or the fast part.
pub fn run(extent: Extent) -> Result<(), String> {
    if extent == Extent::Everything {
        install_packages()?;
        source::run("cargo", &["fmt", "--all", "--check"])?;
        let features = ["--features", "tsm-storage/postgres"];
        let clippy =
            ["clippy", "--workspace", "--all-targets", features[0], features[1], "--", "--deny", "warnings"];
        source::run("cargo", &clippy)?;
    }
    tidy::run()?;
    trace::check()?;
    run_suite(extent)
}

fn install_packages() -> Result<(), String> {
    let missing: Vec<&str> = PACKAGES.into_iter().filter(|package| !is_installed(package)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    eprintln!("installing {}", missing.join(", "));
    let privileged = |arguments: &[&str]| {
        if is_root() {
            source::run("apt-get", arguments)
        } else {
            let mut with_sudo = vec!["apt-get"];
            with_sudo.extend(arguments);
            source::run("sudo", &with_sudo)
        }
    };
    privileged(&["update", "--quiet=2"])?;
    let mut install = vec!["install", "--yes", "--no-install-recommends", "--quiet=2"];
    install.extend(missing);
    privileged(&install)
}

fn is_installed(package: &str) -> bool {
    Command::new("dpkg-query")
        .args(["--show", "--showformat=${db:Status-Status}", package])
        .output()
        .is_ok_and(|output| output.stdout == b"installed")
}

fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

fn run_suite(extent: Extent) -> Result<(), String> {
    let mut arguments = if present("cargo", &["nextest", "--version"]) {
        vec!["nextest", "run", "--workspace", "--no-fail-fast"]
    } else {
        vec!["test", "--workspace", "--no-fail-fast"]
    };
    if extent == Extent::Everything {
        arguments.extend(["--features", "tsm-testing/interop,tsm-storage/postgres"]);
    }
    source::run("cargo", &arguments)
}
