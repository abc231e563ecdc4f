//! What a rider does: registers, opens a card, pays, rides, moves the card to another phone, and keeps at what
//! went wrong.

mod closing;
mod copying;
mod lost;
mod money;
mod moving;
mod online;
mod renumbering;
mod taps;
mod wallet;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tsm_api::HexBytes;
use tsm_api::ids::PaymentId;
use tsm_api::se_tsm::wallet::CatalogueList;
use tsm_se::inspect::PurseReading;
use tsm_wallet::service::{Interrupted, InterruptedKind};
use tsm_wallet::{Quiet, WalletError};

use self::closing::Closing;
use self::copying::Copying;
use self::lost::Lost;
use self::money::Pending;
use self::moving::Arrival;
use self::renumbering::Renumbering;
use self::wallet::{Ended, Hand};
use super::card::Card;
use super::desk::CARD_NAME;
use super::keys::TRANSIT;
use super::kiosk::Cash;
use super::random::Random;
use super::trace::Flow;
use super::world::World;
use super::{Element, PHONES};

/// A purse with less than this is topped up, in fen.
const LOW: u32 = 1_500;
/// How often a rider tries to settle something before the last count.
const LAST_TRIES: u32 = 40;

/// A rider.
pub struct Rider {
    world: Arc<World>,
    number: u32,
    /// The phones that the rider has; one is away while somebody else tries it.
    hands: [Option<Hand>; PHONES],
    /// The phone in use.
    at: usize,
    random: Random,
    holds_card: bool,
    locked: bool,
    inside: bool,
    pending: Option<Pending>,
    closing: Option<Closing>,
    arrival: Option<Arrival>,
    cash: Option<Cash>,
    /// The card that is reported lost.
    lost: Option<Lost>,
    /// A purchase over the network whose outcome the rider does not know.
    online: Option<PaymentId>,
    /// How often the rider's number has changed.
    numbers: u32,
    renumbering: Option<Renumbering>,
    /// What the rider does with a copy of the card.
    copying: Copying,
    amounts: BTreeSet<u32>,
    last_failure: String,
}

impl Rider {
    /// A rider with a phone.
    pub fn new(world: &Arc<World>, number: u32) -> Self {
        let mut hands = [const { None }; PHONES];
        hands[0] = Some(Hand::new(world, Element { rider: number, phone: 0 }));
        let random = Random::new(world.plan.seed, 10_000 + u64::from(number));
        Self {
            world: world.clone(),
            number,
            hands,
            at: 0,
            random,
            holds_card: false,
            locked: false,
            inside: false,
            pending: None,
            closing: None,
            arrival: None,
            cash: None,
            lost: None,
            online: None,
            numbers: 0,
            renumbering: None,
            copying: Copying::of_rider(world, number),
            amounts: BTreeSet::new(),
            last_failure: String::new(),
        }
    }

    /// Lives through the days of the city, and settles everything at the end.
    pub async fn live(mut self) {
        let spread = self.random.below(self.world.plan.arrivals_s.max(1));
        self.wait(spread).await;
        while !self.world.is_closing() {
            self.act().await;
            let pause = self.random.between(self.world.plan.pause_s / 2, self.world.plan.pause_s * 3 / 2);
            self.wait(pause).await;
        }
        self.settle().await;
        self.world.rider_settled();
    }

    async fn wait(&self, seconds: u64) {
        self.world.executor.sleep(Duration::from_secs(seconds)).await;
    }

    /// The phone in use.
    fn hand(&mut self) -> &mut Hand {
        self.hands[self.at].as_mut().expect("the phone in use is nowhere else")
    }

    /// The card in the phone in use.
    fn card(&self) -> &Arc<Card> {
        &self.hands[self.at].as_ref().expect("the phone in use is nowhere else").phone.card
    }

    fn element_of(&self, phone: usize) -> Element {
        Element { rider: self.number, phone: phone as u8 }
    }

    fn reading_of(&self, phone: usize) -> Option<PurseReading> {
        self.world.truth.reading(self.element_of(phone))
    }

    fn reading(&self) -> Option<PurseReading> {
        self.reading_of(self.at)
    }

    fn balance(&self) -> u32 {
        self.reading().map_or(0, |reading| reading.state.purse().fen())
    }

    fn is_spendable(&self) -> bool {
        self.reading().is_some_and(|reading| reading.spendable)
    }

