//! Bringing a parked card to another phone: interrupted arrivals go on or are given up, and now and then two
//! phones want the same card.

use futures_util::FutureExt as _;
use tokio::sync::oneshot;
use tsm_api::HexBytes;
use tsm_wallet::Quiet;
use tsm_wallet::service::{Interrupted, InterruptedKind};

use super::closing::Closing;
use super::wallet::{Ended, Hand};
use super::{Rider, work_of};
use crate::city::PHONES;
use crate::city::counts::Doing;
use crate::city::keys::TRANSIT;
use crate::city::trace::{Event, Flow};

/// A card on its way between two of the rider's phones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Arrival {
    /// The phone that it was on.
    pub from: usize,
    /// The phone that it goes to.
    pub to: usize,
}

impl Rider {
    /// Takes the arrival of a card a step on.
    pub(super) async fn arrive(&mut self, arrival: Arrival) {
        self.take_phone(arrival.to);
        if !self.hand().registered {
            return self.register().await;
        }
        // What is left there of an earlier card goes first.
        if self.reading().is_some_and(|reading| !reading.spendable) {
            self.delete_what_is_closed().await;
        }
        let rival = self.send_rival(arrival);
        let aid: HexBytes = TRANSIT.into();
        let ended =
            self.flow(Flow::MigrateIn, async |wallet| wallet.migrate_in(&aid, None, &mut Quiet).await).await;
        if let Some((phone, rival)) = rival {
            self.hands[phone] = rival.await.ok();
        }
        match ended {
            Ended::Well(()) => self.arrived(),
            // A phone with an unfinished arrival may well hold a card that works.
            Ended::Badly(_) | Ended::PhoneDied if self.is_spendable() && self.random.once_in(3) => {
                self.shop().await;
            }
            Ended::Badly(_) | Ended::PhoneDied => self.after_broken_arrival(arrival).await,
        }
    }

    fn take_phone(&mut self, phone: usize) {
        if self.at != phone {
            self.world.tally.doing(Doing::TakePhone);
            self.world.trace.rider(self.number, Event::TakesPhone(phone as u8));
        }
        self.at = phone;
        let element = self.element_of(phone);
        self.hands[phone].get_or_insert_with(|| Hand::new(&self.world, element));
    }

    fn arrived(&mut self) {
        self.world.tally.doing(Doing::Arrive);
        self.arrival = None;
        self.closing = None;
        self.holds_card = true;
    }

    /// The servers say how an arrival stands; it goes on, or is given up.
    async fn after_broken_arrival(&mut self, arrival: Arrival) {
        let Some(works) = self.interrupted().await else { return };
        let Some(work) = work_of(&works, &[InterruptedKind::MigrationIn]) else {
            return self.look_for_card(arrival);
        };
        if work.may_continue && !self.random.once_in(4) {
            return;
        }
        let ended = self.cancel_arrival(&work).await;
        if !matches!(ended, Ended::Well(())) || self.is_spendable() {
            return;
        }
        // What was written of it has to go from this phone before the card is free again.
        if !self.card().look(|element| element.registry().find_application(&TRANSIT).is_some()) {
            self.look_for_card(arrival);
        }
    }

    async fn cancel_arrival(&mut self, work: &Interrupted) -> Ended<()> {
        self.flow(Flow::CancelArrival, async |wallet| {
            wallet.cancel_interrupted(work, &mut Quiet).await.map(drop)
        })
        .await
    }

    /// The servers know of no arrival at this phone: either it is over, or the card is elsewhere.
    fn look_for_card(&mut self, arrival: Arrival) {
        let with_card = (0..PHONES).find(|phone| self.reading_of(*phone).is_some_and(|card| card.spendable));
        match with_card {
            Some(phone) if phone == arrival.to => self.arrived(),
            // The rival got it, and may have to finish.
            Some(phone) => self.arrival = Some(Arrival { to: phone, ..arrival }),
            None => {
                self.arrival = None;
                self.take_phone(arrival.from);
                if self.is_paid_back() {
                    self.closing = Some(Closing::Deleting);
                }
            }
        }
    }

    /// Now and then a third phone of the same rider wants the card at the same time.
    fn send_rival(&mut self, arrival: Arrival) -> Option<(usize, oneshot::Receiver<Hand>)> {
        if !self.world.mischief(&mut self.random, 3) {
            return None;
        }
        let phone = (0..PHONES).find(|phone| ![arrival.from, arrival.to].contains(phone))?;
        if self.reading_of(phone).is_some() {
            return None;
        }
        let element = self.element_of(phone);
        let mut hand = self.hands[phone].take().unwrap_or_else(|| Hand::new(&self.world, element));
        self.world.tally.doing(Doing::Rival);
        self.world.trace.rider(self.number, Event::Rival(phone as u8));
        let (give_back, given_back) = oneshot::channel();
        let (world, number) = (self.world.clone(), self.msisdn());
        let before = self.random.below(1_500);
        let wants = async move {
            world.executor.sleep(std::time::Duration::from_millis(before)).await;
            hand.want_card(&world, number).await;
            let _ = give_back.send(hand);
        };
        self.world.executor.spawn(self.world.executor.owner(), wants.boxed());
        Some((phone, given_back))
    }
}
