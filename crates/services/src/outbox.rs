//! Sending what the stores keep for other organisations, until they have it.
//!
//! A step puts a message into its store's outbox in the same commit, so the message is neither lost nor
//! sent for a step that was not stored. The dispatcher sends it, repeats it with growing pauses, and
//! forgets it when the receiver has it. Receivers take each message once, so sending twice is harmless.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt as _;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;
use tracing::{debug, error, warn};
use tsm_api::client::ClientError;
use tsm_api::problem::{Problem, ProblemCode};
use tsm_domain::DeliveryId;
use tsm_storage::shared::{Delivery, Outbox};

use crate::runtime::Environment;

/// The first pause before a message is sent again; it doubles with each attempt.
const FIRST_PAUSE: SignedDuration = SignedDuration::from_millis(500);
/// The longest pause.
const LONGEST_PAUSE: SignedDuration = SignedDuration::from_secs(300);
/// How long the dispatcher waits when its store does not answer.
const STORE_PAUSE: Duration = Duration::from_millis(500);
/// How long a dispatcher that claimed messages may take to send them before another may.
const CLAIM: SignedDuration = SignedDuration::from_secs(30);
/// How often a dispatcher looks for what a process that is gone has left behind.
const LOOK: Duration = Duration::from_secs(5);
/// Messages taken from the store at once.
const BATCH: usize = 64;

/// What became of an attempt to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Carried {
    /// The receiver has it.
    Delivered,
    /// The receiver will never take it. It is logged and not sent again.
    Refused(Problem),
    /// It did not get through, or the receiver cannot take it yet.
    Later(String),
}

/// Sends one message to its receiver, and does what follows from its arrival.
#[async_trait]
pub trait Carrier: Send + Sync {
    /// Sends it.
    async fn carry(&self, delivery: &Delivery) -> Carried;

    /// The pause before a message is sent again that was sent `attempts` times; none for the usual one.
    fn pause(&self, _attempts: u32) -> Option<SignedDuration> {
        None
    }
}

/// The sending end of one store's outbox. Dropping it stops the sending.
pub struct Dispatcher {
    work: Arc<Work>,
    kick: watch::Sender<()>,
}

struct Work {
    outbox: Arc<dyn Outbox>,
    carrier: Arc<dyn Carrier>,
    environment: Environment,
}

impl Dispatcher {
    /// Starts sending what the outbox holds and will hold.
    pub fn start(outbox: Arc<dyn Outbox>, carrier: Arc<dyn Carrier>, environment: Environment) -> Self {
        let work = Arc::new(Work { outbox, carrier, environment: environment.clone() });
        let (kick, kicked) = watch::channel(());
        environment.spawner.spawn(work.clone().run(kicked).boxed());
        Self { work, kick }
    }

    /// Says that the outbox may hold something new.
    pub fn kick(&self) {
        self.kick.send_replace(());
    }

    /// Sends these now, in order, without waiting for the dispatcher's turn. What does not get through is
    /// left to it.
    pub async fn send_now(&self, deliveries: &[Delivery]) {
        for delivery in deliveries {
            if let Err(error) = self.work.send(delivery).await {
                warn!(delivery = %delivery.id, %error, "a message is left to the dispatcher");
                break;
            }
        }
        self.kick();
    }
}

impl Work {
    /// Sends until the dispatcher is dropped.
    async fn run(self: Arc<Self>, mut kicked: watch::Receiver<()>) {
        loop {
            kicked.mark_unchanged();
            let pause = self.drain().await;
            if self.environment.rest(pause, &mut kicked).await.is_break() {
                return;
            }
        }
    }

    /// Sends what is due; gives the time until something is due again.
    async fn drain(&self) -> Option<Duration> {
        loop {
            let now = self.environment.now();
            let until = now.saturating_add(CLAIM).unwrap_or(now);
            let due = match self.outbox.claim_deliveries(now, until, BATCH).await {
                Ok(due) => due,
                Err(error) => {
                    debug!(%error, "the outbox cannot be read");
                    return Some(STORE_PAUSE);
                }
            };
            if due.is_empty() {
                break;
            }
            for delivery in due {
                if let Err(error) = self.send(&delivery).await {
                    debug!(%error, "the outbox cannot be written");
                    return Some(STORE_PAUSE);
                }
            }
        }
        match self.outbox.next_delivery_at().await {
            Ok(None) => self.outbox.is_shared().then_some(LOOK),
            Ok(Some(at)) => {
                let left = at.duration_since(self.environment.now());
                let left = Duration::try_from(left).unwrap_or(Duration::ZERO).max(Duration::from_millis(1));
                Some(if self.outbox.is_shared() { left.min(LOOK) } else { left })
            }
            Err(_) => Some(STORE_PAUSE),
        }
    }

    async fn send(&self, delivery: &Delivery) -> tsm_storage::Result<()> {
        match self.carrier.carry(delivery).await {
            Carried::Delivered => self.outbox.delivered(delivery.id).await,
            Carried::Refused(problem) => {
                error!(delivery = %delivery.id, kind = delivery.kind, to = delivery.to, reason = %problem,
                    "a message was refused for good");
                self.outbox.delivered(delivery.id).await
            }
            Carried::Later(reason) => {
                debug!(delivery = %delivery.id, kind = delivery.kind, to = delivery.to, reason,
                    "a message will be sent again");
                let pause = self.carrier.pause(delivery.attempts).unwrap_or_else(|| pause(delivery.attempts));
                let due_at = self.environment.now().saturating_add(pause);
                self.outbox.postpone_delivery(delivery.id, due_at.unwrap_or(Timestamp::MAX)).await
            }
        }
    }
}

fn pause(attempts: u32) -> SignedDuration {
    FIRST_PAUSE.saturating_mul(1 << attempts.min(16)).min(LONGEST_PAUSE)
}

impl Carried {
    /// What a call says about a message: what the receiver refuses for good is not sent again.
    pub fn of<T>(result: Result<T, ClientError>) -> Self {
        match result {
            Ok(_) => Self::Delivered,
            Err(ClientError::Refused(problem)) if is_final(problem.code) => Self::Refused(*problem),
            Err(error) => Self::Later(error.to_string()),
        }
    }
}

/// Whether repeating the message can never help.
pub(crate) const fn is_final(code: ProblemCode) -> bool {
    matches!(
        code,
        ProblemCode::MalformedRequest
            | ProblemCode::ValueRefused
            | ProblemCode::AmountRefused
            | ProblemCode::OrderUsed
            | ProblemCode::Duplicate
            | ProblemCode::CardUnproven
    )
}

/// A message for the outbox. Its identity is made from what it says, so a step that is run again puts
/// the same message and not a second one.
pub fn delivery(to: &str, kind: &str, key: &str, body: &impl serde::Serialize, at: Timestamp) -> Delivery {
    let id = DeliveryId::from_uuid(crate::names::derived(&[to, kind, key]));
    let body = serde_json::to_string(body).expect("wire types have only plain fields");
    Delivery { id, to: to.into(), kind: kind.into(), body, created_at: at, due_at: at, attempts: 0 }
}
