//! The city as its parts see it, and a whole run of it.

use std::collections::BTreeMap;
use std::fmt::{Display, Write as _};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tsm_api::clearing::lists::LostCard;
use tsm_api::client::{Client, SeTsmStaff, SpTsmTerminal};
use tsm_domain::environment::{Clock, Entropy};
use tsm_domain::money::reconciliation::Cause;
use tsm_storage::memory::Crash;
use tsm_storage::shared::ChainKey;

use super::Element;
use super::card::Card;
use super::counts::{Counts, Kind, Tally};
use super::delivery::{Centre, Days};
use super::desk;
use super::executor::{Executor, Halt, MachineClock};
use super::lock;
use super::network::{Network, Role};
use super::nights::Until;
use super::phone::Phone;
use super::planted::Plant;
use super::random::{Random, Stream};
use super::rider::Rider;
use super::servers::Servers;
use super::terminals::Terminals;
use super::trace::{self, Event, Flow, Trace};
use super::truth::Truth;
use super::violation::Found;

const DAY_S: u64 = 24 * 3600;

/// The cities that there are plans of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Town {
    /// Two thousand riders for a day and a half.
    Usual,
    /// A few riders for a working day, as tests have time for.
    Small,
    /// A small one in which far more goes wrong, and rare doings are common.
    Harsh,
}

impl Town {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Usual, Self::Small, Self::Harsh];

    /// As the command line writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Usual => "usual",
            Self::Small => "small",
            Self::Harsh => "harsh",
        }
    }

    /// A day of it.
    pub fn plan(self, seed: u64) -> Plan {
        let usual = Plan {
            town: self,
            seed,
            riders: 2_000,
            hours: 36,
            arrivals_s: 2 * 3600,
            pause_s: 30 * 60,
            message_faults: 150,
            phone_faults: 6,
            tap_faults: 40,
            copiers: 12,
            variety: 400,
            kill_every_s: 1_200,
            clock_every_s: 3 * 3600,
            planted: None,
        };
        let small =
            Plan { riders: 24, hours: 8, arrivals_s: 1800, pause_s: 600, kill_every_s: 900, ..usual.clone() };
        match self {
            Self::Usual => usual,
            Self::Small => small,
            Self::Harsh => Plan {
                phone_faults: 4,
                tap_faults: 12,
                copiers: 3,
                variety: 150,
                clock_every_s: 3600,
                ..small
            },
        }
    }
}

/// What a run is made of.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The city that this is a day of.
    pub town: Town,
    /// The seed: all chance follows from it.
    pub seed: u64,
    /// Riders.
    pub riders: u32,
    /// Hours of the city before the last count.
    pub hours: u32,
    /// Seconds within which the riders arrive.
    pub arrivals_s: u64,
    /// Seconds between two doings of a rider, on average.
    pub pause_s: u64,
    /// One message in so many goes wrong; 0 is never, as in all of these.
    pub message_faults: u64,
    /// One flow in so many meets a mishap of the phone.
    pub phone_faults: u64,
    /// One tap in so many goes wrong.
    pub tap_faults: u64,
    /// One rider in so many copies his card's memory and spends from both.
    pub copiers: u64,
    /// Among so many doings of a rider each rare one is there once.
    pub variety: u64,
    /// A server dies about once in so many seconds.
    pub kill_every_s: u64,
    /// A clock goes wrong about once in so many seconds.
    pub clock_every_s: u64,
    /// A bug put into the city, to see that it is found.
    pub planted: Option<Plant>,
}

impl Plan {
    /// A small city, for tests.
    pub fn small(seed: u64) -> Self {
        Town::Small.plan(seed)
    }

    /// The command that runs this again.
    pub fn again(&self) -> String {
        let town = self.town.plan(self.seed);
        let mut command = format!("cargo xtask city --first-seed {} --seeds 1", self.seed);
        let mut say = |argument: &str, value: &dyn Display| {
            let _ = write!(command, " --{argument} {value}");
        };
        if self.town != Town::Usual {
            say("town", &self.town.name());
        }
        if self.riders != town.riders {
            say("riders", &self.riders);
        }
        if self.hours != town.hours {
            say("hours", &self.hours);
        }
        command
    }
}

