//! Receipts for riders, and what the centre knows of a card with the evidence for it.
//!
//! A receipt is made from the journal when it is asked for, so it can never say what the journal does not.

use std::sync::Arc;

use tsm_api::HexBytes;
use tsm_api::clearing::AccountState;
use tsm_api::clearing::evidence::{
    Activity, CardFacts, CardLine, CardMoney, CardPage, CardQuery, CardsQuery, ClosingWord, CounterGap,
    IncidentFact, JournalFact, ListWord, LockFact, OrderFact, ProofWord, ReceiptPage, ReceiptQuery,
    RecentTransaction, SealFact, TransactionFact, TransactionWord,
};
use tsm_api::endpoint::Nothing;
use tsm_api::ids::{AccountId, OrderId};
use tsm_api::problem::{Problem, ProblemCode, both};
use tsm_api::receipt::{self, Receipt, ReceiptKind as Wire, SignedReceipt};
use tsm_domain::money::black_list::ListKind;
use tsm_domain::money::journal::CardReplay;
use tsm_domain::money::receipt::{ReceiptFacts, ReceiptKind, receipts_of};
use tsm_domain::money::{
    AccountKind, CardAccount, CardAccountState, CardTransaction, ClosingPurpose, LoadProof, TransactionType,
    Transfer, TransferCode,
};
use tsm_domain::{CardNumber, Fen};
use tsm_storage::StorageError;
use tsm_storage::clearing::{AccountRow, event_of, replay};
use tsm_storage::shared::{ChainKey, Entry, IncidentFilter};

use super::Clearing;
use super::access::Institution;
use super::write_offs::written_off;
use crate::names;
use crate::purse::{card_from_wire, card_to_wire};
use crate::server::Call;
use crate::stored;

/// Entries that one page of receipts covers.
const ENTRIES: usize = 200;
/// Cards in one page.
const CARDS: usize = 50;
/// Pages that one search looks at.
const PAGES_LOOKED_AT: usize = 400;
/// Transactions that are shown of a card.
const SHOWN: usize = 8;
/// Seals looked at for chains that grew lately.
const SEALS: usize = 64;
/// Cards whose last transactions are looked at.
const ACTIVE: usize = 64;
/// Open incidents that are searched.
const INCIDENTS: usize = 1_000;

fn problem(error: StorageError) -> Problem {
    stored::problem(&error)
}

/// The receipts of a card.
pub(super) async fn receipts(
    centre: Arc<Clearing>,
    call: Call<Institution, ReceiptQuery>,
) -> Result<ReceiptPage, Problem> {
    let card = card_from_wire(&call.request.card)?;
    centre.check_keeper_of(&call.caller.0, card)?;
    centre.known(card).await?;
    centre.receipts_after(card, call.request.after).await
}

/// Where a card and its money are.
pub(super) async fn explanation(
    centre: Arc<Clearing>,
    call: Call<Institution, CardQuery>,
) -> Result<CardFacts, Problem> {
    let card = card_from_wire(&call.request.card)?;
    centre.check_keeper_of(&call.caller.0, card)?;
    centre.facts(card).await
}

/// Cards in order.
pub(super) async fn cards(
    centre: Arc<Clearing>,
    call: Call<Institution, CardsQuery>,
) -> Result<CardPage, Problem> {
    centre.check_keeper(&call.caller.0)?;
    let mut after = call.request.after.as_ref().map(card_from_wire).transpose()?;
    let ending = call.request.ending.unwrap_or_default();
    if !ending.is_empty() && (ending.len() < 4 || !ending.bytes().all(|byte| byte.is_ascii_digit())) {
        return Err(Problem::because(
            ProblemCode::ValueRefused,
            both("Give at least four digits.", "请至少输入四位数字。"),
        ));
    }
    let mut cards = Vec::new();
    let looked_at = if ending.is_empty() { 1 } else { PAGES_LOOKED_AT };
    for _ in 0..looked_at {
        let rows = centre.store.accounts(after, CARDS).await.map_err(problem)?;
        after = rows.last().filter(|_| rows.len() == CARDS).map(|row| row.card);
        for row in rows.iter().filter(|row| row.card.as_str().ends_with(&ending)) {
            cards.push(centre.line(row).await?);
        }
        if after.is_none() || cards.len() >= CARDS {
            break;
        }
    }
    Ok(CardPage { cards, next: after.map(card_to_wire) })
}

