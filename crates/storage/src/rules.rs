//! What a step does to the rows it has read: pure, and the same for every store.

use tsm_domain::card::{CardOrder, CardRecord, ClosingProgress, ProvenPurse};
use tsm_domain::money::{
    Attempt, CentreWord, Debit, Evidence, LoadProof, PaymentEvent, PaymentOrder, PaymentRefusal,
    PaymentState, ProvenObservation, PurchaseBegun, PurseAttempt, PurseCard, PurseStage, Resolution, Tac,
    TopUp, TopUpRefusal, TopUpStage,
};
use tsm_domain::{
    CardNumber, DeliveryId, Fen, OnlineCounter, OperationId, OrderId, PaymentReference, TerminalNumber,
};

use crate::error::{Result, StorageError};
use crate::payment::{DebitProof, PaymentRow, ProvenDebit};
use crate::shared::{Delivery, Fence, Incident};
use crate::sp_tsm::{PaymentConfirmed, TopUpOrder, TopUpOrderState};

/// An order after a confirmation of payment. `paid_before` is the order that the payment has paid.
pub(crate) fn confirm(
    order: TopUpOrder,
    payment: PaymentReference,
    amount: Fen,
    paid_before: Option<OrderId>,
) -> PaymentConfirmed {
    if let Some(other) = paid_before.filter(|other| *other != order.order) {
        return PaymentConfirmed::UsedFor(other);
    }
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
        Some(ClosingProgress::Intended | ClosingProgress::Asked | ClosingProgress::Debiting(_)) | None => {
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
    let has_open_attempt = |other: &TopUpOrder| other.attempt_in_doubt().is_some();
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

/// Settles the open attempt. Run again, it gives what was found before. What froze the card is found again until two
/// people have released it.
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
        TopUpStage::Suspicious(_, suspicion) if card.frozen.is_some() => {
            return Ok((top_up, card, Resolution::Suspicious(suspicion)));
        }
        TopUpStage::Suspicious(..) => {}
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
    let same = stored.order.amount == again.order.amount
        && stored.merchant == again.merchant
        && stored.purse.is_some() == again.purse.is_some()
        && stored.addressed_to == again.addressed_to;
    if same { Ok(()) } else { Err(StorageError::conflict("payment order", again.order.order)) }
}

/// What a payment order is after an event; the row's other columns stay.
pub(crate) fn moved_payment(row: PaymentRow, event: PaymentEvent) -> Result<PaymentRow> {
    match event {
        // Neither a close nor another payment decides what a card did.
        PaymentEvent::Paid { .. } | PaymentEvent::PaidAfterClose { .. } | PaymentEvent::Closed
            if row.has_open_attempt() =>
        {
            return Err(PaymentRefusal::AttemptOpen.into());
        }
        // The platform never had this money: it is in the centre's books.
        PaymentEvent::Refund(_) if row.debited().is_some() => {
            return Err(PaymentRefusal::PaidFromPurse.into());
        }
        _ => {}
    }
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
    let moved = moved_payment(row, PaymentEvent::PaidAfterClose { payment, amount })?;
    Ok(PaymentRow { payer: Some(payer), paid_at: moved.paid_at.or(Some(at)), ..moved })
}

/// A payment order closed unpaid; the time is the first closing's.
pub(crate) fn closed_payment(row: PaymentRow, at: jiff::Timestamp) -> Result<PaymentRow> {
    let closed = moved_payment(row, PaymentEvent::Closed)?;
    Ok(PaymentRow { closed_at: closed.closed_at.or(Some(at)), ..closed })
}

/// Opens an attempt to pay an order from a card.
pub(crate) fn intend_purchase(
    mut row: PaymentRow,
    mut card: PurseCard,
    begun: PurchaseBegun,
    at: jiff::Timestamp,
) -> Result<(PaymentRow, PurseCard, PurseAttempt)> {
    match &row.order.state {
        PaymentState::Created if at < row.expires_at => {}
        PaymentState::Created | PaymentState::Closed => return Err(PaymentRefusal::Closed.into()),
        PaymentState::Paid(_) | PaymentState::Refunded { .. } => {
            return Err(PaymentRefusal::AlreadyPaid.into());
        }
    }
    let order = row.order.order;
    let purse = row.purse.as_mut().ok_or(PaymentRefusal::PurseNotOffered)?;
    let attempt = purse.intend(order, &mut card, begun, at)?;
    Ok((row, card, attempt))
}

/// The card of an attempt.
pub(crate) fn card_of_attempt(row: &PaymentRow, number: u32) -> Result<CardNumber> {
    let attempts = row.purse.iter().flat_map(|purse| purse.attempts());
    let attempt = attempts.into_iter().find(|attempt| attempt.number == number);
    Ok(attempt.ok_or(PaymentRefusal::AnotherAttempt)?.begun.card)
}

/// Whether what watches over an attempt goes on when that is given up: the centre may have heard of it, and may
/// still find that the card was debited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Watch {
    GoesOn,
    Ends,
}

