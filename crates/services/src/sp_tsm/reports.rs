//! What other organisations are told, through the outbox: each step that causes a report stores it in the
//! same commit, and the arrival is stored too. Receivers take each report once.

mod carrying;

use jiff::Timestamp;
use tsm_api::clearing::card_incidents::CardIncident;
use tsm_api::clearing::closing::{
    ParkedCard, ParkingProof, RefundPayment, RefundRequest, RefundWay, ReleaseClaim, UndoClosing,
    UndoEvidence,
};
use tsm_api::clearing::payments::{PaymentIncident, StrayPayment};
use tsm_api::clearing::{CreditMeans, CreditReport, NewAccount, OrderReport};
use tsm_api::se_tsm::peer::{CardEnd, Notice, OperationResult};
use tsm_api::{HexBytes, ids};
use tsm_domain::arrival::Arrival;
use tsm_domain::card::{CardClosing, CardRecord, Debit};
use tsm_domain::money::{Attempt, Tac};
use tsm_domain::{
    CardNumber, Fen, IncidentId, OnlineCounter, OperationId, OrderId, PaymentReference, TransferId,
};
use tsm_epurse::CardImage;
use tsm_storage::shared::Delivery;
use tsm_storage::sp_tsm::{TopUpOrder, TopUpOrderState};

pub(super) use carrying::{Reports, later, read, refused, stored};

use super::closing_card::{operation_to_wire, purpose_to_wire};
use super::returning::Share;
use super::stray_payments::Stray;
use crate::names;
use crate::outbox::delivery;
use crate::payment::PlatformOrder;
use crate::purse::{card_time, card_to_wire, to_wire};

pub(super) const CENTRE: &str = "centre";
const SE_TSM: &str = "se-tsm";
const PAYMENT: &str = "payment";

const ACCOUNT: &str = "open-account";
const PAID: &str = "payment";
const CREDIT: &str = "credit";
const CANCELLED: &str = "cancellation";
const REFUNDED: &str = "refunded";
const RESULT: &str = "operation-result";
const OPEN_NOTICE: &str = "open-notice";
const REFUND: &str = "refund";
const STRAY: &str = "stray-payment";
const CLOSE: &str = "close-payment";
const INCIDENT: &str = "payment-incident";
const CARD_INCIDENT: &str = "card-incident";
const PARK: &str = "park";
const UNDO_CLOSING: &str = "undo-closing";
const ORDER_REFUND: &str = "order-refund";
const CARD_REFUND: &str = "card-refund";
const CARD_REFUND_PAID: &str = "card-refund-paid";
const UNSUBSCRIBE: &str = "unsubscribe-notice";
const ARRIVED: &str = "arrived";
const RELEASE_CLAIM: &str = "release-claim";
const LISTING: &str = "lost-listing";
pub(super) const FREEZE: &str = "freeze";

/// A card whose listing changed. How it stands is looked up when the centre is told.
#[derive(serde::Serialize, serde::Deserialize)]
struct ListingOf {
    card: HexBytes,
}

/// A parked card that is in use on the SE that claimed it.
#[derive(serde::Serialize, serde::Deserialize)]
struct ArrivedCard {
    migration: ids::OperationId,
    account: NewAccount,
}

/// A card that was blocked and read, and what follows when the centre has it.
#[derive(serde::Serialize, serde::Deserialize)]
struct Parked {
    report: ParkedCard,
    aid: HexBytes,
    /// The place of its end among what the SE-TSM is told.
    #[serde(default)]
    end_number: Option<u64>,
}

/// A refund that is ordered at the centre, and what follows when it is.
#[derive(serde::Serialize, serde::Deserialize)]
struct RefundOrdered {
    request: RefundRequest,
    se_id: HexBytes,
    aid: HexBytes,
    /// The place of its end among what the SE-TSM is told.
    #[serde(default)]
    end_number: Option<u64>,
}

/// A part of a returned card's balance on its way to a payment, and what the centre is told then.
#[derive(serde::Serialize, serde::Deserialize)]
struct CardRefund {
    order: OrderId,
    payment: PaymentReference,
    report: RefundPayment,
}

/// An opened card, with the order that it came from.
#[derive(serde::Serialize, serde::Deserialize)]
struct OpenedCard {
    order: ids::OrderId,
    account: NewAccount,
}