/// What came of a run.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// What the run was made of.
    pub plan: Plan,
    /// Finished flows and taps.
    pub operations: u64,
    /// How often each kind of thing was done or went wrong.
    pub counts: Counts,
    /// Days that the centre settled and reconciled.
    pub days: u64,
    /// What the reconciliation listed, by cause.
    pub differences: BTreeMap<&'static str, u64>,
    /// Messages, cards, phones, terminals, servers and clocks that went wrong.
    pub faults: u64,
    /// Messages sent.
    pub messages: u64,
    /// Virtual seconds.
    pub virtual_s: u64,
    /// One number for everything that happened.
    pub digest: u64,
    /// The riders who could not settle at the last count, and why.
    pub unsettled: Vec<String>,
    /// What must never be, and was.
    pub violation: Option<Report>,
}

/// A violation with its story.
#[derive(Debug, Clone)]
pub struct Report {
    /// What was found.
    pub found: Found,
    /// What concerned that card before, a line an event.
    pub story: Vec<String>,
}

/// What is heard of a card.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum News {
    /// It is lost.
    Lost,
    /// It is found.
    Found,
}

/// A city while it runs.
pub struct World {
    /// What the run is made of.
    pub plan: Plan,
    /// Tasks and time.
    pub executor: Executor,
    /// Messages.
    pub network: Arc<Network>,
    /// Servers.
    pub servers: Arc<Servers>,
    /// Gates and shops.
    pub terminals: Arc<Terminals>,
    /// What is so.
    pub truth: Arc<Truth>,
    /// What happened.
    pub trace: Arc<Trace>,
    random: Stream,
    /// What was done and what went wrong.
    pub tally: Arc<Tally>,
    operations: AtomicU64,
    differences: Mutex<BTreeMap<&'static str, u64>>,
    closing: AtomicBool,
    /// When the last count ended; the quiet nights after it are no measure of speed.
    busy_until: AtomicI64,
    settled: AtomicU32,
    words_of_loss: AtomicU64,
    machines: Arc<Stream>,
    unsettled: Mutex<Vec<(u32, String)>>,
    /// The staff of a hall, while it is logged in.
    pub(super) hall: Mutex<Option<SeTsmStaff>>,
    /// The chain of each journal that was looked at last.
    pub(super) looked_at: Mutex<[Option<ChainKey>; 3]>,
}

impl World {
    pub(super) fn new(plan: Plan) -> Arc<Self> {
        let seed = plan.seed;
        // Eight in the evening: even a short run has a midnight in it.
        let start: Timestamp = "2026-11-20T12:00:00Z".parse().expect("a moment");
        let executor = Executor::new(start, Random::new(seed, 1));
        let tally = Arc::<Tally>::default();
        let network =
            Network::new(executor.clone(), Stream::new(seed, 2), plan.message_faults, tally.clone());
        let servers = Servers::new(&executor, &network, seed, plan.planted);
        let trace = Arc::new(Trace::new(executor.clone(), plan.riders));
        let truth = Truth::new(&executor, &trace, &servers.stores, plan.riders);
        let truth = Arc::new(truth);
        let terminals =
            Terminals::new(&executor, &servers.keys.terminals, (seed, plan.planted), &truth, &trace, &tally);
        Arc::new(Self {
            plan,
            network,
            servers: Arc::new(servers),
            terminals,
            truth,
            trace,
            random: Stream::new(seed, 3),
            machines: Arc::new(Stream::new(seed, 4)),
            unsettled: Mutex::default(),
            hall: Mutex::default(),
            looked_at: Mutex::default(),
            executor,
            tally,
            operations: AtomicU64::new(0),
            differences: Mutex::default(),
            closing: AtomicBool::new(false),
            busy_until: AtomicI64::new(i64::MAX),
            settled: AtomicU32::new(0),
            words_of_loss: AtomicU64::new(0),
        })
    }