/// The last transactions of the cards that moved lately: those not sealed yet, and those of the last seal.
pub(super) async fn activity(
    centre: Arc<Clearing>,
    call: Call<Institution, Nothing>,
) -> Result<Activity, Problem> {
    centre.check_keeper(&call.caller.0)?;
    let mut heads = centre.store.unsealed_heads(ACTIVE).await.map_err(problem)?;
    // Each seal names the chains that grew since the one before it.
    let newest = centre.store.last_seal().await.map_err(problem)?.map_or(0, |last| last.seal.number);
    for seal in (1..=newest).rev().take(SEALS) {
        if heads.len() >= ACTIVE {
            break;
        }
        heads.extend(centre.store.sealed_heads(seal).await.map_err(problem)?.into_iter().take(ACTIVE));
    }
    let card_of = |chain: &str| chain.strip_prefix("card/").and_then(|card| card.parse::<CardNumber>().ok());
    let mut cards: Vec<_> = heads.iter().filter_map(|head| card_of(&head.chain)).collect();
    cards.sort_unstable();
    cards.dedup();
    let mut last = Vec::new();
    for card in cards {
        let found = centre.store.transactions_of(card, SHOWN).await.map_err(problem)?;
        last.extend(found.iter().map(|transaction| RecentTransaction {
            account: account_id(card),
            masked: card.to_string(),
            transaction: fact(transaction),
        }));
    }
    last.sort_by_key(|recent| std::cmp::Reverse((recent.transaction.at, recent.masked.clone())));
    last.truncate(2 * SHOWN);
    Ok(Activity { last })
}

impl Clearing {
    async fn receipts_after(&self, card: CardNumber, after: u64) -> Result<ReceiptPage, Problem> {
        // A receipt may hang on what came before its entry, so the journal is read from its first.
        let mut before = CardReplay::new(card);
        let mut receipts = Vec::new();
        let mut read = 0;
        let mut next = None;
        loop {
            let page = self.store.chain(ChainKey::Card(card), read, ENTRIES).await.map_err(problem)?;
            for entry in &page {
                let event = event_of(entry).map_err(problem)?;
                if entry.number > after {
                    for facts in receipts_of(&before, &event) {
                        receipts.push(self.signed(card, entry, &facts)?);
                    }
                }
                // What cannot be replayed gives no further receipts; the comparison names it.
                if before.apply(&event).is_err() {
                    tracing::error!(%card, entry = entry.number, "a journal cannot be replayed");
                    return Ok(ReceiptPage { receipts, key: self.journal_key()?, next: None });
                }
                read = entry.number;
            }
            if page.len() < ENTRIES {
                break;
            }
            if receipts.len() >= ENTRIES {
                next = Some(read);
                break;
            }
        }
        Ok(ReceiptPage { receipts, key: self.journal_key()?, next })
    }

    fn signed(
        &self,
        card: CardNumber,
        entry: &Entry,
        facts: &ReceiptFacts,
    ) -> Result<SignedReceipt, Problem> {
        let receipt = Receipt {
            v: receipt::VERSION,
            card: card.to_string(),
            kind: kind_to_wire(facts.kind),
            amount_fen: facts.amount.get(),
            balance_fen: facts.balance_after.map(Fen::get),
            order: facts.order.map(|order| OrderId(order.as_uuid())),
            counter: facts.counter,
            terminal: facts.terminal.map(|terminal| terminal.to_string()),
            at: facts.at.unwrap_or(entry.note.at),
            entry: entry.number,
            hash: HexBytes(entry.hash.0.to_vec()),
        };
        let signature = HexBytes(self.sign_journal(&receipt.signed_bytes())?);
        Ok(SignedReceipt { receipt, signature })
    }

    async fn line(&self, row: &AccountRow) -> Result<CardLine, Problem> {
        let holds = async |kind| self.store.balance(row.card, kind).await.map_err(problem);
        let kept = [holds(AccountKind::Parked).await?, holds(AccountKind::RefundPayable).await?];
        Ok(CardLine {
            account: account_id(row.card),
            card: card_to_wire(row.card),
            masked: row.card.to_string(),
            state: state_to_wire(&row.account.state),
            frozen: row.account.freeze.is_some(),
            se: row.account.state.carrier().map(|se| names::masked(&se.to_string())),
            purse_fen: holds(AccountKind::Purse).await?.posted.get(),
            in_flight_fen: holds(AccountKind::InFlight).await?.posted.get(),
            kept_fen: kept.iter().map(|balance| balance.posted).sum::<Fen>().get(),
        })
    }

