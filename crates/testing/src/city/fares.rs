//! Fares: the table that the gates were installed with, and another one that two people of their operator publish
//! at the centre in the middle of the days. What a trip costs is worked out here once more, and compared with what
//! each gate charges.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tsm_api::clearing::fares::{DECIDE, FareDecision, NewFares, PROPOSE};
use tsm_api::clearing::lists::Decision;
use tsm_api::client::{Client, ClientError};
use tsm_domain::money::fare::{DistanceBand, FareRule, FareTable, StationId};
use tsm_domain::money::reconciliation::Clerk;
use tsm_domain::{Fen, OperatorId, SessionId};
use tsm_storage::clerks::{ClerkAccount, ClerkRole, Clerks as _};
use tsm_storage::se_tsm::PasswordState;
use tsm_storage::shared::{Session, SessionHolder, Sessions as _};
use tsm_terminal::round::{Centre as FromCentre, Lent, RoundError};
use tsm_terminal::{RootKeys, Terminal};

use super::Element;
use super::counts::Doing;
use super::delivery::Centre;
use super::executor::MachineClock;
use super::lock;
use super::network::Role;
use super::random::Stream;
use super::terminals::{Post, RAIL, STATIONS, SharedDisk, Terminals};
use super::trace::Event;
use super::violation::Violation;
use super::world::World;

/// The version that the gates were installed with.
const INSTALLED: u32 = 1;
/// The version that is published.
const PUBLISHED: u32 = 2;
/// What is charged for a trip that nobody saw begin, in each version.
const MOST: [u32; 2] = [700, 650];
/// Metres from one station to the next.
const METRES: u32 = 1_500;
/// How far each band goes, and what it costs in each version.
const BANDS: [(u32, [u32; 2]); 3] = [(6_000, [300, 200]), (12_000, [400, 450]), (22_000, [500, 600])];
/// The people who publish.
const PEOPLE: [&str; 2] = ["ann", "bob"];
/// From when on a published table is in force.
const AHEAD: SignedDuration = SignedDuration::from_mins(90);

/// What is so about the fares.
#[derive(Default)]
pub(super) struct Fares {
    new: Mutex<Option<NewTable>>,
    /// At which station a card entered, as far as that is sure.
    entered: Mutex<BTreeMap<Element, u16>>,
}

/// The table that is published.
#[derive(Clone, Copy)]
struct NewTable {
    valid_from: Timestamp,
    /// When it was published; none while nobody knows whether it is.
    since: Option<Timestamp>,
}

const fn index(version: u32) -> usize {
    if version == PUBLISHED { 1 } else { 0 }
}

/// A version of the gates' table.
fn table(version: u32) -> FareTable {
    let positions_m =
        (1..=STATIONS).map(|station| (StationId(station), u32::from(station) * METRES)).collect();
    let price = |fen: u32| Fen::new(fen.into());
    let band = |(up_to_m, prices): &(u32, [u32; 2])| DistanceBand {
        up_to_m: *up_to_m,
        price: price(prices[index(version)]),
    };
    let bands = BANDS.iter().map(band).collect();
    let maximum = price(MOST[index(version)]);
    FareTable::new(version, FareRule::Distance { positions_m, bands, maximum }).expect("the bands rise")
}

/// The table that the gates are installed with.
pub(super) fn installed() -> FareTable {
    table(INSTALLED)
}

/// What a trip costs; none where nobody knows where it began.
fn price(version: u32, from: Option<u16>, to: u16) -> Option<u32> {
    let metres = u32::from(from?.abs_diff(to)) * METRES;
    let band = BANDS.iter().find(|(up_to, _)| metres <= *up_to)?;
    Some(band.1[index(version)])
}

/// A terminal in its post, lent for a moment at a time.
pub(super) struct InPost<'a>(pub(super) &'a Mutex<Post>);

impl Lent for InPost<'_> {
    type Keys = RootKeys;
    type Store = SharedDisk;

    fn lend<T>(&mut self, work: impl FnOnce(&mut Terminal<RootKeys, SharedDisk>) -> T) -> T {
        work(lock(self.0).terminal_mut())
    }
}

impl Terminals {
    /// Lets a gate ask for fare tables.
    pub(super) async fn fetch_fares(&self, post: usize, centre: &Centre) {
        let is_gate = lock(&self.posts[post]).terminal().fare_book().is_some();
        let Some(key) = lock(&self.list_key).clone().filter(|_| is_gate) else { return };
        let began = self.executor.now();
        let from = FromCentre { line: &centre.rail, key: &key, signer: None };
        let fetched = match self.keeps_old_fares {
            true => Ok(()),
            false => from.fetch_fares(&mut InPost(&self.posts[post]), began).await,
        };
        match fetched {
            Ok(()) => lock(&self.posts[post]).told_fares = Some(began),
            Err(RoundError::FaresRefused(error)) => {
                let verdict = format!("gate {} does not take the fares: {error}", post + 1);
                self.truth.find(None, Violation::HonestRefused { verdict });
            }
            Err(_) => {}
        }
    }