    async fn act(&mut self) {
        if !self.hand().registered {
            self.register().await;
            return;
        }
        self.use_copy_meanwhile().await;
        if let Some(arrival) = self.arrival {
            self.arrive(arrival).await;
            return;
        }
        if self.random.once_in(6) {
            self.tidy_up().await;
        }
        if !self.holds_card {
            self.open().await;
            return;
        }
        if let Some(closing) = self.closing {
            self.close(closing).await;
            return;
        }
        if let Some(lost) = self.lost {
            self.be_without(lost).await;
            return;
        }
        // A gate that hears late of a card that was found locks it all the same.
        if self.locked || !self.is_spendable() {
            self.unlock().await;
            return;
        }
        if self.cash.is_some() {
            self.bring_cash().await;
        }
        if self.online.is_some() {
            self.ask_about_online().await;
            return;
        }
        if self.renumbering.is_some() {
            self.take_up_renumbering().await;
        }
        self.use_copy().await;
        self.top_up_if_low().await;
        let is_free = self.pending.is_none() && self.cash.is_none() && !self.inside;
        if is_free {
            self.copy_card();
        }
        // Who has another number now keeps the card.
        let is_free = is_free && self.renumbering.is_none();
        let has_copy = self.copying.has_copy();
        if is_free && has_copy && self.random.once_in(25) {
            let closing = *self.random.pick(&[Closing::Returning, Closing::Parking]);
            return self.begin_closing(closing).await;
        }
        match self.random.below(self.world.plan.variety) {
            0 => self.lock().await,
            1 => drop(self.synchronise().await),
            2 => drop(self.synchronise_purse().await),
            3 if !has_copy => self.delete().await,
            4 if is_free => self.begin_closing(Closing::Returning).await,
            5..=7 if is_free => self.begin_closing(Closing::Parking).await,
            8 if is_free => self.lose().await,
            9..=11 if is_free && !has_copy => self.change_number().await,
            12..=30 => self.shop_online().await,
            31..=120 => self.shop().await,
            _ => self.ride().await,
        }
    }

    /// The number that all of the rider's phones are registered to.
    fn msisdn(&self) -> String {
        self.number_after(self.numbers)
    }

    // Flows.

    async fn register(&mut self) {
        let msisdn = self.msisdn();
        let ended = self
            .flow(Flow::Register, async move |wallet| {
                let agreement = wallet.agreement().await?;
                let accepted = wallet.accept(&agreement);
                wallet.register(accepted, Some(msisdn), &mut Quiet).await
            })
            .await;
        self.hand().registered = matches!(ended, Ended::Well(()));
    }

    async fn open(&mut self) {
        let ended = self
            .flow(Flow::Open, async |wallet| {
                let entries = wallet.catalogue(CatalogueList::Recommendation).await?;
                let entry = entries.into_iter().find(|entry| entry.name == CARD_NAME);
                let entry = entry.ok_or_else(|| WalletError::NotOffered(TRANSIT.into()))?;
                wallet.open_card(&entry, &mut Quiet).await
            })
            .await;
        // A card that was opened before the phone heard of it is not offered again.
        let is_there = self.reading().is_some();
        match ended {
            Ended::Well(()) => self.holds_card = true,
            Ended::Badly(WalletError::NotOffered(_)) if is_there => self.holds_card = true,
            Ended::Badly(_) | Ended::PhoneDied => {}
        }
    }

    async fn lock(&mut self) {
        let aid: HexBytes = TRANSIT.into();
        let ended = self.flow(Flow::Lock, async |wallet| wallet.lock_card(&aid, &mut Quiet).await).await;
        // Whatever came of it, the rider unlocks: that is refused when nothing was locked.
        self.locked = matches!(ended, Ended::Well(())) || !self.is_spendable();
    }

    async fn unlock(&mut self) {
        let aid: HexBytes = TRANSIT.into();
        let ended = self.flow(Flow::Unlock, async |wallet| wallet.unlock_card(&aid, &mut Quiet).await).await;
        self.locked = !matches!(ended, Ended::Well(())) && !self.is_spendable();
    }

    async fn synchronise(&mut self) -> bool {
        let ended = self.flow(Flow::Synchronise, async |wallet| wallet.synchronise(&mut Quiet).await).await;
        let done = matches!(ended, Ended::Well(_));
        if done {
            self.world.check_inventory(self.card());
            self.look_at_lists().await;
        }
        done
    }

    /// What the operator shows in its lists is what table S.2 says.
    async fn look_at_lists(&mut self) {
        let element = self.element_of(self.at);
        let recorded = self.world.recorded_state(element);
        let lists = self.flow(Flow::Lists, async |wallet| wallet.lists().await).await;
        if let Ended::Well(lists) = lists {
            self.world.check_lists(element, recorded, &lists);
        }
    }

