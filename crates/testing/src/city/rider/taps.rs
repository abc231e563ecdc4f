//! Gates and shops.

use super::Rider;
use crate::city::card::Card;
use crate::city::terminals::{self, STATIONS, TapFault, Tapped};
use crate::city::trace::Event;

impl Rider {
    pub(super) async fn ride(&mut self) {
        if self.balance() < 700 {
            return;
        }
        if !self.inside {
            let station = self.random.between(1, u64::from(STATIONS)) as u16;
            self.inside = self.tap("the entry gate", |rider, card, fault| {
                rider.world.terminals.enter(station, card, fault)
            });
            if !self.inside {
                return;
            }
        }
        let minutes = self.random.between(5, 40);
        self.wait(minutes * 60).await;
        let station = self.random.between(1, u64::from(STATIONS)) as u16;
        let out =
            self.tap("the exit gate", |rider, card, fault| rider.world.terminals.leave(station, card, fault));
        self.inside = !out;
    }

    pub(super) async fn shop(&mut self) {
        let amount = self.random.between(1, 800) as u32;
        if self.balance() < amount {
            return;
        }
        let shop = self.random.below(1_000) as u32;
        self.tap("the shop", |rider, card, fault| rider.world.terminals.buy(shop, amount, card, fault));
    }

    fn tap(
        &mut self,
        place: &'static str,
        touch: impl FnMut(&Self, &Card, Option<TapFault>) -> Tapped,
    ) -> bool {
        let card = self.card().clone();
        self.tap_with(&card, place, touch)
    }

    /// Taps, and taps again when card or terminal were gone. Says whether the rider passed.
    pub(super) fn tap_with(
        &mut self,
        card: &Card,
        place: &'static str,
        mut touch: impl FnMut(&Self, &Card, Option<TapFault>) -> Tapped,
    ) -> bool {
        let mischief = self.world.mischief(&mut self.random, self.world.plan.tap_faults);
        let mut fault = mischief.then(|| terminals::draw_fault(&mut self.random));
        if !card.is_powered() {
            card.power_on();
        }
        let tell = |event: Event| {
            let event = if card.element().is_copy() { Event::OfCopy(Box::new(event)) } else { event };
            self.world.trace.rider(self.number, event);
        };
        for _ in 0..4 {
            match touch(self, card, fault.take()) {
                Tapped::Passed(fare, balance) => {
                    self.world.operation();
                    tell(Event::Passed(place, fare, balance));
                    return true;
                }
                Tapped::Turned(why) => {
                    tell(Event::Turned(place, why));
                    return false;
                }
                Tapped::Again(why) => tell(Event::Turned(place, why)),
            }
        }
        false
    }
}
