//! The network between phones, terminals and servers: in process, on virtual time, with everything that a
//! network does to messages.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::oneshot;
use tsm_api::HexBytes;
use tsm_api::client::{Transport, TransportError, WireReply, WireRequest};
use tsm_services::server::InProcess;
use tsm_storage::memory::Faults;

use super::counts::{Kind, Tally};
use super::executor::{Executor, Owner};
use super::lock;
use super::placed::Watch;
use super::random::{Random, Stream};

/// The servers of the city.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// The secure-element issuer's TSM.
    SeTsm,
    /// The card issuer's TSM.
    SpTsm,
    /// The clearing centre.
    Clearing,
    /// The payment platform.
    Payment,
}

impl Role {
    /// All of them, in the order in which they start.
    pub const ALL: [Self; 4] = [Self::SeTsm, Self::Clearing, Self::Payment, Self::SpTsm];

    /// As traces and certificates write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::SeTsm => "SE-TSM",
            Self::SpTsm => "SP-TSM",
            Self::Clearing => "clearing centre",
            Self::Payment => "payment platform",
        }
    }
}

/// What a network does to a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum MessageFault {
    /// The request never arrives.
    RequestDropped,
    /// The reply never arrives.
    ReplyDropped,
    /// The request arrives twice.
    Doubled,
    /// The request is slow, and may arrive after later ones or after its sender gave up.
    Delayed,
    /// An old request arrives again.
    Replayed,
    /// The request arrives cut short.
    RequestTruncated,
    /// The reply arrives cut short.
    ReplyTruncated,
}

impl MessageFault {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::RequestDropped,
        Self::ReplyDropped,
        Self::Doubled,
        Self::Delayed,
        Self::Replayed,
        Self::RequestTruncated,
        Self::ReplyTruncated,
    ];
}

/// How long a sender waits for a reply.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);
/// How many requests the network keeps to repeat one of them later.
const OVERHEARD: usize = 64;

/// The network.
pub struct Network {
    pub(super) executor: Executor,
    pub(super) watch: Watch,
    pub(super) owner: Owner,
    random: Stream,
    hosts: Mutex<[Option<Host>; 4]>,
    overheard: Mutex<VecDeque<Overheard>>,
    /// One message in so many goes wrong; 0 is never.
    once_in: AtomicU64,
    tally: Arc<Tally>,
    messages: AtomicU64,
    quiet: AtomicBool,
}

#[derive(Clone)]
struct Host {
    app: InProcess,
    owner: Owner,
    store: Arc<Faults>,
}

#[derive(Clone)]
pub(super) struct Overheard {
    pub(super) to: Role,
    pub(super) certificate: Option<HexBytes>,
    pub(super) request: WireRequest,
}

impl Network {
    /// A network on which one message in `once_in` goes wrong.
    pub fn new(executor: Executor, random: Stream, once_in: u64, tally: Arc<Tally>) -> Arc<Self> {
        let owner = executor.owner();
        Arc::new(Self {
            executor,
            watch: Watch::default(),
            owner,
            random,
            hosts: Mutex::default(),
            overheard: Mutex::default(),
            once_in: AtomicU64::new(once_in),
            tally,
            messages: AtomicU64::new(0),
            quiet: AtomicBool::new(true),
        })
    }

    /// Lets things go wrong from now on, or no more.
    pub fn set_quiet(&self, quiet: bool) {
        self.quiet.store(quiet, Ordering::Relaxed);
    }

    /// Whether nothing goes wrong.
    pub fn is_quiet(&self) -> bool {
        self.quiet.load(Ordering::Relaxed)
    }

    /// How many messages were sent.
    pub fn messages(&self) -> u64 {
        self.messages.load(Ordering::Relaxed)
    }

    /// A server is there. Its tasks are those of `owner`; it is dead as soon as its store is.
    pub fn host(&self, role: Role, app: InProcess, owner: Owner, store: Arc<Faults>) {
        lock(&self.hosts)[role as usize] = Some(Host { app, owner, store });
    }

    /// A server is gone.
    pub fn unhost(&self, role: Role) {
        lock(&self.hosts)[role as usize] = None;
    }

    /// A way to a server. `certificate` is what the sender shows in TLS.
    pub fn way(self: &Arc<Self>, to: Role, certificate: Option<HexBytes>) -> Arc<dyn Transport> {
        Arc::new(Way { network: self.clone(), to, certificate })
    }

    fn fault(&self) -> Option<MessageFault> {
        self.messages.fetch_add(1, Ordering::Relaxed);
        if self.quiet.load(Ordering::Relaxed) {
            return None;
        }
        let once_in = self.once_in.load(Ordering::Relaxed);
        let fault = self.random.draw(|random| {
            let wrong = random.once_in(once_in);
            wrong.then(|| *random.pick(&MessageFault::ALL))
        });
        if let Some(fault) = fault {
            self.tally.fault(Kind::Message(fault));
        }
        fault
    }