/// A payment that goes back, and what the centre is told then.
#[derive(serde::Serialize, serde::Deserialize)]
struct PaymentBack {
    order: OrderId,
    payment: PaymentReference,
    refund: TransferId,
    amount: Fen,
    reason: String,
    /// The centre's entry. Stray payments, which have none, are messages of their own kind now.
    report: Option<OrderReport>,
}

/// The centre opens the account of a card (B-7.2.1.c).
pub(super) fn account(card: &CardRecord, at: Timestamp) -> Delivery {
    let account = NewAccount {
        card: card_to_wire(card.card),
        se_id: card.se.as_bytes().into(),
        aid: card.instance.into(),
    };
    let order = ids::OrderId(card.order.as_uuid());
    delivery(CENTRE, ACCOUNT, &order.to_string(), &OpenedCard { order, account }, at)
}

/// The centre learns that a parked card is in use on the SE that claimed it (B-7.6.1.i).
pub(super) fn arrived(card: &CardRecord, arrival: &Arrival, at: Timestamp) -> Delivery {
    let account = NewAccount {
        card: card_to_wire(card.card),
        se_id: arrival.se.as_bytes().into(),
        aid: card.instance.into(),
    };
    let migration = operation_to_wire(arrival.operation);
    delivery(CENTRE, ARRIVED, &migration.to_string(), &ArrivedCard { migration, account }, at)
}

/// The centre takes a claim back: nothing of the card is on the SE.
pub(super) fn release_claim(arrival: &Arrival, at: Timestamp) -> Delivery {
    delivery(CENTRE, RELEASE_CLAIM, &arrival.operation.to_string(), &claim_release(arrival), at)
}

/// What the centre is asked then.
pub(super) fn claim_release(arrival: &Arrival) -> ReleaseClaim {
    ReleaseClaim {
        card: card_to_wire(arrival.card),
        se_id: arrival.se.as_bytes().into(),
        operation: operation_to_wire(arrival.operation),
    }
}

/// The centre books a confirmed payment.
pub(super) fn paid(order: OrderId, card: CardNumber, amount: Fen, at: Timestamp) -> Delivery {
    delivery(CENTRE, PAID, &order.to_string(), &order_report(order, card, amount), at)
}

/// Where the money of an order came from.
pub(super) fn means(order: &TopUpOrder) -> CreditMeans {
    let cash = match &order.state {
        TopUpOrderState::Paid { payment, .. } => payment.as_cash(),
        TopUpOrderState::AwaitingPayment | TopUpOrderState::Closed => None,
    };
    cash.map_or(CreditMeans::Payment, |(terminal, _)| CreditMeans::Cash {
        terminal: HexBytes(terminal.to_bcd().to_vec()),
    })
}

/// The centre books what a card credited, once (B-7.4.1.c). `credited_at` is the time that MAC2 was made for.
pub(super) fn credit(
    (order, card, amount): (OrderId, CardNumber, Fen),
    means: CreditMeans,
    attempt: &Attempt,
    credited_at: Timestamp,
    tac: Option<Tac>,
    at: Timestamp,
) -> Delivery {
    let time = card_time(credited_at);
    let report = CreditReport {
        order: ids::OrderId(order.as_uuid()),
        card: card_to_wire(card),
        amount_fen: to_wire(amount),
        balance_fen: to_wire(Fen::new(attempt.balance.get().saturating_add(amount.get()))),
        counter: attempt.counter.0.saturating_add(1),
        terminal: HexBytes(attempt.terminal.to_bcd().to_vec()),
        date: HexBytes(time.date.to_bytes().to_vec()),
        time: HexBytes(time.time.to_bytes().to_vec()),
        tac: tac.map(|tac| HexBytes(tac.0.to_vec())),
        means,
    };
    delivery(CENTRE, CREDIT, &order.to_string(), &report, at)
}

/// The centre books the cancellation of a paid order, before the money goes back.
pub(super) fn cancelled(order: OrderId, card: CardNumber, amount: Fen, at: Timestamp) -> Delivery {
    delivery(CENTRE, CANCELLED, &order.to_string(), &order_report(order, card, amount), at)
}

