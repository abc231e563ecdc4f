//! What a step does to the rows it has read: pure, and the same for every store.

use tsm_domain::card::{CardOrder, CardRecord, ClosingProgress, ProvenPurse};
use tsm_domain::money::{
    Attempt, Evidence, LoadProof, PaymentOrder, ProvenObservation, Resolution, Tac, TopUp, TopUpRefusal,
    TopUpStage,
};
use tsm_domain::{Fen, OnlineCounter, OperationId, PaymentReference, TerminalNumber};

use crate::error::{Result, StorageError};
use crate::payment::PaymentRow;
use crate::shared::Fence;
use crate::sp_tsm::{PaymentConfirmed, TopUpOrder, TopUpOrderState};

/// An order after a confirmation of payment.
pub(crate) fn confirm(order: TopUpOrder, payment: PaymentReference, amount: Fen) -> PaymentConfirmed {
    if amount != order.amount {
        return PaymentConfirmed::WrongAmount { expected: order.amount };
    }
    match &order.state {
        TopUpOrderState::AwaitingPayment => {
            let state = TopUpOrderState::Paid { payment, stage: TopUpStage::Paid };
            PaymentConfirmed::Now(TopUpOrder { state, ..order })
        }
        TopUpOrderState::Closed => PaymentConfirmed::Closed,
        TopUpOrderState::Paid { payment: known, .. } if *known == payment => PaymentConfirmed::Before(order),
        TopUpOrderState::Paid { payment: known, .. } => PaymentConfirmed::PaidByAnother(known.clone()),
    }
}

/// An order closed unpaid.
pub(crate) fn close(order: TopUpOrder) -> Result<TopUpOrder> {
    match order.state {
        TopUpOrderState::AwaitingPayment | TopUpOrderState::Closed => {
            Ok(TopUpOrder { state: TopUpOrderState::Closed, ..order })
        }
        TopUpOrderState::Paid { .. } => Err(StorageError::conflict("top-up order", order.order)),
    }
}

/// The paid top-up of an order, or a refusal because it is not paid.
pub(crate) fn paid(order: &TopUpOrder) -> Result<TopUp> {
    let refusal = TopUpRefusal::Stage { stage: "not paid", step: "go on" };
    order.paid().ok_or(StorageError::TopUp(refusal))
}

/// The order with its top-up moved on.
pub(crate) fn with_stage(order: TopUpOrder, moved: &TopUp) -> TopUpOrder {
    let state = match order.state {
        TopUpOrderState::Paid { payment, .. } => TopUpOrderState::Paid { payment, stage: moved.stage },
        unpaid @ (TopUpOrderState::AwaitingPayment | TopUpOrderState::Closed) => unpaid,
    };
    TopUpOrder { state, ..order }
}

/// A card whose closing the centre has; none when it had it before.
pub(crate) fn closing_told(card: &CardRecord, operation: OperationId) -> Result<Option<CardRecord>> {
    let closing = card.closing.filter(|closing| closing.operation == operation);
    match closing.map(|closing| closing.progress) {
        Some(ClosingProgress::Parked(balance)) => {
            Ok(Some(card.with_progress(ClosingProgress::Told(balance))))
        }
        Some(ClosingProgress::Told(_)) => Ok(None),
        Some(ClosingProgress::Intended | ClosingProgress::Asked) | None => {
            Err(StorageError::unknown("parked closing", operation))
        }
    }
}

/// A card must be on the SE whose link the caller holds.
pub(crate) fn check_card_on(card: &CardRecord, fence: Fence) -> Result<()> {
    if card.se == fence.se { Ok(()) } else { Err(StorageError::conflict("card", card.card)) }
}

/// Opens an attempt. `last_terminal` is the number that the card was given last; no other may be used, so an
/// old answer of the card can never be taken for a new one. `others` are the card's other open top-ups.
pub(crate) fn intend(
    top_up: TopUp,
    card: CardRecord,
    attempt: Attempt,
    purse_maximum: Fen,
    at: jiff::Timestamp,
    last_terminal: Option<TerminalNumber>,
    others: &[TopUpOrder],
) -> Result<(TopUp, CardRecord)> {
    if top_up.stage == TopUpStage::Intended(attempt) {
        return Ok((top_up, card));
    }
    if last_terminal != Some(attempt.terminal) {
        return Err(TopUpRefusal::AnotherAttempt.into());
    }
    let has_open_attempt = |other: &TopUpOrder| {
        let stage = other.paid().map(|other| other.stage);
        matches!(stage, Some(TopUpStage::Intended(_) | TopUpStage::Suspicious(..)))
    };
    if others.iter().any(has_open_attempt) {
        return Err(TopUpRefusal::OutcomeUnknown.into());
    }
    card.may_move_value()?;
    let moved = top_up.intend(attempt, purse_maximum)?;
    let proven = ProvenPurse { balance: attempt.balance, counter: attempt.counter, at };
    Ok((moved, CardRecord { proven: Some(proven), ..card }))
}

