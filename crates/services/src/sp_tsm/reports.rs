//! What other organisations are told, through the outbox: each step that causes a report stores it in the
//! same commit, and the arrival is stored too. Receivers take each report once.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use tsm_api::clearing::{CreditMeans, CreditReport, NewAccount, OrderReport};
use tsm_api::problem::{Problem, ProblemCode};
use tsm_api::se_tsm::peer::{Notice, OperationResult};
use tsm_api::{HexBytes, ids, payment};
use tsm_domain::card::CardRecord;
use tsm_domain::money::{Attempt, Tac};
use tsm_domain::{CardNumber, Fen, OrderId};
use tsm_storage::SpTsmStore;
use tsm_storage::shared::Delivery;
use tsm_storage::sp_tsm::{TopUpOrder, TopUpOrderState};

use super::Links;
use crate::outbox::{Carried, Carrier, delivery};
use crate::purse::{card_time, card_to_wire, to_wire};

const CENTRE: &str = "centre";
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

/// An opened card, with the order that it came from.
#[derive(serde::Serialize, serde::Deserialize)]
struct OpenedCard {
    order: ids::OrderId,
    account: NewAccount,
}

/// A payment that goes back, and what the centre is told then.
#[derive(serde::Serialize, serde::Deserialize)]
struct PaymentBack {
    payment: ids::PaymentId,
    refund: payment::Refund,
    /// The centre's entry; none for a payment that it never knew.
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
pub(super) fn refund(order: OrderId, card: CardNumber, amount: Fen, at: Timestamp) -> Delivery {
    let back = PaymentBack {
        payment: ids::PaymentId(order.as_uuid()),
        refund: payment::Refund { amount_fen: to_wire(amount), reason: "the top-up was cancelled".into() },
        report: Some(order_report(order, card, amount)),
    };
    delivery(PAYMENT, REFUND, &order.to_string(), &back, at)
}

/// A payment that nobody may use goes back.
pub(super) fn stray_payment(record: &payment::PaymentRecord, at: Timestamp) -> Delivery {
    let refund = payment::Refund { amount_fen: record.amount_fen, reason: "the order was closed".into() };
    let back = PaymentBack { payment: record.payment, refund, report: None };
    delivery(PAYMENT, REFUND, &record.payment.to_string(), &back, at)
}

/// The SE-TSM learns how an operation ended.
pub(super) fn result(result: &OperationResult, at: Timestamp) -> Delivery {
    delivery(SE_TSM, RESULT, &result.operation.to_string(), result, at)
}

/// The SE-TSM opens an application for use.
pub(super) fn open_notice(notice: &Notice, at: Timestamp) -> Delivery {
    delivery(SE_TSM, OPEN_NOTICE, &notice.operation.to_string(), notice, at)
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
}

#[async_trait]
impl Carrier for Reports {
    async fn carry(&self, delivery: &Delivery) -> Carried {
        match delivery.kind.as_str() {
            ACCOUNT => self.carry_account(delivery).await,
            CREDIT => self.carry_credit(delivery).await,
            REFUND => self.carry_refund(delivery).await,
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
            RESULT => match read::<OperationResult>(delivery) {
                Ok(result) => Carried::of(self.links.se_tsm.result(&result).await),
                Err(refused) => refused,
            },
            OPEN_NOTICE => match read::<Notice>(delivery) {
                Ok(notice) => Carried::of(self.links.se_tsm.open_notice(&notice).await),
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

    /// Gives a payment back; the centre books it only after the platform has done it.
    async fn carry_refund(&self, sent: &Delivery) -> Carried {
        let back: PaymentBack = match read(sent) {
            Ok(back) => back,
            Err(refused) => return refused,
        };
        let carried = Carried::of(self.links.payment.refund(back.payment, &back.refund).await);
        if carried != Carried::Delivered {
            return carried;
        }
        let Some(report) = back.report else { return Carried::Delivered };
        let told = delivery(CENTRE, REFUNDED, &report.order.to_string(), &report, sent.created_at);
        stored(self.store.put_delivery(told).await)
    }
}

/// An arrival that could not be stored is reported again; the receiver takes it once.
fn stored<T>(result: tsm_storage::Result<T>) -> Carried {
    match result {
        Ok(_) => Carried::Delivered,
        Err(error) => Carried::Later(error.to_string()),
    }
}

fn read<T: DeserializeOwned>(delivery: &Delivery) -> Result<T, Carried> {
    serde_json::from_str(&delivery.body).map_err(|error| {
        Carried::Refused(Problem::because(ProblemCode::MalformedRequest, format_args!("In detail: {error}.")))
    })
}