/// A cancelled order's payment goes back, and the centre is told when it has.
pub(super) fn refund(
    order: OrderId,
    payment: &PaymentReference,
    card: CardNumber,
    amount: Fen,
    at: Timestamp,
) -> Delivery {
    let back = PaymentBack {
        order,
        payment: payment.clone(),
        refund: refund_number(order, payment),
        amount,
        reason: "the top-up was cancelled".into(),
        report: Some(order_report(order, card, amount)),
    };
    delivery(PAYMENT, REFUND, &order.to_string(), &back, at)
}

/// A payment that its order cannot use any more goes back, if it is one.
pub(super) fn stray_payment(paid: &PlatformOrder, at: Timestamp) -> Delivery {
    let stray = Stray::of(paid);
    delivery(PAYMENT, STRAY, &format!("{}/{}", stray.order, stray.payment), &stray, at)
}

/// The centre books a payment that nobody could use, and its refund.
pub(super) fn stray_given_back(report: &StrayPayment, at: Timestamp) -> Delivery {
    delivery(CENTRE, STRAY, &format!("{}/{}", report.order, report.payment), report, at)
}

/// The number of a cancelled order's refund follows from what is given back, so that it is given back once.
fn refund_number(order: OrderId, payment: &PaymentReference) -> TransferId {
    let words = ["refund", "cancelled", &order.to_string(), &payment.to_string()];
    TransferId::from_uuid(names::derived(&words))
}

/// The platform closes an order that the rider cancelled.
pub(super) fn close(order: OrderId, at: Timestamp) -> Delivery {
    delivery(PAYMENT, CLOSE, &order.to_string(), &order, at)
}

/// The centre keeps what contradicts a payment, for its reconciliation.
pub(super) fn incident(
    id: IncidentId,
    kind: &str,
    text: &str,
    card: Option<CardNumber>,
    at: Timestamp,
) -> Delivery {
    let card = card.map(card_to_wire);
    let report = PaymentIncident { incident: id.as_uuid(), kind: kind.into(), text: text.into(), card, at };
    delivery(CENTRE, INCIDENT, &id.to_string(), &report, at)
}

/// The centre lists what a phone tried with a card.
pub(super) fn card_incident(report: &CardIncident, at: Timestamp) -> Delivery {
    delivery(CENTRE, CARD_INCIDENT, &report.incident.to_string(), report, at)
}

/// The SE-TSM learns how an operation ended.
pub(super) fn result(result: &OperationResult, at: Timestamp) -> Delivery {
    delivery(SE_TSM, RESULT, &result.operation.to_string(), result, at)
}

/// The SE-TSM learns that a card was locked or unlocked. One conversation can find a lock and lift it.
pub(super) fn lock_result(result: &OperationResult, at: Timestamp) -> Delivery {
    let key = format!("{}/{:?}", result.operation, result.kind);
    delivery(SE_TSM, RESULT, &key, result, at)
}

/// The SE-TSM opens an application for use.
pub(super) fn open_notice(notice: &Notice, at: Timestamp) -> Delivery {
    delivery(SE_TSM, OPEN_NOTICE, &notice.operation.to_string(), notice, at)
}

/// The centre parks a card that was blocked and read.
pub(super) fn park(card: &CardRecord, closing: CardClosing, image: &CardImage, at: Timestamp) -> Delivery {
    let state = image.state();
    let report = ParkedCard {
        card: card_to_wire(card.card),
        se_id: card.se.as_bytes().into(),
        purpose: purpose_to_wire(closing.purpose),
        operation: operation_to_wire(closing.operation),
        balance_fen: state.purse().fen(),
        online_counter: state.online().value(),
        offline_counter: Some(state.offline().value()),
        proof: ParkingProof::Read,
        image: Some(HexBytes(image.encode())),
    };
    parking(card, &closing, report, at)
}

