//! What a rider does: registers, opens a card, pays, rides, and keeps at what went wrong.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tsm_api::HexBytes;
use tsm_api::ids::{OrderId, PaymentId};
use tsm_api::problem::ProblemCode;
use tsm_api::se_tsm::wallet::CatalogueList;
use tsm_wallet::service::{Entrance, Interrupted, InterruptedKind, Rights, TopUpResult};
use tsm_wallet::{NetworkError, Quiet, WalletError};

use super::card::{Card, Mishap};
use super::desk::CARD_NAME;
use super::keys::TRANSIT;
use super::kiosk::{Cash, Kept};
use super::lock;
use super::phone::{Distraction, Phone, SimWallet};
use super::random::Random;
use super::terminals::{self, STATIONS, TapFault, Tapped};
use super::trace::{Event, Flow};
use super::world::World;

/// A purse with less than this is topped up, in fen.
const LOW: u32 = 1_500;
/// How long a session of the wallet is used, in seconds.
const SESSION_S: i64 = 20 * 60;
/// How often a rider tries to settle something before the last count.
const LAST_TRIES: u32 = 40;

/// A rider.
pub struct Rider {
    world: Arc<World>,
    number: u32,
    phone: Phone,
    random: Random,
    wallet: Option<SimWallet>,
    session_since: i64,
    registered: bool,
    holds_card: bool,
    locked: bool,
    inside: bool,
    pending: Option<Pending>,
    closing: Option<Closing>,
    cash: Option<Cash>,
    amounts: BTreeSet<u32>,
    hurry: Arc<Hurry>,
    last_failure: String,
}

/// How far the closing of a card has come, as the rider knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Closing {
    /// It is being returned.
    Returning,
    /// It is being parked.
    Parking,
    /// It is parked.
    Parked,
    /// It is given up; what is left of it goes from the phone.
    Deleting,
}

/// The rider holds the phone to a till while its wallet works.
struct Hurry {
    world: Arc<World>,
    card: Arc<Card>,
    /// Commands until then.
    left: Mutex<Option<u64>>,
}

impl Distraction for Hurry {
    fn before_command(&self) {
        let mut left = lock(&self.left);
        match left.as_mut() {
            None => return,
            Some(0) => *left = None,
            Some(commands) => {
                *commands -= 1;
                return;
            }
        }
        drop(left);
        let rider = self.card.rider();
        let event = match self.world.terminals.buy(rider, 100, &self.card, None) {
            Tapped::Passed(fare, balance) => Event::Passed(PLACE_BETWEEN, fare, balance),
            Tapped::Turned(why) | Tapped::Again(why) => Event::Turned(PLACE_BETWEEN, why),
        };
        self.world.trace.rider(rider, event);
    }
}

const PLACE_BETWEEN: &str = "a till, between two commands of the wallet";

/// A top-up that is not on the card yet.
#[derive(Debug, Clone, Copy)]
struct Pending {
    order: OrderId,
    payment: PaymentId,
    amount: u32,
    paid: bool,
}

/// How a flow ended.
enum Ended<T> {
    Well(T),
    Badly(WalletError),
    PhoneDied,
}

