//! What happened, kept per rider so that a violation can be told as a story, and folded into one number so that
//! two runs of a seed can be compared.

use std::collections::VecDeque;
use std::collections::hash_map::DefaultHasher;
use std::fmt;
use std::hash::{Hash, Hasher as _};
use std::sync::Mutex;

use jiff::Timestamp;

use super::executor::Executor;
use super::lock;
use super::network::Role;

/// How many events are kept for each rider.
const KEPT: usize = 600;

/// What somebody did to the city or in it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Event {
    /// A flow began.
    Began(Flow),
    /// A flow ended as it should.
    Done(Flow),
    /// A flow did not, and why.
    Failed(Flow, String),
    /// The phone died in the middle of a flow.
    PhoneDied(Flow),
    /// The phone is on again.
    PhoneOn,
    /// Something befell the card or the phone's way to it.
    Mishap(&'static str),
    /// A gate or a shop let the rider pass; what it cost, and the balance after.
    Passed(&'static str, u32, u32),
    /// A gate or a shop did not.
    Turned(&'static str, String),
    /// Somebody copied the card's memory, with this much in it.
    Copied(u32),
    /// This happened to the copy, not to the card.
    OfCopy(Box<Self>),
    /// The rider has another number.
    Renumbered(String),
    /// The card is reported lost.
    Lost,
    /// It is found again, and the centre knows.
    Found,
    /// The rider takes another phone.
    TakesPhone(u8),
    /// Another phone wants the rider's parked card at the same time.
    Rival(u8),
    /// The element holds a card that was elsewhere before, with this much.
    Arrived(u32),
    /// The card has a purse.
    PurseMade,
    /// The purse took in this much; the balance after.
    Credited(u32, u32),
    /// The purse paid this much; the balance after.
    Debited(u32, u32),
    /// The issuer took all of it off the purse: this much.
    Unloaded(u32),
    /// The purse was blocked or unblocked: whether it can be spent from now.
    Spendable(bool),
    /// The purse is gone; what it held.
    PurseGone(u32),
    /// An order of this much was paid.
    Paid(u32),
    /// An order of this much is no more wanted.
    Cancelled(u32),
    /// A server died, at one of its commits.
    Killed(Role),
    /// A server is there again.
    Started(Role),
    /// A machine's clock is wrong by so many seconds.
    Clock(Role, i64),
    /// A terminal's clock is wrong by so many seconds.
    TerminalClock(u32, i64),
    /// Two people of the gates' operator have published a fare table, which is in force from then on.
    FaresPublished(u32, i64),
    /// A terminal lost its power and started again from what it had stored.
    TerminalRestarted(u32),
    /// Nothing goes wrong any more, and still the rider cannot settle; what failed last.
    Unsettled(String),
    /// A fault was put here on purpose.
    Placed(String),
    /// What the next contact came to.
    Contact(String),
    /// The reconciliation listed a difference of this cause, which stands so.
    Difference(&'static str, &'static str),
    /// A terminal delivered so many transactions.
    Delivered(u32, u32),
}

/// What a rider does that takes more than a tap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Flow {
    /// Registering the wallet.
    Register,
    /// Opening a card.
    Open,
    /// Ordering and paying a top-up.
    Pay,
    /// Carrying a paid top-up to the card.
    TopUp,
    /// Cancelling a top-up.
    Cancel,
    /// Locking the card.
    Lock,
    /// Unlocking it.
    Unlock,
    /// Letting the operator look at the card.
    Synchronise,
    /// Asking the operator for its lists.
    Lists,
    /// Letting the issuer look at the purse.
    SynchronisePurse,
    /// Deleting the card.
    Delete,
    /// Returning the card for its balance.
    Return,
    /// Parking the card at the centre.
    MigrateOut,
    /// Bringing a parked card to another phone.
    MigrateIn,
    /// Giving that up.
    CancelArrival,
    /// Cancelling a return or a migration.
    CancelClosing,
    /// Topping up with cash at a kiosk.
    Cash,
    /// Paying a shop's order from the card over the network.
    PayOnline,
    /// Personalising the card again, for a holder who has another number.
    Repersonalise,
    /// Reporting the card lost.
    ReportLost,
}

impl Flow {
    /// All of them.
    pub const ALL: [Self; 20] = [
        Self::Register,
        Self::Open,
        Self::Pay,
        Self::TopUp,
        Self::Cancel,
        Self::Lock,
        Self::Unlock,
        Self::Synchronise,
        Self::Lists,
        Self::SynchronisePurse,
        Self::Delete,
        Self::Return,
        Self::MigrateOut,
        Self::MigrateIn,
        Self::CancelArrival,
        Self::CancelClosing,
        Self::Cash,
        Self::PayOnline,
        Self::Repersonalise,
        Self::ReportLost,
    ];

    const fn words(self) -> &'static str {
        match self {
            Self::Register => "registering",
            Self::Open => "opening a card",
            Self::Pay => "paying a top-up",
            Self::TopUp => "bringing a top-up to the card",
            Self::Cancel => "cancelling a top-up",
            Self::Lock => "locking the card",
            Self::Unlock => "unlocking the card",
            Self::Synchronise => "synchronising with the operator",
            Self::Lists => "asking for the operator's lists",
            Self::SynchronisePurse => "synchronising with the issuer",
            Self::Delete => "deleting the card",
            Self::Return => "returning the card",
            Self::MigrateOut => "parking the card at the centre",
            Self::MigrateIn => "bringing the parked card to this phone",
            Self::CancelArrival => "giving the arrival of the card up",
            Self::CancelClosing => "cancelling the closing of the card",
            Self::Cash => "topping up with cash",
            Self::PayOnline => "paying a shop over the network",
            Self::Repersonalise => "personalising the card again",
            Self::ReportLost => "reporting the card lost",
        }
    }
}