    /// A card has entered.
    pub(super) fn entered(&self, element: Element, station: u16) {
        lock(&self.fares.entered).insert(element, station);
    }

    /// Nobody is sure any more whether a card is inside, and since which station.
    pub(super) fn lost_track(&self, element: Element) {
        lock(&self.fares.entered).remove(&element);
    }

    /// A gate has charged for a trip: by the version in force by its own clock, unless it cannot have heard of it.
    pub(super) fn check_fare(&self, post: &Post, element: Element, station: u16, charged: u32) {
        let from = lock(&self.fares.entered).remove(&element);
        let record = post.terminal().state().records().last();
        let Some(used) = record.map(|record| record.fare_version) else { return };
        let now = post.time(self.executor.now());
        let second = Timestamp::from_second(now.as_second()).unwrap_or(now);
        let due = lock(&self.fares.new).filter(|new| new.valid_from <= second);
        let has_heard = due.and_then(|new| new.since).is_some_and(|since| post.told_fares >= Some(since));
        let is_right = match due {
            None => used == INSTALLED,
            Some(_) if has_heard => used == PUBLISHED,
            Some(_) => [INSTALLED, PUBLISHED].contains(&used),
        };
        let costs = price(used, from, station);
        if !is_right || costs.is_some_and(|costs| costs != charged) {
            let what = format!(
                "{charged} fen by version {used} from {from:?} to {station}, which costs {costs:?}; it has heard of \
                 the new version: {has_heard}"
            );
            self.truth.find(Some(element.rider), Violation::WrongFare { what });
        }
    }
}

impl World {
    /// Two people of the gates' operator publish a table in the middle of the days.
    pub(super) fn let_fares_change(self: &Arc<Self>) {
        let world = self.clone();
        self.executor.spawn(self.executor.owner(), async move {
            world.executor.sleep(Duration::from_secs(u64::from(world.plan.hours) * 3600 / 3)).await;
            let mut people = Vec::new();
            for person in PEOPLE {
                people.push(world.person(person).await);
            }
            let [proposer, approver] = &people[..] else { return };
            let begin = Timestamp::from_second(world.seconds()).unwrap_or(Timestamp::MAX);
            let valid_from = begin.saturating_add(AHEAD).unwrap_or(Timestamp::MAX);
            *lock(&world.terminals.fares.new) = Some(NewTable { valid_from, since: None });
            while !world.is_closing() {
                if publish(proposer, approver, valid_from).await.is_ok() {
                    let since = Some(world.executor.now());
                    *lock(&world.terminals.fares.new) = Some(NewTable { valid_from, since });
                    let from = valid_from.as_nanosecond();
                    let from = i64::try_from(from).unwrap_or(i64::MAX);
                    world.tally.doing(Doing::PublishFares);
                    return world.trace.city(Event::FaresPublished(PUBLISHED, from));
                }
                world.executor.sleep(Duration::from_secs(60)).await;
            }
        });
    }

    /// Somebody of the gates' operator, logged in.
    async fn person(&self, name: &str) -> Client {
        let store = &self.servers.stores.clearing;
        let random = Stream::new(self.plan.seed, 470 + name.len() as u64 + u64::from(name.as_bytes()[0]));
        let (now, gates) = (self.executor.now(), &self.servers.organisations.gates);
        let clerk = Clerk {
            institution: RAIL.parse().expect("an institution's number"),
            person: name.parse().expect("a name is a word"),
        };
        let account = ClerkAccount {
            clerk,
            roles: [ClerkRole::Proposer, ClerkRole::Approver].into(),
            password_hash: "no password fits this".into(),
            password_state: PasswordState::Own,
            failures: 0,
            closed_until: None,
            proposed: None,
        };
        let holder: OperatorId = format!("{RAIL}/{name}").parse().expect("two words");
        let session = Session {
            id: SessionId::generate(&random),
            holder: SessionHolder::Operator(holder),
            created_at: now,
            expires_at: now.saturating_add(SignedDuration::from_hours(24 * 30)).unwrap_or(Timestamp::MAX),
        };
        // A centre that is down takes nobody on.
        while store.put_clerk(None, account.clone()).await.is_err()
            || store.put_session(session.clone()).await.is_err()
        {
            self.executor.sleep(Duration::from_secs(60)).await;
        }
        let clock = Arc::new(MachineClock::new(self.executor.clone()));
        let way = self.network.way(Role::Clearing, Some(gates.certificate.clone()));
        let signing = gates.signing(clock, Arc::new(random));
        Client::new(way).signing(signing).with_bearer(session.id.to_string())
    }
}

/// One proposes, and another publishes; saying it again changes nothing.
async fn publish(proposer: &Client, approver: &Client, valid_from: Timestamp) -> Result<(), ClientError> {
    let text = serde_json::to_string(&table(PUBLISHED)).expect("a table can be written");
    let new = NewFares { valid_from, valid_until: None, text };
    let proposed = proposer.call(&PROPOSE, &[], &new).await?;
    let decision = FareDecision { digest: proposed.digest, decision: Decision::Approve };
    approver.call(&DECIDE, &[&PUBLISHED.to_string()], &decision).await.map(drop)
}