impl Rider {
    /// A rider with a phone.
    pub fn new(world: &Arc<World>, number: u32, mut phone: Phone) -> Self {
        let hurry = Hurry { world: world.clone(), card: phone.card.clone(), left: Mutex::new(None) };
        let hurry = Arc::new(hurry);
        phone.distract(hurry.clone());
        let random = Random::new(world.plan.seed, 10_000 + u64::from(number));
        Self {
            world: world.clone(),
            number,
            phone,
            random,
            wallet: None,
            session_since: 0,
            registered: false,
            holds_card: false,
            locked: false,
            inside: false,
            pending: None,
            closing: None,
            cash: None,
            amounts: BTreeSet::new(),
            hurry,
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

    async fn act(&mut self) {
        if !self.registered {
            self.register().await;
            return;
        }
        if !self.holds_card {
            self.open().await;
            return;
        }
        if let Some(closing) = self.closing {
            self.close(closing).await;
            return;
        }
        if self.locked {
            self.unlock().await;
            return;
        }
        if self.cash.is_some() {
            self.bring_cash().await;
        }
        let balance = self.balance();
        if self.pending.is_some() {
            self.top_up().await;
        } else if balance < LOW || self.random.once_in(150) {
            if self.random.once_in(8) {
                self.pay_cash().await;
            } else {
                self.pay().await;
            }
            if self.pending.is_some() {
                self.top_up().await;
            }
        }
        match self.random.below(400) {
            0 => self.lock().await,
            1 => drop(self.synchronise().await),
            2 => drop(self.synchronise_purse().await),
            3 => self.delete().await,
            4 if self.pending.is_none() && self.cash.is_none() && !self.inside => {
                self.close(Closing::Returning).await
            }
            5 if self.pending.is_none() && self.cash.is_none() && !self.inside => {
                self.close(Closing::Parking).await
            }
            6..=120 => self.shop().await,
            _ => self.ride().await,
        }
    }

    fn balance(&self) -> u32 {
        self.world.truth.reading(self.number).map_or(0, |reading| reading.state.purse().fen())
    }

    // Taps.

    async fn ride(&mut self) {
        if self.balance() < 700 {
            return;
        }
        if !self.inside {
            let station = self.random.between(1, u64::from(STATIONS)) as u16;
            self.inside = self.tap("the entry gate", |rider, fault| {
                rider.world.terminals.enter(station, &rider.phone.card, fault)
            });
            if !self.inside {
                return;
            }
        }
        let minutes = self.random.between(5, 40);
        self.wait(minutes * 60).await;
        let station = self.random.between(1, u64::from(STATIONS)) as u16;
        let out = self.tap("the exit gate", |rider, fault| {
            rider.world.terminals.leave(station, &rider.phone.card, fault)
        });
        self.inside = !out;
    }

    async fn shop(&mut self) {
        let amount = self.random.between(1, 800) as u32;
        if self.balance() < amount {
            return;
        }
        let shop = self.random.below(1_000) as u32;
        self.tap("the shop", |rider, fault| {
            rider.world.terminals.buy(shop, amount, &rider.phone.card, fault)
        });
    }

    /// Taps, and taps again when card or terminal were gone. Says whether the rider passed.
    fn tap(&mut self, place: &'static str, mut touch: impl FnMut(&Self, Option<TapFault>) -> Tapped) -> bool {
        let mut fault = self.world.mischief(&mut self.random, self.world.plan.tap_faults).then(|| {
            self.world.fault();
            terminals::draw_fault(&mut self.random)
        });
        if !self.phone.card.is_powered() {
            self.phone.card.power_on();
        }
        for _ in 0..4 {
            match touch(self, fault.take()) {
                Tapped::Passed(fare, balance) => {
                    self.world.operation();
                    self.world.trace.rider(self.number, Event::Passed(place, fare, balance));
                    return true;
                }
                Tapped::Turned(why) => {
                    self.world.trace.rider(self.number, Event::Turned(place, why));
                    return false;
                }
                Tapped::Again(why) => self.world.trace.rider(self.number, Event::Turned(place, why)),
            }
        }
        false
    }

    // Flows.

    async fn register(&mut self) {
        let msisdn = format!("86139{:08}", self.number);
        let ended = self
            .flow(Flow::Register, async move |wallet| {
                let agreement = wallet.agreement().await?;
                let accepted = wallet.accept(&agreement);
                wallet.register(accepted, Some(msisdn), &mut Quiet).await
            })
            .await;
        self.registered = matches!(ended, Ended::Well(()));
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
        let there = || self.world.truth.reading(self.number).is_some();
        match ended {
            Ended::Well(()) => self.holds_card = true,
            Ended::Badly(WalletError::NotOffered(_)) if there() => self.holds_card = true,
            Ended::Badly(_) | Ended::PhoneDied => {}
        }
    }

    /// An amount that this rider never paid before, so that a credit says what it is for.
    fn new_amount(&mut self) -> u32 {
        let mut amount = self.random.between(3_000, 15_000) as u32;
        while !self.amounts.insert(amount) {
            amount += 1;
        }
        amount
    }

    async fn pay(&mut self) {
        let amount = self.new_amount();
        let aid: HexBytes = TRANSIT.into();
        let ordered = self.flow(Flow::Pay, async |wallet| wallet.order_top_up(&aid, amount).await).await;
        let Ended::Well((order, payment)) = ordered else { return };
        self.world.truth.ordered(self.number, tsm_domain::OrderId::from_uuid(order.0), amount);
        self.pending = Some(Pending { order, payment, amount, paid: false });
    }

    async fn pay_cash(&mut self) {
        let Some(reading) = self.world.truth.reading(self.number) else { return };
        if self.cash.is_none() && reading.spendable {
            let amount = self.new_amount();
            self.cash = Some(self.world.take_cash(self.number, reading.serial, amount));
            self.bring_cash().await;
        }
    }

    /// Holds the card to the kiosk until it knows where the cash is.
    async fn bring_cash(&mut self) {
        let Some(cash) = self.cash else { return };
        if !self.phone.card.is_powered() {
            self.phone.card.power_on();
        }
        // The phone's own death does not concern the kiosk.
        let _ = self.prepare_mishap();
        self.world.trace.rider(self.number, Event::Began(Flow::Cash));
        let kept = self.world.bring_cash(&self.phone.card, cash).await;
        self.phone.card.calm();
        *lock(&self.hurry.left) = None;
        if !self.phone.card.is_powered() {
            self.phone.card.power_on();
        }
        match kept {
            Kept::OnCard => {
                self.world.finished(Flow::Cash);
                self.world.trace.rider(self.number, Event::Done(Flow::Cash));
                self.cash = None;
            }
            Kept::GivenBack => {
                self.world.trace.rider(self.number, Event::Cancelled(cash.amount));
                self.cash = None;
            }
            Kept::Unknown => {
                self.last_failure = "Cash: the kiosk does not know where it is".into();
                self.world.trace.rider(self.number, Event::Failed(Flow::Cash, "not known yet".into()));
            }
        }
        self.world.truth.check_proven(self.number);
    }

    async fn top_up(&mut self) {
        let Some(pending) = self.pending else { return };
        let aid: HexBytes = TRANSIT.into();
        if !pending.paid {
            let Pending { order, payment, amount, .. } = pending;
            match self.flow(Flow::Pay, async |wallet| wallet.pay(&aid, order, payment).await).await {
                Ended::Well(_) => {
                    self.world.trace.rider(self.number, Event::Paid(amount));
                    self.pending = Some(Pending { paid: true, ..pending });
                }
                Ended::Badly(error) => return self.give_up_if_closed(&error),
                Ended::PhoneDied => return,
            }
        }
        let paid = tsm_wallet::service::PaidTopUp { aid, order: pending.order };
        match self.flow(Flow::TopUp, async |wallet| wallet.top_up(&paid, &mut Quiet).await).await {
            Ended::Well(TopUpResult::Credited { .. }) => self.pending = None,
            Ended::Well(TopUpResult::NotCredited { .. }) | Ended::PhoneDied => {}
            Ended::Badly(error) => {
                self.give_up_if_closed(&error);
                if self.pending.is_some() && self.random.once_in(4) {
                    self.cancel(pending).await;
                }
            }
        }
    }

    /// Cancels a top-up that did not go well. The card has the last word.
    async fn cancel(&mut self, pending: Pending) {
        let ended = self
            .flow(Flow::Cancel, async |wallet| {
                let works = wallet.interrupted().await?;
                match works.iter().find(|work| work.order == Some(pending.order)) {
                    Some(work) => wallet.cancel_interrupted(work, &mut Quiet).await.map(drop),
                    None => Ok(()),
                }
            })
            .await;
        if matches!(ended, Ended::Well(())) {
            self.world.trace.rider(self.number, Event::Cancelled(pending.amount));
            self.pending = None;
        }
    }

    /// Takes the closing of the card a step on.
    async fn close(&mut self, closing: Closing) {
        let aid: HexBytes = TRANSIT.into();
        self.closing = Some(closing);
        let next = match closing {
            Closing::Returning => {
                let ended =
                    self.flow(Flow::Return, async |wallet| wallet.return_card(&aid, &mut Quiet).await).await;
                self.after_closing(closing, &ended, Closing::Deleting)
            }
            Closing::Parking => {
                let ended = self
                    .flow(Flow::MigrateOut, async |wallet| wallet.migrate_out(&aid, &mut Quiet).await)
                    .await;
                self.after_closing(closing, &ended, Closing::Parked)
            }
            Closing::Parked if self.random.once_in(2) => Some(Closing::Returning),
            Closing::Parked => {
                self.cancel_closing().await;
                // A parked card that cannot come back is returned.
                if self.is_spendable() { None } else { Some(Closing::Returning) }
            }
            Closing::Deleting => {
                // What is to be deleted is said at a login.
                self.wallet = None;
                let _ = self.flow(Flow::Delete, async |wallet| wallet.delete_closed(&mut Quiet).await).await;
                let gone = self.world.truth.reading(self.number).is_none();
                self.holds_card &= !gone;
                if gone { None } else { Some(Closing::Deleting) }
            }
        };
        self.closing = next;
    }

    fn after_closing<T>(&self, closing: Closing, ended: &Ended<T>, then: Closing) -> Option<Closing> {
        match ended {
            Ended::Well(_) => Some(then),
            // Refused before anything happened to the card.
            Ended::Badly(WalletError::Refused(_)) if self.is_spendable() => None,
            Ended::Badly(_) | Ended::PhoneDied => Some(closing),
        }
    }

    /// A closing that the phone did not see begin is taken up again.
    async fn take_up_closing(&mut self) {
        let works = self.flow(Flow::Cancel, async |wallet| wallet.interrupted().await).await;
        let Ended::Well(works) = works else { return };
        self.closing = works.iter().find_map(|work| match work.kind {
            InterruptedKind::Return => Some(Closing::Returning),
            InterruptedKind::MigrationOut => Some(Closing::Parking),
            _ => None,
        });
    }

    async fn cancel_closing(&mut self) {
        let _ = self
            .flow(Flow::CancelClosing, async |wallet| {
                let works = wallet.interrupted().await?;
                let closing = |work: &&Interrupted| {
                    let closes =
                        [InterruptedKind::Return, InterruptedKind::MigrationOut].contains(&work.kind);
                    closes && work.may_cancel
                };
                match works.iter().find(closing) {
                    Some(work) => wallet.cancel_interrupted(work, &mut Quiet).await.map(drop),
                    None => Ok(()),
                }
            })
            .await;
    }

    /// An order that the server will never take again is forgotten.
    fn give_up_if_closed(&mut self, error: &WalletError) {
        let code = match error {
            WalletError::Cancelled => None,
            WalletError::Refused(problem) => Some(problem.code),
            WalletError::Network(NetworkError::Refused(problem)) => Some(problem.code),
            _ => return,
        };
        let paid = self.pending.is_some_and(|pending| pending.paid);
        let closed = matches!(code, Some(ProblemCode::OrderUsed));
        let unpaid = !paid && matches!(code, None | Some(ProblemCode::StateForbids | ProblemCode::UnknownId));
        if closed || unpaid {
            self.pending = None;
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

    fn is_spendable(&self) -> bool {
        self.world.truth.reading(self.number).is_some_and(|reading| reading.spendable)
    }

    async fn synchronise(&mut self) -> bool {
        let ended = self.flow(Flow::Synchronise, async |wallet| wallet.synchronise(&mut Quiet).await).await;
        let done = matches!(ended, Ended::Well(_));
        if done {
            self.world.check_inventory(self.number, &self.phone.card);
            self.look_at_lists().await;
        }
        done
    }

    /// What the operator shows in its lists is what table S.2 says.
    async fn look_at_lists(&mut self) {
        let recorded = self.world.recorded_state(self.number);
        let lists = self.flow(Flow::Lists, async |wallet| wallet.lists().await).await;
        if let Ended::Well(lists) = lists {
            self.world.check_lists(self.number, recorded, &lists);
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
        if matches!(ended, Ended::Well(())) || self.world.truth.reading(self.number).is_none() {
            self.holds_card = false;
        }
    }

    /// At the end of the days nothing is left open.
    async fn settle(&mut self) {
        self.phone.card.calm();
        for _ in 0..LAST_TRIES {
            if !self.registered {
                return;
            }
            // What a phone that lied has left open on its card goes with the power.
            self.wallet = None;
            self.phone.card.power_on();
            let mut settled = true;
            if let Some(closing) = self.closing {
                let closing = if closing == Closing::Parked { Closing::Returning } else { closing };
                self.close(closing).await;
                settled &= self.closing.is_none();
            }
            if self.cash.is_some() {
                self.bring_cash().await;
                settled &= self.cash.is_none();
            }
            if self.locked && self.closing.is_none() {
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
            }
            settled &= self.synchronise().await;
            if settled {
                return;
            }
            self.wait(300).await;
        }
        let why = std::mem::take(&mut self.last_failure);
        self.world.unsettled(self.number, why);
    }

    // The wallet around a flow.

    /// Runs a flow with the mishaps of this day, and gives the phone its power back afterwards.
    async fn flow<T>(
        &mut self,
        flow: Flow,
        work: impl AsyncFnOnce(&mut SimWallet) -> Result<T, WalletError>,
    ) -> Ended<T> {
        if !self.phone.card.is_powered() {
            self.phone.card.power_on();
        }
        let mut wallet = match self.enter(flow).await {
            Ok(wallet) => wallet,
            Err(error) => {
                self.last_failure = format!("{flow:?}: {error}");
                self.world.trace.rider(self.number, Event::Failed(flow, error.to_string()));
                return Ended::Badly(error);
            }
        };
        self.world.trace.rider(self.number, Event::Began(flow));
        let death = self.prepare_mishap();
        let ended = {
            let work = work(&mut wallet);
            tokio::select! {
                biased;
                result = work => match result {
                    Ok(value) => Ended::Well(value),
                    Err(error) => Ended::Badly(error),
                },
                () = self.world.executor.sleep(death.unwrap_or(Duration::MAX)), if death.is_some() => Ended::PhoneDied,
            }
        };
        self.after(flow, &ended, wallet).await;
        ended
    }

    async fn after<T>(&mut self, flow: Flow, ended: &Ended<T>, wallet: SimWallet) {
        let without_power = !self.phone.card.is_powered();
        self.phone.card.calm();
        *lock(&self.hurry.left) = None;
        match ended {
            Ended::Well(_) => {
                self.world.finished(flow);
                self.world.trace.rider(self.number, Event::Done(flow));
            }
            Ended::Badly(error) => {
                self.last_failure = format!("{flow:?}: {error}");
                self.world.trace.rider(self.number, Event::Failed(flow, error.to_string()));
            }
            Ended::PhoneDied => {
                self.world.fault();
                self.world.trace.rider(self.number, Event::PhoneDied(flow));
            }
        }
        if without_power || matches!(ended, Ended::PhoneDied) {
            drop(wallet);
            let minutes = self.random.between(1, 30);
            self.wait(minutes * 60).await;
            self.phone.card.power_on();
            self.world.trace.rider(self.number, Event::PhoneOn);
        } else {
            self.wallet = Some(wallet);
        }
        self.world.truth.check_orders(self.number);
        self.world.truth.check_proven(self.number);
    }

    /// A wallet with a session, unless the flow needs none.
    async fn enter(&mut self, flow: Flow) -> Result<SimWallet, WalletError> {
        let mut wallet = match self.wallet.take() {
            Some(wallet) => wallet,
            None => {
                self.session_since = i64::MIN;
                self.phone.start().await?
            }
        };
        if flow == Flow::Register {
            return Ok(wallet);
        }
        let now = self.world.executor.nanoseconds() / 1_000_000_000;
        if self.session_since.saturating_add(SESSION_S) < now || wallet.rights() != Some(Rights::Full) {
            self.session_since = now;
            if let Entrance::Restricted { reason } = wallet.login(&mut Quiet).await? {
                return Err(reason);
            }
        }
        Ok(wallet)
    }

    /// Draws what befalls this flow. Gives the time after which the whole phone dies, if it does.
    fn prepare_mishap(&mut self) -> Option<Duration> {
        if !self.world.mischief(&mut self.random, self.world.plan.phone_faults) {
            return None;
        }
        let commands = self.random.below(12) * self.random.below(6);
        let card = &self.phone.card;
        match self.random.below(9) {
            0 => card.prepare(commands, Mishap::CommandLost),
            1 => card.prepare(commands, Mishap::AnswerLost),
            2 => card.prepare(commands, Mishap::Forged),
            3 => card.prepare(commands, Mishap::Withheld),
            4 => card.prepare(commands, Mishap::Invented),
            5 => card.prepare_cut(self.random.below(40)),
            6 => card.prepare(1, Mishap::Poorer),
            7 => *lock(&self.hurry.left) = Some(commands),
            _ => return Some(Duration::from_millis(self.random.between(1, 1_500))),
        }
        None
    }
}
