//! Parked cards on their way to another SE, and whose cards are whose (B-7.6.1.e to i, P-5.5.4.b).

use async_trait::async_trait;
use tsm_domain::arrival::{Arrival, ArrivalState};
use tsm_domain::card::{CardClosing, CardRecord, CardState, ClosingProgress};
use tsm_domain::money::ClosingPurpose;
use tsm_domain::{CardNumber, Msisdn, OperationId, SeId};
use tsm_iso7816::Aid;

use super::With;
use crate::error::{Result, StorageError};

/// The result of ordering an arrival.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ArrivalOrdered {
    /// It is under way, now or since before.
    Accepted(Arrival),
    /// The card, or the SE, is busy with this other one.
    Busy(Arrival),
}

/// The result of returning a card that is parked to migrate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ParkedReturned {
    /// It is returned, now or since before.
    Returned(CardRecord),
    /// A phone is bringing it to itself.
    Busy(Arrival),
}

/// Who holds a card.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CardHolder {
    /// The number under which he is registered.
    pub number: Msisdn,
    /// Whether the card has it.
    pub data: HolderData,
}

/// Whether what a card holds about its holder is as it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HolderData {
    /// It is, or the card holds nothing that could change.
    Current,
    /// It is to be written again (P-5.5.5.b).
    Due,
}

/// Arrivals, and who holds a card.
#[async_trait]
pub trait Arrivals: Send + Sync {
    /// Orders an arrival. A card is on its way to one SE at a time, and an SE takes one card for an
    /// application at a time. Run again, it gives the one that was ordered. A card that is returned is a
    /// conflict.
    async fn order_arrival(&self, arrival: Arrival, with: With) -> Result<ArrivalOrdered>;
    /// Returns a card that is parked to migrate, unless a phone is bringing it to itself: from then on none can.
    /// `with` is stored only by the step that does it.
    async fn return_parked(&self, card: CardNumber, with: With) -> Result<ParkedReturned>;
    /// An arrival.
    async fn arrival(&self, operation: OperationId) -> Result<Option<Arrival>>;
    /// The arrival of an application on an SE that has not ended.
    async fn open_arrival(&self, se: SeId, application: Aid) -> Result<Option<Arrival>>;
    /// The arrival of a card that has not ended.
    async fn arrival_of(&self, card: CardNumber) -> Result<Option<Arrival>>;
    /// Moves an arrival along its table, without a contact with the SE. `with` is stored only by the step that
    /// moves it.
    async fn move_arrival(&self, operation: OperationId, to: ArrivalState, with: With) -> Result<Arrival>;
    /// Ends an arrival that is given up, with its card: nothing of it is on the SE any more.
    async fn give_up_arrival(&self, operation: OperationId, with: With) -> Result<Arrival>;
    /// Who holds a card.
    async fn holder(&self, card: CardNumber) -> Result<Option<CardHolder>>;
    /// Keeps who holds a card.
    async fn set_holder(&self, card: CardNumber, holder: CardHolder, with: With) -> Result<()>;
    /// The card has the data of the holder with this number. When he has another by now, they stay due, and
    /// `with` is not stored.
    async fn holder_written(&self, card: CardNumber, number: Msisdn, with: With) -> Result<()>;
    /// The cards of a number's rider.
    async fn cards_of(&self, number: &Msisdn) -> Result<Vec<CardRecord>>;
}

/// Whether two open arrivals cannot be at the same time.
pub(crate) fn excludes(known: &Arrival, new: &Arrival) -> bool {
    known.state.is_open()
        && (known.card == new.card || (known.se == new.se && known.application == new.application))
}

/// An arrival put over the stored one: its state must be able to follow, and nothing else changes.
pub(crate) fn check_arrival_follows(stored: Option<&Arrival>, next: &Arrival) -> Result<()> {
    let stored = stored.ok_or_else(|| StorageError::unknown("migration", next.operation))?;
    stored.state.moved_to(next.state)?;
    let same = Arrival { state: stored.state, ..next.clone() };
    if same == *stored { Ok(()) } else { Err(StorageError::conflict("migration", next.operation)) }
}

/// A card that was gone comes back only by an arrival that is being written to the SE of its record.
pub(crate) fn check_comes_back(
    stored: Option<&CardRecord>,
    next: &CardRecord,
    arrivals: &[Arrival],
) -> Result<()> {
    let was_gone = stored.is_some_and(|stored| matches!(stored.state, CardState::Parked | CardState::Closed));
    if !was_gone || next.state != CardState::Issuing {
        return Ok(());
    }
    let arrives = arrivals.iter().any(|arrival| {
        arrival.card == next.card && arrival.se == next.se && arrival.state == ArrivalState::Writing
    });
    if arrives { Ok(()) } else { Err(StorageError::conflict("card", next.card)) }
}

/// A card that is returned goes to no phone any more.
pub(crate) fn check_may_arrive(card: Option<&CardRecord>) -> Result<()> {
    match card {
        Some(card) if is_returned(card) => Err(StorageError::conflict("card", card.card)),
        _ => Ok(()),
    }
}

/// The card as it is returned from the centre; none when it was before.
pub(crate) fn returned(card: &CardRecord) -> Result<Option<CardRecord>> {
    if is_returned(card) {
        return Ok(None);
    }
    let closing = card.closing.filter(|closing| {
        is_away(card)
            && closing.purpose == ClosingPurpose::Migration
            && matches!(closing.progress, ClosingProgress::Told(_))
            && card.frozen.is_none()
    });
    let closing = closing.ok_or_else(|| StorageError::conflict("card", card.card))?;
    let closing = CardClosing { purpose: ClosingPurpose::Return, ..closing };
    Ok(Some(CardRecord { closing: Some(closing), ..card.clone() }))
}

fn is_returned(card: &CardRecord) -> bool {
    is_away(card) && card.closing.is_some_and(|closing| closing.purpose == ClosingPurpose::Return)
}

const fn is_away(card: &CardRecord) -> bool {
    matches!(card.state, CardState::Parked | CardState::Closed)
}

/// The arrival as it ends, and its card, which is nowhere now: the SE that it last was on is the one before.
pub(crate) fn given_up(arrival: Arrival, card: Option<CardRecord>) -> Result<(Arrival, Option<CardRecord>)> {
    let state = arrival.state.moved_to(ArrivalState::GivenUp)?;
    let written = card.filter(|card| card.se == arrival.se && card.state == CardState::Issuing);
    let card = written.map(|card| CardRecord { state: CardState::Closed, se: arrival.from, ..card });
    Ok((Arrival { state, ..arrival }, card))
}