    async fn synchronise_purse(&mut self) -> bool {
        let aid: HexBytes = TRANSIT.into();
        let ended = self
            .flow(Flow::SynchronisePurse, async |wallet| wallet.synchronise_card(&aid, &mut Quiet).await)
            .await;
        matches!(ended, Ended::Well(_))
    }

    async fn delete(&mut self) {
        let aid: HexBytes = TRANSIT.into();
        let ended = self
            .flow(Flow::Delete, async |wallet| {
                let lists = wallet.lists().await?;
                let listed = lists.delete.into_iter().find(|listed| listed.aid == aid);
                let listed = listed.ok_or_else(|| WalletError::NotOffered(aid.clone()))?;
                wallet.delete(&aid, &listed.ticket, &mut Quiet).await
            })
            .await;
        if matches!(ended, Ended::Well(())) {
            self.world.check_inventory(self.card());
        }
        if matches!(ended, Ended::Well(())) || self.reading().is_none() {
            self.holds_card = false;
        }
    }

    /// What the servers say was interrupted on the phone in use.
    async fn interrupted(&mut self) -> Option<Vec<Interrupted>> {
        match self.flow(Flow::Cancel, async |wallet| wallet.interrupted().await).await {
            Ended::Well(works) => Some(works),
            Ended::Badly(_) | Ended::PhoneDied => None,
        }
    }

    /// At the end of the days nothing is left open.
    async fn settle(&mut self) {
        for hand in self.hands.iter().flatten() {
            hand.phone.card.calm();
        }
        for _ in 0..LAST_TRIES {
            // What a phone that lied has left open on its card goes with the power.
            for hand in self.hands.iter_mut().flatten() {
                hand.wallet = None;
                hand.phone.card.power_on();
            }
            if self.settle_once().await {
                self.check_holder();
                return;
            }
            if self.is_caught() {
                return;
            }
            self.wait(300).await;
        }
        let mut why = std::mem::take(&mut self.last_failure);
        for hand in self.hands.iter().flatten() {
            why.push_str(&self.world.described(&hand.phone.card));
        }
        self.world.unsettled(self.number, why);
    }

    /// Tries to settle everything; says whether all is.
    async fn settle_once(&mut self) -> bool {
        if !self.hand().registered {
            let is_first = self.hands.iter().flatten().count() == 1;
            if !is_first {
                self.register().await;
            }
            return is_first;
        }
        if let Some(arrival) = self.arrival {
            self.arrive(arrival).await;
            return false;
        }
        let mut settled = true;
        if self.online.is_some() {
            self.ask_about_online().await;
            settled &= self.online.is_none()
                || self.reading().is_some_and(|card| self.world.awaits_people(card.serial));
        }
        if let Some(closing) = self.closing {
            self.close(closing).await;
            settled &= self.closing.is_none();
        }
        if self.cash.is_some() {
            self.bring_cash().await;
            settled &= self.cash.is_none();
        }
        if let Some(lost) = self.lost {
            self.find(lost).await;
            settled &= self.lost.is_none();
        }
        // A card that is being closed is blocked, and needs no unlocking.
        self.locked = self.closing.is_none() && self.reading().is_some_and(|reading| !reading.spendable);
        if self.locked {
            self.unlock().await;
            settled &= !self.locked;
        }
        if self.pending.is_some() {
            self.top_up().await;
            settled &= self.pending.is_none_or(|pending| !pending.paid);
        }
        if self.holds_card && self.closing.is_none() {
            let agreed = self.synchronise_purse().await;
            settled &= agreed;
            if !agreed {
                self.take_up_closing().await;
            }
            // The card may be closed, and only this phone has not heard of it.
            if !agreed && self.closing.is_none() && !self.is_spendable() {
                self.delete_what_is_closed().await;
                self.holds_card = self.reading().is_some();
            }
        }
        if self.renumbering.is_some() && !self.locked {
            self.take_up_renumbering().await;
            settled &= self.renumbering.is_none();
        }
        settled &= self.tidy_up().await;
        settled & self.synchronise_all().await
    }

    /// Every phone's element is looked at by the operator.
    async fn synchronise_all(&mut self) -> bool {
        let (mut all, at) = (true, self.at);
        for phone in 0..PHONES {
            if self.hands[phone].as_ref().is_some_and(|hand| hand.registered) {
                self.at = phone;
                all &= self.synchronise().await;
            }
        }
        self.at = at;
        all
    }
}

/// The work of these kinds, if there is some.
fn work_of(works: &[Interrupted], kinds: &[InterruptedKind]) -> Option<Interrupted> {
    works.iter().find(|work| kinds.contains(&work.kind)).cloned()
}
