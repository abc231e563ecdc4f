//! The receipts that a rider gets: one for each step of money that the centre's journal tells of the card.
//!
//! A receipt names its entry of the journal by place and hash, so that the centre can be held to it. It never
//! carries the whole card number: a phone keeps receipts.

use serde::{Deserialize, Serialize};

use super::card_account::{CardAccountEvent, CardAccountState, ClosingPurpose};
use super::journal::{CardReplay, Change, JournalEvent, TransactionRecorded, TransferMade};
use super::ledger::{TransferCode, TransferKind};
use super::transaction::TransactionType;
use crate::amount::Fen;
use crate::id::{OrderId, TerminalNumber};

/// What a receipt is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReceiptKind {
    /// The card was opened.
    Opened,
    /// The card took money in.
    ToppedUp,
    /// The card paid.
    Spent,
    /// The card was returned; what it held is kept for the refund.
    Returned,
    /// The card left its phone; what it held is kept for another.
    MigratedOut,
    /// The card came to another phone with what it held.
    MigratedIn,
    /// A paid top-up was cancelled before the card took it in; the money is owed.
    TopUpCancelled,
    /// Money went back to the rider.
    Refunded,
}

/// What a receipt says, before it is signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceiptFacts {
    /// What for.
    pub kind: ReceiptKind,
    /// How much moved; nothing for an opening.
    pub amount: Fen,
    /// What the card held after it, where the card said it.
    pub balance_after: Option<Fen>,
    /// The order.
    pub order: Option<OrderId>,
    /// The card's counter after it.
    pub counter: Option<u16>,
    /// The terminal.
    pub terminal: Option<TerminalNumber>,
    /// When it happened, where the step says so.
    pub at: Option<jiff::Timestamp>,
}

/// The receipts of one entry. `before` is the card before it.
pub fn receipts_of(before: &CardReplay, event: &JournalEvent) -> Vec<ReceiptFacts> {
    let mut found = Vec::new();
    let transactions: Vec<&TransactionRecorded> = event
        .changes
        .iter()
        .filter_map(|change| match change {
            Change::Recorded(transaction) => Some(transaction),
            _ => None,
        })
        .collect();
    for change in &event.changes {
        match change {
            Change::Moved(moved) => found.extend(of_account(before, *moved)),
            Change::Transferred(made) => found.extend(of_transfer(made, &transactions)),
            Change::Opened { .. }
            | Change::Frozen { .. }
            | Change::Released
            | Change::Recorded(_)
            | Change::Listed { .. }
            | Change::Unlisted { .. }
            | Change::Quarantined { .. }
            | Change::Settled { .. } => {}
        }
    }
    found
}

fn of_account(before: &CardReplay, moved: CardAccountEvent) -> Option<ReceiptFacts> {
    let state = before.account().map(|account| &account.state);
    let (kind, amount) = match (moved, state) {
        (CardAccountEvent::Opened(_), Some(CardAccountState::Opening { incoming, .. })) => {
            let kind = if incoming.is_zero() { ReceiptKind::Opened } else { ReceiptKind::MigratedIn };
            (kind, *incoming)
        }
        // The account opens and goes live in one step where nothing was known before.
        (CardAccountEvent::Opened(_), None) => (ReceiptKind::Opened, Fen::ZERO),
        (CardAccountEvent::Parked(balance), Some(CardAccountState::Closing { purpose, .. })) => {
            let kind = match purpose {
                ClosingPurpose::Return => ReceiptKind::Returned,
                ClosingPurpose::Migration => ReceiptKind::MigratedOut,
            };
            (kind, balance)
        }
        _ => return None,
    };
    Some(ReceiptFacts {
        kind,
        amount,
        balance_after: Some(if kind == ReceiptKind::MigratedIn { amount } else { Fen::ZERO }),
        order: None,
        counter: None,
        terminal: None,
        at: None,
    })
}

