//! A throw-away PostgreSQL for the tests of this process: on a temporary directory and a local socket, gone
//! when the process is, however that ends.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

const MISSING: &str = "there is no PostgreSQL server under /usr/lib/postgresql; install the Debian package \
    `postgresql` (apt-get install postgresql)";

/// The directory of the server's socket. The first call starts the server.
pub(crate) fn socket() -> &'static Path {
    static SERVER: OnceLock<PathBuf> = OnceLock::new();
    SERVER.get_or_init(|| start(Syncing::Off))
}

/// Whether commits reach the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Syncing {
    On,
    Off,
}

/// Starts a server that ends with this process; gives the directory of its socket.
pub(crate) fn start(syncing: Syncing) -> PathBuf {
    let programs = programs().expect(MISSING);
    let directory = std::env::temp_dir().join(format!("opentsm-pg-{}", std::process::id()));
    std::fs::create_dir(&directory).unwrap();
    // The server refuses to run as root.
    let is_root = run(Command::new("id").arg("-u")).trim() == "0";
    if is_root {
        run(Command::new("chown").arg("postgres").arg(&directory));
    }
    let as_owner = |program: &str| {
        let program = programs.join(program);
        let mut command = if is_root {
            let mut command = Command::new("setpriv");
            command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups", "--"]).arg(program);
            command
        } else {
            Command::new(program)
        };
        command.env("LC_ALL", "C.UTF-8").current_dir("/");
        command
    };
    let data = directory.join("data");
    let mut initdb = as_owner("initdb");
    initdb.arg("-D").arg(&data).args(["-U", "tsm", "-A", "trust", "--no-sync", "-E", "UTF8"]);
    run(&mut initdb);
    let settings = format!(
        "-c listen_addresses= -c unix_socket_directories={} -c max_connections=200 -c fsync={}",
        directory.display(),
        if syncing == Syncing::On { "on" } else { "off" },
    );
    let mut pg_ctl = as_owner("pg_ctl");
    pg_ctl.arg("-D").arg(&data).arg("-w").arg("-l").arg(directory.join("log")).arg("-o").arg(settings);
    run(pg_ctl.arg("start"));
    stop_with_this_process(as_owner("pg_ctl"), &data, &directory);
    directory
}

// A shell waits for the end of its input, which comes when this process ends, even when it is killed.
fn stop_with_this_process(pg_ctl: Command, data: &Path, directory: &Path) {
    let mut shell = Command::new("sh");
    shell.arg("-c").arg("cat >/dev/null; directory=$1; shift; \"$@\" >/dev/null 2>&1; rm -rf \"$directory\"");
    shell.arg("sh").arg(directory).arg(pg_ctl.get_program()).args(pg_ctl.get_args());
    shell.arg("-D").arg(data).args(["-m", "immediate", "stop"]).current_dir("/");
    let child = shell.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    // Its input stays open as long as this process lives.
    std::mem::forget(child);
}

fn programs() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
    let programs = versions.filter_map(|entry| Some(entry.ok()?.path().join("bin")));
    programs.filter(|path| path.join("initdb").exists()).max()
}

fn run(command: &mut Command) -> String {
    // Not through pipes: the server that is started would keep them open.
    let out = std::env::temp_dir().join(format!("opentsm-pg-{}.out", std::process::id()));
    let file = std::fs::File::create(&out).unwrap();
    let status = command.stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file).status();
    let said = std::fs::read_to_string(&out).unwrap_or_default();
    let _ = std::fs::remove_file(&out);
    let status = status.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(status.success(), "{command:?}: {said}");
    said
}
