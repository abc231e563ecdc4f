//! What other organisations are told, through the outbox: each step that causes a report stores it in the
//! same commit, and the arrival is stored too. Receivers take each report once.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use tsm_api::clearing::card_incidents::CardIncident;
use tsm_api::clearing::closing::{
    ClosingPurpose, ParkedCard, ParkingProof, RefundPayment, RefundRequest, RefundWay, ReleaseClaim,
    UndoClosing, UndoEvidence,
};
use tsm_api::clearing::lists::LostCard;
use tsm_api::clearing::payments::{PaymentIncident, StrayPayment};
use tsm_api::clearing::{CreditMeans, CreditReport, NewAccount, OrderReport};
use tsm_api::client::ClientError;
use tsm_api::problem::{Problem, ProblemCode};
use tsm_api::se_tsm::peer::{CardEnd, Notice, OperationKind, OperationResult};
use tsm_api::{HexBytes, ids};
use tsm_domain::arrival::{Arrival, ArrivalState};
use tsm_domain::card::{CardClosing, CardRecord, CardState, Debit};
use tsm_domain::desk::DeskCase;
use tsm_domain::money::{Attempt, Tac};
use tsm_domain::{
    CardNumber, Fen, IncidentId, OnlineCounter, OperationId, OrderId, PaymentReference, TransferId,
};
use tsm_epurse::CardImage;
use tsm_storage::SpTsmStore;
use tsm_storage::shared::Delivery;
use tsm_storage::sp_tsm::{TopUpOrder, TopUpOrderState, With};

use super::Links;
use super::closing_card::{operation_to_wire, purpose_to_wire};
use super::returning::{Share, shares};
use super::stray_payments::Stray;
use crate::names;
use crate::outbox::{Carried, Carrier, delivery};
use crate::payment::{NewRefund, PlatformOrder};
use crate::purse::{aid_from_wire, card_from_wire, card_time, card_to_wire, se_from_wire, to_wire};
use crate::runtime::Environment;

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
}

/// A refund that is ordered at the centre, and what follows when it is.
#[derive(serde::Serialize, serde::Deserialize)]
struct RefundOrdered {
    request: RefundRequest,
    se_id: HexBytes,
    aid: HexBytes,
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
    delivery(CENTRE, PARK, &closing.operation.to_string(), &Parked { report, aid: card.instance.into() }, at)
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
    delivery(CENTRE, PARK, &closing.operation.to_string(), &Parked { report, aid: card.instance.into() }, at)
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
    };
    delivery(CENTRE, ORDER_REFUND, &closing.operation.to_string(), &ordered, at)
}