fn of_transfer(made: &TransferMade, transactions: &[&TransactionRecorded]) -> Option<ReceiptFacts> {
    if !matches!(made.kind, TransferKind::Single | TransferKind::Post(_)) {
        return None;
    }
    let kind = match made.code {
        TransferCode::Loaded | TransferCode::CashLoaded => ReceiptKind::ToppedUp,
        TransferCode::Spent => ReceiptKind::Spent,
        TransferCode::TopUpCancelled => ReceiptKind::TopUpCancelled,
        TransferCode::RefundPaid => ReceiptKind::Refunded,
        TransferCode::PaymentConfirmed
        | TransferCode::Parked
        | TransferCode::Unparked
        | TransferCode::RefundOrdered
        | TransferCode::Fee
        | TransferCode::DepositTaken
        | TransferCode::DepositReturned
        | TransferCode::WrittenOff
        | TransferCode::WrittenBack
        | TransferCode::PaymentClaimed
        | TransferCode::PaymentReversed
        | TransferCode::PaymentLost
        | TransferCode::RefundReversed
        | TransferCode::RefundLost
        | TransferCode::Settled
        | TransferCode::SettlementFee
        | TransferCode::OperatorPaid => return None,
    };
    let of_kind = |transaction: &&&TransactionRecorded| match kind {
        ReceiptKind::ToppedUp => transaction.kind == TransactionType::Load,
        ReceiptKind::Spent => !transaction.kind.is_online(),
        ReceiptKind::Opened
        | ReceiptKind::Returned
        | ReceiptKind::MigratedOut
        | ReceiptKind::MigratedIn
        | ReceiptKind::TopUpCancelled
        | ReceiptKind::Refunded => false,
    };
    let transaction = transactions.iter().find(of_kind);
    // What stands in the order's place of a purchase is the purchase itself.
    let order = made.order.filter(|_| kind != ReceiptKind::Spent);
    Some(ReceiptFacts {
        kind,
        amount: made.amount,
        balance_after: transaction.and_then(|transaction| transaction.balance_after),
        order,
        counter: transaction.map(|transaction| transaction.counter),
        terminal: transaction.map(|transaction| transaction.terminal),
        at: Some(transaction.map_or(made.at, |transaction| transaction.at)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{CardNumber, SeId, TransferId};
    use crate::money::top_up::{LoadProof, Tac};

    fn transferred(n: u128, code: TransferCode, fen: u64) -> Change {
        Change::Transferred(TransferMade {
            id: TransferId::from_uuid(uuid::Uuid::from_u128(n)),
            code,
            amount: Fen::new(fen),
            kind: TransferKind::Single,
            order: None,
            at: jiff::Timestamp::UNIX_EPOCH,
        })
    }

    fn recorded(kind: TransactionType, counter: u16, fen: u64, after: u64) -> Change {
        Change::Recorded(TransactionRecorded {
            counter,
            kind,
            amount: Fen::new(fen),
            balance_after: Some(Fen::new(after)),
            terminal: TerminalNumber::for_attempt(1, 1).unwrap(),
            at: jiff::Timestamp::UNIX_EPOCH,
            proof: LoadProof::Tac(Tac([1; 4])),
        })
    }

    #[test]
    fn a_life_gives_its_receipts() {
        let se = |n| SeId::new(&[n; 8]).unwrap();
        let at = jiff::Timestamp::UNIX_EPOCH;
        let moved = |event| Change::Moved(event);
        let parked = |fen| moved(CardAccountEvent::Parked(Fen::new(fen)));
        let begun = |purpose| moved(CardAccountEvent::ClosingBegun(purpose));
        let steps = vec![
            (vec![Change::Opened { se: se(1), at }], "[]"),
            (vec![moved(CardAccountEvent::Opened(se(1)))], "[(Opened, 0, Some(0))]"),
            (
                vec![
                    transferred(1, TransferCode::PaymentConfirmed, 100),
                    transferred(2, TransferCode::Loaded, 100),
                    recorded(TransactionType::Load, 1, 100, 100),
                ],
                "[(ToppedUp, 100, Some(100))]",
            ),
            (
                vec![
                    transferred(3, TransferCode::Spent, 30),
                    recorded(TransactionType::CompositePurchase, 1, 30, 70),
                ],
                "[(Spent, 30, Some(70))]",
            ),
            (vec![begun(ClosingPurpose::Migration)], "[]"),
            (vec![parked(70), transferred(4, TransferCode::Parked, 70)], "[(MigratedOut, 70, Some(0))]"),
            (vec![moved(CardAccountEvent::MigrationIn(se(2)))], "[]"),
            (
                vec![moved(CardAccountEvent::Opened(se(2))), transferred(5, TransferCode::Unparked, 70)],
                "[(MigratedIn, 70, Some(70))]",
            ),
            (vec![begun(ClosingPurpose::Return)], "[]"),
            (vec![parked(70), transferred(6, TransferCode::Parked, 70)], "[(Returned, 70, Some(0))]"),
            (
                vec![moved(CardAccountEvent::RefundOrdered), transferred(7, TransferCode::RefundOrdered, 70)],
                "[]",
            ),
            (
                vec![moved(CardAccountEvent::RefundPaid), transferred(8, TransferCode::RefundPaid, 70)],
                "[(Refunded, 70, None)]",
            ),
        ];
        let mut card = CardReplay::new(CardNumber::compose("31049900", 1).unwrap());
        for (changes, expected) in steps {
            let event = JournalEvent::new(changes);
            let found: Vec<_> = receipts_of(&card, &event)
                .into_iter()
                .map(|receipt| (receipt.kind, receipt.amount.get(), receipt.balance_after.map(Fen::get)))
                .collect();
            assert_eq!(format!("{found:?}"), expected);
            card.apply(&event).unwrap();
        }
    }
}