    /// Everything that the centre knows of a card.
    pub(super) async fn facts(&self, card: CardNumber) -> Result<CardFacts, Problem> {
        let row = self.known(card).await?;
        let transfers = self.store.transfers_of(card).await.map_err(problem)?;
        let transactions = self.store.transactions_of(card, usize::MAX).await.map_err(problem)?;
        let incidents = self.store.incidents(IncidentFilter::Open, INCIDENTS).await.map_err(problem)?;
        let incidents = incidents.into_iter().filter(|incident| incident.card == Some(card));
        let CardAccount { state, freeze } = &row.account;
        Ok(CardFacts {
            account: account_id(card),
            card: card.to_string(),
            state: state_to_wire(state),
            closing: match state {
                CardAccountState::Closing { purpose: ClosingPurpose::Return, .. } => {
                    Some(ClosingWord::Return)
                }
                CardAccountState::Closing { purpose: ClosingPurpose::Migration, .. } => {
                    Some(ClosingWord::Migration)
                }
                _ => None,
            },
            se: state.carrier().map(|se| names::masked(&se.to_string())),
            opened_at: row.opened_at,
            frozen: freeze.as_ref().map(|freeze| freeze.reason.clone()),
            lists: self.lists_of(card).await?,
            locked: self.lock_of(card).await?,
            money: self.money(card, &transfers).await?,
            transactions: transactions.iter().take(SHOWN).map(fact).collect(),
            gaps: gaps(&transactions),
            in_flight: unsettled(&transfers),
            incidents: incidents
                .map(|incident| IncidentFact { kind: incident.kind, text: incident.text, at: incident.at })
                .collect(),
            journal: self.journal_of(card).await?,
            issuer: None,
        })
    }

    async fn money(&self, card: CardNumber, transfers: &[Transfer]) -> Result<CardMoney, Problem> {
        let sum = |codes: &[TransferCode]| {
            let of_code = transfers.iter().filter(|transfer| codes.contains(&transfer.code));
            of_code.map(|transfer| transfer.amount).sum::<Fen>().get()
        };
        let holds = async |kind| {
            self.store.balance(card, kind).await.map(|balance| balance.posted.get()).map_err(problem)
        };
        Ok(CardMoney {
            paid_in_fen: sum(&[
                TransferCode::PaymentConfirmed,
                TransferCode::PaymentClaimed,
                TransferCode::CashLoaded,
            ]),
            purse_fen: holds(AccountKind::Purse).await?,
            in_flight_fen: holds(AccountKind::InFlight).await?,
            parked_fen: holds(AccountKind::Parked).await?,
            refund_payable_fen: holds(AccountKind::RefundPayable).await?,
            spent_fen: sum(&[TransferCode::Spent]),
            refunded_fen: sum(&[TransferCode::RefundPaid]),
            written_off_fen: written_off(transfers).get(),
        })
    }

    /// Which terminal locked the card since it was listed.
    async fn lock_of(&self, card: CardNumber) -> Result<Option<LockFact>, Problem> {
        let listing = self.store.listing(card).await.map_err(problem)?;
        let locked = listing.and_then(|listing| listing.locked);
        Ok(locked.map(|lock| LockFact { terminal: lock.terminal.to_string(), at: lock.at }))
    }

    /// The lists that the card's journal says it is on.
    async fn lists_of(&self, card: CardNumber) -> Result<Vec<ListWord>, Problem> {
        let mut replay = CardReplay::new(card);
        let mut read = 0;
        loop {
            let page = self.store.chain(ChainKey::Card(card), read, ENTRIES).await.map_err(problem)?;
            for entry in &page {
                read = entry.number;
                // A journal that cannot be replayed is told of by the comparison.
                let _ = replay.apply(&event_of(entry).map_err(problem)?);
            }
            if page.len() < ENTRIES {
                break;
            }
        }
        let word = |list| match list {
            ListKind::Black => ListWord::Black,
            ListKind::Grey => ListWord::Grey,
        };
        Ok(replay.lists().map(word).collect())
    }

