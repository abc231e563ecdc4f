//! What an attempt came to whose end nobody saw. The card says, with its proof; where it cannot, the clearing
//! centre may know whose purchase moved its counter.
//!
//! ```text
//! proof of N+1 under MAC2      debited: the order is paid
//! counter N                    not debited, and cannot be any more: the new random voids the old MAC1
//! counter beyond, no proof     unknown, until another's purchase is known to be N+1
//! counter below, said twice    not debited: what began the attempt was a lie, or this is; an incident says so
//! counter below what it proved suspicious
//! ```
//!
//! Where an attempt begins is said without a MAC, so that a phone which said too much then must not keep its rider
//! from paying for ever. A proof counts however late it comes.

use tracing::warn;
use tsm_api::clearing::purchases::{PurchaseQuery, ReportedBy};
use tsm_api::payment::purse::CardOffer;
use tsm_api::payment::{PaymentNotification, PaymentRecord, PaymentState};
use tsm_api::problem::{Problem, ProblemCode};
use tsm_card::purse::{BegunPurchase, PurchaseObservation, observe_purchase};
use tsm_domain::money::{PaymentRefusal, PaymentState as State, PurseAttempt, Tac};
use tsm_domain::{CardNumber, IncidentId, OrderId, PaymentReference};
use tsm_epurse::OfflineCounter;
use tsm_epurse::file::ApplicationSerial;
use tsm_iso7816::Aid;
use tsm_storage::StorageError;
use tsm_storage::payment::{PaymentRow, ProvenDebit};
use tsm_storage::shared::Incident;

use super::notices;
use super::paying::open_attempt;
use super::stop::Stop;
use crate::conversation::Session;
use crate::names;
use crate::payment_sandbox::{PaymentSandbox, notifications};
use crate::purse::card_to_wire;

/// What an attempt came to.
pub(super) enum Settled {
    /// The card proved that it paid.
    Paid(PaymentRow),
    /// It did not pay, and cannot by this attempt any more. A new beginning, where there is one.
    NotPaid(Option<BegunPurchase>),
}

impl PaymentSandbox {
    /// Finds out what became of an open attempt.
    pub(super) async fn settle(
        &self,
        session: &mut Session,
        purse: Aid,
        row: &PaymentRow,
        open: &PurseAttempt,
    ) -> Result<Settled, Stop> {
        let card = open.begun.card;
        match self.observe(session, purse, row, open).await? {
            PurchaseObservation::Debited(tac) => {
                self.prove(row, open, Tac(tac.to_bytes())).await.map(Settled::Paid)
            }
            PurchaseObservation::AnotherCard => {
                Err(Problem::because(ProblemCode::AnotherCard, format_args!("It was {card}.")).into())
            }
            PurchaseObservation::SaidNotToBeDebited { fresh } => {
                self.check_said(card, fresh.answer.counter.value()).await?;
                self.store.give_attempt_up(row.order.order, open.number).await?;
                Ok(Settled::NotPaid(Some(fresh)))
            }
            PurchaseObservation::Unknown { counter } => {
                if let Some(said) = counter {
                    self.check_said(card, said.value()).await?;
                    if said.value() < open.begun.counter.0 {
                        return self.settle_below(session, purse, row, open, said).await;
                    }
                }
                if !self.has_gone_on(open).await? {
                    return Err(still_unknown());
                }
                self.store.give_attempt_up(row.order.order, open.number).await?;
                Ok(Settled::NotPaid(None))
            }
        }
    }

    /// Asks the card what an attempt came to.
    pub(super) async fn observe(
        &self,
        session: &mut Session,
        purse: Aid,
        row: &PaymentRow,
        attempt: &PurseAttempt,
    ) -> Result<PurchaseObservation, Stop> {
        let cards = self.cards()?;
        let card = attempt.begun.card;
        let key = cards.purchase_key(card, None)?;
        let facts = cards.attempt(row.order.amount, attempt)?;
        let serial = ApplicationSerial(card.application_serial());
        let terms = cards.terms(row.order.amount)?;
        let channel = &mut session.card;
        Ok(observe_purchase(channel, &*cards.keys, &key, (purse, serial), &facts, terms).await?)
    }

    /// The card is said to stand before the attempt's beginning, which no card can: one of the two is not true. It
    /// is asked once more, so that an answer which was damaged just now gives nothing up.
    async fn settle_below(
        &self,
        session: &mut Session,
        purse: Aid,
        row: &PaymentRow,
        open: &PurseAttempt,
        said: OfflineCounter,
    ) -> Result<Settled, Stop> {
        let card = open.begun.card;
        match self.observe(session, purse, row, open).await? {
            PurchaseObservation::Debited(tac) => {
                self.prove(row, open, Tac(tac.to_bytes())).await.map(Settled::Paid)
            }
            PurchaseObservation::Unknown { counter: Some(again) } if again == said => {
                let began = open.begun.counter;
                let reason =
                    format!("the offline counter is said to be {said}, and it was said to be {began}");
                warn!(%card, reason, "a card was said to be further than it is");
                self.store.record_incident(self.incident(card, "suspicious-card", reason)).await?;
                self.store.give_attempt_up(row.order.order, open.number).await?;
                Ok(Settled::NotPaid(None))
            }
            PurchaseObservation::Unknown { .. }
            | PurchaseObservation::SaidNotToBeDebited { .. }
            | PurchaseObservation::AnotherCard => Err(still_unknown()),
        }
    }

