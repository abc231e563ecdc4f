//! A throw-away PC/SC world: namespaces, the resource manager `pcscd` with the virtual reader
//! `vpcd`, and the tools that talk to it.
//!
//! A test calls [`isolated`] with its own name. The test program then runs again, that test alone,
//! inside user, mount, network and process namespaces of its own: `/run/pcscd` is an empty file
//! system, the only network is a loopback, and everything started there ends with it. So the tests
//! need no privilege, meet no reader of the machine, open no port to the outside and may run at
//! the same time. What is missing on the machine is an error that names the package.

use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

/// Set inside the namespaces.
const INSIDE: &str = "OPENTSM_PCSC_ISOLATED";
/// The driver of the virtual reader.
const DRIVER: &str = "/usr/lib/pcsc/drivers/serial/libifdvpcd.so";
/// How long `pcscd` and its readers may take to appear.
const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);

/// What the isolated program does first: a loopback and an empty `/run/pcscd`.
const PREPARE: &str = "ip link set lo up && mount -t tmpfs tmpfs /run && mkdir -p /run/pcscd && exec \"$@\"";

/// Why the PC/SC world did not come up.
#[derive(Debug, thiserror::Error)]
pub enum PcscError {
    /// A program is not installed.
    #[error("{program} could not be started; install the Debian package {package}")]
    Missing {
        /// The program.
        program: String,
        /// The Debian package that has it.
        package: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// A driver is not installed.
    #[error("{0} is missing; install the Debian package vsmartcard-vpcd")]
    NoDriver(&'static str),
    /// The isolated test failed.
    #[error("the isolated test failed:\n{0}")]
    Test(String),
    /// The independent host could not be built.
    #[error("building the independent host ended with {0}")]
    Build(ExitStatus),
    /// The resource manager ended, or never offered its readers.
    #[error("pcscd did not offer {readers} readers; it said:\n{log}")]
    NotReady {
        /// How many readers were waited for.
        readers: usize,
        /// The end of its log.
        log: String,
    },
    /// A file could not be written or a process not watched.
    #[error("the PC/SC world could not be set up")]
    Io(#[from] io::Error),
}

/// Runs `body` inside namespaces of its own; `test` is the full name of the calling test.
pub fn isolated(test: &str, body: impl FnOnce()) -> Result<(), PcscError> {
    if std::env::var_os(INSIDE).is_some() {
        body();
        return Ok(());
    }
    let output = Command::new("unshare")
        .args(["--map-root-user", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"])
        .args(["sh", "-c", PREPARE, "sh"])
        .arg(std::env::current_exe()?)
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(INSIDE, "1")
        .stdin(Stdio::null())
        .output()
        .map_err(|source| missing("unshare", "util-linux", source))?;
    let said = said(output);
    // A name that stands for no test would run none and succeed.
    if said.success && said.text.contains("1 passed") { Ok(()) } else { Err(PcscError::Test(said.text)) }
}

/// Who dials whom between `vpcd` and the card.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VirtualReader {
    /// `vpcd` listens on its two default ports.
    Listens,
    /// `vpcd` dials the card on this port and the next.
    Dials {
        /// The port of the first slot.
        first_port: u16,
    },
}

/// A running resource manager. Dropping it ends it.
#[derive(Debug)]
pub struct Pcscd {
    process: Child,
    log: PathBuf,
}

impl Pcscd {
    /// Starts `pcscd` with the virtual reader and nothing else. Only inside [`isolated`].
    pub fn start(reader: VirtualReader) -> Result<Self, PcscError> {
        if !Path::new(DRIVER).exists() {
            return Err(PcscError::NoDriver(DRIVER));
        }
        let configuration = Path::new("/run/opentsm-reader.conf");
        fs::write(configuration, reader.configuration())?;
        let log = PathBuf::from("/run/opentsm-pcscd.log");
        let output = File::create(&log)?;
        let process = Command::new("pcscd")
            .args(["--foreground", "--error", "--config"])
            .arg(configuration)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .map_err(|source| missing("pcscd", "pcscd", source))?;
        Ok(Self { process, log })
    }

    /// Waits until that many readers hold a card, and returns their names.
    #[expect(clippy::disallowed_methods, reason = "another program comes up, and tells nobody when it has")]
    pub fn readers(&mut self, expected: usize) -> Result<Vec<String>, PcscError> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let names = readers_with_card(&run("opensc-tool", "opensc", &["--list-readers"])?.text);
            if names.len() >= expected {
                return Ok(names);
            }
            if self.process.try_wait()?.is_some() || Instant::now() > deadline {
                let log = fs::read_to_string(&self.log).unwrap_or_default();
                return Err(PcscError::NotReady { readers: expected, log });
            }
            std::thread::sleep(POLL);
        }
    }

    /// Ends the resource manager and waits until it is gone.
    pub fn stop(mut self) -> Result<(), PcscError> {
        self.process.kill()?;
        self.process.wait()?;
        Ok(())
    }
}

impl Drop for Pcscd {
    fn drop(&mut self) {
        // It may have ended already; then there is nothing to end.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl VirtualReader {
    /// A `reader.conf` of one reader.
    fn configuration(self) -> String {
        let (device, channel) = match self {
            Self::Listens => ("/dev/null:0x8C7B".to_owned(), 0x8C7B),
            Self::Dials { first_port } => {
                (SocketAddr::from((Ipv4Addr::LOCALHOST, first_port)).to_string(), first_port)
            }
        };
        format!("FRIENDLYNAME \"OpenTSM\"\nDEVICENAME {device}\nLIBPATH {DRIVER}\nCHANNELID 0x{channel:X}\n")
    }
}

/// What a tool said.
#[derive(Debug)]
pub struct Said {
    /// Whether it ended well.
    pub success: bool,
    /// Its output, errors last.
    pub text: String,
}

/// Runs a tool to its end.
pub fn run(program: &str, package: &'static str, arguments: &[&str]) -> Result<Said, PcscError> {
    run_with_input(program, package, arguments, "")
}

/// Runs a tool to its end, giving it `input` to read.
pub fn run_with_input(
    program: &str,
    package: &'static str,
    arguments: &[&str],
    input: &str,
) -> Result<Said, PcscError> {
    use std::io::Write;

    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|source| missing(program, package, source))?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input.as_bytes())?;
    }
    Ok(said(child.wait_with_output()?))
}

