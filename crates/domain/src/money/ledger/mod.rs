//! The double-entry ledger: immutable transfers, checked by guards in a fixed order.
//!
//! A transfer moves money from the account it debits to the account it credits. Nothing is ever changed
//! or deleted: what a pending transfer reserved is later posted or voided by another transfer. Accounts of
//! a card hold a balance that may not go below zero; control accounts (paid in, spent, refunded and the
//! like) hold no running balance, so that no row is shared by all cards: their totals are summed.
//!
//! [`check`] is a pure function over a [`LedgerView`]; each store brings a view of its own and applies the
//! [`Posting`] that comes back in the same atomic step.

mod book;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use book::Ledger;

use crate::amount::Fen;
use crate::id::{CardNumber, OrderId, TransferId};

/// The kinds of accounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum AccountKind {
    /// What the payment platform confirmed. Credited only to take a payment back that was none.
    PaidIn,
    /// What top-up terminals took in cash. Debited only.
    CashIn,
    /// Paid, and not yet proven to be in the purse.
    InFlight,
    /// The last proven balance of a purse.
    Purse,
    /// The balance of a card that is parked at the centre.
    Parked,
    /// Owed to the rider.
    RefundPayable,
    /// Spent, proven by a TAC.
    Spent,
    /// Paid back.
    Refunded,
    /// Kept as a fee.
    Fees,
    /// Held as a deposit.
    Deposits,
    /// Written off with four eyes. Below zero when more was lost than was kept.
    WriteOffs,
    /// Settled, and owed to the operators of terminals.
    OperatorPayable,
    /// Paid to the operators of terminals.
    OperatorPaid,
}

/// An account: a kind, and the card whose it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Account {
    /// One of a card's accounts.
    Card(CardNumber, AccountKind),
    /// A control account.
    Control(AccountKind),
}

/// Why a transfer was made, which also fixes the kinds of accounts between which it may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum TransferCode {
    /// A payment was confirmed.
    PaymentConfirmed,
    /// A load is proven.
    Loaded,
    /// A cash load is proven.
    CashLoaded,
    /// A purchase is proven by its TAC.
    Spent,
    /// A blocked card was read and parked.
    Parked,
    /// A parked card went live on another SE.
    Unparked,
    /// A refund of a parked card was ordered.
    RefundOrdered,
    /// A paid top-up that was never credited was cancelled.
    TopUpCancelled,
    /// A refund was paid out.
    RefundPaid,
    /// A fee of an opening or a return.
    Fee,
    /// A deposit was taken.
    DepositTaken,
    /// A deposit is given back.
    DepositReturned,
    /// Two people wrote off what a card that is closed for good spent at terminals that never reported it.
    WrittenOff,
    /// Some of it was reported after all.
    WrittenBack,
    /// A card took in a top-up whose payment only the issuer's word supports: in doubt until the payment's
    /// own report or the payment statement confirms it.
    PaymentClaimed,
    /// Two people found that an order was never paid; its money had not reached a card.
    PaymentReversed,
    /// Two people found that a payment never came whose money a card has: a loss.
    PaymentLost,
    /// Two people found that a refund never went out: it is owed again.
    RefundReversed,
    /// Two people found that more was paid back than was owed: a loss.
    RefundLost,
    /// A day's purchases were settled: the operator's part.
    Settled,
    /// A day's purchases were settled: what issuer and centre keep.
    SettlementFee,
    /// An operator was paid for a day.
    OperatorPaid,
}

/// The kind of a transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum TransferKind {
    /// Moves money at once.
    Single,
    /// Reserves money.
    Pending,
    /// Moves what that pending transfer reserved, or less of it, and releases the rest.
    Post(TransferId),
    /// Releases what that pending transfer reserved.
    Void(TransferId),
}

