//! The payment platform's sandbox (B-7.4): merchants open payments, a person pays or declines, the merchant
//! gets the platform's signed word, and money goes back when the merchant asks.
//!
//! A payment carries the number of the merchant's order, which is unguessable. Nothing here moves real
//! money: a production profile refuses to start with it.

mod access;
mod create;
mod notifications;
mod pay;
mod query;
mod refund;
mod show;

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use tsm_api::client::SpTsmPeer;
use tsm_api::ids::{OrderId as WireOrder, PaymentId};
use tsm_api::payment::{self, PaymentRecord, PaymentState};
use tsm_api::problem::Problem;
use tsm_domain::money::PaymentState as State;
use tsm_storage::PaymentStore;
use tsm_storage::payment::PaymentRow;

use crate::outbox::Dispatcher;
use crate::purse::to_wire;
use crate::runtime::Environment;
use crate::server::{Peer, PeerGate, Routes};
use crate::stored;

use notifications::Notifications;

/// A merchant, and the way to notify it.
#[derive(Clone)]
pub struct Merchant {
    /// The institution.
    pub peer: Peer,
    /// Its server.
    pub link: SpTsmPeer,
}

/// How often the sandbox says that a payment was made. Real platforms repeat themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Repetition {
    /// Once, and again until it arrives.
    #[default]
    Once,
    /// Twice, in two messages.
    Twice,
}

/// What the sandbox is built from.
pub struct Parts {
    /// Its store.
    pub store: Arc<dyn PaymentStore>,
    /// Time, randomness, tasks, timers.
    pub environment: Environment,
    /// The merchants.
    pub merchants: Vec<Merchant>,
    /// How often it says that a payment was made.
    pub repetition: Repetition,
    /// How long a payment stays open.
    pub lifetime: SignedDuration,
}

/// The sandbox.
pub struct PaymentSandbox {
    store: Arc<dyn PaymentStore>,
    environment: Environment,
    merchants: Arc<[Merchant]>,
    repetition: Repetition,
    lifetime: SignedDuration,
    gate: PeerGate,
    outbox: Dispatcher,
}

impl PaymentSandbox {
    /// Builds the role and starts sending what its outbox holds.
    pub fn new(parts: Parts) -> Arc<Self> {
        let Parts { store, environment, merchants, repetition, lifetime } = parts;
        let merchants: Arc<[Merchant]> = merchants.into();
        let carrier = Notifications { merchants: merchants.clone() };
        let outbox = Dispatcher::start(store.clone(), Arc::new(carrier), environment.clone());
        let gate = PeerGate::open(environment.now());
        Arc::new(Self { store, environment, merchants, repetition, lifetime, gate, outbox })
    }
}

/// The role's routes.
pub fn routes(sandbox: Arc<PaymentSandbox>) -> Routes<PaymentSandbox> {
    Routes::new(sandbox)
        .on(&payment::CREATE, create::create)
        .on(&payment::QUERY, query::query)
        .on(&payment::REFUND, refund::refund)
        .on(&payment::PAY, pay::pay)
        .on(&payment::SHOW, show::show)
}

impl PaymentSandbox {
    fn now(&self) -> Timestamp {
        self.environment.now()
    }

    /// A payment as everybody sees it. One that has expired cannot be paid any more.
    async fn record(&self, row: &PaymentRow) -> Result<PaymentRecord, Problem> {
        let (state, changed_at) = match &row.order.state {
            State::Created if row.expires_at <= self.now() => (PaymentState::Declined, row.expires_at),
            State::Created => (PaymentState::Open, row.created_at),
            State::Paid(_) => (PaymentState::Paid, row.paid_at.unwrap_or(row.created_at)),
            State::Closed => (PaymentState::Declined, row.closed_at.unwrap_or(row.created_at)),
            State::Refunded { .. } => (PaymentState::Refunded, self.refunded_at(row).await?),
        };
        Ok(PaymentRecord {
            payment: PaymentId(row.order.order.as_uuid()),
            order: WireOrder(row.order.order.as_uuid()),
            amount_fen: to_wire(row.order.amount),
            subject: row.subject.clone(),
            state,
            changed_at,
        })
    }

    async fn refunded_at(&self, row: &PaymentRow) -> Result<Timestamp, Problem> {
        let refunds =
            self.store.refunds_of(row.order.order).await.map_err(|error| stored::problem(&error))?;
        Ok(refunds.last().map_or(row.created_at, |refund| refund.at))
    }
}
