//! Days of business: what they took in, their settlements and the differences of their reconciliation.
//!
//! Each step that books a transfer or records a transaction also writes it on the sheet of its day. A sheet
//! is cut into [`BUCKETS`] by reference, and each row's key leads with the bucket: so a day is not one hot
//! place, a bucket is read in order of reference page by page, and several processes can share a day. A
//! transaction that comes after its day was closed stands on the sheet of the next open day.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tsm_domain::bytes::Sha256Digest;
use tsm_domain::money::audit::CardSums;
use tsm_domain::money::reconciliation::{
    Action, CardItem, Cause, Difference, DifferenceState, EntryKind, Evidence, LedgerItem,
};
use tsm_domain::money::settlement::{BusinessDay, Pair, Settlement, Volume};
use tsm_domain::money::{
    CardTransaction, MoneyTotals, StatementLine, StatementTotals, TransactionKey, TransactionType, Transfer,
    TransferCode, TransferKind,
};
use tsm_domain::{CardNumber, DifferenceId, Fen, InstitutionId, OrderId, TerminalNumber, TransferId};

use super::Books;
use super::collection::AsideClosed;
use crate::error::{Result, StorageError};
use crate::shared::IncidentClosed;

/// Into so many buckets a day's sheet is cut.
pub const BUCKETS: u16 = 1024;

/// A bucket of a day's sheet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// The bucket.
    pub bucket: u16,
    /// The day.
    pub day: BusinessDay,
}

/// A card's transaction on the sheet of its day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DayTransaction {
    /// The order or purchase under which the ledger booked it, and what makes it unique, and its amount.
    pub item: CardItem,
    /// The balance after it, where the record tells it.
    pub balance_after: Option<Fen>,
    /// The terminal.
    pub terminal: TerminalNumber,
    /// When the terminal says it happened.
    pub at: jiff::Timestamp,
}

/// A row of the ledger on the sheet of its day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DayEntry {
    /// What it says.
    pub item: LedgerItem,
    /// The transfer.
    pub id: TransferId,
}

/// A line of the payment statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatementRow {
    /// Its place in the statement, from 1.
    pub number: u64,
    /// The line.
    pub line: StatementLine,
}

/// What cards of one issuer came to at one terminal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TerminalVolume {
    /// The eight digits with which the cards' numbers begin.
    pub prefix: String,
    /// The terminal.
    pub terminal: TerminalNumber,
    /// Number and sum.
    pub volume: Volume,
}

/// What one bucket comes to for one pair.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettlementPart {
    /// The bucket.
    pub bucket: u16,
    /// The pair.
    pub pair: Pair,
    /// Number and sum.
    pub volume: Volume,
}

/// A file of an operator's day. Its text is made again whenever it is asked for; its digest is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettlementFile {
    /// The day.
    pub day: BusinessDay,
    /// For whom.
    pub operator: InstitutionId,
    /// Its number, from 1.
    pub number: u32,
    /// The first bucket in it.
    pub first_bucket: u16,
    /// The last bucket in it.
    pub last_bucket: u16,
    /// Records and their sum.
    pub volume: Volume,
    /// Its length.
    pub bytes: u64,
    /// Its digest.
    pub digest: Sha256Digest,
}

/// The payment statement of a day, as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct StatementHead {
    /// How many lines.
    pub lines: u64,
    /// What they add up to.
    pub totals: StatementTotals,
    /// How many platforms' statements never came, and were not waited for any longer.
    #[serde(default)]
    pub missing: u64,
    /// The numbers with which the lines of the missing ones begin. Such lines count for nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub absent: Vec<u64>,
    /// How many came after the day had gone on without them.
    #[serde(default)]
    pub late: u64,
}

/// A closed day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DayRow {
    /// The day.
    pub day: BusinessDay,
    /// When it was closed.
    pub closed_at: jiff::Timestamp,
    /// When its settlement was complete.
    pub settled_at: Option<jiff::Timestamp>,
    /// Its payment statement, once all of it is here.
    pub statement: Option<StatementHead>,
    /// When its reconciliation was complete.
    pub reconciled_at: Option<jiff::Timestamp>,
    /// How many of its rides the reconciliation worked out once more.
    #[serde(default)]
    pub fares: FareTally,
}