    /// Settles what the card left open at another order.
    pub(super) async fn settle_other(
        &self,
        session: &mut Session,
        purse: Aid,
        order: OrderId,
    ) -> Result<(), Stop> {
        let row = self.payment(order).await?;
        match open_attempt(&row) {
            Some(open) => self.settle(session, purse, &row, &open).await.map(drop),
            None => Ok(()),
        }
    }

    /// Stores a proven debit: the order is paid, and merchant and centre will hear of it.
    pub(super) async fn prove(
        &self,
        row: &PaymentRow,
        attempt: &PurseAttempt,
        tac: Tac,
    ) -> Result<PaymentRow, Stop> {
        let now = self.now();
        let order = row.order.order;
        let payment: PaymentReference =
            order.to_string().parse().map_err(|_| Problem::new(ProblemCode::Internal))?;
        let said = PaymentRecord {
            state: PaymentState::Paid,
            changed_at: now,
            card: Some(CardOffer::Paid),
            ..self.record(row).await?
        };
        let word = PaymentNotification { payment: said };
        let faults = self.faults.get();
        let text = format!("card {} paid for order {order}, which was closed meanwhile", attempt.begun.card);
        let proven = ProvenDebit {
            order,
            number: attempt.number,
            tac,
            payment,
            at: now,
            notifications: notifications::messages(&row.notify_url, &word, now, &faults),
            notice: notices::notice(row, attempt, tac, now)?,
            for_nothing: self.incident(attempt.begun.card, "debited-for-nothing", text),
        };
        let stored = self.store.prove_debit(proven).await?;
        if matches!(stored.order.state, State::Closed) {
            warn!(%order, "a card paid for an order that was closed");
        }
        self.outbox.kick();
        Ok(stored)
    }

    /// A card cannot stand before what it proved here.
    async fn check_said(&self, card: CardNumber, counter: u16) -> Result<(), Stop> {
        let known = self.store.purse_card(card).await?;
        match known.check_not_before(tsm_domain::OfflineCounter(counter)) {
            Ok(()) => Ok(()),
            Err(refusal) => Err(self.suspicious(card, &refusal.to_string()).await),
        }
    }

    /// Whether another purchase is known to be the card's next after `open` began.
    async fn has_gone_on(&self, open: &PurseAttempt) -> Result<bool, Stop> {
        let card = open.begun.card;
        if self.store.purse_card(card).await?.has_gone_on_from(open.begun.counter) {
            return Ok(true);
        }
        let Some(after) = open.begun.counter.next() else { return Ok(false) };
        let query = PurchaseQuery { card: card_to_wire(card), counter: after.0 };
        match self.cards()?.centre.purchase(&query).await {
            Ok(answer) => Ok(answer.reported == ReportedBy::Another),
            Err(error) => {
                warn!(%error, "the centre cannot say whose a card's purchase was");
                Ok(false)
            }
        }
    }

    /// Why an attempt was not opened.
    pub(super) async fn refused_beginning(&self, card: CardNumber, error: StorageError) -> Stop {
        match &error {
            StorageError::Payment(refusal @ PaymentRefusal::CounterWentBack { .. }) => {
                self.suspicious(card, &refusal.to_string()).await
            }
            _ => error.into(),
        }
    }

    /// Leaves an incident about a card that contradicts itself, and refuses it.
    async fn suspicious(&self, card: CardNumber, reason: &str) -> Stop {
        warn!(%card, reason, "a card contradicts what it proved");
        let incident = self.incident(card, "suspicious-card", reason.to_owned());
        if let Err(error) = self.store.record_incident(incident).await {
            return error.into();
        }
        Problem::because(ProblemCode::CardUnproven, format_args!("In detail: {reason}.")).into()
    }

    /// An incident; the same one again is the same.
    pub(super) fn incident(&self, card: CardNumber, kind: &str, text: String) -> Incident {
        let id = IncidentId::from_uuid(names::derived(&[kind, card.as_str(), &text]));
        Incident { id, se: None, card: Some(card), kind: kind.into(), text, at: self.now(), closed: None }
    }
}

fn still_unknown() -> Stop {
    let why = "The card was used elsewhere since; it is settled when that terminal has reported.";
    Stop::Unknown(Problem::because(ProblemCode::OutcomeUnknown, why))
}
