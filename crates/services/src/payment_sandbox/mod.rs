//! The payment platform's sandbox (B-7.4): merchants open payments, a person pays or declines, the merchant
//! gets the platform's signed word, and money goes back when the merchant asks. It behaves as the large
//! wallets' merchant APIs do, with their signatures and, where [`Faults`] say so, their faults.
//!
//! A payment carries the number of the merchant's order, which is unguessable. Nothing here moves real
//! money: a production profile refuses to start with it.

mod access;
mod cards;
mod close;
mod create;
mod expiry;
pub mod faults;
mod keys;
mod notifications;
mod pay;
mod platform_keys;
mod query;
mod refund;
mod show;
mod statement;
mod statement_pieces;

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::FutureExt as _;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;
use tsm_api::client::Transport;
use tsm_api::ids::{OrderId as WireOrder, PaymentId};
use tsm_api::payment::purse::CardOffer;
use tsm_api::payment::{self, PaymentRecord, PaymentSignature, PaymentState};
use tsm_api::problem::Problem;
use tsm_api::signature::ReplayWindow;
use tsm_domain::Fen;
use tsm_domain::money::PaymentState as State;
use tsm_keys::KeyService;
use tsm_storage::PaymentStore;
use tsm_storage::payment::PaymentRow;
use tsm_storage::shared::Delivery;

use crate::outbox::{Carried, Carrier, Dispatcher};
use crate::payment::message::{MessageKeyError, RegisteredKey, in_words};
use crate::purse::to_wire;
use crate::runtime::Environment;
use crate::server::Routes;
use crate::siblings::Siblings;
use crate::stored;

use cards::{Cards, Notices};
use faults::CurrentFaults;
use notifications::Notifications;
use platform_keys::OwnKeys;

pub use cards::CardAcceptance;
pub use faults::Faults;
pub use platform_keys::platform_key;

/// A merchant, and the way to notify it.
#[derive(Clone)]
pub struct Merchant {
    /// Its institution number.
    pub institution: String,
    /// Its registered keys, newest last; all are of one scheme.
    pub keys: Vec<RegisteredKey>,
    /// The way to its server.
    pub link: Arc<dyn Transport>,
}

impl Merchant {
    /// Whether the platform can answer it: its keys are of one kind, and the platform has one of that kind.
    fn check(&self, own: &OwnKeys) -> Result<(), MessageKeyError> {
        let merchant = || self.institution.clone();
        let scheme = self.scheme().ok_or_else(|| MessageKeyError::NoMerchantKey(merchant()))?;
        if self.keys.iter().any(|key| key.scheme() != scheme) {
            return Err(MessageKeyError::MixedKeys(merchant()));
        }
        let theirs = in_words(scheme);
        let held = own.newest(scheme);
        held.map(drop).ok_or_else(|| MessageKeyError::NoPlatformKey { merchant: merchant(), theirs })
    }

    /// How the merchant signs, and how the platform signs for it.
    fn scheme(&self) -> Option<PaymentSignature> {
        self.keys.last().map(RegisteredKey::scheme)
    }
}

/// What the sandbox is built from.
pub struct Parts {
    /// Its store.
    pub store: Arc<dyn PaymentStore>,
    /// Its keys: those named by [`platform_key`].
    pub keys: Arc<dyn KeyService>,
    /// The owner in its keys' names.
    pub key_owner: String,
    /// Time, randomness, tasks, timers.
    pub environment: Environment,
    /// The merchants.
    pub merchants: Vec<Merchant>,
    /// What it does as the world does.
    pub faults: Faults,
    /// How long a payment stays open at most.
    pub lifetime: SignedDuration,
    /// What it needs to take transit cards, if it does.
    pub cards: Option<CardAcceptance>,
}

/// The sandbox.
pub struct PaymentSandbox {
    store: Arc<dyn PaymentStore>,
    environment: Environment,
    merchants: Arc<[Merchant]>,
    own_keys: Arc<OwnKeys>,
    faults: Arc<CurrentFaults>,
    lifetime: SignedDuration,
    window: ReplayWindow,
    outbox: Dispatcher,
    expiry: watch::Sender<()>,
    cards: Option<Cards>,
    siblings: Option<Arc<dyn Siblings>>,
    pieces: statement_pieces::Begun,
}

impl PaymentSandbox {
    /// Builds the role and starts its jobs: sending what its outbox holds, closing what has expired.
    pub fn new(parts: Parts) -> Result<Arc<Self>, MessageKeyError> {
        Self::among(parts, None)
    }

    /// The same, as one of several processes of the role on one store.
    pub fn among(parts: Parts, siblings: Option<Arc<dyn Siblings>>) -> Result<Arc<Self>, MessageKeyError> {
        let Parts { store, keys, key_owner, environment, merchants, faults, lifetime, cards } = parts;
        let merchants: Arc<[Merchant]> = merchants.into();
        let own_keys = Arc::new(OwnKeys::open(keys.clone(), &key_owner)?);
        merchants.iter().try_for_each(|merchant| merchant.check(&own_keys))?;
        let faults = Arc::new(CurrentFaults::new(faults));
        let notifications = Notifications {
            merchants: merchants.clone(),
            own_keys: own_keys.clone(),
            environment: environment.clone(),
            faults: faults.clone(),
        };
        let notices = cards.as_ref().map(|cards| Notices {
            store: store.clone(),
            centre: cards.centre.clone(),
            environment: environment.clone(),
            faults: faults.clone(),
        });
        let carrier = Messages { notifications, notices };
        let cards = cards.map(|cards| Cards::new(cards, keys, &environment));
        let outbox = Dispatcher::start(store.clone(), Arc::new(carrier), environment.clone());
        let window = ReplayWindow::open(environment.now());
        let (expiry, opened) = watch::channel(());
        let sandbox = Arc::new(Self {
            store,
            environment: environment.clone(),
            merchants,
            own_keys,
            faults,
            lifetime,
            window,
            outbox,
            expiry,
            cards,
            siblings,
            pieces: statement_pieces::Begun::default(),
        });
        let job = expiry::run(Arc::downgrade(&sandbox), environment.clone(), opened);
        environment.spawner.spawn(job.boxed());
        Ok(sandbox)
    }

