//! Processes of the program, ended with the test that started them.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Output, Stdio};

use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_opentsm");

/// Runs the program to its end.
pub fn opentsm(arguments: &[&str]) -> Output {
    Command::new(PROGRAM).args(arguments).stdin(Stdio::null()).output().unwrap()
}

/// The last line of what the program said, as JSON.
pub fn last_line(output: &Output) -> Value {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    let last = text.lines().last().unwrap_or_default();
    serde_json::from_str(last).unwrap_or_else(|error| {
        panic!("{error}: {last:?}\n{}", String::from_utf8_lossy(&output.stderr));
    })
}

/// A process that runs until it is ended.
pub struct Running {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Running {
    /// Starts the program.
    pub fn start(arguments: &[&str]) -> Self {
        Self::run(Command::new(PROGRAM).args(arguments))
    }

    /// Starts the program with its temporary files in a folder.
    pub fn start_in(temporary: &Folder, arguments: &[&str]) -> Self {
        Self::run(Command::new(PROGRAM).env("TMPDIR", temporary.path()).args(arguments))
    }

    fn run(command: &mut Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Self { child, lines }
    }

    /// The next line that it says; empty at its end.
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        line
    }

    /// Closes its standard input and waits for its end.
    pub fn close_input(&mut self) -> ExitStatus {
        drop(self.child.stdin.take());
        self.child.wait().unwrap()
    }

    /// Closes its standard input and gives what it says until its end.
    pub fn close_input_and_read(&mut self) -> String {
        drop(self.child.stdin.take());
        let mut said = String::new();
        self.lines.read_to_string(&mut said).unwrap();
        self.child.wait().unwrap();
        said
    }

    /// Sends SIGTERM and waits for its end.
    #[cfg(unix)]
    pub fn terminate(&mut self) -> ExitStatus {
        let command = format!("kill -TERM {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &command]).status().unwrap().success());
        self.child.wait().unwrap()
    }

    /// Ends it at once: SIGKILL.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended already, or it ends now.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A folder that goes away with the test.
pub struct Folder(PathBuf);

impl Folder {
    /// A new one of this name.
    pub fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("opentsm-it-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The same as text.
    pub fn text(&self) -> &str {
        self.0.to_str().unwrap()
    }

    /// A file in it.
    pub fn file(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A city that `opentsm up` keeps.
pub struct Up {
    process: Running,
    /// What it said when it was ready.
    pub ready: Value,
}

impl Up {
    /// Starts the city in this folder, a new one or the one that is there.
    pub fn start(folder: &Folder) -> Self {
        Self::of(Running::start(&["up", "--data", folder.text(), "--json"]))
    }

    /// Waits until this city is ready.
    pub fn of(mut process: Running) -> Self {
        let ready = serde_json::from_str(&process.line()).unwrap();
        Self { process, ready }
    }

    /// Takes the power of the whole city away.
    pub fn kill(self) {
        self.process.kill();
    }

    /// A term of the money equation, in fen.
    pub fn fen(&self, term: &str) -> i64 {
        self.ready["money"][term].as_i64().unwrap()
    }
}

/// Checks that everything that was paid in is somewhere.
pub fn assert_money_adds_up(money: &Value) {
    let fen = |term: &str| money[term].as_i64().unwrap();
    let elsewhere = ["purses", "in_flight", "parked", "refund_payable", "spent", "refunded"];
    let paid = fen("paid_in") + fen("cash_in");
    assert_eq!(paid, elsewhere.into_iter().map(fen).sum::<i64>(), "{money}");
}
