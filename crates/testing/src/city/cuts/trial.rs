//! One run: a fresh small world, the flow with or without a fault, one next contact, and the last look.

use std::sync::{Arc, Mutex, OnceLock};

use jiff::{SignedDuration, Timestamp};
use tsm_api::client::Client;
use tsm_storage::memory::Crash;

use super::flows::Flow;
use super::point::{CommandFault, Next, Point};
use super::settled::Delivered;
use super::stage::{Broke, Stage};
use crate::city::card::Mishap;
use crate::city::desk;
use crate::city::lock;
use crate::city::network::Role;
use crate::city::planted::Plant;
use crate::city::servers::Morning;
use crate::city::terminals::TapFault;
use crate::city::trace::{self, Event};
use crate::city::world::{Plan, World};

/// Minutes from the beginning of the flow to the next contact.
const FLOW_MINUTES: i64 = 60;
/// Minutes that the next contact may take.
const CONTACT_MINUTES: i64 = 60;
/// Minutes in which all that is on its way arrives.
const LAST_MINUTES: i64 = 180;
/// The seed of every world.
const SEED: u64 = 1;

/// What is run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    /// The flow.
    pub flow: Flow,
    /// Where it breaks: at none, one or two places.
    pub points: Vec<Point>,
    /// What the rider chooses afterwards.
    pub next: Next,
    /// A bug put into the world, to see that it is found.
    pub planted: Option<Plant>,
}

/// The places of a flow.
#[derive(Debug, Clone, Default)]
pub struct Counted {
    /// Commands to the card.
    pub commands: u64,
    /// Writes of its memory.
    pub writes: u64,
    /// Messages, in words.
    pub messages: Vec<String>,
    /// Commits of each role's store, in the order of [`Role::ALL`].
    pub commits: [u64; 4],
    /// Writes of the wallet's own storage.
    pub wallet: u64,
}

/// What came of one run.
#[derive(Debug, Clone)]
pub struct Tried {
    /// What was run.
    pub cut: Cut,
    /// Whether every fault befell the flow.
    pub fired: bool,
    /// What was not in order.
    pub failure: Option<Failure>,
}

/// What was not in order, and how it came about.
#[derive(Debug, Clone)]
pub struct Failure {
    /// What.
    pub findings: Vec<String>,
    /// What happened, a line an event.
    pub story: Vec<String>,
}

/// Runs a flow without a fault and counts its places. Fails when even that is not in order.
pub fn count(flow: Flow) -> Result<Counted, Failure> {
    let cut = Cut { flow, points: Vec::new(), next: Next::Continue, planted: None };
    let mut trial = Trial::new(&cut);
    trial.flow();
    let counted = trial.counted.clone();
    match trial.end() {
        None => Ok(counted),
        Some(failure) => Err(failure),
    }
}

/// Runs a flow with its faults.
pub fn try_cut(cut: &Cut) -> Tried {
    let mut trial = Trial::new(cut);
    trial.flow();
    let fired = trial.fired;
    Tried { cut: cut.clone(), fired, failure: trial.end() }
}

/// What the operator's desk did on the first morning, which is the same in every world.
fn morning() -> &'static Morning {
    static MORNING: OnceLock<Morning> = OnceLock::new();
    MORNING.get_or_init(|| {
        let world = World::new(Plan { riders: 0, message_faults: 0, ..Plan::small(SEED) });
        let servers = world.servers.clone();
        let up = world.executor.complete(async move { servers.bring_up().await });
        up.expect("an undisturbed world comes up");
        let client = Client::new(world.network.way(Role::SeTsm, None));
        let opened = world.executor.complete(async move { desk::open_hall(&client).await });
        opened.expect("the hall opens");
        world.servers.morning().expect("the desk has published its card")
    })
}

struct Trial {
    cut: Cut,
    world: Arc<World>,
    stage: Option<Stage>,
    counted: Counted,
    fired: bool,
    findings: Vec<String>,
}