    /// Lets other things go wrong from now on.
    pub fn set_faults(&self, faults: Faults) {
        self.faults.set(faults);
    }

    /// Draws a new platform key, which signs from now on, and gives its serial.
    pub fn rotate_key(&self, scheme: PaymentSignature) -> Result<String, MessageKeyError> {
        self.own_keys.rotate(scheme)
    }
}

/// The role's routes.
pub fn routes(sandbox: Arc<PaymentSandbox>) -> Routes<PaymentSandbox> {
    Routes::new(sandbox)
        .on(&payment::CREATE, create::create)
        .on(&payment::QUERY, query::query)
        .on(&payment::CLOSE, close::close)
        .on(&payment::REFUND, refund::refund)
        .on(&payment::STATEMENT, statement::statement_of_day)
        .on(&payment::STATEMENT_PIECE, statement_pieces::statement_piece)
        .on(&payment::PLATFORM_KEYS, keys::platform_keys)
        .on(&payment::PAY, pay::pay)
        .on(&payment::SHOW, show::show)
        .on(&payment::purse::PAY_FROM_CARD, cards::pay_from_card)
        .on(&payment::purse::TURN, cards::turn)
        .on(&payment::purse::ADDRESSED, cards::addressed)
}

impl PaymentSandbox {
    fn now(&self) -> Timestamp {
        self.environment.now()
    }

    /// A payment as everybody sees it. One that has expired cannot be paid any more.
    async fn record(&self, row: &PaymentRow) -> Result<PaymentRecord, Problem> {
        let (state, changed_at, refunded) = match &row.order.state {
            // What is unknown stays open, however late it is.
            State::Created if row.expires_at <= self.now() && !row.has_open_attempt() => {
                (PaymentState::Closed, row.expires_at, Fen::ZERO)
            }
            State::Created => (PaymentState::Open, row.created_at, Fen::ZERO),
            State::Paid(_) => (PaymentState::Paid, row.paid_at.unwrap_or(row.created_at), Fen::ZERO),
            State::Closed => (PaymentState::Closed, row.closed_at.unwrap_or(row.created_at), Fen::ZERO),
            State::Refunded { refunded, .. } if *refunded == row.order.amount => {
                (PaymentState::Refunded, self.refunded_at(row).await?, *refunded)
            }
            State::Refunded { refunded, .. } => {
                (PaymentState::PartlyRefunded, self.refunded_at(row).await?, *refunded)
            }
        };
        Ok(record_of(row, state, changed_at, refunded))
    }

    async fn refunded_at(&self, row: &PaymentRow) -> Result<Timestamp, Problem> {
        let refunds =
            self.store.refunds_of(row.order.order).await.map_err(|error| stored::problem(&error))?;
        Ok(refunds.last().map_or(row.created_at, |refund| refund.at))
    }
}

/// A payment in this state.
fn record_of(row: &PaymentRow, state: PaymentState, changed_at: Timestamp, refunded: Fen) -> PaymentRecord {
    PaymentRecord {
        payment: PaymentId(row.order.order.as_uuid()),
        order: WireOrder(row.order.order.as_uuid()),
        merchant: row.merchant.clone(),
        amount_fen: to_wire(row.order.amount),
        refunded_fen: to_wire(refunded),
        subject: row.subject.clone(),
        state,
        changed_at,
        card: card_offer(row, state),
    }
}

/// How payment from a transit card stands.
fn card_offer(row: &PaymentRow, state: PaymentState) -> Option<CardOffer> {
    let offer = row.purse.as_ref()?;
    if offer.debited().is_some() {
        return Some(CardOffer::Paid);
    }
    match (offer.open(), state) {
        (Some(_), _) => Some(CardOffer::Unknown),
        (None, PaymentState::Open) => Some(CardOffer::Offered),
        (
            None,
            PaymentState::Paid | PaymentState::Closed | PaymentState::PartlyRefunded | PaymentState::Refunded,
        ) => None,
    }
}

/// Carries what the outbox holds: words to merchants, notices to the centre.
struct Messages {
    notifications: Notifications,
    notices: Option<Notices>,
}

#[async_trait]
impl Carrier for Messages {
    async fn carry(&self, delivery: &Delivery) -> Carried {
        match (&self.notices, cards::MESSAGES.contains(&delivery.kind.as_str())) {
            (Some(notices), true) => notices.carry(delivery).await,
            (None, true) => Carried::Later("no way to the clearing centre is set".into()),
            (_, false) => self.notifications.carry(delivery).await,
        }
    }

    fn pause(&self, attempts: u32) -> Option<SignedDuration> {
        self.notifications.pause(attempts)
    }
}
