//! `opentsm doctor`: what this machine has of what OpenTSM uses, and what to do about the rest.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use serde::Serialize;

use crate::city::centre::Centre;
use crate::city::plan::CityPlan;

/// How a check came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// There and usable.
    Good,
    /// Not there; only some commands need it.
    Optional,
    /// Not there; OpenTSM cannot run.
    Missing,
    /// There, and wrong: somebody has to look at it.
    Alarm,
}

/// One thing looked at.
#[derive(Debug, Serialize)]
pub struct Check {
    /// What was looked at.
    pub what: &'static str,
    /// How it came out.
    pub verdict: Verdict,
    /// What was found, and the next step where something is wrong.
    pub detail: String,
}

/// Looks at everything.
pub fn examine() -> Vec<Check> {
    vec![
        entropy(),
        loopback(),
        temporary_folder(),
        pcsc_daemon(),
        virtual_reader(),
        tool("opensc-tool", "drives any card by hand", "apt-get install opensc"),
        tool("pcsc_scan", "lists the readers", "apt-get install pcsc-tools"),
    ]
}

fn check(what: &'static str, verdict: Verdict, detail: impl Into<String>) -> Check {
    Check { what, verdict, detail: detail.into() }
}

fn entropy() -> Check {
    let mut bytes = [0; 16];
    match getrandom::fill(&mut bytes) {
        Ok(()) => check("randomness", Verdict::Good, "the operating system gives random bytes"),
        Err(error) => {
            check("randomness", Verdict::Missing, format!("the operating system gives none: {error}"))
        }
    }
}

fn loopback() -> Check {
    match TcpListener::bind(("127.0.0.1", 0)).and_then(|listener| listener.local_addr()) {
        Ok(address) => {
            check("loopback", Verdict::Good, format!("servers can listen, for example on {address}"))
        }
        Err(error) => check(
            "loopback",
            Verdict::Missing,
            format!("no server can listen on 127.0.0.1: {error}; bring the loopback interface up"),
        ),
    }
}

fn temporary_folder() -> Check {
    let folder = std::env::temp_dir();
    let probe = folder.join(format!("opentsm-doctor-{}", std::process::id()));
    match std::fs::write(&probe, b"x").and_then(|()| std::fs::remove_file(&probe)) {
        Ok(()) => check("temporary folder", Verdict::Good, format!("{} can be written", folder.display())),
        Err(error) => check(
            "temporary folder",
            Verdict::Missing,
            format!("{} cannot be written: {error}; set TMPDIR to a folder that can", folder.display()),
        ),
    }
}

fn pcsc_daemon() -> Check {
    let socket = Path::new("/run/pcscd/pcscd.comm");
    if socket.exists() {
        check("PC/SC daemon", Verdict::Good, "pcscd is running")
    } else {
        let next = "needed for readers only: apt-get install pcscd, then start it";
        check("PC/SC daemon", Verdict::Optional, format!("pcscd is not running; {next}"))
    }
}

fn virtual_reader() -> Check {
    let address = SocketAddr::from(([127, 0, 0, 1], 35963));
    match TcpStream::connect_timeout(&address, Duration::from_millis(300)) {
        Ok(_) => check("virtual reader", Verdict::Good, "vpcd listens on port 35963 for `opentsm se`"),
        Err(_) => check(
            "virtual reader",
            Verdict::Optional,
            "nothing listens on port 35963; needed for `opentsm se` only: apt-get install vsmartcard-vpcd, then restart pcscd",
        ),
    }
}

fn tool(name: &'static str, use_: &str, install: &str) -> Check {
    let found = std::env::var_os("PATH").and_then(|path| {
        std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
    });
    match found {
        Some(file) => check(name, Verdict::Good, format!("{} {use_}", file.display())),
        None => check(name, Verdict::Optional, format!("not installed; it {use_}: {install}")),
    }
}

/// Options of `opentsm doctor`.
#[derive(Debug, Args)]
pub struct Options {
    /// Also looks at the books of this city: the folder of `opentsm up --data`.
    #[arg(long, value_name = "DIR")]
    city: Option<PathBuf>,

    /// One JSON array.
    #[arg(long)]
    json: bool,
}

/// The books of a running city: whether the equation holds, and what alarms are open.
fn books(folder: &Path) -> Check {
    let what = "the city's books";
    let watch = || {
        let plan = CityPlan::read(&folder.join("plan.json")).map_err(|error| error.to_string())?;
        let runtime = tokio::runtime::Runtime::new().map_err(|error| error.to_string())?;
        let watch = runtime.block_on(async { Centre::of(&plan)?.watch().await });
        watch.map_err(|error| error.to_string())
    };
    match watch() {
        Err(error) => check(what, Verdict::Alarm, format!("the centre does not answer: {error}")),
        Ok(watch) if !watch.holds => {
            let gap = watch.gap_fen;
            check(what, Verdict::Alarm, format!("the money equation does not hold: {gap} fen are missing"))
        }
        Ok(watch) => match watch.alarms.first() {
            Some(first) => {
                let open = watch.alarms.len();
                check(what, Verdict::Alarm, format!("{open} alarms are open, the last: {}", first.text))
            }
            None => {
                let open: u64 = watch.differences.iter().map(|cause| cause.open).sum();
                let cards = watch.cards_checked;
                let detail = format!(
                    "the equation holds, {open} differences are open; a card was checked {cards} times so far"
                );
                check(what, Verdict::Good, detail)
            }
        },
    }
}

/// Prints the checks; fails when something that OpenTSM cannot do without is missing, or an alarm is open.
pub fn run(options: &Options) -> Result<(), String> {
    let as_json = options.json;
    let mut checks = examine();
    checks.extend(options.city.as_deref().map(books));
    if as_json {
        let line = serde_json::to_string(&checks).map_err(|error| error.to_string())?;
        say!("{line}");
    } else {
        for check in &checks {
            let mark = match check.verdict {
                Verdict::Good => "ok      ",
                Verdict::Optional => "optional",
                Verdict::Missing => "MISSING ",
                Verdict::Alarm => "ALARM   ",
            };
            say!("{mark}  {:<17} {}", check.what, check.detail);
        }
    }
    let with = |verdict| -> Vec<_> {
        checks.iter().filter(|check| check.verdict == verdict).map(|check| check.what).collect()
    };
    let (missing, alarms) = (with(Verdict::Missing), with(Verdict::Alarm));
    if !alarms.is_empty() {
        Err(format!("somebody has to look at: {}", alarms.join(", ")))
    } else if missing.is_empty() {
        Ok(())
    } else {
        Err(format!("OpenTSM cannot run here without: {}", missing.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_program_cannot_do_without_is_here() {
        assert!(examine().iter().all(|check| check.verdict != Verdict::Missing));
    }

    #[test]
    fn an_absent_tool_names_its_package() {
        let check = tool("no-such-tool", "does nothing", "apt-get install nothing");
        assert_eq!(check.verdict, Verdict::Optional);
        assert!(check.detail.contains("apt-get install nothing"));
    }
}