/// A transfer. Immutable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transfer {
    /// Its identity, chosen by the caller, so that repeating it changes nothing.
    pub id: TransferId,
    /// The account that gives.
    pub debit: Account,
    /// The account that takes.
    pub credit: Account,
    /// The amount.
    pub amount: Fen,
    /// Its kind.
    pub kind: TransferKind,
    /// Why.
    pub code: TransferCode,
    /// The order it belongs to.
    pub order: Option<OrderId>,
    /// When.
    pub at: jiff::Timestamp,
}

/// The balance of a card's account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Balance {
    /// What the account holds.
    pub posted: Fen,
    /// What of it is reserved by pending transfers out.
    pub reserved: Fen,
}

/// What became of a pending transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum PendingFate {
    /// Still pending.
    Open,
    /// Posted.
    Posted,
    /// Voided.
    Voided,
}

/// What the guards look at.
pub trait LedgerView {
    /// What a look-up may fail with.
    type Error;

    /// The transfer with this identity.
    fn transfer(&self, id: TransferId) -> Result<Option<Transfer>, Self::Error>;

    /// What became of a pending transfer.
    fn fate(&self, pending: TransferId) -> Result<PendingFate, Self::Error>;

    /// The balance of a card's account.
    fn balance(&self, card: CardNumber, kind: AccountKind) -> Result<Balance, Self::Error>;
}

/// What a transfer changes. Empty when the same transfer was made before.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Posting {
    /// The transfer to append, unless it was made before.
    pub append: Option<Transfer>,
    /// The new balances of cards' accounts.
    pub balances: Vec<(CardNumber, AccountKind, Balance)>,
}

/// Why a transfer is refused. The guards run in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TransferRefusal {
    /// 1. Another transfer has this identity.
    #[error("transfer {0} exists already and is a different one")]
    ExistsWithDifferences(TransferId),
    /// 2. Nothing is moved.
    #[error("a transfer moves at least one fen")]
    AmountZero,
    /// 3. From an account to itself.
    #[error("a transfer is between two different accounts")]
    AccountsEqual,
    /// 4. The accounts do not fit the code.
    #[error("a transfer for {code:?} goes from {from:?} to {to:?}")]
    AccountsDoNotFit {
        /// The code.
        code: TransferCode,
        /// The kind it debits.
        from: AccountKind,
        /// The kind it credits.
        to: AccountKind,
    },
    /// 5. A card's money goes to another card.
    #[error("money does not go from one card to another")]
    AnotherCard,
    /// 6. The pending transfer is unknown.
    #[error("there is no pending transfer {0}")]
    PendingUnknown(TransferId),
    /// 7. The pending transfer is between other accounts.
    #[error("pending transfer {0} is between other accounts")]
    PendingDiffers(TransferId),
    /// 8. The pending transfer was posted.
    #[error("pending transfer {0} was posted already")]
    PendingPosted(TransferId),
    /// 9. The pending transfer was voided.
    #[error("pending transfer {0} was voided already")]
    PendingVoided(TransferId),
    /// 10. More than was reserved.
    #[error("{asked} yuan are more than the {reserved} that were reserved")]
    ExceedsPending {
        /// What is asked.
        asked: Fen,
        /// What was reserved.
        reserved: Fen,
    },
    /// 11. More than there is.
    #[error("{asked} yuan are more than the {available} that are there")]
    ExceedsBalance {
        /// What is asked.
        asked: Fen,
        /// What is there and not reserved.
        available: Fen,
    },
    /// 12. More than can be written down.
    #[error("the sum is too large")]
    Overflow,
}