    fn travel(&self) -> Duration {
        Duration::from_micros(self.random.draw(|random| random.between(2_000, 80_000)))
    }

    /// Hands a request to its server; `None` when nobody is there. The reply is lost with the server.
    pub(super) fn deliver(&self, letter: Overheard) -> Option<oneshot::Receiver<WireReply>> {
        let host = lock(&self.hosts)[letter.to as usize].clone()?;
        let (say, said) = oneshot::channel();
        let Host { app, owner, store } = host;
        self.executor.spawn(owner, async move {
            let reply = app.call(letter.certificate, letter.request).await;
            // A process that died at this commit says nothing any more.
            if !store.is_down() {
                let _ = say.send(reply);
            }
        });
        Some(said)
    }

    /// Hands a request over later, for nobody who waits.
    pub(super) fn deliver_later(self: &Arc<Self>, letter: Overheard, after: Duration) {
        let network = self.clone();
        self.executor.spawn(self.owner, async move {
            network.executor.sleep(after).await;
            if let Some(reply) = network.deliver(letter) {
                let _ = reply.await;
            }
        });
    }

    fn overhear(&self, letter: &Overheard) {
        let mut kept = lock(&self.overheard);
        if kept.len() >= OVERHEARD {
            kept.pop_front();
        }
        kept.push_back(letter.clone());
    }

    fn overheard(&self) -> Option<Overheard> {
        let kept = lock(&self.overheard);
        let index = self.random.draw(|random| random.below(kept.len() as u64)) as usize;
        kept.get(index).cloned()
    }
}

pub(super) struct Way {
    pub(super) network: Arc<Network>,
    to: Role,
    certificate: Option<HexBytes>,
}

pub(super) fn lost(why: &str) -> TransportError {
    TransportError::ReplyLost(why.to_owned())
}

impl Way {
    pub(super) async fn exchange(&self, letter: Overheard) -> Result<WireReply, TransportError> {
        let network = &self.network;
        network.executor.sleep(network.travel()).await;
        let to = letter.to;
        let Some(reply) = network.deliver(letter) else {
            return Err(TransportError::NotSent("nobody listens".to_owned()));
        };
        let reply = tokio::select! {
            biased;
            reply = reply => reply.map_err(|_| lost("the connection was reset"))?,
            () = network.executor.sleep(PATIENCE) => return Err(lost("no reply in time")),
        };
        network.watch.one_arrived(to);
        network.executor.sleep(network.travel()).await;
        Ok(reply)
    }

    fn draw<T>(&self, draw: impl FnOnce(&mut Random) -> T) -> T {
        self.network.random.draw(draw)
    }
}

#[async_trait]
impl Transport for Way {
    async fn send(&self, request: WireRequest) -> Result<WireReply, TransportError> {
        let network = &self.network;
        let letter = Overheard { to: self.to, certificate: self.certificate.clone(), request };
        if let Some(fault) = network.watch.see(&letter) {
            return self.suffer(letter, fault).await;
        }
        if self.draw(|random| random.once_in(64)) {
            network.overhear(&letter);
        }
        let Some(fault) = network.fault() else { return self.exchange(letter).await };
        let seconds = |from, to| self.draw(|random| Duration::from_millis(random.between(from, to)));
        match fault {
            MessageFault::RequestDropped => {
                network.executor.sleep(PATIENCE).await;
                Err(lost("no reply in time"))
            }
            MessageFault::ReplyDropped => {
                let _ = self.exchange(letter).await;
                network.executor.sleep(PATIENCE).await;
                Err(lost("no reply in time"))
            }
            MessageFault::Doubled => {
                network.deliver_later(letter.clone(), seconds(1, 5_000));
                self.exchange(letter).await
            }
            MessageFault::Delayed => {
                let after = seconds(5_000, 120_000);
                if after >= PATIENCE {
                    network.deliver_later(letter, after);
                    network.executor.sleep(PATIENCE).await;
                    return Err(lost("no reply in time"));
                }
                network.executor.sleep(after).await;
                self.exchange(letter).await
            }
            MessageFault::Replayed => {
                if let Some(old) = network.overheard() {
                    network.deliver_later(old, seconds(1, 60_000));
                }
                self.exchange(letter).await
            }
            MessageFault::RequestTruncated => {
                let mut letter = letter;
                let cut = self.draw(|random| random.below(letter.request.body.len() as u64)) as usize;
                letter.request.body.truncate(cut);
                let _ = self.exchange(letter).await;
                Err(lost("the connection was reset"))
            }
            MessageFault::ReplyTruncated => {
                let mut reply = self.exchange(letter).await?;
                let cut = self.draw(|random| random.below(reply.body.len() as u64)) as usize;
                reply.body.truncate(cut);
                Ok(reply)
            }
        }
    }
}