fn said(output: Output) -> Said {
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.push_str(&String::from_utf8_lossy(&output.stderr));
    Said { success: output.status.success(), text }
}

/// Builds the independent GlobalPlatform host, which is a workspace of its own, and returns its
/// program. Call it before [`isolated`], where the registry can be reached; inside it only names
/// the program.
pub fn independent_host() -> Result<PathBuf, PcscError> {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("gp-host/Cargo.toml");
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/gp-host");
    let program = target.join("debug/gp-host");
    if std::env::var_os(INSIDE).is_some() {
        return Ok(program);
    }
    let status = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["build", "--locked", "--quiet", "--manifest-path"])
        .arg(manifest)
        .arg("--target-dir")
        .arg(&target)
        .status()?;
    if status.success() { Ok(program) } else { Err(PcscError::Build(status)) }
}

/// The names of the readers that hold a card, from the list of `opensc-tool`:
/// `0    Yes             OpenTSM 00 00`.
fn readers_with_card(list: &str) -> Vec<String> {
    list.lines()
        .filter_map(|line| {
            let (number, rest) = line.split_once(char::is_whitespace)?;
            number.parse::<u8>().ok()?;
            let name = rest.trim_start().strip_prefix("Yes")?;
            Some(name.trim().to_owned())
        })
        .collect()
}

fn missing(program: &str, package: &'static str, source: io::Error) -> PcscError {
    PcscError::Missing { program: program.to_owned(), package, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_readers_that_hold_a_card() {
        let list = "# Detected readers (pcsc)\nNr.  Card  Features  Name\n\
                    0    Yes             OpenTSM 00 00\n1    No              OpenTSM 00 01\n";
        assert_eq!(readers_with_card(list), ["OpenTSM 00 00"]);
    }
}