/// What the people do.
#[derive(Clone, Copy)]
enum Part {
    SetUp,
    Flow,
    Contact(Next),
    Deliver,
}

async fn play(stage: &mut Stage, flow: Flow, part: Part) -> Result<(), Broke> {
    match part {
        Part::SetUp => stage.set_up(flow).await,
        Part::Flow => stage.run(flow).await,
        Part::Contact(next) => stage.contact(flow, next).await,
        Part::Deliver => {
            stage.world.terminals.deliver_all(&stage.centre).await;
            Ok(())
        }
    }
}

impl Trial {
    fn new(cut: &Cut) -> Self {
        let plan = Plan { riders: 1, message_faults: 0, planted: cut.planted, ..Plan::small(SEED) };
        let world = World::new(plan);
        if cut.flow == Flow::Renumber {
            world.servers.name_holders();
        }
        if cut.flow.proves_nothing() {
            world.servers.prove_nothing();
        }
        let servers = world.servers.clone();
        let morning = morning();
        let up = world.executor.complete(async move { servers.bring_up_after(morning).await });
        up.expect("an undisturbed world comes up");
        let stage = Stage::new(&world, cut.flow.phones());
        let mut trial = Self {
            cut: cut.clone(),
            world,
            stage: Some(stage),
            counted: Counted::default(),
            fired: true,
            findings: Vec::new(),
        };
        if let Err(broke) = trial.part(Part::SetUp, FLOW_MINUTES) {
            trial.findings.push(format!("the world could not be set up: {broke}"));
        }
        if cut.planted == Some(Plant::RefundOnTimeout) {
            trial.world.let_a_cashier_be_impatient();
        }
        trial
    }

    /// Lets the people play their part, and time pass until these minutes are over.
    fn part(&mut self, part: Part, minutes: i64) -> Result<(), Broke> {
        let never = || Err(Broke::Other("it never ended".into()));
        let Some(mut stage) = self.stage.take() else { return never() };
        let (world, flow) = (self.world.clone(), self.cut.flow);
        let played = Arc::new(Mutex::new(None));
        let slot = played.clone();
        let owner = world.executor.owner();
        world.executor.spawn(owner, async move {
            let ended = play(&mut stage, flow, part).await;
            *lock(&slot) = Some((stage, ended));
        });
        let end = world.executor.now().saturating_add(SignedDuration::from_mins(minutes));
        world.run_until(end.unwrap_or(Timestamp::MAX));
        let Some((stage, ended)) = lock(&played).take() else { return never() };
        self.stage = Some(stage);
        ended
    }

    /// The flow, with what goes wrong in it.
    fn flow(&mut self) {
        let begun = self.counts();
        let writes_before = self.place();
        let ended = self.part(Part::Flow, FLOW_MINUTES);
        let seen = self.world.network.watch.close();
        let ended_at = self.counts();
        let commits =
            std::array::from_fn(|index| ended_at.commits[index].saturating_sub(begun.commits[index]));
        self.counted = Counted {
            commands: ended_at.commands.saturating_sub(begun.commands),
            writes: ended_at.writes.saturating_sub(begun.writes),
            messages: seen,
            commits,
            wallet: ended_at.wallet.saturating_sub(begun.wallet),
        };
        self.fired = self.cut.points.iter().all(|point| self.has_fired(*point, writes_before));
        self.world.servers.cancel_crashes();
        if let (Err(broke), true) = (ended, self.cut.points.is_empty()) {
            self.findings.push(format!("the flow does not succeed without a fault: {broke}"));
        }
    }

    fn counts(&self) -> Counted {
        let phone = self.stage.as_ref().map(|stage| &stage.people[self.cut.flow.person()].phone);
        Counted {
            commands: phone.map_or(0, |phone| phone.card.commands()),
            writes: phone.map_or(0, |phone| phone.card.writes()),
            wallet: phone.map_or(0, |phone| phone.wallet_writes()),
            messages: Vec::new(),
            commits: Role::ALL.map(|role| self.world.servers.commits(role)),
        }
    }