/// The centre parks what was debited from a card that cannot prove its content.
pub(super) fn park_emptied(
    card: &CardRecord,
    closing: CardClosing,
    (debit, counter): (Debit, OnlineCounter),
    image: Option<&CardImage>,
    at: Timestamp,
) -> Delivery {
    let time = card_time(debit.at);
    let proof = ParkingProof::Unloaded {
        terminal: HexBytes(debit.terminal.to_bcd().to_vec()),
        date: HexBytes(time.date.to_bytes().to_vec()),
        time: HexBytes(time.time.to_bytes().to_vec()),
    };
    let report = ParkedCard {
        card: card_to_wire(card.card),
        se_id: card.se.as_bytes().into(),
        purpose: purpose_to_wire(closing.purpose),
        operation: operation_to_wire(closing.operation),
        balance_fen: to_wire(debit.balance),
        online_counter: counter.0,
        offline_counter: image.map(|image| image.state().offline().value()),
        proof,
        image: image.map(|image| HexBytes(image.encode())),
    };
    parking(card, &closing, report, at)
}

fn parking(card: &CardRecord, closing: &CardClosing, report: ParkedCard, at: Timestamp) -> Delivery {
    let parked = Parked { report, aid: card.instance.into(), end_number: closing.end_number };
    delivery(CENTRE, PARK, &closing.operation.to_string(), &parked, at)
}

/// The centre puts a card back to use.
pub(super) fn undo_closing(
    card: CardNumber,
    operation: OperationId,
    evidence: UndoEvidence,
    at: Timestamp,
) -> Delivery {
    let undo = UndoClosing { card: card_to_wire(card), operation: operation_to_wire(operation), evidence };
    delivery(CENTRE, UNDO_CLOSING, &operation.to_string(), &undo, at)
}

/// The refund of a closed card, as the centre is asked for it.
pub(super) fn refund_request(card: &CardRecord, closing: &CardClosing) -> RefundRequest {
    RefundRequest { card: card_to_wire(card.card), operation: operation_to_wire(closing.operation) }
}

/// The centre owes the balance of a closed card to its rider.
pub(super) fn order_refund(card: &CardRecord, closing: &CardClosing, at: Timestamp) -> Delivery {
    let ordered = RefundOrdered {
        request: refund_request(card, closing),
        se_id: card.se.as_bytes().into(),
        aid: card.instance.into(),
        end_number: closing.end_number,
    };
    delivery(CENTRE, ORDER_REFUND, &closing.operation.to_string(), &ordered, at)
}

/// The SE-TSM has the phone delete a card that is closed (B-7.5.1.c, B-7.6.1.d), and learns whether it is gone or
/// on its way.
fn unsubscribe(
    operation: ids::OperationId,
    (se_id, aid): (HexBytes, HexBytes),
    (end, number): (CardEnd, Option<u64>),
    at: Timestamp,
) -> Delivery {
    let key = match end {
        CardEnd::Parked => operation.to_string(),
        CardEnd::Returned => format!("{operation}/returned"),
    };
    delivery(SE_TSM, UNSUBSCRIBE, &key, &Notice { operation, se_id, aid, end: Some(end), number }, at)
}

/// A part of a returned card's balance goes back to one payment.
fn card_refund(request: &RefundRequest, share: &Share, at: Timestamp) -> Delivery {
    let key = format!("{}/{}", request.operation, share.order);
    let way = RefundWay::Payment { payment: ids::PaymentId(share.order.as_uuid()) };
    let report = RefundPayment {
        card: request.card.clone(),
        operation: request.operation,
        refund: ids::OperationId(names::derived(&["card-refund", &key])),
        amount_fen: to_wire(share.amount),
        way,
    };
    delivery(
        PAYMENT,
        CARD_REFUND,
        &key,
        &CardRefund { order: share.order, payment: share.payment.clone(), report },
        at,
    )
}

/// A part of a refund went back: the centre books it.
pub(super) fn card_refund_paid(report: &RefundPayment, at: Timestamp) -> Delivery {
    delivery(CENTRE, CARD_REFUND_PAID, &report.refund.to_string(), report, at)
}

/// The centre's lists follow whether a card is lost. `key` tells this change from the card's others.
pub(super) fn listing(card: CardNumber, key: &str, at: Timestamp) -> Delivery {
    delivery(CENTRE, LISTING, key, &ListingOf { card: card_to_wire(card) }, at)
}

fn order_report(order: OrderId, card: CardNumber, amount: Fen) -> OrderReport {
    OrderReport {
        order: ids::OrderId(order.as_uuid()),
        card: card_to_wire(card),
        amount_fen: to_wire(amount),
    }
}
