//! Three-way reconciliation of a day: the payment platform's statement, the ledger and the cards' transactions.
//!
//! All three name what they are about by one reference: the order of a top-up or refund, or the identity of a
//! card's purchase. [`judge`] looks at everything of one day that has the same reference, so three sorted lists
//! are merged without holding any of them. What does not meet on its day is kept as a difference and may be
//! explained by a later day: a payment a second before midnight is in one day's statement and the next day's
//! ledger.

mod difference;
mod words;

use crate::amount::Fen;
use crate::id::{CardNumber, OrderId};
use crate::money::ledger::TransferCode;
use crate::money::statement::{StatementKind, StatementLine};
use crate::money::transaction::{TransactionKey, TransactionType};

pub use difference::{
    Action, ActionRefusal, Clerk, Difference, DifferenceRefusal, DifferenceState, Evidence, Explanation,
    MoneyIs, Numbered, Proposal,
};
pub use words::Cause;

/// What the ledger or the journal says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EntryKind {
    /// A transfer.
    Transfer(TransferCode),
    /// The payment's own report, which came after the payment was booked on the issuer's word.
    PaymentReported,
}

/// A row of the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerItem {
    /// The order.
    pub reference: OrderId,
    /// What it says.
    pub entry: EntryKind,
    /// The card.
    pub card: Option<CardNumber>,
    /// The amount.
    pub amount: Fen,
}

/// A card's transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CardItem {
    /// The order or purchase under which the ledger booked it.
    pub reference: OrderId,
    /// What makes it unique.
    pub key: TransactionKey,
    /// The amount.
    pub amount: Fen,
}

/// All of one day with one reference.
#[derive(Debug, Clone, Copy)]
pub struct Group<'a> {
    /// The payment statement's lines.
    pub statement: &'a [StatementLine],
    /// The ledger's rows.
    pub ledger: &'a [LedgerItem],
    /// The cards' transactions.
    pub cards: &'a [CardItem],
}

/// Something that does not meet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Why, as far as one can tell.
    pub cause: Cause,
    /// The card, where it is known.
    pub card: Option<CardNumber>,
    /// The transaction of the card.
    pub transaction: Option<TransactionKey>,
    /// What our books say.
    pub ours: Option<Fen>,
    /// What the other side says.
    pub theirs: Option<Fen>,
}

/// What a day says about a reference that an earlier day's difference may have waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Arrivals {
    /// A payment is in the statement.
    pub paid_in_statement: Option<Fen>,
    /// A payment was booked.
    pub paid_in_ledger: Option<Fen>,
    /// The payment's own report came.
    pub reported: bool,
    /// The order was credited or cancelled.
    pub settled: bool,
    /// A refund is in the statement.
    pub refund_in_statement: Option<Fen>,
    /// A refund was booked.
    pub refund_in_ledger: Option<Fen>,
}

impl Arrivals {
    /// What the statement alone says.
    #[must_use]
    pub fn of_statement(&self) -> Self {
        Self {
            paid_in_statement: self.paid_in_statement,
            refund_in_statement: self.refund_in_statement,
            ..Self::default()
        }
    }
}

/// What a group comes to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Judgement {
    /// What does not meet.
    pub findings: Vec<Finding>,
    /// What arrived.
    pub arrivals: Arrivals,
}

impl EntryKind {
    /// The name, as stores write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Transfer(code) => code.name(),
            Self::PaymentReported => "payment_reported",
        }
    }

    /// The entry that has this name.
    pub fn from_name(name: &str) -> Option<Self> {
        if name == Self::PaymentReported.name() {
            return Some(Self::PaymentReported);
        }
        TransferCode::from_name(name).map(Self::Transfer)
    }
}

impl Judgement {
    /// The same on a day whose statements did not all come: that a payment is in none of them says nothing about it.
    #[must_use]
    pub fn without_statement(mut self) -> Self {
        for finding in &mut self.findings {
            if finding.cause == Cause::NotInStatement {
                finding.cause = Cause::StatementMissing;
            }
        }
        self
    }

    /// The same, after a decision that one of its amounts is unknown to our books any more: comparing it with them
    /// would count it twice.
    #[must_use]
    pub fn with_reappeared(mut self, reappeared: Finding) -> Self {
        let compared: &[Cause] = match reappeared.cause {
            Cause::RefundExtra => &[Cause::RefundAmountDiffers],
            _ => &[Cause::AmountDiffers, Cause::PaidTwice],
        };
        self.findings.retain(|finding| !compared.contains(&finding.cause));
        if self.findings.iter().all(|finding| finding.cause != reappeared.cause) {
            self.findings.push(reappeared);
        }
        self
    }

    /// Whether earlier days' differences have to be looked at.
    pub fn needs_history(&self) -> bool {
        let Arrivals { paid_in_ledger, reported, settled, .. } = self.arrivals;
        !self.findings.is_empty() || paid_in_ledger.is_none() && (reported || settled)
    }
}