/// The card credited the load.
pub(crate) fn loaded(
    top_up: TopUp,
    card: CardRecord,
    terminal: TerminalNumber,
    tac: Tac,
    at: jiff::Timestamp,
) -> Result<(TopUp, CardRecord)> {
    let before = top_up.stage;
    let moved = top_up.loaded(terminal, tac)?;
    let card = match (before, moved.stage) {
        (TopUpStage::Intended(attempt), TopUpStage::Loaded(..)) => {
            let balance = Fen::new(attempt.balance.get().saturating_add(moved.amount.get()));
            let counter = attempt.counter.next().unwrap_or(OnlineCounter(u16::MAX));
            CardRecord { proven: Some(ProvenPurse { balance, counter, at }), ..card }
        }
        _ => card,
    };
    Ok((moved, card))
}

/// Settles the open attempt. Run again, it gives what was found before.
pub(crate) fn settle(
    top_up: TopUp,
    card: CardRecord,
    seen: &ProvenObservation,
    evidence: Evidence,
    at: jiff::Timestamp,
) -> Result<(TopUp, CardRecord, Resolution)> {
    match top_up.stage {
        TopUpStage::Intended(_) => {}
        TopUpStage::Paid => return Ok((top_up, card, Resolution::NotCredited)),
        TopUpStage::Loaded(_, proof) | TopUpStage::Told(_, proof) => {
            return Ok((top_up, card, Resolution::Credited(proof)));
        }
        TopUpStage::Suspicious(_, suspicion) => return Ok((top_up, card, Resolution::Suspicious(suspicion))),
        TopUpStage::Cancelled => {
            return Err(TopUpRefusal::Stage { stage: "cancelled", step: "be settled" }.into());
        }
    }
    let (moved, resolution) = top_up.resolve(seen, evidence)?;
    let proven = ProvenPurse { balance: seen.balance(), counter: seen.counter(), at };
    let card = match &resolution {
        Resolution::NotCredited | Resolution::Credited(LoadProof::Tac(_) | LoadProof::TacUnavailable) => {
            CardRecord { proven: Some(proven), ..card }
        }
        // What a suspicious card proves is not taken for its balance.
        Resolution::Suspicious(suspicion) => CardRecord { frozen: Some(suspicion.to_string()), ..card },
    };
    Ok((moved, card, resolution))
}

/// A card put over the stored one: its state must be able to follow.
pub(crate) fn check_card_follows(stored: Option<&CardRecord>, next: &CardRecord) -> Result<()> {
    if let Some(stored) = stored {
        stored.state.moved_to(next.state)?;
    }
    Ok(())
}

/// An order put over the stored one: its state must be able to follow.
pub(crate) fn check_order_follows(stored: Option<&CardOrder>, next: &CardOrder) -> Result<()> {
    if let Some(stored) = stored {
        stored.state.moved_to(next.state)?;
    }
    Ok(())
}

/// A payment order as it was made must be the same when it is made again.
pub(crate) fn check_same_payment_order(stored: &PaymentRow, again: &PaymentRow) -> Result<()> {
    let same = stored.order.amount == again.order.amount && stored.merchant == again.merchant;
    if same { Ok(()) } else { Err(StorageError::conflict("payment order", again.order.order)) }
}

/// What a payment order is after an event; the row's other columns stay.
pub(crate) fn moved_payment(row: PaymentRow, event: tsm_domain::money::PaymentEvent) -> Result<PaymentRow> {
    let order: PaymentOrder = row.order.apply(event)?;
    Ok(PaymentRow { order, ..row })
}

/// A closed payment order with the payment that was under way, given back as a whole.
pub(crate) fn paid_after_close(
    row: PaymentRow,
    payer: tsm_domain::PayerId,
    payment: PaymentReference,
    at: jiff::Timestamp,
) -> Result<PaymentRow> {
    let amount = row.order.amount;
    let moved = moved_payment(row, tsm_domain::money::PaymentEvent::PaidAfterClose { payment, amount })?;
    Ok(PaymentRow { payer: Some(payer), paid_at: moved.paid_at.or(Some(at)), ..moved })
}

/// A payment order closed unpaid; the time is the first closing's.
pub(crate) fn closed_payment(row: PaymentRow, at: jiff::Timestamp) -> Result<PaymentRow> {
    let closed = moved_payment(row, tsm_domain::money::PaymentEvent::Closed)?;
    Ok(PaymentRow { closed_at: closed.closed_at.or(Some(at)), ..closed })
}
