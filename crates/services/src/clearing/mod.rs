//! The clearing centre, first slice (B-7.2.1.c, B-7.3.1, B-7.4.1.c): card accounts, credits recorded once,
//! consumption verified by TAC, and the money equation over a double-entry ledger.
//!
//! Every entry has an identity that follows from what it books, so a report that comes twice books once.
//! A card's journal is a hash chain; no ledger row is ever changed.

mod access;
mod account;
mod alarm;
mod books;
mod claim;
mod claim_evidence;
mod clerks;
mod closing;
mod collection;
mod consumption;
mod credit;
mod days;
mod differences;
mod duties;
mod entries;
mod evidence;
mod fare_check;
mod fares;
mod incidents;
mod issuer_freezes;
mod jobs;
mod journal;
mod kept;
mod late_statements;
mod list_key;
mod lists;
mod missing_statements;
mod noted;
mod open_account;
mod operator_payouts;
mod order_reports;
mod parking;
mod payment_incidents;
mod proofs;
mod purchases;
mod reconciliation;
mod resolution;
mod returned;
mod settlement;
mod statements;
mod stray_payments;
mod suspicions;
mod terminals;
mod watch;
mod write_offs;

use std::sync::Arc;

use tsm_api::clearing::{
    self, clerks as clerks_api, evidence as api_evidence, kept as kept_api, settlement as days_api,
    watch as watch_api,
};
use tsm_domain::money::settlement::BusinessDay;
use tsm_keys::{KeyReference, KeyService};
use tsm_storage::ClearingStore;

pub use alarm::{CARDS_PER_STEP, Watch, metrics_router};
pub use collection::{FileServer, Protection, TransportSettings, serve_files, serve_line};
pub use duties::Duties;
pub use jobs::start as start_jobs;
pub use journal::{journal_key, published_journal_key};
pub use reconciliation::{Reconciled, ReconciliationError};
pub use settlement::SettlementError;
pub use terminals::{RegisteredTerminal, TerminalPlace, Terminals};

use crate::purse::PurseKeys;
use crate::runtime::Environment;
use crate::server::{Peer, PeerGate, Routes};
pub use crate::staff::clerks::FirstClerk;

/// What the centre is built from.
pub struct Parts {
    /// Its store.
    pub store: Arc<dyn ClearingStore>,
    /// Its keys: the TAC roots of the issuers.
    pub keys: Arc<dyn KeyService>,
    /// Time, randomness, tasks, timers.
    pub environment: Environment,
    /// The institutions that may report.
    pub institutions: Vec<Peer>,
    /// The issuers' purse keys, by the eight digits that their card numbers begin with.
    pub issuers: Vec<(String, PurseKeys)>,
    /// What seals the data of parked cards.
    pub sealing_key: KeyReference,
    /// The terminals whose consumption is taken, each from the institution whose it is.
    pub terminals: Terminals,
    /// Whose cards they are, who the centre's desk is, fees and payment statements.
    pub duties: Duties,
}

/// The clearing centre.
pub struct Clearing {
    store: Arc<dyn ClearingStore>,
    keys: Arc<dyn KeyService>,
    environment: Environment,
    institutions: Vec<Peer>,
    issuers: Vec<(String, PurseKeys)>,
    sealing_key: KeyReference,
    terminals: Terminals,
    duties: Duties,
    watch: tokio::sync::Mutex<Watch>,
    /// The last day in whose night late statements were asked for.
    late_asked: tokio::sync::Mutex<Option<BusinessDay>>,
    gate: PeerGate,
}

impl Clearing {
    /// Builds the role.
    pub fn new(parts: Parts) -> Arc<Self> {
        let Parts { store, keys, environment, institutions, issuers, sealing_key, terminals, duties } = parts;
        let gate = PeerGate::open(environment.now());
        let watch = tokio::sync::Mutex::default();
        Arc::new(Self {
            store,
            keys,
            environment,
            institutions,
            issuers,
            sealing_key,
            terminals,
            duties,
            watch,
            late_asked: tokio::sync::Mutex::default(),
            gate,
        })
    }
}

