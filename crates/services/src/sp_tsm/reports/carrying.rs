//! Carries the reports to where they belong, and stores that they arrived and what follows from it.

use std::sync::Arc;

use async_trait::async_trait;
use serde::de::DeserializeOwned;
use tsm_api::HexBytes;
use tsm_api::clearing::card_incidents::CardIncident;
use tsm_api::clearing::closing::{ClosingPurpose, RefundPayment, RefundRequest, ReleaseClaim, UndoClosing};
use tsm_api::clearing::lists::LostCard;
use tsm_api::clearing::payments::{PaymentIncident, StrayPayment};
use tsm_api::clearing::{CreditReport, OrderReport};
use tsm_api::client::ClientError;
use tsm_api::problem::{Problem, ProblemCode};
use tsm_api::se_tsm::peer::{CardEnd, Notice, OperationResult};
use tsm_domain::arrival::ArrivalState;
use tsm_domain::card::CardState;
use tsm_domain::desk::DeskCase;
use tsm_domain::{CardNumber, Fen, OperationId, OrderId, TransferId};
use tsm_storage::SpTsmStore;
use tsm_storage::shared::Delivery;
use tsm_storage::sp_tsm::With;

use super::{
    ACCOUNT, ARRIVED, ArrivedCard, CANCELLED, CARD_INCIDENT, CARD_REFUND, CARD_REFUND_PAID, CENTRE, CLOSE,
    CREDIT, CardRefund, FREEZE, INCIDENT, LISTING, ListingOf, OPEN_NOTICE, ORDER_REFUND, OpenedCard, PAID,
    PARK, PAYMENT, Parked, PaymentBack, REFUND, REFUNDED, RELEASE_CLAIM, RESULT, RefundOrdered, STRAY,
    UNDO_CLOSING, UNSUBSCRIBE, card_refund, card_refund_paid, stray_payment, unsubscribe,
};
use crate::outbox::{Carried, Carrier, delivery};
use crate::payment::NewRefund;
use crate::purse::{aid_from_wire, card_from_wire, se_from_wire};
use crate::runtime::Environment;
use crate::sp_tsm::Links;
use crate::sp_tsm::returning::shares;
use crate::sp_tsm::stray_payments::Stray;

/// Carries reports, and stores that they arrived.
pub(in crate::sp_tsm) struct Reports {
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
            RESULT => match read::<OperationResult>(delivery) {
                Ok(result) => Carried::of(self.links.se_tsm.result(&result).await),
                Err(refused) => refused,
            },
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
        let Parked { report, aid, end_number } = match read(sent) {
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
                let end = (CardEnd::Parked, end_number);
                unsubscribe(report.operation, (report.se_id.clone(), aid), end, at)
            }
            ClosingPurpose::Return => {
                let request = RefundRequest { card: report.card.clone(), operation: report.operation };
                let ordered = RefundOrdered { request, se_id: report.se_id.clone(), aid, end_number };
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
        let RefundOrdered { request, se_id, aid, end_number } = match read(sent) {
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
                let end = (CardEnd::Returned, end_number);
                next.push(unsubscribe(request.operation, (se_id, aid), end, sent.created_at));
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
pub(in crate::sp_tsm) fn stored<T>(result: tsm_storage::Result<T>) -> Carried {
    match result {
        Ok(_) => Carried::Delivered,
        Err(error) => Carried::Later(error.to_string()),
    }
}

pub(in crate::sp_tsm) fn read<T: DeserializeOwned>(delivery: &Delivery) -> Result<T, Carried> {
    serde_json::from_str(&delivery.body).map_err(|error| {
        Carried::Refused(Problem::because(ProblemCode::MalformedRequest, format_args!("In detail: {error}.")))
    })
}
