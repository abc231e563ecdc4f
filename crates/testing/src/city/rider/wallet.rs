//! The wallet around a flow: login, mishaps, the phone's death, and what is checked afterwards.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tsm_api::HexBytes;
use tsm_api::problem::ProblemCode;
use tsm_se::Interface;
use tsm_wallet::service::{Entrance, Rights};
use tsm_wallet::{NetworkError, Quiet, WalletError};

use super::Rider;
use crate::city::Element;
use crate::city::card::{Card, Mishap};
use crate::city::counts::{Kind, PhoneFault};
use crate::city::keys::TRANSIT;
use crate::city::lock;
use crate::city::phone::{Distraction, Phone, SimWallet};
use crate::city::terminals::Tapped;
use crate::city::trace::{Event, Flow};
use crate::city::world::World;

/// How long a session of the wallet is used, in seconds.
const SESSION_S: i64 = 20 * 60;

/// A phone in somebody's hand.
pub(super) struct Hand {
    pub phone: Phone,
    pub wallet: Option<SimWallet>,
    pub registered: bool,
    session_since: i64,
    hurry: Arc<Hurry>,
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
        self.world.tally.fault(Kind::Phone(PhoneFault::Till));
        let event = match self.world.terminals.buy(rider, 100, &self.card, None) {
            Tapped::Passed(fare, balance) => Event::Passed(PLACE_BETWEEN, fare, balance),
            Tapped::Turned(why) | Tapped::Again(why) => Event::Turned(PLACE_BETWEEN, why),
        };
        self.world.trace.rider(rider, event);
    }
}

const PLACE_BETWEEN: &str = "a till, between two commands of the wallet";

/// How a flow ended.
pub(super) enum Ended<T> {
    Well(T),
    Badly(WalletError),
    PhoneDied,
}

/// What a server said when it refused.
pub(super) const fn code_of(error: &WalletError) -> Option<ProblemCode> {
    match error {
        WalletError::Refused(problem) | WalletError::Network(NetworkError::Refused(problem)) => {
            Some(problem.code)
        }
        _ => None,
    }
}

impl Hand {
    /// A new phone.
    pub(super) fn new(world: &Arc<World>, element: Element) -> Self {
        Self::around(world, world.new_phone(element))
    }

    /// The phone with another card in it.
    pub(super) fn with_card(&self, world: &Arc<World>, card: Arc<Card>) -> Self {
        Self { registered: self.registered, ..Self::around(world, self.phone.with_card(card)) }
    }

    fn around(world: &Arc<World>, mut phone: Phone) -> Self {
        let hurry = Hurry { world: world.clone(), card: phone.card.clone(), left: Mutex::new(None) };
        let hurry = Arc::new(hurry);
        phone.distract(hurry.clone());
        Self { phone, wallet: None, registered: false, session_since: 0, hurry }
    }

    /// Nothing more befalls the phone.
    pub(super) fn calm(&self) {
        self.phone.card.calm();
        *lock(&self.hurry.left) = None;
    }

    /// A wallet with a session, unless the flow needs none.
    async fn enter(&mut self, now_s: i64, flow: Flow) -> Result<SimWallet, WalletError> {
        let mut wallet = match self.wallet.take() {
            Some(wallet) => wallet,
            None => {
                self.session_since = i64::MIN;
                // The phone closes the channels of a wallet that is gone.
                self.phone.card.reset(Interface::Contact);
                self.phone.start().await?
            }
        };
        if flow == Flow::Register {
            return Ok(wallet);
        }
        if self.session_since.saturating_add(SESSION_S) < now_s || wallet.rights() != Some(Rights::Full) {
            self.session_since = now_s;
            if let Entrance::Restricted { reason } = wallet.login(&mut Quiet).await? {
                return Err(reason);
            }
        }
        Ok(wallet)
    }

    /// Somebody else with this phone wants the rider's parked card, and keeps at nothing.
    pub(super) async fn want_card(&mut self, world: &World, msisdn: String) {
        let rider = self.phone.card.rider();
        if !self.phone.card.is_powered() {
            self.phone.card.power_on();
        }
        let flow = if self.registered { Flow::MigrateIn } else { Flow::Register };
        let ended = match self.enter(world.seconds(), flow).await {
            Ok(mut wallet) => {
                let ended = self.try_to_get_card(&mut wallet, msisdn).await;
                self.wallet = Some(wallet);
                ended
            }
            Err(error) => Err(error),
        };
        let event = match ended {
            Ok(()) => Event::Done(Flow::MigrateIn),
            Err(error) => Event::Failed(Flow::MigrateIn, error.to_string()),
        };
        world.trace.rider(rider, event);
    }

    async fn try_to_get_card(&mut self, wallet: &mut SimWallet, msisdn: String) -> Result<(), WalletError> {
        if !self.registered {
            let agreement = wallet.agreement().await?;
            let accepted = wallet.accept(&agreement);
            wallet.register(accepted, Some(msisdn), &mut Quiet).await?;
            self.registered = true;
        }
        let aid: HexBytes = TRANSIT.into();
        wallet.migrate_in(&aid, None, &mut Quiet).await
    }
}

impl Rider {
    /// Runs a flow with the mishaps of this day, and gives the phone its power back afterwards.
    pub(super) async fn flow<T>(
        &mut self,
        flow: Flow,
        work: impl AsyncFnOnce(&mut SimWallet) -> Result<T, WalletError>,
    ) -> Ended<T> {
        if !self.card().is_powered() {
            self.card().power_on();
        }
        let now = self.world.seconds();
        let mut wallet = match self.hand().enter(now, flow).await {
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
        let without_power = !self.card().is_powered();
        self.hand().calm();
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
                self.world.tally.fault(Kind::Phone(PhoneFault::Dies));
                self.world.trace.rider(self.number, Event::PhoneDied(flow));
            }
        }
        if without_power || matches!(ended, Ended::PhoneDied) {
            drop(wallet);
            let minutes = self.random.between(1, 30);
            self.wait(minutes * 60).await;
            self.card().power_on();
            self.world.trace.rider(self.number, Event::PhoneOn);
        } else {
            self.hand().wallet = Some(wallet);
        }
        self.world.truth.check_orders(self.number);
        self.world.truth.check_proven(self.number);
    }

    /// Draws what befalls this flow. Gives the time after which the whole phone dies, if it does.
    pub(super) fn prepare_mishap(&mut self) -> Option<Duration> {
        if !self.world.mischief(&mut self.random, self.world.plan.phone_faults) {
            return None;
        }
        let commands = self.random.below(12) * self.random.below(6);
        let (kind, writes) = (self.random.below(11), self.random.below(40));
        let card = self.card();
        match kind {
            0 => card.prepare(commands, Mishap::CommandLost),
            1 => card.prepare(commands, Mishap::AnswerLost),
            2 => card.prepare(commands, Mishap::Forged),
            3 => card.prepare(commands, Mishap::Withheld),
            4 => card.prepare(commands, Mishap::Invented),
            5 => card.prepare_cut(writes),
            6 => card.prepare(1, Mishap::Poorer),
            7 => *lock(&self.hand().hurry.left) = Some(commands),
            8 | 9 => card.prepare(0, Mishap::Kept),
            _ => return Some(Duration::from_millis(self.random.between(1, 1_500))),
        }
        None
    }
}