/// From which kind to which kind each code moves money.
const CODES: &[(TransferCode, AccountKind, AccountKind)] = {
    use AccountKind as A;
    use TransferCode as T;
    &[
        (T::PaymentConfirmed, A::PaidIn, A::InFlight),
        (T::Loaded, A::InFlight, A::Purse),
        (T::CashLoaded, A::CashIn, A::Purse),
        (T::Spent, A::Purse, A::Spent),
        (T::Parked, A::Purse, A::Parked),
        (T::Unparked, A::Parked, A::Purse),
        (T::RefundOrdered, A::Parked, A::RefundPayable),
        (T::TopUpCancelled, A::InFlight, A::RefundPayable),
        (T::RefundPaid, A::RefundPayable, A::Refunded),
        (T::Fee, A::InFlight, A::Fees),
        (T::DepositTaken, A::InFlight, A::Deposits),
        (T::DepositReturned, A::Deposits, A::RefundPayable),
        (T::WrittenOff, A::Purse, A::WriteOffs),
        (T::WrittenBack, A::WriteOffs, A::Purse),
        (T::PaymentClaimed, A::PaidIn, A::InFlight),
        (T::PaymentReversed, A::InFlight, A::PaidIn),
        (T::PaymentLost, A::WriteOffs, A::PaidIn),
        (T::RefundReversed, A::Refunded, A::RefundPayable),
        (T::RefundLost, A::WriteOffs, A::Refunded),
        (T::Settled, A::Spent, A::OperatorPayable),
        (T::SettlementFee, A::Spent, A::Fees),
        (T::OperatorPaid, A::OperatorPayable, A::OperatorPaid),
    ]
};

impl AccountKind {
    /// All kinds.
    pub const ALL: [Self; 13] = [
        Self::PaidIn,
        Self::CashIn,
        Self::InFlight,
        Self::Purse,
        Self::Parked,
        Self::RefundPayable,
        Self::Spent,
        Self::Refunded,
        Self::Fees,
        Self::Deposits,
        Self::WriteOffs,
        Self::OperatorPayable,
        Self::OperatorPaid,
    ];

    /// Whether each card has one of its own.
    pub const fn is_of_a_card(self) -> bool {
        match self {
            Self::InFlight | Self::Purse | Self::Parked | Self::RefundPayable => true,
            Self::PaidIn
            | Self::CashIn
            | Self::Spent
            | Self::Refunded
            | Self::Fees
            | Self::Deposits
            | Self::WriteOffs
            | Self::OperatorPayable
            | Self::OperatorPaid => false,
        }
    }

    /// The name, as stores write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::PaidIn => "paid_in",
            Self::CashIn => "cash_in",
            Self::InFlight => "in_flight",
            Self::Purse => "purse",
            Self::Parked => "parked",
            Self::RefundPayable => "refund_payable",
            Self::Spent => "spent",
            Self::Refunded => "refunded",
            Self::Fees => "fees",
            Self::Deposits => "deposits",
            Self::WriteOffs => "write_offs",
            Self::OperatorPayable => "operator_payable",
            Self::OperatorPaid => "operator_paid",
        }
    }

    /// The kind that has this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// The account of this kind that a transfer about `card` uses.
    pub const fn account(self, card: CardNumber) -> Account {
        if self.is_of_a_card() { Account::Card(card, self) } else { Account::Control(self) }
    }
}

impl TransferCode {
    /// All codes.
    pub fn all() -> impl Iterator<Item = Self> {
        CODES.iter().map(|(code, ..)| *code)
    }