/// The role's routes.
pub fn routes(centre: Arc<Clearing>) -> Routes<Clearing> {
    Routes::new(centre)
        .on(&clearing::OPEN_ACCOUNT, open_account::open_account)
        .on(&clearing::PAYMENT, order_reports::payment)
        .on(&clearing::CANCELLATION, order_reports::cancellation)
        .on(&clearing::REFUND, order_reports::refund)
        .on(&clearing::CREDIT, credit::credit)
        .on(&clearing::CONSUMPTION, consumption::consumption)
        .on(&clearing::ACCOUNT, account::account)
        .on(&clearing::BOOKS, books::books)
        .on(&clearing::closing::BEGIN_CLOSING, closing::begin_closing)
        .on(&clearing::closing::UNDO_CLOSING, closing::undo_closing)
        .on(&clearing::closing::PARK, parking::park)
        .on(&clearing::closing::ORDER_REFUND, returned::order_refund)
        .on(&clearing::closing::REFUND_PAID, returned::refund_paid)
        .on(&clearing::closing::CLAIM_PARKED, claim::claim_parked)
        .on(&clearing::closing::RELEASE_CLAIM, claim::release_claim)
        .on(&clearing::closing::CLAIM_EVIDENCE, claim_evidence::evidence)
        .on(&clearing::closing::CLOSING, closing::closing)
        .on(&clearing::freezes::ISSUER_FREEZE, issuer_freezes::issuer_freeze)
        .on(&clearing::card_incidents::CARD_INCIDENT, noted::card_incident)
        .on(&clearing::payments::PAYMENT_INCIDENT, payment_incidents::payment_incident)
        .on(&clearing::payments::STRAY_PAYMENT, stray_payments::stray_payment)
        .on(&clearing::purchases::PURCHASE, purchases::purchase)
        .on(&clearing::purchases::WANTED_PROOFS, proofs::wanted)
        .on(&clearing::purchases::CARD_PROOF, proofs::card_proof)
        .on(&clearing::collection::BATCH, collection::batch)
        .on(&clearing::collection::BATCH_STATE, collection::batch_state)
        .on(&clearing::collection::FILE_PIECE, collection::file_piece)
        .on(&clearing::collection::FILE, collection::file)
        .on(&clearing::collection::FILE_CONTENT, collection::file_content)
        .on(&clearing::collection::RESULTS, collection::results)
        .on(&clearing::collection::QUARANTINE, collection::quarantine)
        .on(&clearing::collection::GAPS, collection::gaps)
        .on(&clearing::lists::LIST_CHANGES, lists::list_changes)
        .on(&clearing::lists::WHOLE_LIST, lists::whole_list)
        .on(&clearing::lists::LIST_KEY, list_key::list_key)
        .on(&clearing::lists::TERMINAL_STATUS, lists::terminal_status)
        .on(&clearing::lists::TERMINALS, lists::terminals)
        .on(&clearing::lists::REPORT_LOST, lists::report_lost)
        .on(&clearing::lists::REPORT_FOUND, lists::report_found)
        .on(&clearing::lists::REPORT_LOCKED, lists::report_locked)
        .on(&clearing::lists::STANDING, lists::standing)
        .on(&clearing::lists::PROPOSE, lists::propose)
        .on(&clearing::lists::DECIDE, lists::decide)
        .on(&clearing::lists::PROPOSALS, lists::proposals)
        .on(&clearing::fares::PROPOSE, fares::propose)
        .on(&clearing::fares::DECIDE, fares::decide)
        .on(&clearing::fares::VERSIONS, fares::versions)
        .on(&clearing::fares::PROPOSED, fares::proposed)
        .on(&clearing::fares::PUBLISHED, fares::published)
        .on(&api_evidence::RECEIPTS, evidence::receipts)
        .on(&api_evidence::EXPLANATION, evidence::explanation)
        .on(&api_evidence::CARDS, evidence::cards)
        .on(&api_evidence::ACTIVITY, evidence::activity)
        .on(&api_evidence::COMPARISON, journal::comparison)
        .on(&api_evidence::SEAL, journal::seal)
        .on(&api_evidence::SEALS, journal::seals)
        .on(&days_api::CLOSE_DAY, days::close_day)
        .on(&days_api::RECONCILE_DAY, days::reconcile_day)
        .on(&days_api::DAYS, days::days)
        .on(&days_api::SETTLEMENTS, days::settlements)
        .on(&days_api::FILES, days::files)
        .on(&days_api::FILE, days::file)
        .on(&days_api::PROPOSE_PAYOUT, operator_payouts::propose)
        .on(&days_api::DECIDE_PAYOUT, operator_payouts::decide)
        .on(&days_api::PAYOUTS, operator_payouts::of_day)
        .on(&days_api::WAITING_PAYOUTS, operator_payouts::waiting)
        .on(&days_api::DIFFERENCES, differences::differences)
        .on(&days_api::DIFFERENCE, differences::difference)
        .on(&days_api::PROPOSE, differences::propose)
        .on(&days_api::APPROVE, differences::approve)
        .on(&days_api::REJECT, differences::reject)
        .on(&watch_api::WATCH, watch::watch)
        .on(&watch_api::CENSUS, watch::census)
        .on(&watch_api::CARD_GAPS, watch::card_gaps)
        .on(&kept_api::KEPT_CARDS, kept::kept_cards)
        .on(&kept_api::KEPT_CARD, kept::kept_card)
        .on(&clerks_api::LOGIN, clerks::login)
        .on(&clerks_api::LOGOUT, clerks::logout)
        .on(&clerks_api::PASSWORD, clerks::password)
        .on(&clerks_api::WHOAMI, clerks::whoami)
        .on(&clerks_api::ADD_CLERK, clerks::add_clerk)
        .on(&clerks_api::DECIDE_CLERK, clerks::decide_clerk)
        .on(&clerks_api::CLERKS, clerks::clerks)
}