fn yuan(fen: u32) -> String {
    format!("{}.{:02} yuan", fen / 100, fen % 100)
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Began(flow) => write!(f, "the rider begins {}", flow.words()),
            Self::Done(flow) => write!(f, "{}: done", flow.words()),
            Self::Failed(flow, why) => write!(f, "{}: {why}", flow.words()),
            Self::PhoneDied(flow) => write!(f, "the phone dies while {}", flow.words()),
            Self::PhoneOn => write!(f, "the phone is on again"),
            Self::Mishap(what) => write!(f, "{what}"),
            Self::Passed(place, fare, balance) => {
                write!(f, "{place}: passed for {}, {} left", yuan(*fare), yuan(*balance))
            }
            Self::Turned(place, why) => write!(f, "{place}: not passed, {why}"),
            Self::Copied(held) => {
                write!(f, "the rider copies the card's memory, and has {} twice", yuan(*held))
            }
            Self::OfCopy(event) => write!(f, "with the copy of the card: {event}"),
            Self::Renumbered(number) => write!(f, "the rider's number is {number} from now on"),
            Self::Lost => write!(f, "the card is reported lost"),
            Self::Found => write!(f, "the card is reported found"),
            Self::TakesPhone(phone) => write!(f, "the rider takes phone {phone}"),
            Self::Rival(phone) => write!(f, "phone {phone} wants the parked card as well"),
            Self::Arrived(held) => {
                write!(f, "the secure element holds the card that was elsewhere, with {}", yuan(*held))
            }
            Self::PurseMade => write!(f, "the secure element has a personalised purse now"),
            Self::Credited(amount, balance) => {
                write!(f, "the purse takes in {} and holds {}", yuan(*amount), yuan(*balance))
            }
            Self::Debited(amount, balance) => {
                write!(f, "the purse pays {} and holds {}", yuan(*amount), yuan(*balance))
            }
            Self::Unloaded(amount) => {
                write!(f, "the issuer takes {} off the purse: all of it", yuan(*amount))
            }
            Self::Spendable(true) => write!(f, "the purse can be spent from"),
            Self::Spendable(false) => write!(f, "the purse is blocked"),
            Self::PurseGone(held) => {
                write!(f, "the purse is gone from the element, with {} in it", yuan(*held))
            }
            Self::Paid(amount) => write!(f, "an order of {} is paid", yuan(*amount)),
            Self::Cancelled(amount) => write!(f, "the order of {} is cancelled", yuan(*amount)),
            Self::Killed(role) => write!(f, "the {} dies at a commit", role.name()),
            Self::Started(role) => write!(f, "the {} serves again", role.name()),
            Self::Clock(role, seconds) => write!(f, "the clock of the {} is {seconds} s ahead", role.name()),
            Self::TerminalClock(number, seconds) => {
                write!(f, "the clock of terminal {number} is {seconds} s ahead")
            }
            Self::FaresPublished(version, from) => {
                write!(f, "version {version} of the fares is published, in force from {}", clock(*from))
            }
            Self::TerminalRestarted(number) => write!(f, "terminal {number} starts again after a power loss"),
            Self::Unsettled(why) => write!(f, "nothing goes wrong, and the rider cannot settle: {why}"),
            Self::Placed(what) => write!(f, "{what}"),
            Self::Contact(what) => write!(f, "the next contact: {what}"),
            Self::Difference(cause, state) => write!(f, "the reconciliation lists {cause}, {state}"),
            Self::Delivered(number, count) => write!(f, "terminal {number} delivers {count} transactions"),
        }
    }
}