    /// The name, as stores write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::PaymentConfirmed => "payment_confirmed",
            Self::Loaded => "loaded",
            Self::CashLoaded => "cash_loaded",
            Self::Spent => "spent",
            Self::Parked => "parked",
            Self::Unparked => "unparked",
            Self::RefundOrdered => "refund_ordered",
            Self::TopUpCancelled => "top_up_cancelled",
            Self::RefundPaid => "refund_paid",
            Self::Fee => "fee",
            Self::DepositTaken => "deposit_taken",
            Self::DepositReturned => "deposit_returned",
            Self::WrittenOff => "written_off",
            Self::WrittenBack => "written_back",
            Self::PaymentClaimed => "payment_claimed",
            Self::PaymentReversed => "payment_reversed",
            Self::PaymentLost => "payment_lost",
            Self::RefundReversed => "refund_reversed",
            Self::RefundLost => "refund_lost",
            Self::Settled => "settled",
            Self::SettlementFee => "settlement_fee",
            Self::OperatorPaid => "operator_paid",
        }
    }

    /// The code that has this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::all().find(|code| code.name() == name)
    }

    /// The kinds it debits and credits.
    pub fn accounts(self) -> (AccountKind, AccountKind) {
        let row = CODES.iter().find(|(code, ..)| *code == self);
        row.map(|(_, from, to)| (*from, *to)).expect("every code has its row")
    }

    /// A transfer for this code between control accounts, about no card; none where the code is about one.
    pub fn between_controls(self, id: TransferId, amount: Fen, at: jiff::Timestamp) -> Option<Transfer> {
        let (from, to) = self.accounts();
        if from.is_of_a_card() || to.is_of_a_card() {
            return None;
        }
        let (debit, credit) = (Account::Control(from), Account::Control(to));
        let kind = TransferKind::Single;
        Some(Transfer { id, debit, credit, amount, kind, code: self, order: None, at })
    }

    /// A transfer for this code about `card`.
    pub fn transfer(self, id: TransferId, card: CardNumber, amount: Fen, at: jiff::Timestamp) -> Transfer {
        let (from, to) = self.accounts();
        Transfer {
            id,
            debit: from.account(card),
            credit: to.account(card),
            amount,
            kind: TransferKind::Single,
            code: self,
            order: None,
            at,
        }
    }
}

impl Account {
    /// The kind.
    pub const fn kind(self) -> AccountKind {
        match self {
            Self::Card(_, kind) | Self::Control(kind) => kind,
        }
    }

    /// The card whose it is.
    pub const fn card(self) -> Option<CardNumber> {
        match self {
            Self::Card(card, _) => Some(card),
            Self::Control(_) => None,
        }
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Card(card, kind) => write!(f, "{card}/{}", kind.name()),
            Self::Control(kind) => f.write_str(kind.name()),
        }
    }
}

impl Transfer {
    /// The same transfer, reserving only.
    pub fn pending(self) -> Self {
        Self { kind: TransferKind::Pending, ..self }
    }

    /// The same transfer, for an order.
    pub fn for_order(self, order: OrderId) -> Self {
        Self { order: Some(order), ..self }
    }

    /// The transfer that posts `amount` of this pending one.
    pub fn post(&self, id: TransferId, amount: Fen, at: jiff::Timestamp) -> Self {
        Self { id, amount, kind: TransferKind::Post(self.id), at, ..self.clone() }
    }

    /// The transfer that voids this pending one.
    pub fn void(&self, id: TransferId, at: jiff::Timestamp) -> Self {
        Self { id, kind: TransferKind::Void(self.id), at, ..self.clone() }
    }
}

/// Checks a transfer against the ledger, and says what it changes.
pub fn check<V: LedgerView>(
    view: &V,
    transfer: &Transfer,
) -> Result<Result<Posting, TransferRefusal>, V::Error> {
    if let Some(known) = view.transfer(transfer.id)? {
        // The time is the first one's: a repetition is made later.
        let same = known == Transfer { at: known.at, ..transfer.clone() };
        return Ok(if same {
            Ok(Posting::default())
        } else {
            Err(TransferRefusal::ExistsWithDifferences(transfer.id))
        });
    }
    if let Err(refusal) = check_alone(transfer) {
        return Ok(Err(refusal));
    }
    let reserved = match transfer.kind {
        TransferKind::Single | TransferKind::Pending => None,
        TransferKind::Post(pending) | TransferKind::Void(pending) => {
            match check_pending(view, transfer, pending)? {
                Ok(amount) => Some(amount),
                Err(refusal) => return Ok(Err(refusal)),
            }
        }
    };
    balances_after(view, transfer, reserved)
}