/// Judges what one day says about one reference.
pub fn judge(group: Group<'_>) -> Judgement {
    let ledger = LedgerSums::of(group.ledger);
    let statement = StatementSums::of(group.statement);
    let card = group.ledger.iter().find_map(|item| item.card);
    let mut findings = Vec::new();
    let mut find = |cause, ours: Option<Fen>, theirs: Option<Fen>| {
        findings.push(Finding { cause, card, transaction: None, ours, theirs });
    };
    match (ledger.paid, statement.paid) {
        (Some(ours), Some(theirs)) if ours == theirs => {}
        (Some(ours), Some(theirs)) if statement.payments > 1 => {
            find(Cause::PaidTwice, Some(ours), Some(theirs))
        }
        (Some(ours), Some(theirs)) => find(Cause::AmountDiffers, Some(ours), Some(theirs)),
        (Some(ours), None) if ledger.in_doubt() => find(Cause::CreditWithoutPayment, Some(ours), None),
        (Some(ours), None) => find(Cause::NotInStatement, Some(ours), None),
        (None, Some(theirs)) => find(Cause::PaidUnknownToUs, None, Some(theirs)),
        (None, None) => {}
    }
    match (ledger.refunded, statement.refunded) {
        (Some(ours), Some(theirs)) if ours == theirs => {}
        (Some(ours), Some(theirs)) => find(Cause::RefundAmountDiffers, Some(ours), Some(theirs)),
        (Some(ours), None) => find(Cause::RefundMissing, Some(ours), None),
        (None, Some(theirs)) => find(Cause::RefundExtra, None, Some(theirs)),
        (None, None) => {}
    }
    if let Some(ours) = ledger.paid.filter(|_| !ledger.settled) {
        find(Cause::InFlightTooLong, Some(ours), None);
    }
    judge_cards(&ledger, group.cards, card, &mut findings);
    let arrivals = Arrivals {
        paid_in_statement: statement.paid,
        paid_in_ledger: ledger.paid,
        reported: ledger.reported,
        settled: ledger.settled,
        refund_in_statement: statement.refunded,
        refund_in_ledger: ledger.refunded,
    };
    Judgement { findings, arrivals }
}

fn judge_cards(
    ledger: &LedgerSums,
    cards: &[CardItem],
    card: Option<CardNumber>,
    findings: &mut Vec<Finding>,
) {
    let is_load = |item: &&CardItem| item.key.kind == TransactionType::Load;
    let is_purchase = |item: &&CardItem| {
        matches!(item.key.kind, TransactionType::Purchase | TransactionType::CompositePurchase)
    };
    let loads: (Vec<_>, Option<Fen>) = (cards.iter().filter(is_load).collect(), ledger.loaded);
    let purchases: (Vec<_>, Option<Fen>) = (cards.iter().filter(is_purchase).collect(), ledger.spent);
    for (transactions, booked) in [loads, purchases] {
        let theirs = sum(transactions.iter().map(|item| item.amount)).filter(|theirs| !theirs.is_zero());
        let cause = match (booked, theirs) {
            (Some(ours), Some(theirs)) if ours == theirs => continue,
            (None, None) => continue,
            (Some(_), Some(_)) => Cause::TransactionAmountDiffers,
            (Some(_), None) => Cause::EntryWithoutTransaction,
            (None, Some(_)) => Cause::TransactionWithoutEntry,
        };
        let transaction = transactions.first().map(|item| item.key);
        let card = transaction.map(|key| key.card).or(card);
        findings.push(Finding { cause, card, transaction, ours: booked, theirs });
    }
}

fn sum(amounts: impl Iterator<Item = Fen>) -> Option<Fen> {
    let mut amounts = amounts.peekable();
    amounts.peek()?;
    Some(amounts.sum())
}

struct LedgerSums {
    paid: Option<Fen>,
    confirmed: bool,
    reported: bool,
    settled: bool,
    refunded: Option<Fen>,
    loaded: Option<Fen>,
    spent: Option<Fen>,
}

impl LedgerSums {
    fn of(ledger: &[LedgerItem]) -> Self {
        let has = |entry: EntryKind| ledger.iter().any(|item| item.entry == entry);
        let of = |codes: &[TransferCode]| {
            let named =
                |item: &&LedgerItem| codes.iter().any(|code| item.entry == EntryKind::Transfer(*code));
            sum(ledger.iter().filter(named).map(|item| item.amount))
        };
        let settles = [TransferCode::Loaded, TransferCode::TopUpCancelled, TransferCode::PaymentReversed];
        Self {
            paid: of(&[TransferCode::PaymentConfirmed, TransferCode::PaymentClaimed]),
            confirmed: has(EntryKind::Transfer(TransferCode::PaymentConfirmed)),
            reported: has(EntryKind::PaymentReported),
            // What was taken as a fee or deposit is not in flight either.
            settled: of(&settles).or_else(|| of(&[TransferCode::Fee, TransferCode::DepositTaken])).is_some(),
            refunded: of(&[TransferCode::RefundPaid]),
            loaded: of(&[TransferCode::Loaded, TransferCode::CashLoaded]),
            spent: of(&[TransferCode::Spent]),
        }
    }

    const fn in_doubt(&self) -> bool {
        !self.confirmed && !self.reported
    }
}

struct StatementSums {
    paid: Option<Fen>,
    payments: usize,
    refunded: Option<Fen>,
}

impl StatementSums {
    fn of(statement: &[StatementLine]) -> Self {
        let is_payment = |line: &&StatementLine| matches!(line.kind, StatementKind::Paid);
        let is_refund = |line: &&StatementLine| matches!(line.kind, StatementKind::Refunded { .. });
        Self {
            paid: sum(statement.iter().filter(is_payment).map(|line| line.amount)),
            payments: statement.iter().filter(is_payment).count(),
            refunded: sum(statement.iter().filter(is_refund).map(|line| line.amount)),
        }
    }
}

#[cfg(test)]
mod tests;