/// The trace of a city.
pub struct Trace {
    executor: Executor,
    kept: Mutex<Kept>,
}

struct Kept {
    digest: DefaultHasher,
    count: u64,
    /// One for each rider, and a last one for what concerns everybody.
    stories: Vec<VecDeque<(i64, Event)>>,
}

impl Trace {
    /// A trace for so many riders.
    pub fn new(executor: Executor, riders: u32) -> Self {
        let stories = (0..=riders).map(|_| VecDeque::new()).collect();
        Self { executor, kept: Mutex::new(Kept { digest: DefaultHasher::new(), count: 0, stories }) }
    }

    /// Something happened to a rider.
    pub fn rider(&self, rider: u32, event: Event) {
        self.push(rider as usize, event);
    }

    /// Something happened that concerns everybody.
    pub fn city(&self, event: Event) {
        let last = lock(&self.kept).stories.len() - 1;
        self.push(last, event);
    }

    /// Something happened that no story needs.
    pub fn aside(&self, event: &Event) {
        let mut kept = lock(&self.kept);
        (self.executor.nanoseconds(), event).hash(&mut kept.digest);
        kept.count += 1;
    }

    fn push(&self, story: usize, event: Event) {
        let now = self.executor.nanoseconds();
        let mut kept = lock(&self.kept);
        (now, story, &event).hash(&mut kept.digest);
        kept.count += 1;
        let story = &mut kept.stories[story];
        if story.len() >= KEPT {
            story.pop_front();
        }
        story.push_back((now, event));
    }

    /// One number for everything that happened so far, in order.
    pub fn digest(&self) -> u64 {
        lock(&self.kept).digest.finish()
    }

    /// How much happened.
    pub fn count(&self) -> u64 {
        lock(&self.kept).count
    }

    /// Whether something like this concerned everybody.
    pub fn city_says(&self, is_it: &dyn Fn(&Event) -> bool) -> bool {
        let kept = lock(&self.kept);
        kept.stories.last().into_iter().flatten().any(|(_, event)| is_it(event))
    }

    /// The story of a rider, with what concerned everybody in the same time; a line an event.
    pub fn story(&self, rider: Option<u32>) -> Vec<String> {
        let kept = lock(&self.kept);
        let common = kept.stories.last().into_iter().flatten();
        let own = rider.and_then(|rider| kept.stories.get(rider as usize)).into_iter().flatten();
        let since = own.clone().next().map_or(i64::MIN, |(at, _)| *at);
        let mut lines: Vec<_> = own.chain(common.filter(|(at, _)| *at >= since)).collect();
        lines.sort_by_key(|(at, _)| *at);
        lines.into_iter().map(|(at, event)| format!("{}  {event}", clock(*at))).collect()
    }
}

/// A moment as traces write it.
pub fn clock(nanoseconds: i64) -> String {
    let at = Timestamp::from_nanosecond(i128::from(nanoseconds)).unwrap_or(Timestamp::UNIX_EPOCH);
    format!("{at:.3}")
}
