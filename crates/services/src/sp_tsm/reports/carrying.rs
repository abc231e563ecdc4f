//! Carries the reports to where they belong, and stores that they arrived and what follows from it.

use std::sync::Arc;

use async_trait::async_trait;
use serde::de::DeserializeOwned;
use tsm_api::HexBytes;
use tsm_api::clearing::CreditReport;
use tsm_api::clearing::closing::{ClosingPurpose, RefundRequest};
use tsm_api::clearing::lists::LostCard;
use tsm_api::client::ClientError;
use tsm_api::problem::{Problem, ProblemCode};
use tsm_api::se_tsm::peer::CardEnd;
use tsm_domain::arrival::ArrivalState;
use tsm_domain::card::CardState;
use tsm_domain::desk::DeskCase;
use tsm_domain::{CardNumber, Fen, OperationId, OrderId, TransferId};
use tsm_storage::shared::Delivery;
use tsm_storage::sp_tsm::With;
use tsm_storage::{SpTsmStore, StorageError};

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
        self.carry_report(delivery).await.unwrap_or_else(|stopped| stopped)
    }
}

impl Reports {
    /// Carries a report to its end, or says what stopped it.
    async fn carry_report(&self, sent: &Delivery) -> Result<Carried, Carried> {
        let Links { centre, se_tsm, .. } = &self.links;
        match sent.kind.as_str() {
            ACCOUNT => self.carry_account(sent).await,
            CREDIT => self.carry_credit(sent).await,
            REFUND => self.carry_refund(sent).await,
            CLOSE => self.carry_close(sent).await,
            STRAY if sent.to == PAYMENT => Ok(self.carry_stray(sent, read(sent)?).await),
            STRAY => Ok(Carried::of(centre.stray_payment(&read(sent)?).await)),
            INCIDENT => Ok(Carried::of(centre.payment_incident(&read(sent)?).await)),
            CARD_INCIDENT => Ok(Carried::of(centre.card_incident(&read(sent)?).await)),
            PAID => Ok(Carried::of(centre.payment(&read(sent)?).await)),
            CANCELLED => Ok(Carried::of(centre.cancellation(&read(sent)?).await)),
            REFUNDED => Ok(Carried::of(centre.refund(&read(sent)?).await)),
            RESULT => Ok(Carried::of(se_tsm.result(&read(sent)?).await)),
            OPEN_NOTICE => Ok(Carried::of(se_tsm.open_notice(&read(sent)?).await)),
            ARRIVED => self.carry_arrival(sent).await,
            RELEASE_CLAIM => Ok(Carried::of(centre.release_claim(&read(sent)?).await)),
            PARK => self.carry_parking(sent).await,
            ORDER_REFUND => self.carry_refund_order(sent).await,
            CARD_REFUND => self.carry_card_refund(sent).await,
            UNDO_CLOSING => Ok(Carried::of(centre.undo_closing(&read(sent)?).await)),
            CARD_REFUND_PAID => Ok(Carried::of(centre.refund_paid(&read(sent)?).await)),
            LISTING => self.carry_listing(sent).await,
            FREEZE => self.carry_freeze(sent).await,
            UNSUBSCRIBE => Ok(Carried::of(se_tsm.unsubscribe_notice(&read(sent)?).await)),
            other => Err(Carried::Refused(Problem::because(
                ProblemCode::MalformedRequest,
                format_args!("There is no report of kind {other:?}."),
            ))),
        }
    }

    async fn carry_account(&self, sent: &Delivery) -> Result<Carried, Carried> {
        let opened: OpenedCard = read(sent)?;
        self.links.centre.open_account(&opened.account).await.map_err(refused)?;
        Ok(stored(self.store.card_told(OrderId::from_uuid(opened.order.0)).await))
    }

    async fn carry_arrival(&self, sent: &Delivery) -> Result<Carried, Carried> {
        let arrived: ArrivedCard = read(sent)?;
        self.links.centre.open_account(&arrived.account).await.map_err(refused)?;
        let operation = OperationId::from_uuid(arrived.migration.0);
        Ok(stored(self.store.move_arrival(operation, ArrivalState::Told, With::default()).await))
    }

    async fn carry_credit(&self, sent: &Delivery) -> Result<Carried, Carried> {
        let report: CreditReport = read(sent)?;
        self.links.centre.credit(&report).await.map_err(refused)?;
        Ok(stored(self.store.top_up_told(OrderId::from_uuid(report.order.0)).await))
    }

    /// Closes an order at the platform. A payment that was faster goes back, or has gone back already.
    async fn carry_close(&self, sent: &Delivery) -> Result<Carried, Carried> {
        let order: OrderId = read(sent)?;
        Ok(match self.links.payment.close(order).await {
            Ok(closed) if closed.was_paid() => {
                stored(self.store.put_delivery(stray_payment(&closed, sent.created_at)).await)
            }
            // The platform never had it.
            Err(error) if error.code() == Some(ProblemCode::UnknownId) => Carried::Delivered,
            other => Carried::of(other.map_err(ClientError::from)),
        })
    }