    async fn journal_of(&self, card: CardNumber) -> Result<JournalFact, Problem> {
        let chain = ChainKey::Card(card);
        let compared = replay::compare_chain(&*self.store, chain.clone()).await.map_err(problem)?;
        let entries = compared.entries;
        let last = self.store.chain(chain.clone(), entries.saturating_sub(1), 1).await.map_err(problem)?;
        let last = last.into_iter().next();
        // The newest seal over the chain: the first one over the last entry that has any.
        let mut sealed = None;
        let mut number = 1;
        while let Some(over) = self.store.seal_over(chain.clone(), number).await.map_err(problem)? {
            number = over.head.number + 1;
            sealed = Some(SealFact { seal: over.seal, entry: over.head.number });
        }
        Ok(JournalFact {
            entries,
            hash: HexBytes(last.as_ref().map_or(Entry::START, |entry| entry.hash).0.to_vec()),
            event: last.map(|entry| entry.note.event).unwrap_or_default(),
            holds: compared.findings.is_empty(),
            findings: compared.findings.iter().map(|finding| finding.fault.to_string()).collect(),
            sealed,
        })
    }
}

/// The identity under which others speak of a card's account.
pub(super) fn account_id(card: CardNumber) -> AccountId {
    AccountId(names::derived(&["account", card.as_str()]))
}

/// How an account stands, on the wire.
pub(super) const fn state_to_wire(state: &CardAccountState) -> AccountState {
    match state {
        CardAccountState::Opening { .. } => AccountState::Opening,
        CardAccountState::Live { .. } => AccountState::Live,
        CardAccountState::Closing { .. } => AccountState::Closing,
        CardAccountState::Parked { .. } => AccountState::Parked,
        CardAccountState::RefundPayable { .. } => AccountState::RefundPayable,
        CardAccountState::Refunded => AccountState::Refunded,
    }
}

const fn kind_to_wire(kind: ReceiptKind) -> Wire {
    match kind {
        ReceiptKind::Opened => Wire::Opened,
        ReceiptKind::ToppedUp => Wire::ToppedUp,
        ReceiptKind::Spent => Wire::Spent,
        ReceiptKind::Returned => Wire::Returned,
        ReceiptKind::MigratedOut => Wire::MigratedOut,
        ReceiptKind::MigratedIn => Wire::MigratedIn,
        ReceiptKind::TopUpCancelled => Wire::TopUpCancelled,
        ReceiptKind::Refunded => Wire::Refunded,
    }
}

fn fact(transaction: &CardTransaction) -> TransactionFact {
    TransactionFact {
        kind: match transaction.key.kind {
            TransactionType::Load => TransactionWord::Load,
            TransactionType::Unload => TransactionWord::Unload,
            TransactionType::Purchase => TransactionWord::Purchase,
            TransactionType::OverdraftUpdate => TransactionWord::OverdraftUpdate,
            TransactionType::CompositePurchase => TransactionWord::Transit,
        },
        amount_fen: transaction.amount.get(),
        balance_fen: transaction.balance_after.map(Fen::get),
        counter: transaction.key.counter,
        terminal: transaction.terminal.to_string(),
        at: transaction.at,
        proof: match transaction.proof {
            LoadProof::Tac(_) => ProofWord::Tac,
            LoadProof::TacUnavailable => ProofWord::Counter,
        },
    }
}

/// The numbers that are missing between the transactions that came. A card's first of a kind has number 1.
fn gaps(transactions: &[CardTransaction]) -> Vec<CounterGap> {
    let mut found = Vec::new();
    for online in [true, false] {
        let of_counter = transactions.iter().filter(|transaction| transaction.key.kind.is_online() == online);
        let mut counters: Vec<_> = of_counter.map(|transaction| transaction.key.counter).collect();
        counters.sort_unstable();
        let mut expected = 1;
        for counter in counters {
            if counter > expected {
                found.push(CounterGap { online, first: expected, last: counter - 1 });
            }
            expected = counter.saturating_add(1);
        }
    }
    found
}

/// Orders that were paid, and neither loaded nor cancelled.
fn unsettled(transfers: &[Transfer]) -> Vec<OrderFact> {
    let is_settled = |paid: &&Transfer| {
        !transfers.iter().any(|other| {
            other.order == paid.order
                && matches!(
                    other.code,
                    TransferCode::Loaded | TransferCode::TopUpCancelled | TransferCode::PaymentReversed
                )
        })
    };
    let paid = transfers.iter().filter(|transfer| {
        matches!(transfer.code, TransferCode::PaymentConfirmed | TransferCode::PaymentClaimed)
    });
    paid.filter(is_settled)
        .filter_map(|paid| {
            let order = OrderId(paid.order?.as_uuid());
            Some(OrderFact { order, amount_fen: paid.amount.get(), at: paid.at })
        })
        .collect()
}
