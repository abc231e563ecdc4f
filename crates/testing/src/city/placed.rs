//! One fault at one chosen message. While the watch is open every message is written down in its order, so that
//! a later run of the same seed can place a fault at the n-th of them.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::oneshot;
use tsm_api::client::{TransportError, WireReply};

use super::lock;
use super::network::{Network, Overheard, PATIENCE, Role, Way, lost};

/// How late a delayed request comes.
const LATE: Duration = Duration::from_secs(300);
/// How long after the first the second of two copies arrives.
const APART: Duration = Duration::from_millis(100);

/// What befalls one message. A message that is dropped or truncated may be a request or its reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PlacedFault {
    /// The request never arrives.
    RequestDropped,
    /// The reply never arrives.
    ReplyDropped,
    /// The request arrives twice.
    Doubled,
    /// The request arrives after its sender gave up, and before anything else is done.
    Delayed,
    /// The request arrives after the next one to the same server.
    Reordered,
    /// The request arrives, and once more when all is over.
    Replayed,
    /// Half of the request arrives.
    RequestTruncated,
    /// Half of the reply arrives.
    ReplyTruncated,
}

impl PlacedFault {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::RequestDropped,
        Self::ReplyDropped,
        Self::Doubled,
        Self::Delayed,
        Self::Reordered,
        Self::Replayed,
        Self::RequestTruncated,
        Self::ReplyTruncated,
    ];

    /// As the command line writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::RequestDropped => "request-dropped",
            Self::ReplyDropped => "reply-dropped",
            Self::Doubled => "doubled",
            Self::Delayed => "delayed",
            Self::Reordered => "reordered",
            Self::Replayed => "replayed",
            Self::RequestTruncated => "request-truncated",
            Self::ReplyTruncated => "reply-truncated",
        }
    }
}

impl fmt::Display for PlacedFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Sees every message while it is open.
#[derive(Default)]
pub struct Watch(Mutex<State>);

#[derive(Default)]
struct State {
    open: bool,
    seen: Vec<String>,
    placed: Vec<(u64, PlacedFault)>,
    /// Requests that wait for the next one to their server.
    overtaken: Vec<(Role, oneshot::Sender<()>)>,
    /// Requests that arrive again when all is over.
    kept: Vec<Overheard>,
    fired: u64,
}

impl Watch {
    /// Opens the watch. The n-th message from now on, counted from 0, suffers the fault placed at n.
    pub fn open(&self, placed: Vec<(u64, PlacedFault)>) {
        *lock(&self.0) = State { open: true, placed, ..State::default() };
    }

    /// Closes the watch. Gives what it saw, a line a message.
    pub fn close(&self) -> Vec<String> {
        let mut state = lock(&self.0);
        state.open = false;
        std::mem::take(&mut state.seen)
    }

    /// How many of the placed faults have befallen a message.
    pub fn fired(&self) -> u64 {
        lock(&self.0).fired
    }

    /// A message is sent. Says what befalls it.
    pub(super) fn see(&self, letter: &Overheard) -> Option<PlacedFault> {
        let mut state = lock(&self.0);
        if !state.open {
            return None;
        }
        let number = state.seen.len() as u64;
        state.seen.push(format!("{} {}", letter.to.name(), letter.request.path));
        let fault = state.placed.iter().find(|(at, _)| *at == number).map(|(_, fault)| *fault);
        state.fired += u64::from(fault.is_some());
        fault
    }

    /// A request was answered; what it overtook may go on.
    pub(super) fn one_arrived(&self, at: Role) {
        let mut state = lock(&self.0);
        for (to, go_on) in std::mem::take(&mut state.overtaken) {
            if to == at {
                let _ = go_on.send(());
            } else {
                state.overtaken.push((to, go_on));
            }
        }
    }

    fn hold(&self, to: Role) -> oneshot::Receiver<()> {
        let (go_on, wait) = oneshot::channel();
        lock(&self.0).overtaken.push((to, go_on));
        wait
    }
}

impl Network {
    /// All is over: what was held back or is replayed arrives now.
    pub fn release_held(self: &Arc<Self>) {
        let (overtaken, kept) = {
            let mut state = lock(&self.watch.0);
            (std::mem::take(&mut state.overtaken), std::mem::take(&mut state.kept))
        };
        for (_, go_on) in overtaken {
            let _ = go_on.send(());
        }
        for letter in kept {
            self.deliver_later(letter, APART);
        }
    }
}

impl Way {
    /// Sends a message that this befalls.
    pub(super) async fn suffer(
        &self,
        letter: Overheard,
        fault: PlacedFault,
    ) -> Result<WireReply, TransportError> {
        let network = &self.network;
        match fault {
            PlacedFault::RequestDropped => self.no_reply().await,
            PlacedFault::ReplyDropped => {
                let _ = self.exchange(letter).await;
                self.no_reply().await
            }
            PlacedFault::Doubled => {
                network.deliver_later(letter.clone(), APART);
                self.exchange(letter).await
            }
            PlacedFault::Delayed => {
                network.deliver_later(letter, LATE);
                self.no_reply().await
            }
            PlacedFault::Reordered => self.be_overtaken(letter).await,
            PlacedFault::Replayed => {
                lock(&network.watch.0).kept.push(letter.clone());
                self.exchange(letter).await
            }
            PlacedFault::RequestTruncated => {
                let mut letter = letter;
                let half = letter.request.body.len() / 2;
                letter.request.body.truncate(half);
                let _ = self.exchange(letter).await;
                Err(lost("the connection was reset"))
            }
            PlacedFault::ReplyTruncated => {
                let mut reply = self.exchange(letter).await?;
                let half = reply.body.len() / 2;
                reply.body.truncate(half);
                Ok(reply)
            }
        }
    }

    async fn no_reply(&self) -> Result<WireReply, TransportError> {
        self.network.executor.sleep(PATIENCE).await;
        Err(lost("no reply in time"))
    }

    /// The request waits on its way until another one has reached the same server.
    async fn be_overtaken(&self, letter: Overheard) -> Result<WireReply, TransportError> {
        let overtaken = self.network.watch.hold(letter.to);
        let network = self.network.clone();
        let (say, said) = oneshot::channel();
        self.network.executor.spawn(self.network.owner, async move {
            if overtaken.await.is_err() {
                return;
            }
            if let Some(reply) = network.deliver(letter)
                && let Ok(reply) = reply.await
            {
                // The sender may be gone.
                let _ = say.send(reply);
            }
        });
        tokio::select! {
            biased;
            reply = said => reply.map_err(|_| lost("the connection was reset")),
            () = self.network.executor.sleep(PATIENCE) => Err(lost("no reply in time")),
        }
    }
}