    /// Gives a payment back; the centre books it only after the platform has done it.
    async fn carry_refund(&self, sent: &Delivery) -> Result<Carried, Carried> {
        let back: PaymentBack = read(sent)?;
        let PaymentBack { order, payment, refund, amount, reason, report } = back;
        let Some(report) = report else {
            return Ok(self.carry_stray(sent, Stray { order, payment, amount }).await);
        };
        let card = card_from_wire(&report.card).map_err(Carried::Refused)?;
        let wanted = NewRefund { order, payment, refund, amount, reason };
        if let Err(error) = self.links.payment.refund(&wanted).await {
            return Ok(self.refund_refused(&wanted, card, error).await);
        }
        let told = delivery(CENTRE, REFUNDED, &report.order.to_string(), &report, sent.created_at);
        Ok(stored(self.store.put_delivery(told).await))
    }

    /// Once the centre has a closed card, its refund is ordered, or, for a migration, the phone may delete it:
    /// first the script, then the centre, then the deletion (B-7.5.1).
    async fn carry_parking(&self, sent: &Delivery) -> Result<Carried, Carried> {
        let Parked { report, aid, end_number } = read(sent)?;
        self.links.centre.park(&report).await.map_err(refused)?;
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
        let card = card_from_wire(&report.card).map_err(Carried::Refused)?;
        let operation = OperationId::from_uuid(report.operation.0);
        let with = With { deliveries: vec![next], ..With::default() };
        Ok(stored(self.store.card_closing_told(card, operation, with).await))
    }

    /// Once the refund is ordered no phone can claim the card: its money goes back, and it may be deleted.
    async fn carry_refund_order(&self, sent: &Delivery) -> Result<Carried, Carried> {
        let RefundOrdered { request, se_id, aid, end_number } = read(sent)?;
        let record = self.links.centre.order_refund(&request).await.map_err(refused)?;
        let balance = Fen::new(record.balance_fen.unwrap_or(0).into());
        let card = card_from_wire(&request.card).map_err(Carried::Refused)?;
        let shares = shares(&*self.store, card, balance).await.map_err(later)?;
        let mut next = Vec::new();
        // Where the phone has deleted this one long since, the new one stays.
        if !self.holds_another(card, &se_id, &aid).await.map_err(later)? {
            let end = (CardEnd::Returned, end_number);
            next.push(unsubscribe(request.operation, (se_id, aid), end, sent.created_at));
        }
        next.extend(shares.iter().map(|share| card_refund(&request, share, sent.created_at)));
        for delivery in next {
            self.store.put_delivery(delivery).await.map_err(later)?;
        }
        Ok(Carried::Delivered)
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
    async fn carry_card_refund(&self, sent: &Delivery) -> Result<Carried, Carried> {
        let CardRefund { order, payment, report } = read(sent)?;
        let refund = NewRefund {
            order,
            payment,
            refund: TransferId::from_uuid(report.refund.0),
            amount: Fen::new(report.amount_fen.into()),
            reason: "the card was returned".into(),
        };
        let card = card_from_wire(&report.card).map_err(Carried::Refused)?;
        if let Err(error) = self.links.payment.refund(&refund).await {
            return Ok(self.refund_refused(&refund, card, error).await);
        }
        Ok(stored(self.store.put_delivery(card_refund_paid(&report, sent.created_at)).await))
    }

    /// Says how the card stands now, and how often that has changed. A later change has a report of its own, and an
    /// older word that arrives after it changes nothing.
    async fn carry_listing(&self, sent: &Delivery) -> Result<Carried, Carried> {
        let told: ListingOf = read(sent)?;
        let card = card_from_wire(&told.card).map_err(Carried::Refused)?;
        let cases = self.store.cases_of(card).await.map_err(later)?;
        let word = LostCard { card: told.card, change: DeskCase::loss_changes(&cases) };
        Ok(if cases.iter().any(DeskCase::is_lost) {
            Carried::of(self.links.centre.report_lost(&word).await)
        } else {
            Carried::of(self.links.centre.report_found(&word).await)
        })
    }
}

/// What a receiver's refusal of a report stops.
pub(in crate::sp_tsm) fn refused(error: ClientError) -> Carried {
    Carried::of::<()>(Err(error))
}

/// What a store that does not answer stops, for now.
pub(in crate::sp_tsm) fn later(error: StorageError) -> Carried {
    Carried::Later(error.to_string())
}

/// An arrival that could not be stored is reported again; the receiver takes it once.
pub(in crate::sp_tsm) fn stored<T>(result: tsm_storage::Result<T>) -> Carried {
    result.map_or_else(later, |_| Carried::Delivered)
}

pub(in crate::sp_tsm) fn read<T: DeserializeOwned>(delivery: &Delivery) -> Result<T, Carried> {
    serde_json::from_str(&delivery.body).map_err(|error| {
        Carried::Refused(Problem::because(ProblemCode::MalformedRequest, format_args!("In detail: {error}.")))
    })
}
