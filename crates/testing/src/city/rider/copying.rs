//! A rider who can read a secure element's memory: one day he copies his card, and from then on he spends from
//! the card and from its copy, at gates, in shops and at machines that take cash. He parks the card, returns it or
//! reports it lost, and spends from the copy all the same; and he puts the copy into the phone in the card's place,
//! to be paid for it a second time.

use std::sync::Arc;

use tsm_api::HexBytes;
use tsm_domain::CardNumber;
use tsm_domain::money::CardAccountState;
use tsm_storage::ClearingStore as _;
use tsm_storage::sp_tsm::SpTsmStore as _;
use tsm_wallet::Quiet;

use super::Rider;
use super::closing::Closing;
use super::wallet::Hand;
use crate::city::PHONES;
use crate::city::card::Card;
use crate::city::checks::now;
use crate::city::counts::{Doing, Kind};
use crate::city::keys::TRANSIT;
use crate::city::random::Random;
use crate::city::terminals::STATIONS;
use crate::city::trace::Flow;
use crate::city::world::World;

/// A card with less than this is not worth copying, in fen.
const WORTH_IT: u32 = 1_500;

/// What a rider does about copies.
pub(super) enum Copying {
    /// Nothing.
    Never,
    /// He waits for the right moment.
    Someday,
    /// He has one.
    Has(Copy),
}

/// A copy of a card, in some other element.
pub(super) struct Copy {
    card: Arc<Card>,
    /// The copy went through an entry gate.
    inside: bool,
    /// In which phone the card was.
    from: usize,
    /// That phone as it is with the copy in it, once the rider has tried that.
    hand: Option<Hand>,
}

impl Copying {
    pub(super) fn of_rider(world: &World, rider: u32) -> Self {
        let mut random = Random::new(world.plan.seed, (4 << 32) + u64::from(rider));
        if random.once_in(world.plan.copiers) { Self::Someday } else { Self::Never }
    }

    pub(super) const fn has_copy(&self) -> bool {
        matches!(self, Self::Has(_))
    }
}

impl Rider {
    /// Copies the card, if that is what the rider does and now is the time.
    pub(super) fn copy_card(&mut self) {
        let is_time = matches!(self.copying, Copying::Someday) && self.balance() >= WORTH_IT;
        if !is_time || !self.random.once_in(8) {
            return;
        }
        let world = &self.world;
        if let Some(card) = self.card().copied(&world.servers.keys, world.plan.seed) {
            world.tally.fault(Kind::Doing(Doing::Copy));
            self.copying = Copying::Has(Copy { card, inside: false, from: self.at, hand: None });
        }
    }

    /// While the card is with the centre, on its way, lost or gone, its copy is still there.
    pub(super) async fn use_copy_meanwhile(&mut self) {
        let is_elsewhere = self.closing.is_some() || self.arrival.is_some() || !self.holds_card;
        if !self.copying.has_copy() || !(is_elsewhere || self.lost.is_some()) {
            return;
        }
        self.use_copy().await;
        // The centre has the card itself, or its rider has its money.
        let is_closed = matches!(self.closing, Some(Closing::Parked | Closing::Deleting)) || !self.holds_card;
        if is_closed && self.arrival.is_none() && self.random.once_in(3) {
            self.close_copy().await;
        }
    }

    /// Puts the copy into the phone in the card's place and asks for what it holds.
    async fn close_copy(&mut self) {
        let Copying::Has(copy) = &mut self.copying else { return };
        let Some(own) = self.hands[copy.from].take() else { return };
        let at = std::mem::replace(&mut self.at, copy.from);
        let hand = copy.hand.take().unwrap_or_else(|| own.with_card(&self.world, copy.card.clone()));
        self.hands[self.at] = Some(hand);
        self.world.tally.doing(Doing::CloseCopy);
        let aid: HexBytes = TRANSIT.into();
        if self.random.once_in(2) {
            let _ = self.flow(Flow::Return, async |wallet| wallet.return_card(&aid, &mut Quiet).await).await;
        } else {
            let _ =
                self.flow(Flow::MigrateOut, async |wallet| wallet.migrate_out(&aid, &mut Quiet).await).await;
        }
        let with_copy = self.hands[self.at].replace(own);
        self.at = at;
        if let Copying::Has(copy) = &mut self.copying {
            copy.hand = with_copy;
        }
    }

    /// Spends from the copy now and then.
    pub(super) async fn use_copy(&mut self) {
        let Copying::Has(Copy { card, inside, .. }) = &self.copying else { return };
        let (card, inside) = (card.clone(), *inside);
        let held = self.world.truth.reading(card.element()).map_or(0, |held| held.state.purse().fen());
        match self.random.below(8) {
            0..=2 => {
                let (shop, amount) = (self.random.below(1_000) as u32, self.random.between(1, 800) as u32);
                if held >= amount {
                    self.tap_with(&card, "a shop", |rider, card, fault| {
                        rider.world.terminals.buy(shop, amount, card, fault)
                    });
                }
            }
            3 | 4 if held >= 700 => {
                let station = self.random.between(1, u64::from(STATIONS)) as u16;
                let through = self.tap_with(&card, "a gate", |rider, card, fault| {
                    if inside {
                        rider.world.terminals.leave(station, card, fault)
                    } else {
                        rider.world.terminals.enter(station, card, fault)
                    }
                });
                if let Copying::Has(copy) = &mut self.copying {
                    copy.inside ^= through;
                }
            }
            5 if self.random.once_in(6) => self.pay_cash_onto(&card).await,
            _ => {}
        }
    }

    /// Whether the rider has got back what was on the card that he copied, whichever of the two he showed for it.
    pub(super) fn is_paid_back(&self) -> bool {
        let Copying::Has(copy) = &self.copying else { return false };
        let Some(reading) = self.world.truth.reading(copy.card.element()) else { return false };
        let Ok(card) = CardNumber::from_application_serial(&reading.serial) else { return false };
        let account = now(self.world.servers.stores.clearing.account(card)).flatten();
        let state = account.map(|row| row.account.state);
        matches!(state, Some(CardAccountState::RefundPayable { .. } | CardAccountState::Refunded))
    }

    /// Whether the servers have noticed that the card was copied: nothing of it can be settled any more.
    pub(super) fn is_caught(&self) -> bool {
        let Copying::Has(copy) = &self.copying else { return false };
        let Some(reading) = self.world.truth.reading(copy.card.element()) else { return false };
        let holds = |phone| self.reading_of(phone).is_some_and(|own| own.serial == reading.serial);
        let is_open = self.closing.is_some() || self.arrival.is_some();
        if !is_open && self.holds_card && !(0..PHONES).any(holds) {
            return false;
        }
        let Ok(card) = CardNumber::from_application_serial(&reading.serial) else { return false };
        let stores = &self.world.servers.stores;
        let at_issuer = now(stores.sp_tsm.card(card)).flatten().is_some_and(|row| row.frozen.is_some());
        let at_centre = now(stores.clearing.account(card)).flatten();
        at_issuer || at_centre.is_some_and(|row| row.account.freeze.is_some())
    }
}
