//! What a phone or a card tried and what was refused or settled without anybody: it stands in the reconciliation
//! view once, with card, order or terminal, and ends by itself where the books say how it ended.
//!
//! ```text
//! two phones claim one parked card     the second is refused here, or by the issuer, which tells
//! success without the card's proof     the issuer believed nothing, and tells
//! an order is asked back in doubt      the issuer gave nothing back, and tells; credit or cancellation ends it
//! a tap while a card is returned       taken like any other; the card's parking ends it
//! ```
//!
//! Nothing here books, freezes or forgets anything.

use std::sync::Arc;

use jiff::Timestamp;
use tsm_api::clearing::card_incidents::{CardIncident, CardIncidentKind};
use tsm_api::endpoint::Nothing;
use tsm_api::problem::{Problem, ProblemCode};
use tsm_domain::money::reconciliation::{Cause, Difference, DifferenceState, Explanation};
use tsm_domain::money::settlement::BusinessDay;
use tsm_domain::money::{
    CardTransaction, Claim, Closing, ClosingPurpose, ClosingStage, TransactionKey, TransferCode,
};
use tsm_domain::{CardNumber, DifferenceId, Fen, OperationId, OrderId};
use tsm_storage::StorageError;

use super::Clearing;
use super::access::Institution;
use crate::names;
use crate::purse::card_from_wire;
use crate::server::Call;
use crate::stored;

/// The longest text that is kept.
const LONGEST_TEXT: usize = 500;

/// Hears what a phone tried with a card of the institution's.
pub(super) async fn card_incident(
    centre: Arc<Clearing>,
    call: Call<Institution, CardIncident>,
) -> Result<Nothing, Problem> {
    let Institution(institution, _) = call.caller;
    let CardIncident { incident, kind, card, order, amount_fen, text, at } = call.request;
    let card = card_from_wire(&card)?;
    centre.check_issuer(&institution, card)?;
    centre.known(card).await?;
    if text.len() > LONGEST_TEXT {
        return Err(ProblemCode::ValueRefused.into());
    }
    let noted = Noted {
        // The number is the institution's own, and says nothing of anybody else's.
        key: format!("{institution}/{incident}"),
        cause: cause_of(kind),
        card,
        reference: order.map(|order| OrderId::from_uuid(order.0)),
        transaction: None,
        theirs: amount_fen.map(|fen| Fen::new(fen.into())),
        text: format!("{institution}: {text}"),
        at,
    };
    centre.list_noted(noted).await.map_err(|error| stored::problem(&error))?;
    Ok(Nothing {})
}

const fn cause_of(kind: CardIncidentKind) -> Cause {
    match kind {
        CardIncidentKind::ClaimedTwice => Cause::ClaimedTwice,
        CardIncidentKind::ProofMissing => Cause::ProofMissing,
        CardIncidentKind::CancelInDoubt => Cause::CancelInDoubt,
        CardIncidentKind::CreditAfterCancel => Cause::CreditAfterCancel,
    }
}

/// Something that stands in the view once.
struct Noted {
    /// With the cause, what makes it one.
    key: String,
    cause: Cause,
    card: CardNumber,
    reference: Option<OrderId>,
    transaction: Option<TransactionKey>,
    theirs: Option<Fen>,
    text: String,
    at: Timestamp,
}

impl Clearing {
    /// Lists it, unless it is listed already.
    async fn list_noted(&self, noted: Noted) -> Result<(), StorageError> {
        let Noted { key, cause, card, reference, transaction, theirs, text, at } = noted;
        let day = BusinessDay::of(self.now());
        let state = match cause.ends_by_itself() {
            true => DifferenceState::Waiting { until: day.plus(self.duties.in_flight_days) },
            false => DifferenceState::Open,
        };
        let difference = Difference {
            id: DifferenceId::from_uuid(names::derived(&["difference", cause.name(), &key])),
            day,
            cause,
            reference,
            card: Some(card),
            transaction,
            ours: None,
            theirs,
            text,
            evidence: None,
            found_at: at,
            state,
        };
        self.keep_new(vec![difference]).await.map(drop)
    }

