//! The SP-TSM: the card issuer's trusted service manager (B-7, B-8.5).
//!
//! | file | does |
//! | --- | --- |
//! | [`settings`], [`access`] | what the issuer sets; who calls |
//! | `pre_operation`, `handover`, `result` | the SE-TSM's requests: consent, hand-over, results |
//! | `opening` | loads, installs and personalises through the issuer's own domain |
//! | `orders`, `payment_notification`, `cancel_order`, `cancel_opening` | what riders order, and the platform's word that it is paid |
//! | `payment_watch` | asks the platform about orders whose notification never came |
//! | `number_change`, `repersonalising` | a rider with another number, and the cards that hold it |
//! | `top_up`, `cash_top_up`, `attempts`, `locks`, `lock_seen`, `synchronisation` | one flow on a card each |
//! | `clerks`, `desk`, `payouts`, `lost_cards`, `released_claims`, `claim_returns` | who the issuer's own people are, and what they decide about a card |
//! | `closing_card`, `unloading`, `returning`, `migrating_out` | cards that leave their phones |
//! | `evidence` | what riders and the issuer's own staff are shown |
//! | `reports` | what the centre, the SE-TSM and the payment platform are told, through the outbox |
//!
//! The phone between is not trusted: what moves money is proven by MAC1, TAC or R-MAC, and an intention is
//! durable before the command that may carry it out leaves. What is not known is settled by the next
//! contact with the card, never by a timeout.

pub mod access;
mod attempts;
mod begin;
mod cancel_closing;
mod cancel_opening;
mod cancel_order;
mod card_incidents;
mod card_record;
mod cash_top_up;
mod claim_returns;
mod clerks;
mod closing_card;
mod conversations;
mod desk;
mod evidence;
mod freezes;
mod hall;
mod handover;
mod interrupted;
mod lock_seen;
mod locks;
mod lost_cards;
mod migrating_in;
mod migrating_out;
mod migration_orders;
mod number_change;
mod opening;
mod orders;
mod payment_incidents;
mod payment_notification;
mod payment_watch;
mod payouts;
mod pre_operation;
mod proofs;
mod released_claims;
mod repersonalising;
mod reports;
mod result;
mod returning;
mod returning_parked;
pub mod settings;
mod stop;
mod stray_payments;
mod synchronisation;
mod top_up;
mod unloading;
mod words;

use std::sync::{Arc, OnceLock};

use futures_util::FutureExt as _;
use tokio::sync::watch;
use tsm_api::client::{ClearingPeer, SeTsmPeer};
use tsm_api::sp_tsm::{
    clerks as api_clerks, desk as api_desk, evidence as api_evidence, migration, peer, terminal, wallet,
};
use tsm_keys::KeyService;
use tsm_storage::SpTsmStore;

use crate::conversation::{Engine, Limits, MemoryLeases};
use crate::outbox::Dispatcher;
use crate::payment::PaymentPlatform;
use crate::runtime::Environment;
use crate::server::{Peer, PeerGate, Routes};
use crate::siblings::Siblings;

pub use crate::staff::clerks::FirstClerk;
pub use settings::{
    DomainAccess, HolderFile, Package, PlainApplication, Product, ProductKind, PurseProduct, Settings,
    SettingsError, TopUpLimits,
};

use handover::Tickets;
use pre_operation::Prepared;
use reports::Reports;

/// The organisations that the SP-TSM works with, as it knows them.
#[derive(Debug, Clone)]
pub struct Partners {
    /// The SE-TSM. Its key also signs its word about wallets' sessions.
    pub se_tsm: Peer,
    /// The institutions whose terminals take cash for cards.
    pub top_up_terminals: Vec<Peer>,
}

/// The ways to the other organisations' servers.
#[derive(Clone)]
pub struct Links {
    /// To the SE-TSM.
    pub se_tsm: SeTsmPeer,
    /// To the payment platform.
    pub payment: Arc<dyn PaymentPlatform>,
    /// To the clearing centre.
    pub centre: ClearingPeer,
}

/// What the SP-TSM is built from.
pub struct Parts {
    /// Its store.
    pub store: Arc<dyn SpTsmStore>,
    /// Its keys.
    pub keys: Arc<dyn KeyService>,
    /// Time, randomness, tasks, timers.
    pub environment: Environment,
    /// Who may call.
    pub partners: Partners,
    /// Whom it calls.
    pub links: Links,
    /// What the issuer sets.
    pub settings: Settings,
    /// How long conversations are kept.
    pub limits: Limits,
}

/// The SP-TSM.
pub struct SpTsm {
    store: Arc<dyn SpTsmStore>,
    keys: Arc<dyn KeyService>,
    environment: Environment,
    partners: Partners,
    links: Links,
    settings: Settings,
    engine: Engine,
    gate: PeerGate,
    outbox: Dispatcher,
    prepared: Prepared,
    tickets: Tickets,
    confirmed: watch::Sender<()>,
    siblings: Option<Arc<dyn Siblings>>,
    ordered: watch::Sender<()>,
    own_tools: OnceLock<Peer>,
    desk: OnceLock<Peer>,
}

impl SpTsm {
    /// Builds the role and starts sending what its outbox holds.
    pub fn new(parts: Parts) -> Result<Arc<Self>, SettingsError> {
        Self::among(parts, None)
    }