/// How many rides were worked out once more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct FareTally {
    /// Compared with the fare table.
    pub judged: u64,
    /// Not compared: something that the fare depends on is not known.
    pub not_judged: u64,
}

/// Which differences to list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DifferenceQuery {
    /// Of this day.
    pub day: Option<BusinessDay>,
    /// In this state, by its name; any but waiting where none is named.
    pub state: Option<String>,
    /// Of this cause.
    pub cause: Option<Cause>,
    /// Of cards whose numbers begin with these digits.
    pub prefix: Option<String>,
    /// After this one in order of day and identity.
    pub after: Option<(BusinessDay, DifferenceId)>,
}

/// A page of cards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CardPage {
    /// The cards, in order of number.
    pub cards: Vec<CardSums>,
    /// The card after which the next page begins; none after the last.
    pub next: Option<CardNumber>,
}

/// Days, sheets, settlements, differences.
#[async_trait]
pub trait Settlements: Send + Sync {
    /// Closes a day and all days before it: what comes later belongs to the next one. Closing it again changes
    /// nothing.
    async fn close_day(&self, day: BusinessDay, at: jiff::Timestamp) -> Result<DayRow>;
    /// A closed day.
    async fn day(&self, day: BusinessDay) -> Result<Option<DayRow>>;
    /// Closed days, newest first.
    async fn days(&self, limit: usize) -> Result<Vec<DayRow>>;
    /// The first day on whose sheets anything stands.
    async fn first_day(&self) -> Result<Option<BusinessDay>>;
    /// Keeps what has become of a closed day.
    async fn put_day(&self, row: DayRow) -> Result<()>;

    /// Transactions of a bucket after `after`, in order of reference and key.
    async fn day_transactions(
        &self,
        place: Place,
        after: Option<&CardItem>,
        limit: usize,
    ) -> Result<Vec<DayTransaction>>;
    /// Ledger rows of a bucket after `after`, in order of reference, entry and transfer.
    async fn day_entries(
        &self,
        place: Place,
        after: Option<&DayEntry>,
        limit: usize,
    ) -> Result<Vec<DayEntry>>;
    /// Statement lines of a bucket after `after`, in order of order and number.
    async fn statement_lines(
        &self,
        place: Place,
        after: Option<&StatementRow>,
        limit: usize,
    ) -> Result<Vec<StatementRow>>;
    /// What a bucket's purchases come to at each terminal.
    async fn purchases(&self, place: Place) -> Result<Vec<TerminalVolume>>;
    /// Keeps lines of a day's statement. The same line again changes nothing; another in its place is refused.
    async fn put_statement(&self, day: BusinessDay, lines: Vec<StatementRow>) -> Result<()>;
    /// Forgets the lines of one bucket with these numbers, of a statement that was not what its platform
    /// signed. Those of a statement that was taken whole are kept: it is a conflict.
    async fn forget_statement(&self, place: Place, numbers: std::ops::Range<u64>) -> Result<()>;

    /// Keeps what buckets come to. The same again changes nothing.
    async fn put_parts(&self, day: BusinessDay, parts: Vec<SettlementPart>) -> Result<()>;
    /// What a day's buckets come to for one operator, in order of issuer and bucket.
    async fn parts(&self, day: BusinessDay, operator: &InstitutionId) -> Result<Vec<SettlementPart>>;
    /// What a day's parts come to for each pair.
    async fn pairs(&self, day: BusinessDay) -> Result<Vec<(Pair, Volume)>>;
    /// Keeps the settlement of a pair with its transfers. The same again changes nothing; another is refused.
    async fn settle(&self, settlement: Settlement, books: Books) -> Result<()>;
    /// A day's settlements, in order of operator and issuer.
    async fn settlements(&self, day: BusinessDay) -> Result<Vec<Settlement>>;
    /// Keeps an operator's files of a day. The same again changes nothing; others are refused.
    async fn put_files(&self, files: Vec<SettlementFile>) -> Result<()>;
    /// An operator's files of a day, in order of number.
    async fn files(&self, day: BusinessDay, operator: &InstitutionId) -> Result<Vec<SettlementFile>>;

