//! The tables of each service, as migrations. A migration that was released is never changed; another is added.
//!
//! What is about one SE or one card has a key that leads with it; what is addressed by its own identity alone is
//! keyed by that, which is not handed out by the store. Texts compare by their bytes. Instants are nanoseconds since 1970 in UTC, amounts are fen, SEIDs and
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
pub trait Tables: Send + Sync + 'static {
    /// The service, in words.
    const SERVICE: &'static str;
    /// The usual namespace (PostgreSQL schema).
    const NAMESPACE: &'static str;
    /// The migrations, each a list of scripts.
    const MIGRATIONS: &'static [&'static [&'static str]];
}

/// The SE-TSM's tables.
#[derive(Debug)]
pub enum SeTsmTables {}
/// The SP-TSM's tables.
#[derive(Debug)]
pub enum SpTsmTables {}
/// The clearing centre's tables.
#[derive(Debug)]
pub enum ClearingTables {}
/// The payment sandbox's tables.
#[derive(Debug)]
pub enum PaymentTables {}

impl Tables for SeTsmTables {
    const SERVICE: &'static str = "SE-TSM";
    const NAMESPACE: &'static str = "se_tsm";
    const MIGRATIONS: &'static [&'static [&'static str]] = &[&[SHARED_1, SE_TSM_1], &[MIGRATIONS_2]];
}

impl Tables for SpTsmTables {
    const SERVICE: &'static str = "SP-TSM";
    const NAMESPACE: &'static str = "sp_tsm";
    const MIGRATIONS: &'static [&'static [&'static str]] =
        &[&[SHARED_1, SP_TSM_1], &[ARRIVALS_2, UNPAID_2], &[DESK_3], &[CLERKS], &[LOSSES_5], &[PAYMENTS_6]];
}

impl Tables for ClearingTables {
    const SERVICE: &'static str = "clearing centre";
    const NAMESPACE: &'static str = "clearing";
    const MIGRATIONS: &'static [&'static [&'static str]] = &[
        &[SHARED_1, CLEARING_1],
        &[CLOSING_2, COLLECTION_2, LISTS_2, SEALS_2, SETTLEMENT_2],
        &[CLERKS, ASIDE_3, FARES_3],
        &[PAYOUTS_4, STANDINGS_4],
        &[CARD_LOSSES_5],
        &[FILES_6],
    ];
}

impl Tables for PaymentTables {
    const SERVICE: &'static str = "payment sandbox";
    const NAMESPACE: &'static str = "payment";
    const MIGRATIONS: &'static [&'static [&'static str]] =
        &[&[SHARED_1, PAYMENT_1], &[PAYMENT_2], &[PURSE_3]];
}

const SHARED_1: &str = r#"
CREATE TABLE leases (
    se TEXT COLLATE "C" PRIMARY KEY, conversation TEXT COLLATE "C" NOT NULL, epoch BIGINT NOT NULL, until BIGINT
);

CREATE TABLE conversations (
    id TEXT COLLATE "C" PRIMARY KEY, se TEXT COLLATE "C" NOT NULL, started_at BIGINT NOT NULL, body TEXT NOT NULL
);
CREATE INDEX conversations_of_se ON conversations (se, started_at, id);

CREATE TABLE sessions (
    id TEXT COLLATE "C" PRIMARY KEY, se TEXT COLLATE "C", expires_at BIGINT NOT NULL, body TEXT NOT NULL
);
CREATE INDEX sessions_of_se ON sessions (se) WHERE se IS NOT NULL;
CREATE INDEX sessions_by_end ON sessions (expires_at);

CREATE TABLE outbox (
    id TEXT COLLATE "C" PRIMARY KEY, due_at BIGINT NOT NULL, delivered BOOLEAN NOT NULL DEFAULT FALSE, body TEXT NOT NULL
);
CREATE INDEX outbox_due ON outbox (due_at, id) WHERE NOT delivered;

CREATE TABLE incidents (
    id TEXT COLLATE "C" PRIMARY KEY, at BIGINT NOT NULL, closed BOOLEAN NOT NULL, body TEXT NOT NULL
);
CREATE INDEX incidents_by_time ON incidents (at, id);
CREATE INDEX incidents_open ON incidents (at, id) WHERE NOT closed;

CREATE TABLE chains (
    chain TEXT COLLATE "C" NOT NULL, number BIGINT NOT NULL, hash BYTEA NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY (chain, number)
);
"#;

const SE_TSM_1: &str = r#"
CREATE TABLE providers (id TEXT COLLATE "C" PRIMARY KEY, revision BIGINT NOT NULL, body TEXT NOT NULL);
CREATE TABLE staff (id TEXT COLLATE "C" PRIMARY KEY, revision BIGINT NOT NULL, body TEXT NOT NULL);
CREATE TABLE applications (id TEXT COLLATE "C" PRIMARY KEY, revision BIGINT NOT NULL, body TEXT NOT NULL);
CREATE TABLE domains (id TEXT COLLATE "C" PRIMARY KEY, revision BIGINT NOT NULL, body TEXT NOT NULL);
CREATE TABLE aids (aid TEXT COLLATE "C" PRIMARY KEY, owner TEXT COLLATE "C" NOT NULL);
CREATE INDEX aids_of_owner ON aids (owner);
CREATE TABLE blobs (hash TEXT COLLATE "C" PRIMARY KEY, content BYTEA NOT NULL);
CREATE TABLE batches (id TEXT COLLATE "C" PRIMARY KEY, body TEXT NOT NULL);

CREATE TABLE ses (se TEXT COLLATE "C" PRIMARY KEY, number TEXT COLLATE "C", body TEXT NOT NULL);
CREATE INDEX ses_in_order ON ses (length(se), se);
CREATE INDEX ses_of_number ON ses (number) WHERE number IS NOT NULL;
CREATE TABLE tokens (se TEXT COLLATE "C" PRIMARY KEY, body TEXT NOT NULL);
CREATE TABLE numbers (number TEXT COLLATE "C" PRIMARY KEY, purpose TEXT COLLATE "C" NOT NULL, body TEXT NOT NULL);
CREATE INDEX numbers_for_tests ON numbers (number) WHERE purpose = 'test';

CREATE TABLE applications_on_se (
    se TEXT COLLATE "C" NOT NULL, application TEXT COLLATE "C" NOT NULL, present BOOLEAN NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY (se, application)
);
CREATE INDEX holders_of_application ON applications_on_se (application) WHERE present;
CREATE TABLE domains_on_se (
    se TEXT COLLATE "C" NOT NULL, domain TEXT COLLATE "C" NOT NULL, body TEXT NOT NULL, PRIMARY KEY (se, domain)
);
CREATE INDEX holders_of_domain ON domains_on_se (domain);
CREATE TABLE intentions (
    se TEXT COLLATE "C" NOT NULL, conversation TEXT COLLATE "C" NOT NULL, number BIGINT NOT NULL, at BIGINT NOT NULL,
    unknown BOOLEAN NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY (se, conversation, number)
);
CREATE INDEX intentions_unknown ON intentions (se, at, conversation, number) WHERE unknown;
CREATE TABLE subscriptions (
    id TEXT COLLATE "C" PRIMARY KEY, se TEXT COLLATE "C" NOT NULL, number TEXT COLLATE "C" NOT NULL, active BOOLEAN NOT NULL,
    since BIGINT NOT NULL, body TEXT NOT NULL
);
CREATE INDEX subscriptions_of_se ON subscriptions (se, since, id);
CREATE TABLE tickets (id TEXT COLLATE "C" PRIMARY KEY, body TEXT NOT NULL);
CREATE TABLE tasks (
    se TEXT COLLATE "C" NOT NULL, created_at BIGINT NOT NULL, id TEXT COLLATE "C" NOT NULL, open BOOLEAN NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY (se, created_at, id)
);
CREATE INDEX tasks_open ON tasks (se, created_at, id) WHERE open;
"#;

const SP_TSM_1: &str = r#"
CREATE TABLE consents (
    conversation TEXT COLLATE "C" NOT NULL, purpose TEXT COLLATE "C" NOT NULL, body TEXT NOT NULL, PRIMARY KEY (conversation, purpose)
);

CREATE TABLE card_orders (
    id TEXT COLLATE "C" PRIMARY KEY, card TEXT COLLATE "C" NOT NULL UNIQUE, se TEXT COLLATE "C" NOT NULL, application TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL, open BOOLEAN NOT NULL, body TEXT NOT NULL
);
CREATE INDEX card_orders_open ON card_orders (se, application, created_at, id) WHERE open;
CREATE TABLE cards (card TEXT COLLATE "C" PRIMARY KEY, se TEXT COLLATE "C" NOT NULL, body TEXT NOT NULL);
CREATE INDEX cards_on_se ON cards (se, card);
CREATE TABLE domains_on_se (
    se TEXT COLLATE "C" NOT NULL, domain TEXT COLLATE "C" NOT NULL, body TEXT NOT NULL, PRIMARY KEY (se, domain)
);

CREATE TABLE top_ups (
    id TEXT COLLATE "C" PRIMARY KEY, card TEXT COLLATE "C" NOT NULL, amount_fen BIGINT NOT NULL, created_at BIGINT NOT NULL,
    open BOOLEAN NOT NULL, body TEXT NOT NULL
);
CREATE INDEX top_ups_of_card ON top_ups (card, created_at, id);
CREATE INDEX top_ups_open ON top_ups (card, created_at, id) WHERE open;
CREATE TABLE attempts (card TEXT COLLATE "C" PRIMARY KEY, count BIGINT NOT NULL, terminal TEXT COLLATE "C" NOT NULL);
"#;

const CLEARING_1: &str = r#"
CREATE TABLE accounts (card TEXT COLLATE "C" PRIMARY KEY, opened_at BIGINT NOT NULL, body TEXT NOT NULL);

CREATE TABLE transfers (
    id TEXT COLLATE "C" PRIMARY KEY,
    card TEXT COLLATE "C", debit TEXT COLLATE "C" NOT NULL, debit_card TEXT COLLATE "C", credit TEXT COLLATE "C" NOT NULL, credit_card TEXT COLLATE "C",
    amount_fen BIGINT NOT NULL CHECK (amount_fen > 0),
    kind TEXT COLLATE "C" NOT NULL, pending TEXT COLLATE "C", code TEXT COLLATE "C" NOT NULL, order_id TEXT COLLATE "C", at BIGINT NOT NULL
);
CREATE INDEX transfers_of_card ON transfers (card, at, id);
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'a transfer is never changed and never deleted'; END $$;
CREATE TRIGGER transfers_are_kept BEFORE UPDATE OR DELETE ON transfers
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER transfers_are_not_emptied BEFORE TRUNCATE ON transfers
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TABLE pending_fates (pending TEXT COLLATE "C" PRIMARY KEY, fate TEXT COLLATE "C" NOT NULL);
CREATE TABLE balances (
    card TEXT COLLATE "C" NOT NULL, account TEXT COLLATE "C" NOT NULL,
    posted_fen BIGINT NOT NULL CHECK (posted_fen >= 0), reserved_fen BIGINT NOT NULL CHECK (reserved_fen >= 0),
    PRIMARY KEY (card, account)
);

CREATE TABLE transactions (
    card TEXT COLLATE "C" NOT NULL, counter BIGINT NOT NULL, kind BIGINT NOT NULL,
    amount_fen BIGINT NOT NULL, balance_after_fen BIGINT, terminal TEXT COLLATE "C" NOT NULL, at BIGINT NOT NULL, tac BYTEA,
    PRIMARY KEY (card, counter, kind)
);
"#;

const PAYMENT_1: &str = r#"
CREATE TABLE orders (
    id TEXT COLLATE "C" PRIMARY KEY, amount_fen BIGINT NOT NULL, paid_at BIGINT, body TEXT NOT NULL
);
CREATE INDEX orders_paid ON orders (paid_at, id) WHERE paid_at IS NOT NULL;
CREATE TABLE refunds (
    id TEXT COLLATE "C" PRIMARY KEY, order_id TEXT COLLATE "C" NOT NULL, amount_fen BIGINT NOT NULL, at BIGINT NOT NULL
);
CREATE INDEX refunds_of_order ON refunds (order_id, at, id);
"#;