    /// Places the faults. Gives how often servers were killed before.
    fn place(&mut self) -> u64 {
        let world = self.world.clone();
        let flow = self.cut.flow;
        let mut messages = Vec::new();
        for point in self.cut.points.clone() {
            let Some(stage) = self.stage.as_mut() else { return 0 };
            let person = &mut stage.people[flow.person()];
            world
                .trace
                .rider(person.element.rider, Event::Placed(format!("what goes wrong from here: {point}")));
            match point {
                Point::Command(number, fault) => {
                    let before = matches!(fault, CommandFault::CommandLost | CommandFault::PhoneBefore);
                    let dies = matches!(fault, CommandFault::PhoneBefore | CommandFault::PhoneAfter);
                    person
                        .phone
                        .card
                        .prepare(number, if before { Mishap::CommandLost } else { Mishap::AnswerLost });
                    person.phone.set_mortal(dies);
                }
                Point::Write(number) => {
                    person.phone.card.prepare_cut(number);
                    person.phone.set_mortal(true);
                }
                Point::Message(number, fault) => messages.push((number, fault)),
                Point::Commit(role, number, crash) => world.servers.plan_crash(role, number + 1, crash),
                Point::Wallet(number, crash) => person.phone.prepare_death(number, crash),
                Point::Terminal(number) => stage.tap_fault = Some(TapFault::TerminalDies(number)),
            }
        }
        world.network.watch.open(messages);
        world.servers.kills()
    }

    fn has_fired(&self, point: Point, kills: u64) -> bool {
        let card = self.stage.as_ref().map(|stage| stage.people[self.cut.flow.person()].phone.card.clone());
        match point {
            Point::Command(..) | Point::Write(_) | Point::Wallet(..) => {
                card.is_none_or(|card| !card.is_powered())
            }
            Point::Message(..) => self.world.network.watch.fired() > 0,
            Point::Commit(..) => self.world.servers.kills() > kills,
            Point::Terminal(_) => {
                self.world.trace.city_says(&|event| matches!(event, Event::TerminalRestarted(_)))
            }
        }
    }

    /// The next contact, and the last look.
    fn end(mut self) -> Option<Failure> {
        if let Err(broke) = self.part(Part::Contact(self.cut.next), CONTACT_MINUTES) {
            let unknown = if broke.is_unknown() { " (still unknown)" } else { "" };
            self.findings.push(format!("the next contact did not succeed{unknown}: {broke}"));
        }
        self.look("after the next contact", Delivered::NotYet);
        self.world.network.release_held();
        let _ = self.part(Part::Deliver, LAST_MINUTES);
        self.world.check_books();
        self.world.check_everything();
        self.look("at the end", Delivered::Everything);
        if let Some(found) = self.world.truth.found() {
            self.findings.push(format!("{}  {}", trace::clock(found.at), found.violation));
        }
        // Servers and tasks hold each other; thousands of worlds follow this one.
        for role in Role::ALL {
            self.world.network.unhost(role);
        }
        self.world.executor.end();
        if self.findings.is_empty() {
            return None;
        }
        let story = self.world.trace.story(Some(0));
        Some(Failure { findings: self.findings, story })
    }

    fn look(&mut self, when: &str, delivered: Delivered) {
        let Some(stage) = &self.stage else {
            self.findings.push(format!("{when}: nobody is there any more"));
            return;
        };
        let found = stage.findings(self.cut.flow, delivered);
        self.findings.extend(found.into_iter().map(|what| format!("{when}: {what}")));
    }
}

/// Both sides of a commit.
pub(super) const CRASHES: [Crash; 2] = [Crash::BeforeCommit, Crash::AfterCommit];