    /// Keeps differences that are not there yet; gives how many were new.
    async fn put_differences(&self, found: Vec<Difference>) -> Result<usize>;
    /// A difference.
    async fn difference(&self, id: DifferenceId) -> Result<Option<Difference>>;
    /// Differences about one reference.
    async fn differences_of(&self, reference: OrderId) -> Result<Vec<Difference>>;
    /// Differences in order of day and identity.
    async fn differences(&self, query: &DifferenceQuery, limit: usize) -> Result<Vec<Difference>>;
    /// Changes a difference from `before` to `after`, with what that does to the books. When it is `after`
    /// already nothing is changed; when it is neither, it is a conflict.
    async fn change_difference(&self, before: &Difference, after: Difference, books: Books) -> Result<()>;
    /// Opens differences that waited until before `day`; gives how many.
    async fn ripen(&self, day: BusinessDay) -> Result<usize>;

    /// A payment that was booked on the issuer's word is confirmed by its own report. Says whether this is
    /// the first time; the notes are kept then only.
    async fn confirm_payment(
        &self,
        order: OrderId,
        card: CardNumber,
        amount: Fen,
        books: Books,
        at: jiff::Timestamp,
    ) -> Result<bool>;

    /// A transfer.
    async fn transfer_by_id(&self, id: TransferId) -> Result<Option<Transfer>>;
    /// What the cards after `after` add up to, in order of number.
    async fn card_sums(&self, after: Option<CardNumber>, limit: usize) -> Result<CardPage>;
    /// The terms of the transfers about cards whose numbers begin with these digits.
    async fn totals_of(&self, prefix: &str) -> Result<MoneyTotals>;
    /// What was lost about the orders of cards whose numbers begin like this: a payment that never came though its
    /// card was credited, a refund that was made once too often. Such transfers are about no card.
    async fn lost_of(&self, prefix: &str) -> Result<MoneyTotals>;
    /// The terms of the transfers that are about no card.
    async fn cardless_totals(&self) -> Result<MoneyTotals>;
}

impl StatementHead {
    /// Whether a line belongs to a statement that is here as a whole.
    pub fn counts(&self, row: &StatementRow) -> bool {
        let of = self.absent.iter().any(|first| row.number >> 40 == first >> 40);
        !of
    }
}

/// What a difference that two people resolved closes in the same step: the row that was kept aside, and the
/// incident. Nothing for any other change of a difference.
pub(crate) fn closed_with(after: &Difference) -> Option<(Evidence, AsideClosed, IncidentClosed)> {
    let evidence = after.evidence?;
    let DifferenceState::Resolved { proposal, approved_by, at } = &after.state else { return None };
    let how = match &proposal.action {
        Action::Book { .. } => "booked",
        Action::Refund { .. } => "refunded",
        Action::WriteOff => "written-off",
        Action::Ignore => "refused",
        Action::FreezeCard => "card-frozen",
        Action::ReleaseCard => "card-released",
        Action::GoOnWithout => "gone-on-without",
    };
    let aside = AsideClosed { at: *at, how: how.to_owned() };
    let incident = IncidentClosed { by: approved_by.person.clone(), at: *at, note: proposal.note.clone() };
    Some((evidence, aside, incident))
}

impl DayRow {
    /// A day that was closed a moment ago.
    pub(crate) fn closed(day: BusinessDay, at: jiff::Timestamp) -> Self {
        let fares = FareTally::default();
        Self { day, closed_at: at, settled_at: None, statement: None, reconciled_at: None, fares }
    }
}

/// The bucket of a reference: its first ten bits, which are random in identities and digests alike.
pub fn bucket_of(reference: OrderId) -> u16 {
    let bytes = reference.as_uuid().into_bytes();
    u16::from_be_bytes([bytes[0], bytes[1]]) >> 6
}

/// A statement that was taken whole stays.
pub(crate) fn may_forget(day: Option<&DayRow>, place: Place, numbers: &std::ops::Range<u64>) -> Result<()> {
    match day.and_then(|row| row.statement.as_ref()) {
        None => Ok(()),
        Some(head) if head.absent.contains(&numbers.start) => Ok(()),
        Some(_) => Err(StorageError::conflict("payment statement", place.day)),
    }
}

/// The day on whose sheet something that happens now stands.
pub(crate) fn open_day(at: jiff::Timestamp, last_closed: Option<BusinessDay>) -> BusinessDay {
    let today = BusinessDay::of(at);
    last_closed.map_or(today, |closed| today.max(closed.next()))
}

