//! What stands in the view and ends by itself, or waits for people without anything to book: a second claim of a parked
//! card, a proof that a phone did not bring, an order asked back in doubt, a tap while a card is returned. Each must be
//! so, also when it was explained long ago.

use futures_util::FutureExt as _;
use tsm_domain::money::ClosingStage;
use tsm_domain::money::reconciliation::{Cause, Difference, DifferenceState};
use tsm_domain::{CardNumber, SeId};
use tsm_storage::clearing::Closings as _;
use tsm_storage::clearing::settlement::{DifferenceQuery, Settlements as _};

use super::checks::now;
use super::violation::Violation;
use super::world::World;
use super::{Element, PHONES};

impl World {
    /// Every such line that ever stood in the view is so.
    pub(super) fn check_noted(&self) {
        for state in [None, Some("waiting".to_owned())] {
            let query = DifferenceQuery { state, ..DifferenceQuery::default() };
            let listed = self.servers.stores.clearing.differences(&query, usize::MAX).now_or_never();
            for difference in listed.and_then(Result::ok).into_iter().flatten() {
                if self.noted_is_so(&difference) == Some(false) {
                    let rider = difference.card.and_then(|card| self.truth.holder(card.application_serial()));
                    let what = format!("{} {difference:?}", difference.cause.name());
                    return self.truth.find(rider, Violation::UnexplainedDifference { what });
                }
            }
        }
    }

    /// Whether such a line is so; none for others.
    pub(super) fn noted_is_so(&self, difference: &Difference) -> Option<bool> {
        let card = difference.card?;
        let is_so = match difference.cause {
            Cause::ClaimedTwice => self.was_claimed_twice(difference, card),
            Cause::ProofMissing => self.was_lied_about(difference, card),
            Cause::CancelInDoubt => self.was_in_doubt(difference, card),
            Cause::TapDuringReturn => self.was_tapped(difference, card),
            // Only whoever has two of a card can show the issuer the one that was not credited.
            Cause::CreditAfterCancel => self.truth.is_copied(card.application_serial()),
            _ => return None,
        };
        Some(is_so)
    }

    /// Two phones of the card's rider stand there.
    fn was_claimed_twice(&self, difference: &Difference, card: CardNumber) -> bool {
        let Some(rider) = self.truth.holder(card.application_serial()) else { return false };
        let phones = (0..PHONES as u8).map(|phone| Element { rider, phone });
        phones.filter(|element| names(difference, *element)).count() == 2
    }

    /// The phone that stands there has lied, or a copy in its place.
    fn was_lied_about(&self, difference: &Difference, card: CardNumber) -> bool {
        let Some(rider) = self.truth.holder(card.application_serial()) else { return false };
        let liars = self.truth.liars(rider);
        liars.into_iter().any(|element| element.is_copy() || names(difference, element))
    }

    /// The order is the rider's, and what the line says of its end is so. A card and its copy can both be asked.
    fn was_in_doubt(&self, difference: &Difference, card: CardNumber) -> bool {
        let serial = card.application_serial();
        let Some(order) = difference.reference else { return false };
        let Some((rider, amount, is_credited)) = self.truth.order(order) else { return false };
        let is_about = self.truth.holder(serial) == Some(rider)
            && difference.theirs.map(|fen| fen.get()) == Some(u64::from(amount));
        let says_so = match difference.state {
            DifferenceState::Explained { .. } => {
                difference.text.contains("the card had taken it in") == is_credited
            }
            // Nobody has heard from the card since.
            _ => !is_credited,
        };
        is_about && (says_so || self.truth.is_copied(serial))
    }

    /// The card paid that there, has been closed or is being closed, and nobody has to do anything about it. One that
    /// was copied may contradict itself, and wait for people.
    fn was_tapped(&self, difference: &Difference, card: CardNumber) -> bool {
        let serial = card.application_serial();
        let Some(tap) = difference.transaction else { return false };
        let paid = self.truth.bought(serial).into_iter().any(|one| {
            one.counter == tap.counter
                && difference.theirs.map(|fen| fen.get()) == Some(u64::from(one.amount))
                && difference.text.contains(&hex::encode(one.terminal))
        });
        let closings = now(self.servers.stores.clearing.closings_of(card)).unwrap_or_default();
        let is_over = matches!(difference.state, DifferenceState::Explained { .. });
        let was_closed = closings.iter().any(|closing| {
            is_over == (closing.stage != ClosingStage::Begun)
                && difference.text.contains(&closing.operation.to_string())
        });
        paid && (was_closed || self.truth.is_copied(serial))
    }
}

fn names(difference: &Difference, element: Element) -> bool {
    SeId::new(&element.id()).is_ok_and(|se| difference.text.contains(&se.to_string()))
}