/// An attempt that did not debit its card.
pub(crate) fn attempt_given_up(
    mut row: PaymentRow,
    mut card: PurseCard,
    number: u32,
) -> Result<(PaymentRow, PurseCard, Watch)> {
    let order = row.order.order;
    let purse = row.purse.as_mut().ok_or(PaymentRefusal::AnotherAttempt)?;
    let attempt = purse.attempts().iter().find(|attempt| attempt.number == number);
    let was_intended = attempt.is_some_and(|attempt| attempt.stage == PurseStage::Intended);
    purse.give_up(order, &mut card, number)?;
    Ok((row, card, if was_intended { Watch::Ends } else { Watch::GoesOn }))
}

/// What a proven debit leaves behind.
pub(crate) struct DebitStep {
    pub watch: DeliveryId,
    pub row: PaymentRow,
    pub card: PurseCard,
    pub deliveries: Vec<Delivery>,
    pub incident: Option<Incident>,
}

/// A debit is proven; none when that was known.
pub(crate) fn debit_proven(
    mut row: PaymentRow,
    mut card: PurseCard,
    proven: ProvenDebit,
) -> Result<Option<DebitStep>> {
    let order = row.order.order;
    let purse = row.purse.as_mut().ok_or(PaymentRefusal::AnotherAttempt)?;
    let ProvenDebit { number, proof, watch, payment, at, mut notifications, for_nothing, .. } = proven;
    let (debit, notice) = match proof {
        DebitProof::Card(tac, notice) => (purse.prove(order, &mut card, number, tac)?, Some(notice)),
        DebitProof::Centre => (purse.book(order, &mut card, number)?, None),
    };
    if debit == Debit::Known {
        return Ok(None);
    }
    if row.order.state == PaymentState::Created {
        let amount = row.order.amount;
        let paid = moved_payment(row, PaymentEvent::Paid { payment, amount })?;
        let row = PaymentRow { paid_at: Some(at), ..paid };
        notifications.extend(notice);
        return Ok(Some(DebitStep { watch, row, card, deliveries: notifications, incident: None }));
    }
    // Closed, or paid otherwise: the money is spent all the same, and the centre books it.
    let deliveries = notice.into_iter().collect();
    Ok(Some(DebitStep { watch, row, card, deliveries, incident: Some(for_nothing) }))
}

/// The centre answered about a debit.
pub(crate) fn debit_told(
    mut row: PaymentRow,
    mut card: PurseCard,
    number: u32,
    word: CentreWord,
) -> Result<(PaymentRow, PurseCard)> {
    let order = row.order.order;
    let purse = row.purse.as_mut().ok_or(PaymentRefusal::AnotherAttempt)?;
    purse.told(order, &mut card, number, word)?;
    Ok((row, card))
}

/// A card frozen for a reason, or released. What it proved before binds it no more then; but for an attempt of which
/// only the card knows what came, which rests on it.
pub(crate) fn frozen<'a>(
    card: CardRecord,
    reason: Option<String>,
    open: impl IntoIterator<Item = &'a TopUpOrder>,
) -> CardRecord {
    let stays = reason.is_some() || open.into_iter().any(|order| order.attempt_in_doubt().is_some());
    CardRecord { proven: card.proven.filter(|_| stays), frozen: reason, ..card }
}
