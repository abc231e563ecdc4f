//! Being asked to stop: Ctrl-C or SIGTERM, or the end of the process that started this one.

use std::io::Read as _;

use clap::Args;

/// Who may stop the program beside the person at the keyboard.
#[derive(Debug, Clone, Copy, Default, Args)]
pub struct Attendance {
    /// Stop when the standard input closes, too: for processes that another one started.
    #[arg(long, hide = true)]
    until_stdin_closes: bool,
}

impl Attendance {
    /// Waits until the program is asked to stop.
    pub async fn until_asked(self) {
        if !self.until_stdin_closes {
            return requested().await;
        }
        tokio::select! {
            () = requested() => {}
            () = input_closed() => {}
        }
    }
}

/// Waits until the program is asked to stop.
pub async fn requested() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let Ok(mut terminate) = signal(SignalKind::terminate()) else {
            // Without SIGTERM there is still Ctrl-C.
            let _ = tokio::signal::ctrl_c().await;
            return;
        };
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminate.recv() => {}
        }
    }
    #[cfg(not(unix))]
    let _ = tokio::signal::ctrl_c().await;
}

/// A thread of its own reads, because a read that waits would keep the runtime from ending.
async fn input_closed() {
    let (closed, waiting) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let mut input = std::io::stdin().lock();
        while matches!(input.read(&mut [0; 64]), Ok(read) if read > 0) {}
        let _ = closed.send(());
    });
    let _ = waiting.await;
}
