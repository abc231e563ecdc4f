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
    /// Waits until the program is asked to stop. It listens from the call on, before anybody waits: who says
    /// that it is ready may be asked to stop at once.
    pub fn until_asked(self) -> impl Future<Output = ()> {
        let requested = requested();
        async move {
            if !self.until_stdin_closes {
                return requested.await;
            }
            tokio::select! {
                () = requested => {}
                () = input_closed() => {}
            }
        }
    }
}

/// Waits until the program is asked to stop, listening from the call on.
pub fn requested() -> impl Future<Output = ()> {
    #[cfg(unix)]
    let terminate = {
        use tokio::signal::unix::{SignalKind, signal};
        signal(SignalKind::terminate())
    };
    async move {
        #[cfg(unix)]
        // Without SIGTERM there is still Ctrl-C.
        if let Ok(mut terminate) = terminate {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
            return;
        }
        let _ = tokio::signal::ctrl_c().await;
    }
}

/// Does `work`, unless the program is asked to stop first: then `None`, and what the work holds is dropped, so that
/// folders and processes of its own go away with it.
pub async fn unless_asked<T>(work: impl Future<Output = T>) -> Option<T> {
    let requested = requested();
    tokio::select! {
        done = work => Some(done),
        () = requested => None,
    }
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
