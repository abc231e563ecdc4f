//! Other processes of this program: started by their arguments, ended by their process id.
//!
//! A child that was started here ends when its standard input closes, so that none is left behind
//! when this process dies, however it dies.

use std::ffi::OsString;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::handset::Watched;

/// How long a child may take to say that it is ready, and to end when it is asked to.
const PATIENCE: Duration = Duration::from_secs(20);

/// Why a child did not start.
#[derive(Debug, thiserror::Error)]
pub enum ChildError {
    /// The system did not start it.
    #[error("{name} could not be started: {source}")]
    NotStarted {
        /// Which.
        name: String,
        /// Why.
        source: std::io::Error,
    },
    /// It ended before it was ready. It has said why on the standard error stream.
    #[error("{name} ended before it was ready")]
    Ended {
        /// Which.
        name: String,
    },
}

/// A running child.
pub struct Program {
    child: Child,
    input: Option<ChildStdin>,
}

impl Program {
    /// Starts this program with `arguments` and waits for its first line, which says that it is ready.
    /// Later lines are shown or dropped.
    pub async fn start(
        name: &str,
        arguments: &[OsString],
        watched: Watched,
    ) -> Result<(Self, String), ChildError> {
        let not_started = |source| ChildError::NotStarted { name: name.to_owned(), source };
        let mut command = program().map_err(not_started)?;
        command.args(arguments).arg("--until-stdin-closes").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.kill_on_drop(true).spawn().map_err(not_started)?;
        let (input, output) = (child.stdin.take(), child.stdout.take());
        let output = output.expect("the child's standard output is a pipe");
        let mut lines = BufReader::new(output).lines();
        match tokio::time::timeout(PATIENCE, lines.next_line()).await {
            Ok(Ok(Some(line))) => {
                tokio::spawn(drain(lines, watched));
                Ok((Self { child, input }, line))
            }
            Ok(Ok(None) | Err(_)) | Err(_) => Err(ChildError::Ended { name: name.to_owned() }),
        }
    }

    /// Ends the child at once (SIGKILL), and waits until it is gone.
    pub async fn kill(&mut self) -> std::io::Result<()> {
        self.child.kill().await
    }

    /// Asks the child to end by closing its input; one that does not is killed.
    pub async fn stop(mut self) {
        drop(self.input.take());
        if tokio::time::timeout(PATIENCE, self.child.wait()).await.is_err() {
            // It is killed when it is dropped, in any case.
            let _ = self.child.kill().await;
        }
    }
}

/// This program, to be started once more.
pub fn program() -> std::io::Result<Command> {
    Ok(Command::new(std::env::current_exe()?))
}

async fn drain(mut lines: Lines<BufReader<ChildStdout>>, watched: Watched) {
    while let Ok(Some(line)) = lines.next_line().await {
        if watched == Watched::InWords {
            say!("      {line}");
        }
    }
}
