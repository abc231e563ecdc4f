//! The tables of each service, as migrations. A migration that was released is never changed; another is added.
//!
//! Keys lead with the SE or the card. Instants are nanoseconds since 1970 in UTC, amounts are fen, SEIDs and
//! AIDs are upper-case hexadecimal, and `body` is the JSON of the record.

use super::clearing::closing::CLOSING_2;
use super::clearing::collection::{ASIDE_3, COLLECTION_2, FILES_6};
use super::clearing::fares::FARES_3;
use super::clearing::lists::{LISTS_2, LOSSES_5 as CARD_LOSSES_5};
use super::clearing::payouts::PAYOUTS_4;
use super::clearing::seals::SEALS_2;
use super::clearing::settlement::SETTLEMENT_2;
use super::clearing::standings::STANDINGS_4;
use super::clerks::CLERKS;
use super::payment::PAYMENT_2;
use super::payment::purse::PURSE_3;
use super::se_tsm::migrations::MIGRATIONS_2;
use super::sp_tsm::arrivals::ARRIVALS_2;
use super::sp_tsm::desk::{DESK_3, LOSSES_5};
use super::sp_tsm::{PAYMENTS_6, UNPAID_2};

/// A service's tables.
pub trait Schema: Send + Sync + 'static {
    /// The service, in words.
    const SERVICE: &'static str;
    /// The usual name of the file, without its ending.
    const FILE: &'static str;
    /// The mark in the file (`application_id`).
    const MARK: i32;
    /// The migrations, each a list of scripts.
    const MIGRATIONS: &'static [&'static [&'static str]];
}

/// The SE-TSM's tables.
#[derive(Debug)]
pub enum SeTsmSchema {}
/// The SP-TSM's tables.
#[derive(Debug)]
pub enum SpTsmSchema {}
/// The clearing centre's tables.
#[derive(Debug)]
pub enum ClearingSchema {}
/// The payment sandbox's tables.
#[derive(Debug)]
pub enum PaymentSchema {}

