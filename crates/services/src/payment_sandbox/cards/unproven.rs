//! What becomes of an attempt that nobody settles: the platform died over the answer and the rider did not come back,
//! or came back when the card had bought something else. A card proves its last purchase only, so it may not be able to
//! say any more; but another terminal may report that purchase, the card's issuer may hear the proof before it is gone,
//! and two people at the centre can decide.
//!
//! ```text
//! intended     a watch is stored with the attempt, due when other terminals have had their time to report
//! settled      by the card, at whatever contact: the watch is over
//! due          whose purchase was N+1?
//!              another's     not debited
//!              nobody's      told without TAC: the centre keeps it aside, the card is asked for its proof by whoever
//!                            speaks with it, and the platform asks the centre again and again
//!              ours          paid: the card has proved it to its issuer, or two people have booked it
//!              dismissed     not debited, by two people's word
//! ```
//!
//! The attempt is open all the while, so that neither a close nor another payment decides it. Where a phone says then
//! that the card still stands at N, nothing proves that, so the watch goes on until the centre knows what N+1 was.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tracing::info;
use tsm_api::clearing::purchases::{PurchaseQuery, ReportedBy};
use tsm_api::problem::ProblemCode;
use tsm_domain::money::{CentreWord, PurchaseBegun, PurseAttempt};
use tsm_domain::{DeliveryId, OrderId};
use tsm_storage::payment::{DebitProof, PaymentRow};
use tsm_storage::shared::Delivery;

use super::debited::debited;
use super::notices::{CENTRE, Notices, report_of};
use super::stop::Stop;
use crate::outbox::{Carried, delivery};
use crate::purse::card_to_wire;

/// The kind of message.
pub(super) const KIND: &str = "purchase-watch";

/// An attempt that is watched. A card's random makes its beginning one of its kind.
#[derive(Serialize, Deserialize)]
struct Watch {
    order: OrderId,
    begun: PurchaseBegun,
}

/// The watch over an attempt that begins so, due at this time.
pub(super) fn watch(order: OrderId, begun: PurchaseBegun, now: Timestamp, due: Timestamp) -> Delivery {
    let place = format!("{}/{}", begun.counter.0, hex::encode(begun.random));
    let key = format!("{order}/{}/{place}", begun.card.as_str());
    Delivery { due_at: due, ..delivery(CENTRE, KIND, &key, &Watch { order, begun }, now) }
}

/// The identity of the watch over an attempt.
pub(super) fn watch_of(order: OrderId, attempt: &PurseAttempt) -> DeliveryId {
    watch(order, attempt.begun, attempt.at, attempt.at).id
}

impl Notices {
    /// Carries a watch that is due.
    pub(super) async fn follow(&self, message: &Delivery) -> Result<Carried, Stop> {
        let Ok(Watch { order, begun }) = serde_json::from_str(&message.body) else {
            return Ok(Carried::Refused(ProblemCode::Internal.into()));
        };
        let row = self.store.order(order).await?.ok_or(ProblemCode::UnknownId)?;
        let attempts = row.purse.as_ref().map(|purse| purse.attempts()).unwrap_or_default();
        let attempt = attempts.iter().find(|attempt| attempt.begun == begun && !attempt.is_debited());
        let Some(attempt) = attempt else { return Ok(Carried::Delivered) };
        if self.settle_without_card(&row, attempt).await?.is_some() {
            return Ok(Carried::Delivered);
        }
        if !attempt.is_open() {
            return Ok(Carried::Later(
                "it was given up, and the centre does not know the card's next purchase".into(),
            ));
        }
        self.store.debit_was_told(order, attempt.number, CentreWord::KeptAside, None).await?;
        let report = report_of(&row, attempt, None)?;
        let receipt = self.centre.consumption(&report).await.map_err(|error| error.to_problem())?;
        Ok(Carried::Later(format!("the centre says: {:?}", receipt.verdicts)))
    }

    /// Settles an attempt by what is known of the card's next purchase, here or at the centre; none where nothing is.
    pub(super) async fn settle_without_card(
        &self,
        row: &PaymentRow,
        attempt: &PurseAttempt,
    ) -> Result<Option<PaymentRow>, Stop> {
        let (order, number) = (row.order.order, attempt.number);
        let known = self.store.purse_card(attempt.begun.card).await?;
        let reported = match known.has_gone_on_from(attempt.begun.counter) {
            true => ReportedBy::Another,
            false => self.reported(attempt).await?,
        };
        let settled = match reported {
            ReportedBy::Nobody => return Ok(None),
            ReportedBy::You => {
                let (now, faults) = (self.environment.now(), self.faults.get());
                self.store.prove_debit(debited(row, attempt, DebitProof::Centre, now, &faults)?).await?
            }
            ReportedBy::Another | ReportedBy::Dismissed => {
                self.store.give_attempt_up(order, number, watch_of(order, attempt)).await?
            }
        };
        info!(%order, number, ?reported, "a debit is settled without its card");
        Ok(Some(settled))
    }

    /// Who has reported the purchase that an attempt would have been.
    pub(super) async fn reported(&self, attempt: &PurseAttempt) -> Result<ReportedBy, Stop> {
        let after = attempt.begun.counter.next().ok_or(ProblemCode::Internal)?;
        let query = PurchaseQuery { card: card_to_wire(attempt.begun.card), counter: after.0 };
        let known = self.centre.purchase(&query).await.map_err(|error| error.to_problem())?;
        Ok(known.reported)
    }
}
