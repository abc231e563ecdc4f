//! Purchases over the network that no card can prove any more: nobody saw their end, or a phone changed their TAC on
//! its way, and their card has left its phone since, or bought something else. The money stays in the books as the
//! card's, and two people decide; so the purchase must stand in the centre's view, as missing or as kept aside.

use tsm_domain::money::reconciliation::{Cause, Difference};
use tsm_domain::money::{PurseStage, TransactionKey, TransactionType};
use tsm_domain::{CardNumber, OfflineCounter};
use tsm_storage::clearing::Closings as _;
use tsm_storage::clearing::collection::{Collection as _, Counted};
use tsm_storage::{ClearingStore as _, OnlinePurchases as _, PaymentStore as _};

use super::checks::now;
use super::shop::ONLINE;
use super::truth::bodies::Proof;
use super::violation::Violation;
use super::world::World;

impl World {
    /// Takes such purchases for what they are, before the books are compared.
    pub(super) fn take_beyond_proof(&self) {
        for (serial, counter, amount) in self.truth.paid_at(ONLINE, Proof::Here) {
            if self.is_beyond_proof(serial, counter) == Some(true) {
                self.truth.unproven(serial, counter, ONLINE, amount);
            }
        }
    }

    /// Whether a card has paid for something that it cannot prove any more: its rider has nothing left to do.
    pub(super) fn awaits_people(&self, serial: [u8; 10]) -> bool {
        let paid = self.truth.paid_at(ONLINE, Proof::Here);
        let mut own = paid.iter().filter(|(of, ..)| *of == serial);
        own.any(|(_, counter, _)| self.is_beyond_proof(serial, *counter) == Some(true))
    }

    /// Whether nobody can prove a purchase any more. None where somebody cannot be asked.
    fn is_beyond_proof(&self, serial: [u8; 10], counter: u16) -> Option<bool> {
        let card = CardNumber::from_application_serial(&serial).ok()?;
        let (centre, platform) = (&self.servers.stores.clearing, &self.servers.stores.payment);
        let key = TransactionKey { card, counter, kind: TransactionType::Purchase };
        if now(centre.transaction(key))?.is_some() {
            return Some(false);
        }
        let known = now(platform.purse_card(card))?;
        let mut stage = None;
        for order in known.open.into_iter().chain(known.disputed) {
            let purse = now(platform.order(order))??.purse?;
            let after = Some(OfflineCounter(counter));
            let attempts = purse.attempts().iter().filter(|one| one.begun.card == card);
            let mut of_it = attempts.filter(|one| one.begun.counter.next() == after).map(|one| one.stage);
            stage = of_it.next_back().or(stage);
        }
        let closings = now(centre.closings_of(card))?;
        let parkings = closings.iter().filter_map(|closing| closing.stage.parking());
        let has_left = parkings.filter_map(|parking| parking.offline).any(|offline| offline >= counter);
        // The card keeps the proof of its last purchase only.
        let is_gone = has_left || self.truth.has_paid_after(serial, counter);
        Some(match stage {
            Some(PurseStage::Intended | PurseStage::Unproven) => is_gone,
            Some(PurseStage::Disputed(_)) => is_gone && self.has_liars(serial),
            _ => false,
        })
    }

    fn has_liars(&self, serial: [u8; 10]) -> bool {
        self.truth.holder(serial).is_some_and(|rider| !self.truth.liars(rider).is_empty())
    }

    /// Each of them is listed.
    pub(super) fn check_beyond_proof(&self) {
        for (serial, counter, amount) in self.truth.paid_at(ONLINE, Proof::Gone) {
            let Ok(card) = CardNumber::from_application_serial(&serial) else { continue };
            let numbering = now(self.servers.stores.clearing.numbering(Counted::Card(card)));
            let missing = numbering.as_ref().map(|numbering| numbering.missing()).unwrap_or_default();
            let is_missing = missing.iter().any(|gap| (gap.from..=gap.to).contains(&u64::from(counter)));
            let is_of = |one: &Difference| match one.cause {
                Cause::CounterGap => is_missing,
                Cause::WrongTac | Cause::Unproven => {
                    one.transaction.is_some_and(|known| known.counter == counter)
                }
                _ => false,
            };
            if !self.listed(card).iter().any(is_of) {
                let what = format!("{amount} fen of card {card}, at offline counter {counter}");
                let rider = self.truth.holder(serial);
                return self.truth.find(rider, Violation::MissingUnlisted { what });
            }
        }
    }

    /// Whether a phone has changed the TAC of a purchase that the card, or its copy, has made.
    pub(super) fn was_falsified(&self, difference: &Difference) -> bool {
        let Some(known) = difference.transaction else { return false };
        let serial = known.card.application_serial();
        let amount = difference.theirs.map(|fen| fen.get());
        let is_it = |counter: u16, fen: u32| counter == known.counter && amount == Some(fen.into());
        let gone = self.truth.paid_at(ONLINE, Proof::Gone);
        let has_paid = if self.truth.is_copied(serial) {
            self.truth
                .bought(serial)
                .iter()
                .any(|one| one.terminal == ONLINE && is_it(one.counter, one.amount))
        } else {
            gone.iter().any(|(of, counter, fen)| *of == serial && is_it(*counter, *fen))
        };
        has_paid && self.has_liars(serial) && difference.text.contains(&hex::encode(ONLINE))
    }
}