    /// Builds one of several processes of the role, which share its store.
    pub fn among(parts: Parts, siblings: Option<Arc<dyn Siblings>>) -> Result<Arc<Self>, SettingsError> {
        let Parts { store, keys, environment, partners, links, settings, limits } = parts;
        settings.check()?;
        let engine = Engine::new(environment.clone(), Arc::new(MemoryLeases::default()), limits);
        let reports =
            Reports { store: store.clone(), links: links.clone(), environment: environment.clone() };
        let outbox = Dispatcher::start(store.clone(), Arc::new(reports), environment.clone());
        let gate = PeerGate::open(environment.now());
        let (ordered, orders) = watch::channel(());
        let tsm = Arc::new(Self {
            store,
            keys,
            environment: environment.clone(),
            partners,
            links,
            settings,
            engine,
            gate,
            outbox,
            prepared: Prepared::default(),
            tickets: Tickets::default(),
            confirmed: watch::channel(()).0,
            siblings,
            ordered,
            own_tools: OnceLock::new(),
            desk: OnceLock::new(),
        });
        let job = payment_watch::run(Arc::downgrade(&tsm), environment.clone(), orders);
        environment.spawner.spawn(job.boxed());
        Ok(tsm)
    }

    /// Admits the issuer's own staff and tools, which show this certificate and sign with this key. They may
    /// read what the issuer knows of its cards, and nothing else. Said again, it changes nothing.
    pub fn admit_own_tools(&self, own: Peer) {
        // The first word stands.
        let _ = self.own_tools.set(own);
    }

    /// Admits the system of the issuer's halls and customer service. Its people log in, decide about cards by their
    /// roles, and see no key and no wallet. Said again, it changes nothing.
    pub fn admit_desk(&self, desk: Peer) {
        // The first word stands.
        let _ = self.desk.set(desk);
    }

    fn now(&self) -> jiff::Timestamp {
        self.environment.now()
    }
}

/// The role's routes.
pub fn routes(tsm: Arc<SpTsm>) -> Routes<SpTsm> {
    Routes::new(tsm)
        .on(&wallet::ORDER_CARD, orders::order_card)
        .on(&wallet::ORDER_TOP_UP, orders::order_top_up)
        .on(&wallet::ORDER, orders::order)
        .on(&wallet::CANCEL_ORDER, cancel_order::cancel_order)
        .on(&migration::PARKED_CARDS, migration_orders::parked_cards)
        .on(&migration::ORDER_MIGRATION, migration_orders::order_migration)
        .on(&migration::CANCEL_MIGRATION, migration_orders::cancel_migration)
        .on(&migration::RETURN_PARKED, returning_parked::return_parked)
        .on(&wallet::START, conversations::start)
        .on(&wallet::TURN, conversations::turn)
        .on(&wallet::CANCEL, conversations::cancel)
        .on(&wallet::CARD, card_record::card)
        .on(&wallet::INTERRUPTED, interrupted::interrupted)
        .on(&api_evidence::RECEIPTS, evidence::receipts)
        .on(&api_evidence::EXPLANATION, evidence::explanation)
        .on(&api_evidence::FLOWS, evidence::flows)
        .on(&peer::PRE_OPERATION, pre_operation::pre_operation)
        .on(&peer::HANDOVER, handover::handover)
        .on(&peer::RESULT, result::result)
        .on(&peer::NUMBER_CHANGED, number_change::number_changed)
        .on(&peer::LOSS, lost_cards::loss)
        .on(&api_desk::PROPOSE_PAYOUT, payouts::propose)
        .on(&api_desk::APPROVE_PAYOUT, payouts::approve)
        .on(&api_desk::REJECT_PAYOUT, payouts::reject)
        .on(&api_desk::PAYOUT, payouts::payout)
        .on(&api_desk::REPORT_LOST, lost_cards::report)
        .on(&api_desk::ALLOW_UNLOCK, lost_cards::allow_unlock)
        .on(&api_desk::REPORT_OWN_LOST, lost_cards::report_own)
        .on(&api_desk::RELEASE_CLAIM, released_claims::release)
        .on(&api_desk::PROPOSE_CLAIM_RETURN, claim_returns::propose)
        .on(&api_desk::APPROVE_CLAIM_RETURN, claim_returns::approve)
        .on(&api_desk::REJECT_CLAIM_RETURN, claim_returns::reject)
        .on(&api_desk::HALL_SESSION, hall::begin)
        .on(&api_desk::CASES, desk::cases)
        .on(&api_clerks::LOGIN, clerks::login)
        .on(&api_clerks::LOGOUT, clerks::logout)
        .on(&api_clerks::PASSWORD, clerks::password)
        .on(&api_clerks::WHOAMI, clerks::whoami)
        .on(&api_clerks::ADD_CLERK, clerks::add_clerk)
        .on(&api_clerks::DECIDE_CLERK, clerks::decide_clerk)
        .on(&api_clerks::CLERKS, clerks::clerks)
        .on(&peer::PAYMENT_NOTIFICATION, payment_notification::payment_notification)
        .on(&terminal::BEGIN, cash_top_up::begin)
        .on(&terminal::STATUS, cash_top_up::status)
        .on(&terminal::CANCEL, cash_top_up::cancel)
}