/// A transfer's row on its day's sheet; none for transfers that reconciliation does not look at.
pub(crate) fn entry_of(transfer: &Transfer) -> Option<DayEntry> {
    use TransferCode as T;
    match transfer.kind {
        TransferKind::Single | TransferKind::Post(_) => {}
        TransferKind::Pending | TransferKind::Void(_) => return None,
    }
    let is_looked_at = match transfer.code {
        // A hall's cash is in no payment statement.
        T::RefundPaid if transfer.order.is_none() => false,
        T::PaymentConfirmed
        | T::PaymentClaimed
        | T::PaymentReversed
        | T::Loaded
        | T::CashLoaded
        | T::Spent
        | T::TopUpCancelled
        | T::RefundPaid
        | T::Fee
        | T::DepositTaken => true,
        T::Parked
        | T::Unparked
        | T::RefundOrdered
        | T::DepositReturned
        | T::WrittenOff
        | T::WrittenBack
        | T::PaymentLost
        | T::RefundReversed
        | T::RefundLost
        | T::Settled
        | T::SettlementFee
        | T::OperatorPaid => false,
    };
    let item = LedgerItem {
        reference: reference_of(transfer),
        entry: EntryKind::Transfer(transfer.code),
        card: transfer.debit.card().or(transfer.credit.card()),
        amount: transfer.amount,
    };
    is_looked_at.then_some(DayEntry { item, id: transfer.id })
}

/// A transaction's row on its day's sheet, and when the centre took it in; none for those that are neither a
/// load nor a purchase, or moved nothing.
pub(crate) fn transaction_of(
    transaction: &CardTransaction,
    books: &Books,
) -> Option<(DayTransaction, jiff::Timestamp)> {
    match transaction.key.kind {
        TransactionType::Load | TransactionType::Purchase | TransactionType::CompositePurchase => {}
        TransactionType::Unload | TransactionType::OverdraftUpdate => return None,
    }
    if transaction.amount.is_zero() {
        return None;
    }
    let moves = [TransferCode::Loaded, TransferCode::CashLoaded, TransferCode::Spent];
    let booked = books.transfers.iter().find(|transfer| moves.contains(&transfer.code));
    let (reference, at) = match booked {
        Some(transfer) => (reference_of(transfer), transfer.at),
        None => (reference_of_key(transaction.key), transaction.at),
    };
    let item = CardItem { reference, key: transaction.key, amount: transaction.amount };
    let CardTransaction { balance_after, terminal, .. } = *transaction;
    Some((DayTransaction { item, balance_after, terminal, at: transaction.at }, at))
}

fn reference_of(transfer: &Transfer) -> OrderId {
    transfer.order.unwrap_or(OrderId::from_uuid(transfer.id.as_uuid()))
}

// Only for a transaction that was recorded without an entry, which reconciliation then shows.
fn reference_of_key(key: TransactionKey) -> OrderId {
    let mut hash = Sha256::new();
    hash.update(key.card.as_str());
    hash.update(key.counter.to_be_bytes());
    hash.update([key.kind.to_byte()]);
    let digest = hash.finalize();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    OrderId::from_uuid(uuid::Builder::from_custom_bytes(bytes).into_uuid())
}

/// The eight digits with which a card's number begins.
pub(crate) fn prefix_of(card: &CardNumber) -> &str {
    &card.as_str()[..8]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_after_the_cut_stands_on_the_next_open_day() {
        let day = |text: &str| text.parse::<BusinessDay>().unwrap();
        let at = "2026-11-20T15:00:00Z".parse().unwrap();
        assert_eq!(open_day(at, None), day("2026-11-20"));
        assert_eq!(open_day(at, Some(day("2026-11-19"))), day("2026-11-20"));
        assert_eq!(open_day(at, Some(day("2026-11-20"))), day("2026-11-21"));
        assert_eq!(open_day(at, Some(day("2026-11-22"))), day("2026-11-23"));
    }

    #[test]
    fn buckets_are_the_first_ten_bits() {
        let bucket = |n: u128| bucket_of(OrderId::from_uuid(uuid::Uuid::from_u128(n)));
        assert_eq!((bucket(0), bucket(u128::MAX)), (0, BUCKETS - 1));
        assert_eq!(bucket(1 << 118), 1);
        assert_eq!(bucket((1 << 118) - 1), 0);
    }
}