fn check_alone(transfer: &Transfer) -> Result<(), TransferRefusal> {
    if transfer.amount.is_zero() {
        return Err(TransferRefusal::AmountZero);
    }
    if transfer.debit == transfer.credit {
        return Err(TransferRefusal::AccountsEqual);
    }
    let (from, to) = transfer.code.accounts();
    let fits = |account: Account, kind: AccountKind| {
        account.kind() == kind && account.card().is_some() == kind.is_of_a_card()
    };
    if !fits(transfer.debit, from) || !fits(transfer.credit, to) {
        return Err(TransferRefusal::AccountsDoNotFit { code: transfer.code, from, to });
    }
    match (transfer.debit.card(), transfer.credit.card()) {
        (Some(giver), Some(taker)) if giver != taker => Err(TransferRefusal::AnotherCard),
        _ => Ok(()),
    }
}

fn check_pending<V: LedgerView>(
    view: &V,
    transfer: &Transfer,
    id: TransferId,
) -> Result<Result<Fen, TransferRefusal>, V::Error> {
    let Some(pending) = view.transfer(id)?.filter(|known| known.kind == TransferKind::Pending) else {
        return Ok(Err(TransferRefusal::PendingUnknown(id)));
    };
    if (pending.debit, pending.credit, pending.code) != (transfer.debit, transfer.credit, transfer.code) {
        return Ok(Err(TransferRefusal::PendingDiffers(id)));
    }
    Ok(match view.fate(id)? {
        PendingFate::Posted => Err(TransferRefusal::PendingPosted(id)),
        PendingFate::Voided => Err(TransferRefusal::PendingVoided(id)),
        PendingFate::Open if transfer.amount > pending.amount => {
            Err(TransferRefusal::ExceedsPending { asked: transfer.amount, reserved: pending.amount })
        }
        PendingFate::Open => Ok(pending.amount),
    })
}

fn balances_after<V: LedgerView>(
    view: &V,
    transfer: &Transfer,
    released: Option<Fen>,
) -> Result<Result<Posting, TransferRefusal>, V::Error> {
    let mut posting = Posting { append: Some(transfer.clone()), balances: Vec::new() };
    if let Account::Card(card, kind) = transfer.debit {
        let mut balance = view.balance(card, kind)?;
        balance.reserved = balance.reserved.checked_sub(released.unwrap_or(Fen::ZERO)).unwrap_or(Fen::ZERO);
        let available = balance.posted.checked_sub(balance.reserved).unwrap_or(Fen::ZERO);
        let takes = !matches!(transfer.kind, TransferKind::Void(_));
        if takes && transfer.amount > available {
            return Ok(Err(TransferRefusal::ExceedsBalance { asked: transfer.amount, available }));
        }
        let taken = |from: Fen| from.checked_sub(transfer.amount).expect("the guard above compared them");
        match transfer.kind {
            TransferKind::Single | TransferKind::Post(_) => balance.posted = taken(balance.posted),
            TransferKind::Pending => {
                // Bounded by `posted`, so the sum cannot overflow.
                balance.reserved =
                    balance.reserved.checked_add(transfer.amount).expect("at most the balance");
            }
            TransferKind::Void(_) => {}
        }
        posting.balances.push((card, kind, balance));
    }
    if let (Account::Card(card, kind), TransferKind::Single | TransferKind::Post(_)) =
        (transfer.credit, transfer.kind)
    {
        let mut balance = view.balance(card, kind)?;
        // Stores keep amounts in signed 64 bits.
        let sum = balance.posted.checked_add(transfer.amount).filter(|sum| sum.get() <= i64::MAX as u64);
        let Some(sum) = sum else { return Ok(Err(TransferRefusal::Overflow)) };
        balance.posted = sum;
        posting.balances.push((card, kind, balance));
    }
    Ok(Ok(posting))
}

#[cfg(test)]
mod tests;