    /// A second SE has claimed a parked card and was refused. The same SE that asks again is no second one.
    pub(super) async fn note_second_claim(
        &self,
        card: CardNumber,
        closing: OperationId,
        second: Claim,
    ) -> Result<(), StorageError> {
        let known = self.store.closing(card, closing).await?;
        let Some(ClosingStage::Claimed(parking, first) | ClosingStage::Arrived(parking, first)) =
            known.map(|known| known.stage)
        else {
            return Ok(());
        };
        if first.se == second.se {
            return Ok(());
        }
        let at = self.now();
        let noted = Noted {
            key: format!("{closing}/{}/{}", first.operation, second.se),
            cause: Cause::ClaimedTwice,
            card,
            reference: None,
            transaction: None,
            theirs: Some(parking.balance),
            text: format!(
                "{}: secure element {} claimed the card, which was claimed for {} before and parked at {}",
                short(at),
                second.se,
                first.se,
                short(parking.at)
            ),
            at,
        };
        self.list_noted(noted).await
    }

    /// A purchase of a card that is being closed or was: when its terminal made it after the closing had begun, the
    /// card was in the field of a gate between the request and the block.
    pub(super) async fn note_tap(&self, tap: &CardTransaction) -> Result<(), StorageError> {
        if tap.amount.is_zero() {
            return Ok(());
        }
        let card = tap.key.card;
        let closings = self.store.closings_of(card).await?;
        let Some(closing) = closings.iter().find(|closing| is_during(closing, tap)) else { return Ok(()) };
        let what = match closing.purpose {
            ClosingPurpose::Return => "return",
            ClosingPurpose::Migration => "migration",
        };
        let noted = Noted {
            key: format!("{card}/{:02X}/{}", tap.key.kind.to_byte(), tap.key.counter),
            cause: Cause::TapDuringReturn,
            card,
            reference: None,
            transaction: Some(tap.key),
            theirs: Some(tap.amount),
            text: format!(
                "terminal {} took {} yuan at {} by its clock, in {what} {} begun at {}",
                tap.terminal,
                tap.amount,
                short(tap.at),
                closing.operation,
                short(closing.begun_at)
            ),
            at: self.now(),
        };
        self.list_noted(noted).await
    }

    /// How something ended that ends by itself, and what was found out; none while it has not.
    pub(super) async fn ended(
        &self,
        known: &Difference,
    ) -> Result<Option<(Explanation, Option<&'static str>)>, StorageError> {
        let Some(card) = known.card else { return Ok(None) };
        match known.cause {
            Cause::ClaimedTwice => {
                let closings = self.store.closings_of(card).await?;
                let is_claimed = |closing: &Closing| matches!(closing.stage, ClosingStage::Claimed(..));
                Ok((!closings.iter().any(is_claimed)).then_some((Explanation::Ended, None)))
            }
            Cause::TapDuringReturn => {
                let closings = self.store.closings_of(card).await?;
                let is_open = closings.iter().any(|closing| closing.stage == ClosingStage::Begun);
                Ok((!is_open).then_some((Explanation::Ended, None)))
            }
            Cause::CancelInDoubt => {
                let transfers = self.store.transfers_of(card).await?;
                let booked =
                    |code| transfers.iter().any(|one| one.order == known.reference && one.code == code);
                Ok(if known.reference.is_none() {
                    None
                } else if booked(TransferCode::Loaded) || booked(TransferCode::CashLoaded) {
                    Some((Explanation::Settled, Some("the card had taken it in, and it was credited once")))
                } else if booked(TransferCode::TopUpCancelled) {
                    Some((Explanation::Settled, Some("the card had not taken it in, and it goes back")))
                } else {
                    None
                })
            }
            _ => Ok(None),
        }
    }
}

/// Whether the terminal says that it took the money after the closing had begun, of what the card proved to have
/// made before it was blocked. Terminals know seconds: within the one in which it began nobody can tell.
fn is_during(closing: &Closing, tap: &CardTransaction) -> bool {
    let is_blocked_before = || {
        let made = closing.stage.parking().and_then(|parking| parking.offline);
        made.is_some_and(|made| tap.key.counter > made)
    };
    closing.stage != ClosingStage::Undone
        && tap.at.as_second() > closing.begun_at.as_second()
        && !is_blocked_before()
}

/// A time for people, to the second.
fn short(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}