    /// A kiosk's way to the card issuer.
    pub(super) fn kiosk(&self) -> SpTsmTerminal {
        let clock = Arc::new(MachineClock::new(self.executor.clone()));
        self.servers.kiosk_at_issuer(clock, self.machines.clone())
    }

    /// A number that is nobody else's.
    pub(super) fn uuid(&self) -> uuid::Uuid {
        let mut bytes = [0; 16];
        self.machines.fill(&mut bytes);
        uuid::Builder::from_random_bytes(bytes).into_uuid()
    }

    fn planted(&self, plant: Plant) -> bool {
        self.plan.planted == Some(plant)
    }

    /// Whether the days are over.
    pub fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Relaxed)
    }

    /// How the days go now.
    fn days_now(&self) -> Days {
        match self.is_closing() {
            false => Days::Rough,
            true if self.settled.load(Ordering::Relaxed) < self.plan.riders => Days::Calm,
            true => Days::Over,
        }
    }

    /// A tap succeeded.
    pub fn operation(&self) {
        self.operations.fetch_add(1, Ordering::Relaxed);
    }

    /// A flow finished.
    pub fn finished(&self, flow: Flow) {
        self.operation();
        self.tally.count(Kind::Flow(flow));
    }

    /// Whether something goes wrong now, once in so many times; nothing does at the last count.
    pub fn mischief(&self, random: &mut Random, once_in: u64) -> bool {
        random.once_in(once_in) && !self.is_closing()
    }

    /// A rider could not settle, although nothing goes wrong any more.
    pub(super) fn unsettled(&self, rider: u32, why: String) {
        lock(&self.unsettled).push((rider, why.clone()));
        self.trace.rider(rider, Event::Unsettled(why));
    }

    /// The riders who could not settle.
    pub(super) fn all_unsettled(&self) -> Vec<(u32, String)> {
        lock(&self.unsettled).clone()
    }

    /// A rider has nothing open any more.
    pub fn rider_settled(&self) {
        self.settled.fetch_add(1, Ordering::Relaxed);
    }

    fn admit_riders(self: &Arc<Self>) {
        let people = self.executor.owner();
        for number in 0..self.plan.riders {
            self.executor.spawn(people, Rider::new(self, number).live());
        }
    }

    /// A new phone with a new element.
    pub(super) fn new_phone(&self, element: Element) -> Phone {
        let keys = &self.servers.keys;
        let card = Card::new(element, keys, self.plan.seed, &self.truth, &self.trace, &self.tally);
        let clock = Arc::new(MachineClock::new(self.executor.clone()));
        let mut random = Random::new(self.plan.seed, (5 << 32) + u64::from(element.number()));
        // What a phone says of the time is worth nothing.
        if self.mischief(&mut random, 4) {
            clock.set_ahead(SignedDuration::from_secs(random.below(4 * DAY_S) as i64 - 2 * DAY_S as i64));
        }
        let entropy = Arc::new(Stream::new(self.plan.seed, (3 << 32) + u64::from(element.number())));
        Phone::new(&self.executor, &self.network, card, clock, entropy)
    }

    /// The virtual time in seconds since 1970.
    pub(super) fn seconds(&self) -> i64 {
        self.executor.nanoseconds() / 1_000_000_000
    }

    fn let_terminals_deliver(self: &Arc<Self>) {
        let world = self.clone();
        self.terminals.deliver(&self.centre(400), Duration::from_secs(900), move || world.days_now());
    }

    /// The operators' ways to the centre.
    pub(super) fn centre(&self, stream: u64) -> Centre {
        let clock: Arc<dyn Clock> = Arc::new(MachineClock::new(self.executor.clone()));
        let entropy: Arc<dyn Entropy> = Arc::new(Stream::new(self.plan.seed, stream));
        self.servers.centre(&clock, &entropy)
    }

    /// The issuer's desk tells the centre that a card is lost, or found again. Says whether the centre has heard
    /// it.
    pub(super) async fn tell_lost(&self, card: [u8; 10], news: News) -> bool {
        let desk = self.servers.issuer_at_centre();
        // Every word is newer than those before it, also one that repeats what may have been heard.
        let change = self.words_of_loss.fetch_add(1, Ordering::Relaxed) + 1;
        let card = LostCard { card: card.to_vec().into(), change };
        match news {
            News::Lost => desk.report_lost(&card).await.is_ok(),
            News::Found => desk.report_found(&card).await.is_ok(),
        }
    }

    /// The reconciliation listed a difference.
    pub(super) fn differed(&self, cause: Cause) {
        *lock(&self.differences).entry(cause.name()).or_default() += 1;
    }

    /// Servers die and clocks go wrong until the days are over.
    fn let_things_happen(self: &Arc<Self>) {
        self.again_and_again(self.plan.kill_every_s, Self::threaten_a_server);
        self.again_and_again(self.plan.clock_every_s, Self::mislead_a_server);
        self.again_and_again(self.plan.clock_every_s, Self::mislead_a_terminal);
    }

    /// Something happens about once in so many seconds.
    fn again_and_again<F: Future<Output = ()> + Send + 'static>(
        self: &Arc<Self>,
        every_s: u64,
        happen: fn(Arc<Self>) -> F,
    ) {
        let world = self.clone();
        self.executor.spawn(self.executor.owner(), async move {
            loop {
                world.pause(every_s).await;
                if world.is_closing() {
                    return;
                }
                happen(world.clone()).await;
            }
        });
    }

    /// A server will die at one of its next commits.
    async fn threaten_a_server(self: Arc<Self>) {
        let (role, commits, crash) = self.random.draw(|random| {
            let crash = *random.pick(&[Crash::BeforeCommit, Crash::AfterCommit]);
            (*random.pick(&Role::ALL), random.between(1, 40), crash)
        });
        self.servers.plan_crash(role, commits, crash);
    }

    async fn mislead_a_server(self: Arc<Self>) {
        let (role, ahead) = self.random.draw(|random| {
            let ahead = random.between(0, 1_200) as i64 - 600;
            (*random.pick(&Role::ALL), ahead)
        });
        self.tally.fault(Kind::Clock(role));
        self.trace.city(Event::Clock(role, ahead));
        self.servers.set_clock(role, SignedDuration::from_secs(ahead));
        self.pause(900).await;
        self.trace.city(Event::Clock(role, 0));
        self.servers.set_clock(role, SignedDuration::ZERO);
    }

    /// A terminal's clock drifts by minutes, or has lost the day.
    async fn mislead_a_terminal(self: Arc<Self>) {
        let (index, ahead) = self.random.draw(|random| {
            let most = if random.below(4) == 0 { 2 * DAY_S } else { 600 };
            let index = random.below(self.terminals.count() as u64) as usize;
            (index, random.between(0, 2 * most) as i64 - most as i64)
        });
        self.tally.fault(Kind::TerminalClock);
        self.terminals.set_clock(index, SignedDuration::from_secs(ahead));
        self.pause(3 * 3600).await;
        self.terminals.set_clock(index, SignedDuration::ZERO);
    }

    async fn pause(&self, average_s: u64) {
        let seconds = if average_s == 0 {
            u64::from(u32::MAX)
        } else {
            self.random.draw(|random| random.between(average_s / 2, average_s * 3 / 2))
        };
        self.executor.sleep(Duration::from_secs(seconds)).await;
    }

    /// Runs until a moment, burying and reviving servers on the way. Says whether all is well.
    pub(super) fn run_until(self: &Arc<Self>, end: Timestamp) -> bool {
        loop {
            let world = self.clone();
            let halt = self.executor.run_until(end, |owner| {
                let Some(role) = world.servers.died(owner) else { return };
                world.trace.city(Event::Killed(role));
                world.tally.fault(Kind::Killed(role));
                world.servers.bury(role);
                let after = world.random.draw(|random| random.between(100, 60_000));
                world.servers.restart_later(role, Duration::from_millis(after), &world.trace);
            });
            if self.truth.found().is_some() {
                return false;
            }
            if halt != Halt::Stopped {
                return true;
            }
        }
    }

    /// Runs the days, hour by hour, with the books checked after each.
    fn days(self: &Arc<Self>) -> bool {
        let start = self.executor.now();
        for hour in 1..=self.plan.hours {
            let end = start.saturating_add(SignedDuration::from_hours(hour.into())).unwrap_or(Timestamp::MAX);
            if !self.run_until(end) {
                return false;
            }
            self.check_books();
            self.check_settlements(Until::Now);
            self.check_some_chains();
            if self.truth.found().is_some() {
                return false;
            }
        }
        true
    }

    /// Everything calms down, everybody settles, and all is counted.
    fn last_count(self: &Arc<Self>) {
        self.closing.store(true, Ordering::Relaxed);
        self.network.set_quiet(true);
        self.servers.cancel_crashes();
        for role in Role::ALL {
            self.servers.set_clock(role, SignedDuration::ZERO);
        }
        for _ in 0..48 {
            let end = self.executor.now().saturating_add(SignedDuration::from_mins(30));
            if !self.run_until(end.unwrap_or(Timestamp::MAX)) {
                return;
            }
            if self.settled.load(Ordering::Relaxed) == self.plan.riders {
                break;
            }
        }
        let (terminals, centre) = (self.terminals.clone(), self.centre(401));
        self.executor.spawn(self.executor.owner(), async move { terminals.deliver_all(&centre).await });
        let end = self.executor.now().saturating_add(SignedDuration::from_hours(6));
        if self.run_until(end.unwrap_or(Timestamp::MAX)) {
            self.check_books();
            self.check_everything();
        }
        self.busy_until.store(self.executor.nanoseconds(), Ordering::Relaxed);
        // The last days are settled and reconciled like all others.
        if self.truth.found().is_none() && self.run_until(self.two_nights_on()) {
            self.check_books();
            self.check_settlements(Until::TheEnd);
            self.check_reconciliation();
            self.check_copied();
            self.check_beyond_proof();
        }
    }

    fn outcome(&self, began: i64) -> Outcome {
        let until = self.executor.nanoseconds().min(self.busy_until.load(Ordering::Relaxed));
        let violation = self.truth.found().map(|found| {
            let mut story = self.trace.story(found.rider);
            story.push(format!("{}  {}", trace::clock(found.at), found.violation));
            Report { found, story }
        });
        Outcome {
            plan: self.plan.clone(),
            operations: self.operations.load(Ordering::Relaxed),
            counts: self.tally.counts(),
            days: self.closed_days().len() as u64,
            differences: lock(&self.differences).clone(),
            faults: self.tally.faults(),
            messages: self.network.messages(),
            virtual_s: u64::try_from((until - began) / 1_000_000_000).unwrap_or(0),
            digest: self.trace.digest(),
            unsettled: lock(&self.unsettled)
                .iter()
                .map(|(rider, why)| format!("rider {rider}: {why}"))
                .collect(),
            violation,
        }
    }
}

/// Runs a city.
pub fn run(plan: Plan) -> Outcome {
    let world = World::new(plan);
    let start = world.executor.nanoseconds();
    let servers = world.servers.clone();
    servers.name_holders();
    let up = world.executor.complete(async move { servers.bring_up().await });
    up.expect("an undisturbed city comes up");
    let operator = Client::new(world.network.way(Role::SeTsm, None));
    let opened = world.executor.complete(async move { desk::open_hall(&operator).await });
    opened.expect("an undisturbed city has a hall");
    world.admit_riders();
    world.let_terminals_deliver();
    world.let_things_happen();
    world.let_fares_change();
    if world.planted(Plant::RefundOnTimeout) {
        world.let_a_cashier_be_impatient();
    }
    if world.planted(Plant::SettledForBoth) {
        world.let_settlements_repeat();
    }
    world.network.set_quiet(false);
    if world.days() {
        world.last_count();
    }
    world.outcome(start)
}
