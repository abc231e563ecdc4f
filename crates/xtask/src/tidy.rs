//! The rules that ARCHITECTURE.md states as absences, as far as text can show them.

use std::collections::BTreeMap;

use crate::source::{self, RustFile};

/// Which of the project's crates each crate may depend on (its own tests aside).
const MAY_DEPEND_ON: &[(&str, &[&str])] = &[
    ("iso7816", &[]),
    ("globalplatform", &["iso7816"]),
    ("capfile", &["iso7816"]),
    ("epurse", &["iso7816"]),
    ("domain", &["iso7816", "globalplatform", "capfile", "epurse"]),
    ("keys", &["iso7816", "globalplatform", "epurse", "domain"]),
    ("se", &["iso7816", "globalplatform", "capfile", "epurse"]),
    ("card", &["iso7816", "globalplatform", "capfile", "epurse", "domain", "keys"]),
    ("storage", &["iso7816", "domain"]),
    ("api", &["iso7816", "domain"]),
    (
        "services",
        &["iso7816", "globalplatform", "capfile", "epurse", "domain", "keys", "card", "storage", "api"],
    ),
    ("wallet", &["iso7816", "epurse", "domain", "api"]),
    ("terminal", &["iso7816", "epurse", "domain", "api"]),
];

/// Text that must not stand in the code (tests aside) of a folder.
struct Absence {
    folders: &'static [&'static str],
    but_not: &'static [&'static str],
    words: &'static [&'static str],
    rule: &'static str,
}

const ABSENCES: &[Absence] = &[
    Absence {
        folders: &[
            "crates/iso7816",
            "crates/globalplatform",
            "crates/capfile",
            "crates/epurse",
            "crates/domain",
        ],
        but_not: &[],
        words: &[
            "SystemTime",
            "Instant::now",
            "std::fs",
            "std::net",
            "std::env",
            "getrandom",
            "thread_rng",
            "OsRng",
            "thread_local!",
            "OnceLock",
            "LazyLock",
            "static mut",
            "Timestamp::now",
            "Zoned::now",
        ],
        rule: "standards and domain read no clock, randomness, file, socket, environment or global",
    },
    Absence {
        folders: &["crates/services", "crates/wallet", "crates/terminal", "crates/card"],
        but_not: &[],
        words: &[
            "tokio::spawn",
            "tokio::time",
            "SystemTime",
            "Instant::now",
            "getrandom",
            "thread_rng",
            "OsRng",
            "Timestamp::now",
            "Zoned::now",
            "Uuid::now_v7",
            "Uuid::new_v4",
        ],
        rule: "time, tasks and randomness are given to a service, so that the simulator can run it",
    },
    Absence {
        folders: &["crates/services", "crates/wallet", "crates/opentsm", "crates/api"],
        but_not: &[],
        words: &["rusqlite", "tokio_postgres", "INSERT INTO", "SELECT * FROM"],
        rule: "no handler touches SQL",
    },
    Absence {
        folders: &["crates/storage"],
        but_not: &[],
        words: &["UPDATE transfer", "DELETE FROM transfer", "REPLACE INTO transfer"],
        rule: "no ledger row is ever updated or deleted",
    },
    Absence {
        folders: &["crates"],
        but_not: &["crates/xtask"],
        words: &["dbg!(", "todo!(", "unimplemented!("],
        rule: "no stub lands",
    },
];

/// The most lines a Rust file may have before it must be split.
const LONGEST_FILE: usize = 800;

/// Checks every rule and lists each break with its file and line.
pub fn run() -> Result<(), String> {
    let mut breaks = dependency_breaks()?;
    for file in source::rust_files()? {
        breaks.extend(absence_breaks(&file));
        let lines = file.text.lines().count();
        if lines > LONGEST_FILE {
            breaks.push(format!(
                "{}: {lines} lines; a file holds one thing, in at most {LONGEST_FILE}",
                file.path
            ));
        }
    }
    if !breaks.is_empty() {
        return Err(format!("{} rules broken\n{}", breaks.len(), breaks.join("\n")));
    }
    println!("tidy: dependency direction and absences hold");
    Ok(())
}

fn dependency_breaks() -> Result<Vec<String>, String> {
    let allowed: BTreeMap<_, _> = MAY_DEPEND_ON.iter().copied().collect();
    let mut breaks = Vec::new();
    for (name, may) in allowed {
        let manifest = source::read(&source::root().join("crates").join(name).join("Cargo.toml"))?;
        for dependency in own_dependencies(&manifest) {
            if !may.contains(&dependency.as_str()) {
                breaks
                    .push(format!("crates/{name} depends on {dependency}, which stands beside or above it"));
            }
        }
    }
    Ok(breaks)
}

/// The project's crates named under `[dependencies]`.
fn own_dependencies(manifest: &str) -> Vec<String> {
    manifest
        .lines()
        .skip_while(|line| line.trim() != "[dependencies]")
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .filter_map(|line| line.strip_prefix("tsm-"))
        .filter_map(|line| line.split(['.', ' ', '=']).next())
        .map(str::to_owned)
        .collect()
}

fn absence_breaks(file: &RustFile) -> Vec<String> {
    let mut breaks = Vec::new();
    for absence in ABSENCES {
        let within = |folder: &&str| file.path.starts_with(&format!("{folder}/"));
        if !absence.folders.iter().any(within) || absence.but_not.iter().any(within) {
            continue;
        }
        if is_test_file(&file.path) {
            continue;
        }
        for (number, line) in code_lines(&file.text) {
            if let Some(word) = absence.words.iter().find(|word| line.contains(**word)) {
                breaks.push(format!("{}:{number}: `{word}`: {}", file.path, absence.rule));
            }
        }
    }
    breaks
}

fn is_test_file(path: &str) -> bool {
    path.contains("/tests/")
        || path.contains("/benches/")
        || path.contains("/examples/")
        || path.ends_with("/tests.rs")
}

/// Lines of code above the file's `#[cfg(test)]` module, comments left out.
fn code_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .take_while(|(_, line)| !line.trim_start().starts_with("#[cfg(test)]"))
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
        .map(|(index, line)| (index + 1, line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dependencies_are_read_up_to_the_next_table() {
        let manifest = "[dependencies]\ntsm-iso7816.workspace = true\nhex = \"1\"\n\n[dev-dependencies]\ntsm-se = \"1\"\n";
        assert_eq!(own_dependencies(manifest), ["iso7816"]);
    }

    #[test]
    fn a_clock_in_a_standard_is_found_and_one_in_its_tests_is_not() {
        let path = "crates/epurse/src/lib.rs".to_owned();
        let text = "// SystemTime\nfn f() { SystemTime::now(); }\n#[cfg(test)]\nmod tests { use std::fs; }\n"
            .to_owned();
        let breaks = absence_breaks(&RustFile { path, text });
        assert_eq!(breaks.len(), 1, "{breaks:?}");
        assert!(breaks[0].starts_with("crates/epurse/src/lib.rs:2:"));
    }
}
