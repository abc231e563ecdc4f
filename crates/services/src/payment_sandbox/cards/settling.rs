//! What an attempt came to whose end nobody saw. The card says, with its proof; where it cannot, the clearing
//! centre may know whose purchase moved its counter.
//!
//! ```text
//! proof of N+1 under MAC2      debited: the order is paid
//! counter N                    not debited, and cannot be any more: the new random voids the old MAC1
//! counter beyond, no proof     unknown, until somebody's purchase is known to be N+1 (`unproven.rs`)
//! counter below, said twice    not debited: what began the attempt was a lie, or this is; an incident says so
//! counter below what it proved suspicious
//! ```
//!
//! Where an attempt begins is said without a MAC, so that a phone which said too much then must not keep its rider
//! from paying for ever. A proof counts however late it comes.

use tracing::warn;
use tsm_api::problem::{Problem, ProblemCode, both};
use tsm_card::purse::{BegunPurchase, PurchaseObservation, observe_purchase};
use tsm_domain::money::{PaymentRefusal, PaymentState as State, PurseAttempt, Tac};
use tsm_domain::{CardNumber, OrderId};
use tsm_epurse::OfflineCounter;
use tsm_epurse::file::ApplicationSerial;
use tsm_iso7816::Aid;
use tsm_storage::StorageError;
use tsm_storage::payment::{DebitProof, PaymentRow};

use super::debited::{debited, incident};
use super::notices;
use super::paying::open_attempt;
use super::stop::Stop;
use super::unproven::watch_of;
use crate::conversation::Session;
use crate::payment_sandbox::PaymentSandbox;

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
                self.give_up(row, open).await?;
                Ok(Settled::NotPaid(Some(fresh)))
            }
            PurchaseObservation::Unknown { counter } => {
                if let Some(said) = counter {
                    self.check_said(card, said.value()).await?;
                    if said.value() < open.begun.counter.0 {
                        return self.settle_below(session, purse, row, open, said).await;
                    }
                }
                self.settle_elsewhere(row, open).await
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
                self.store.record_incident(incident(card, "suspicious-card", reason, self.now())).await?;
                self.give_up(row, open).await?;
                Ok(Settled::NotPaid(None))
            }
            PurchaseObservation::Unknown { .. }
            | PurchaseObservation::SaidNotToBeDebited { .. }
            | PurchaseObservation::AnotherCard => Err(still_unknown()),
        }
    }

    /// The card cannot say what came of an attempt. What became of its next purchase may be known by now.
    async fn settle_elsewhere(&self, row: &PaymentRow, open: &PurseAttempt) -> Result<Settled, Stop> {
        match self.notices()?.settle_without_card(row, open).await {
            Ok(Some(settled)) => {
                self.outbox.kick();
                Ok(match settled.debited() {
                    Some(_) => Settled::Paid(settled),
                    None => Settled::NotPaid(None),
                })
            }
            Ok(None) => Err(still_unknown()),
            Err(Stop::Refused(problem)) => {
                warn!(%problem, "the centre cannot say whose a card's purchase was");
                Err(still_unknown())
            }
            Err(stop) => Err(stop),
        }
    }

    async fn give_up(&self, row: &PaymentRow, attempt: &PurseAttempt) -> Result<(), Stop> {
        let order = row.order.order;
        self.store.give_attempt_up(order, attempt.number, watch_of(order, attempt)).await?;
        Ok(())
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
        let (order, now) = (row.order.order, self.now());
        let proof = DebitProof::Card(tac, notices::notice(row, attempt, tac, now)?);
        let proven = debited(row, attempt, proof, now, &self.faults.get())?;
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
        let incident = incident(card, "suspicious-card", reason.to_owned(), self.now());
        if let Err(error) = self.store.record_incident(incident).await {
            return error.into();
        }
        Problem::because(ProblemCode::CardUnproven, format_args!("In detail: {reason}.")).into()
    }
}

fn still_unknown() -> Stop {
    let why = both(
        "The card was used elsewhere since; it is settled when that terminal has reported, or the clearing centre \
         has decided.",
        "该卡此后在别处使用过；待该终端上报或清算中心裁定后即有结果。",
    );
    Stop::Unknown(Problem::because(ProblemCode::OutcomeUnknown, why))
}