/// The SE-TSM has the phone delete a card that is closed (B-7.5.1.c, B-7.6.1.d), and learns whether it is gone or
/// on its way.
fn unsubscribe(
    operation: ids::OperationId,
    (se_id, aid): (HexBytes, HexBytes),
    end: CardEnd,
    at: Timestamp,
) -> Delivery {
    let key = match end {
        CardEnd::Parked => operation.to_string(),
        CardEnd::Returned => format!("{operation}/returned"),
    };
    delivery(SE_TSM, UNSUBSCRIBE, &key, &Notice { operation, se_id, aid, end: Some(end) }, at)
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

/// Carries reports, and stores that they arrived.
pub(super) struct Reports {
    pub store: Arc<dyn SpTsmStore>,
    pub links: Links,
    pub environment: Environment,
}

#[async_trait]
impl Carrier for Reports {
    async fn carry(&self, delivery: &Delivery) -> Carried {
        match delivery.kind.as_str() {
            ACCOUNT => self.carry_account(delivery).await,
            CREDIT => self.carry_credit(delivery).await,
            REFUND => self.carry_refund(delivery).await,
            CLOSE => self.carry_close(delivery).await,
            STRAY if delivery.to == PAYMENT => match read(delivery) {
                Ok(stray) => self.carry_stray(delivery, stray).await,
                Err(refused) => refused,
            },
            STRAY => match read::<StrayPayment>(delivery) {
                Ok(report) => Carried::of(self.links.centre.stray_payment(&report).await),
                Err(refused) => refused,
            },
            INCIDENT => match read::<PaymentIncident>(delivery) {
                Ok(report) => Carried::of(self.links.centre.payment_incident(&report).await),
                Err(refused) => refused,
            },
            CARD_INCIDENT => match read::<CardIncident>(delivery) {
                Ok(report) => Carried::of(self.links.centre.card_incident(&report).await),
                Err(refused) => refused,
            },
            PAID => match read::<OrderReport>(delivery) {
                Ok(report) => Carried::of(self.links.centre.payment(&report).await),
                Err(refused) => refused,
            },
            CANCELLED => match read::<OrderReport>(delivery) {
                Ok(report) => Carried::of(self.links.centre.cancellation(&report).await),
                Err(refused) => refused,
            },
            REFUNDED => match read::<OrderReport>(delivery) {
                Ok(report) => Carried::of(self.links.centre.refund(&report).await),
                Err(refused) => refused,
            },
            RESULT => self.carry_result(delivery).await,
            OPEN_NOTICE => match read::<Notice>(delivery) {
                Ok(notice) => Carried::of(self.links.se_tsm.open_notice(&notice).await),
                Err(refused) => refused,
            },
            ARRIVED => self.carry_arrival(delivery).await,
            RELEASE_CLAIM => match read::<ReleaseClaim>(delivery) {
                Ok(release) => Carried::of(self.links.centre.release_claim(&release).await),
                Err(refused) => refused,
            },
            PARK => self.carry_parking(delivery).await,
            ORDER_REFUND => self.carry_refund_order(delivery).await,
            CARD_REFUND => self.carry_card_refund(delivery).await,
            UNDO_CLOSING => match read::<UndoClosing>(delivery) {
                Ok(undo) => Carried::of(self.links.centre.undo_closing(&undo).await),
                Err(refused) => refused,
            },
            CARD_REFUND_PAID => match read::<RefundPayment>(delivery) {
                Ok(report) => Carried::of(self.links.centre.refund_paid(&report).await),
                Err(refused) => refused,
            },
            LISTING => self.carry_listing(delivery).await,
            FREEZE => self.carry_freeze(delivery).await,
            UNSUBSCRIBE => match read::<Notice>(delivery) {
                Ok(notice) => Carried::of(self.links.se_tsm.unsubscribe_notice(&notice).await),
                Err(refused) => refused,
            },
            other => Carried::Refused(Problem::because(
                ProblemCode::MalformedRequest,
                format_args!("There is no report of kind {other:?}."),
            )),
        }
    }
}

impl Reports {
    async fn carry_result(&self, delivery: &Delivery) -> Carried {
        let result: OperationResult = match read(delivery) {
            Ok(result) => result,
            Err(refused) => return refused,
        };
        if matches!(result.kind, OperationKind::Lock | OperationKind::Unlock) {
            match self.is_in_use(&result).await {
                Ok(true) => {}
                // Its closing is reported; a lock of it says nothing any more.
                Ok(false) => return Carried::Delivered,
                Err(error) => return Carried::Later(error.to_string()),
            }
        }
        Carried::of(self.links.se_tsm.result(&result).await)
    }

    /// Whether the card that a lock is reported of is still in use there.
    async fn is_in_use(&self, result: &OperationResult) -> tsm_storage::Result<bool> {
        let (Ok(se), Ok(application)) = (se_from_wire(&result.se_id), aid_from_wire(&result.aid)) else {
            return Ok(false);
        };
        let cards = self.store.cards_on(se).await?;
        let in_use = [CardState::Active, CardState::Locked, CardState::Closing];
        Ok(cards.iter().any(|card| card.instance == application && in_use.contains(&card.state)))
    }

    async fn carry_account(&self, delivery: &Delivery) -> Carried {
        let opened: OpenedCard = match read(delivery) {
            Ok(opened) => opened,
            Err(refused) => return refused,
        };
        let carried = Carried::of(self.links.centre.open_account(&opened.account).await);
        if carried != Carried::Delivered {
            return carried;
        }
        stored(self.store.card_told(OrderId::from_uuid(opened.order.0)).await)
    }

    async fn carry_arrival(&self, delivery: &Delivery) -> Carried {
        let arrived: ArrivedCard = match read(delivery) {
            Ok(arrived) => arrived,
            Err(refused) => return refused,
        };
        let carried = Carried::of(self.links.centre.open_account(&arrived.account).await);
        if carried != Carried::Delivered {
            return carried;
        }
        let operation = OperationId::from_uuid(arrived.migration.0);
        stored(self.store.move_arrival(operation, ArrivalState::Told, With::default()).await)
    }

    async fn carry_credit(&self, delivery: &Delivery) -> Carried {
        let report: CreditReport = match read(delivery) {
            Ok(report) => report,
            Err(refused) => return refused,
        };
        let carried = Carried::of(self.links.centre.credit(&report).await);
        if carried != Carried::Delivered {
            return carried;
        }
        stored(self.store.top_up_told(OrderId::from_uuid(report.order.0)).await)
    }

    /// Closes an order at the platform. A payment that was faster goes back, or has gone back already.
    async fn carry_close(&self, sent: &Delivery) -> Carried {
        let order: OrderId = match read(sent) {
            Ok(order) => order,
            Err(refused) => return refused,
        };
        match self.links.payment.close(order).await {
            Ok(closed) if closed.was_paid() => {
                stored(self.store.put_delivery(stray_payment(&closed, sent.created_at)).await)
            }
            // The platform never had it.
            Err(error) if error.code() == Some(ProblemCode::UnknownId) => Carried::Delivered,
            other => Carried::of(other.map_err(ClientError::from)),
        }
    }

    /// Gives a payment back; the centre books it only after the platform has done it.
    async fn carry_refund(&self, sent: &Delivery) -> Carried {
        let back: PaymentBack = match read(sent) {
            Ok(back) => back,
            Err(refused) => return refused,
        };
        let PaymentBack { order, payment, refund, amount, reason, report } = back;
        let Some(report) = report else {
            return self.carry_stray(sent, Stray { order, payment, amount }).await;
        };
        let card = match card_from_wire(&report.card) {
            Ok(card) => card,
            Err(problem) => return Carried::Refused(problem),
        };
        let wanted = NewRefund { order, payment, refund, amount, reason };
        if let Err(error) = self.links.payment.refund(&wanted).await {
            return self.refund_refused(&wanted, card, error).await;
        }
        let told = delivery(CENTRE, REFUNDED, &report.order.to_string(), &report, sent.created_at);
        stored(self.store.put_delivery(told).await)
    }
}

impl Reports {
    /// Once the centre has a closed card, its refund is ordered, or, for a migration, the phone may delete it:
    /// first the script, then the centre, then the deletion (B-7.5.1).
    async fn carry_parking(&self, sent: &Delivery) -> Carried {
        let Parked { report, aid } = match read(sent) {
            Ok(parked) => parked,
            Err(refused) => return refused,
        };
        let carried = Carried::of(self.links.centre.park(&report).await);
        if carried != Carried::Delivered {
            return carried;
        }
        let at = sent.created_at;
        let next = match report.purpose {
            ClosingPurpose::Migration => {
                unsubscribe(report.operation, (report.se_id.clone(), aid), CardEnd::Parked, at)
            }
            ClosingPurpose::Return => {
                let request = RefundRequest { card: report.card.clone(), operation: report.operation };
                let ordered = RefundOrdered { request, se_id: report.se_id.clone(), aid };
                delivery(CENTRE, ORDER_REFUND, &report.operation.to_string(), &ordered, at)
            }
        };
        let card = match card_from_wire(&report.card) {
            Ok(card) => card,
            Err(problem) => return Carried::Refused(problem),
        };
        let operation = OperationId::from_uuid(report.operation.0);
        let with = With { deliveries: vec![next], ..With::default() };
        stored(self.store.card_closing_told(card, operation, with).await)
    }

    /// Once the refund is ordered no phone can claim the card: its money goes back, and it may be deleted.
    async fn carry_refund_order(&self, sent: &Delivery) -> Carried {
        let RefundOrdered { request, se_id, aid } = match read(sent) {
            Ok(ordered) => ordered,
            Err(refused) => return refused,
        };
        let record = match self.links.centre.order_refund(&request).await {
            Ok(record) => record,
            Err(error) => return Carried::of::<()>(Err(error)),
        };
        let balance = Fen::new(record.balance_fen.unwrap_or(0).into());
        let card = match card_from_wire(&request.card) {
            Ok(card) => card,
            Err(problem) => return Carried::Refused(problem),
        };
        let shares = match shares(&*self.store, card, balance).await {
            Ok(shares) => shares,
            Err(error) => return Carried::Later(error.to_string()),
        };
        let mut next = Vec::new();
        match self.holds_another(card, &se_id, &aid).await {
            // The phone has deleted this one long since, and the new one stays.
            Ok(true) => {}
            Ok(false) => {
                next.push(unsubscribe(request.operation, (se_id, aid), CardEnd::Returned, sent.created_at));
            }
            Err(error) => return Carried::Later(error.to_string()),
        }
        next.extend(shares.iter().map(|share| card_refund(&request, share, sent.created_at)));
        for delivery in next {
            if let Err(error) = self.store.put_delivery(delivery).await {
                return Carried::Later(error.to_string());
            }
        }
        Carried::Delivered
    }

    /// Whether a secure element carries another card of that kind by now.
    async fn holds_another(
        &self,
        card: CardNumber,
        se_id: &HexBytes,
        aid: &HexBytes,
    ) -> tsm_storage::Result<bool> {
        let (Ok(se), Ok(application)) = (se_from_wire(se_id), aid_from_wire(aid)) else { return Ok(false) };
        let cards = self.store.cards_on(se).await?;
        Ok(cards.iter().any(|other| {
            other.card != card && other.instance == application && other.state != CardState::Closed
        }))
    }

    /// Gives a part back; the centre books it only after the platform has done it.
    async fn carry_card_refund(&self, sent: &Delivery) -> Carried {
        let CardRefund { order, payment, report } = match read(sent) {
            Ok(refund) => refund,
            Err(refused) => return refused,
        };
        let refund = NewRefund {
            order,
            payment,
            refund: TransferId::from_uuid(report.refund.0),
            amount: Fen::new(report.amount_fen.into()),
            reason: "the card was returned".into(),
        };
        let card = match card_from_wire(&report.card) {
            Ok(card) => card,
            Err(problem) => return Carried::Refused(problem),
        };
        if let Err(error) = self.links.payment.refund(&refund).await {
            return self.refund_refused(&refund, card, error).await;
        }
        stored(self.store.put_delivery(card_refund_paid(&report, sent.created_at)).await)
    }

    /// Says how the card stands now, and how often that has changed. A later change has a report of its own, and an
    /// older word that arrives after it changes nothing.
    async fn carry_listing(&self, sent: &Delivery) -> Carried {
        let told: ListingOf = match read(sent) {
            Ok(told) => told,
            Err(refused) => return refused,
        };
        let card = match card_from_wire(&told.card) {
            Ok(card) => card,
            Err(problem) => return Carried::Refused(problem),
        };
        let cases = match self.store.cases_of(card).await {
            Ok(cases) => cases,
            Err(error) => return Carried::Later(error.to_string()),
        };
        let word = LostCard { card: told.card, change: DeskCase::loss_changes(&cases) };
        if cases.iter().any(DeskCase::is_lost) {
            Carried::of(self.links.centre.report_lost(&word).await)
        } else {
            Carried::of(self.links.centre.report_found(&word).await)
        }
    }
}

/// An arrival that could not be stored is reported again; the receiver takes it once.
pub(super) fn stored<T>(result: tsm_storage::Result<T>) -> Carried {
    match result {
        Ok(_) => Carried::Delivered,
        Err(error) => Carried::Later(error.to_string()),
    }
}

pub(super) fn read<T: DeserializeOwned>(delivery: &Delivery) -> Result<T, Carried> {
    serde_json::from_str(&delivery.body).map_err(|error| {
        Carried::Refused(Problem::because(ProblemCode::MalformedRequest, format_args!("In detail: {error}.")))
    })
}