impl Schema for SeTsmSchema {
    const SERVICE: &'static str = "SE-TSM";
    const FILE: &'static str = "se-tsm";
    const MARK: i32 = 0x54_53_4D_01;
    const MIGRATIONS: &'static [&'static [&'static str]] = &[&[SHARED_1, SE_TSM_1], &[MIGRATIONS_2]];
}

impl Schema for SpTsmSchema {
    const SERVICE: &'static str = "SP-TSM";
    const FILE: &'static str = "sp-tsm";
    const MARK: i32 = 0x54_53_4D_02;
    const MIGRATIONS: &'static [&'static [&'static str]] =
        &[&[SHARED_1, SP_TSM_1], &[ARRIVALS_2, UNPAID_2], &[DESK_3], &[CLERKS], &[LOSSES_5], &[PAYMENTS_6]];
}

impl Schema for ClearingSchema {
    const SERVICE: &'static str = "clearing centre";
    const FILE: &'static str = "clearing";
    const MARK: i32 = 0x54_53_4D_03;
    const MIGRATIONS: &'static [&'static [&'static str]] = &[
        &[SHARED_1, CLEARING_1],
        &[CLOSING_2, COLLECTION_2, LISTS_2, SEALS_2, SETTLEMENT_2],
        &[CLERKS, ASIDE_3, FARES_3],
        &[PAYOUTS_4, STANDINGS_4],
        &[CARD_LOSSES_5],
        &[FILES_6],
    ];
}

impl Schema for PaymentSchema {
    const SERVICE: &'static str = "payment sandbox";
    const FILE: &'static str = "payment";
    const MARK: i32 = 0x54_53_4D_04;
    const MIGRATIONS: &'static [&'static [&'static str]] =
        &[&[SHARED_1, PAYMENT_1], &[PAYMENT_2], &[PURSE_3]];
}

const SHARED_1: &str = "
CREATE TABLE leases (
    se TEXT PRIMARY KEY, conversation TEXT NOT NULL, epoch INTEGER NOT NULL, until INTEGER
) WITHOUT ROWID;

CREATE TABLE conversations (
    id TEXT PRIMARY KEY, se TEXT NOT NULL, started_at INTEGER NOT NULL, body TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX conversations_of_se ON conversations (se, started_at, id);

CREATE TABLE sessions (
    id TEXT PRIMARY KEY, se TEXT, expires_at INTEGER NOT NULL, body TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX sessions_of_se ON sessions (se) WHERE se IS NOT NULL;
CREATE INDEX sessions_by_end ON sessions (expires_at);

CREATE TABLE outbox (
    id TEXT PRIMARY KEY, due_at INTEGER NOT NULL, delivered INTEGER NOT NULL DEFAULT 0, body TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX outbox_due ON outbox (due_at, id) WHERE delivered = 0;

CREATE TABLE incidents (
    id TEXT PRIMARY KEY, at INTEGER NOT NULL, closed INTEGER NOT NULL, body TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX incidents_by_time ON incidents (at, id);
CREATE INDEX incidents_open ON incidents (at, id) WHERE closed = 0;

CREATE TABLE chains (
    chain TEXT NOT NULL, number INTEGER NOT NULL, hash BLOB NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY (chain, number)
) WITHOUT ROWID;
";

const SE_TSM_1: &str = "
CREATE TABLE providers (id TEXT PRIMARY KEY, revision INTEGER NOT NULL, body TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE staff (id TEXT PRIMARY KEY, revision INTEGER NOT NULL, body TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE applications (id TEXT PRIMARY KEY, revision INTEGER NOT NULL, body TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE domains (id TEXT PRIMARY KEY, revision INTEGER NOT NULL, body TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE aids (aid TEXT PRIMARY KEY, owner TEXT NOT NULL) WITHOUT ROWID;
CREATE INDEX aids_of_owner ON aids (owner);
CREATE TABLE blobs (hash TEXT PRIMARY KEY, content BLOB NOT NULL);
CREATE TABLE batches (id TEXT PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID;

CREATE TABLE ses (se TEXT PRIMARY KEY, number TEXT, body TEXT NOT NULL) WITHOUT ROWID;
CREATE INDEX ses_in_order ON ses (length(se), se);
CREATE INDEX ses_of_number ON ses (number) WHERE number IS NOT NULL;
CREATE TABLE tokens (se TEXT PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE numbers (number TEXT PRIMARY KEY, purpose TEXT NOT NULL, body TEXT NOT NULL) WITHOUT ROWID;
CREATE INDEX numbers_for_tests ON numbers (number) WHERE purpose = 'test';

CREATE TABLE applications_on_se (
    se TEXT NOT NULL, application TEXT NOT NULL, present INTEGER NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY (se, application)
) WITHOUT ROWID;
CREATE INDEX holders_of_application ON applications_on_se (application) WHERE present = 1;
CREATE TABLE domains_on_se (
    se TEXT NOT NULL, domain TEXT NOT NULL, body TEXT NOT NULL, PRIMARY KEY (se, domain)
) WITHOUT ROWID;
CREATE INDEX holders_of_domain ON domains_on_se (domain);
CREATE TABLE intentions (
    se TEXT NOT NULL, conversation TEXT NOT NULL, number INTEGER NOT NULL, at INTEGER NOT NULL,
    unknown INTEGER NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY (se, conversation, number)
) WITHOUT ROWID;
CREATE INDEX intentions_unknown ON intentions (se, at, conversation, number) WHERE unknown = 1;
CREATE TABLE subscriptions (
    id TEXT PRIMARY KEY, se TEXT NOT NULL, number TEXT NOT NULL, active INTEGER NOT NULL,
    since INTEGER NOT NULL, body TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX subscriptions_of_se ON subscriptions (se, since, id);
CREATE TABLE tickets (id TEXT PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE tasks (
    se TEXT NOT NULL, created_at INTEGER NOT NULL, id TEXT NOT NULL, open INTEGER NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY (se, created_at, id)
) WITHOUT ROWID;
CREATE INDEX tasks_open ON tasks (se, created_at, id) WHERE open = 1;
";

const SP_TSM_1: &str = "
CREATE TABLE consents (
    conversation TEXT NOT NULL, purpose TEXT NOT NULL, body TEXT NOT NULL, PRIMARY KEY (conversation, purpose)
) WITHOUT ROWID;

CREATE TABLE card_orders (
    id TEXT PRIMARY KEY, card TEXT NOT NULL UNIQUE, se TEXT NOT NULL, application TEXT NOT NULL,
    created_at INTEGER NOT NULL, open INTEGER NOT NULL, body TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX card_orders_open ON card_orders (se, application, created_at, id) WHERE open = 1;
CREATE TABLE cards (card TEXT PRIMARY KEY, se TEXT NOT NULL, body TEXT NOT NULL) WITHOUT ROWID;
CREATE INDEX cards_on_se ON cards (se, card);
CREATE TABLE domains_on_se (
    se TEXT NOT NULL, domain TEXT NOT NULL, body TEXT NOT NULL, PRIMARY KEY (se, domain)
) WITHOUT ROWID;

CREATE TABLE top_ups (
    id TEXT PRIMARY KEY, card TEXT NOT NULL, amount_fen INTEGER NOT NULL, created_at INTEGER NOT NULL,
    open INTEGER NOT NULL, body TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX top_ups_of_card ON top_ups (card, created_at, id);
CREATE INDEX top_ups_open ON top_ups (card, created_at, id) WHERE open = 1;
CREATE TABLE attempts (card TEXT PRIMARY KEY, count INTEGER NOT NULL, terminal TEXT NOT NULL) WITHOUT ROWID;
";

const CLEARING_1: &str = "
CREATE TABLE accounts (card TEXT PRIMARY KEY, opened_at INTEGER NOT NULL, body TEXT NOT NULL) WITHOUT ROWID;

CREATE TABLE transfers (
    id TEXT PRIMARY KEY,
    card TEXT, debit TEXT NOT NULL, debit_card TEXT, credit TEXT NOT NULL, credit_card TEXT,
    amount_fen INTEGER NOT NULL CHECK (amount_fen > 0),
    kind TEXT NOT NULL, pending TEXT, code TEXT NOT NULL, order_id TEXT, at INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX transfers_of_card ON transfers (card, at, id);
CREATE TRIGGER transfers_are_not_changed BEFORE UPDATE ON transfers
BEGIN SELECT raise(ABORT, 'a transfer is never changed'); END;
CREATE TRIGGER transfers_are_not_deleted BEFORE DELETE ON transfers
BEGIN SELECT raise(ABORT, 'a transfer is never deleted'); END;
CREATE TABLE pending_fates (pending TEXT PRIMARY KEY, fate TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE balances (
    card TEXT NOT NULL, account TEXT NOT NULL,
    posted_fen INTEGER NOT NULL CHECK (posted_fen >= 0), reserved_fen INTEGER NOT NULL CHECK (reserved_fen >= 0),
    PRIMARY KEY (card, account)
) WITHOUT ROWID;

CREATE TABLE transactions (
    card TEXT NOT NULL, counter INTEGER NOT NULL, kind INTEGER NOT NULL,
    amount_fen INTEGER NOT NULL, balance_after_fen INTEGER, terminal TEXT NOT NULL, at INTEGER NOT NULL, tac BLOB,
    PRIMARY KEY (card, counter, kind)
) WITHOUT ROWID;
";

const PAYMENT_1: &str = "
CREATE TABLE orders (
    id TEXT PRIMARY KEY, amount_fen INTEGER NOT NULL, paid_at INTEGER, body TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX orders_paid ON orders (paid_at, id) WHERE paid_at IS NOT NULL;
CREATE TABLE refunds (
    id TEXT PRIMARY KEY, order_id TEXT NOT NULL, amount_fen INTEGER NOT NULL, at INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX refunds_of_order ON refunds (order_id, at, id);
";
