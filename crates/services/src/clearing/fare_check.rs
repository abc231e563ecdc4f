//! The fares of a day, worked out once more from what the cards proved.
//!
//! A TAC binds card, counter, amount, terminal and time. Where each terminal stands the centre knows, so the gate's
//! transaction before an exit says where the ride began; which tables the terminal may have used follows from what
//! was published and from what the terminal told that it holds. An amount that none of them says is a difference.
//! The money stays as the card proved it: two people settle the difference.
//!
//! What is not known is not guessed: such a ride is counted as not judged. A terminal that was offline may use an
//! older table for [`Duties::fares_grace_days`](super::Duties::fares_grace_days), and no longer.

use std::collections::HashMap;

use jiff::civil::DateTime;
use jiff::tz::{Offset, TimeZone};
use jiff::{SignedDuration, Timestamp};
use tsm_domain::money::fare::{
    Before, CardState, Charged, Fare, FareTable, Journey, Judged, NotJudged, StationId, Trip,
};
use tsm_domain::money::reconciliation::{Cause, Difference, DifferenceState};
use tsm_domain::money::settlement::BusinessDay;
use tsm_domain::money::{CardTransaction, LoadProof, TransactionKey, TransactionType};
use tsm_domain::{DifferenceId, InstitutionId, TerminalNumber};
use tsm_storage::StorageError;
use tsm_storage::clearing::settlement::{DayTransaction, FareTally};

use super::{Clearing, TerminalPlace};
use crate::names;

/// The zone of the terminals' clocks.
const CHINA: TimeZone = TimeZone::fixed(Offset::constant(8));
/// So much a terminal's clock may differ from the centre's.
const CLOCKS: SignedDuration = SignedDuration::from_hours(1);
/// So many transactions of a card are looked at for the gate that let it in.
const BACK: u16 = 16;
/// So many transactions of a card are read for its totals; the month of a card with more is not proven.
const HISTORY: usize = 512;

/// What the rides of a day are judged by.
pub(super) struct FareCheck<'a> {
    centre: &'a Clearing,
    operators: HashMap<InstitutionId, Vec<Version>>,
    told: HashMap<TerminalNumber, Told>,
    waiting: Vec<DayTransaction>,
    tally: FareTally,
}

/// A published version.
struct Version {
    valid_from: Timestamp,
    /// From when on a terminal could know it and had to use it.
    begins: Timestamp,
    table: FareTable,
}

/// What a terminal told of its fares.
#[derive(Clone, Copy)]
struct Told {
    held: u32,
    since: Timestamp,
}

/// The tables that a terminal may have used at a moment.
struct Allowed<'t> {
    in_force: &'t FareTable,
    older: Vec<&'t FareTable>,
    /// Whether it may have used the one that it was installed with, which the centre does not know.
    installed: Installed,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Installed {
    Possible,
    No,
}

/// Where a ride began.
enum Began {
    At(StationId, DateTime),
    /// At no gate: the card had left by the last one.
    Nowhere,
    Unknown,
}

impl Clearing {
    /// What the rides of a day are judged by; nothing where no operator has published fares.
    pub(super) async fn fare_check(&self) -> Result<FareCheck<'_>, StorageError> {
        let (mut operators, mut told) = (HashMap::new(), HashMap::new());
        for operator in self.terminals.operators_with_places() {
            let Ok(operator) = operator.parse::<InstitutionId>() else { continue };
            let versions = self.versions_of(&operator).await?;
            if versions.is_empty() {
                continue;
            }
            for status in self.store.terminal_statuses(&operator).await? {
                if let Some(since) = status.held_since {
                    told.insert(status.terminal, Told { held: status.fares_held, since });
                }
            }
            operators.insert(operator, versions);
        }
        Ok(FareCheck { centre: self, operators, told, waiting: Vec::new(), tally: FareTally::default() })
    }

    async fn versions_of(&self, operator: &InstitutionId) -> Result<Vec<Version>, StorageError> {
        let mut versions = Vec::new();
        for row in self.store.fares(operator).await? {
            let Some(decided) = row.decided.as_ref().filter(|_| row.is_published()) else { continue };
            let text = self.store.fare_text(operator, row.head.version).await?;
            let table = text.and_then(|(_, text)| serde_json::from_str(&text).ok());
            let table = table.ok_or_else(|| StorageError::corrupt("fare table", row.head.version))?;
            let valid_from = row.head.valid_from;
            versions.push(Version { valid_from, begins: valid_from.max(decided.at), table });
        }
        Ok(versions)
    }
}

impl FareCheck<'_> {
    /// Takes a transaction of the day's sheet, if it is a ride.
    pub(super) fn note(&mut self, row: &DayTransaction) {
        if row.item.key.kind == TransactionType::CompositePurchase
            && !self.operators.is_empty()
            && self.ride_place(row.terminal).is_some()
        {
            self.waiting.push(row.clone());
        }
    }

    /// Judges the rides that were noted.
    pub(super) async fn judge(&mut self, day: BusinessDay) -> Result<Vec<Difference>, StorageError> {
        let mut found = Vec::new();
        for ride in std::mem::take(&mut self.waiting) {
            match self.judged(&ride).await? {
                Judged::Right => self.tally.judged += 1,
                Judged::Not(_) => self.tally.not_judged += 1,
                Judged::Dearer(fare) => {
                    found.extend(self.contradicted(day, &ride, Cause::FareDearer, &fare).await?)
                }
                Judged::Cheaper(fare) => {
                    found.extend(self.contradicted(day, &ride, Cause::FareCheaper, &fare).await?)
                }
            }
        }
        Ok(found)
    }

    /// How many rides were judged so far.
    pub(super) const fn tally(&self) -> FareTally {
        self.tally
    }

    async fn judged(&self, ride: &DayTransaction) -> Result<Judged, StorageError> {
        let Some(place) = self.ride_place(ride.terminal) else { return Ok(Judged::Not(NotJudged::NoEntry)) };
        let Some(allowed) = self.allowed(ride.terminal, ride.at) else {
            return Ok(Judged::Not(NotJudged::NoTable));
        };
        let at = CHINA.to_datetime(ride.at);
        let Some((industry, journeys)) = self.journeys(ride, place, at).await? else {
            return Ok(Judged::Not(NotJudged::NoEntry));
        };
        let trips: Vec<_> = journeys.into_iter().map(|journey| Trip { industry, journey, at }).collect();
        let (in_force, older) = (allowed.in_force, &allowed.older[..]);
        let amount = ride.item.amount;
        let charged = Charged { amount, trips: &trips, in_force, older, before: &Before::Unknown };
        let needs_totals = in_force.needs_totals() || older.iter().any(|table| table.needs_totals());
        let before = match needs_totals {
            true => self.before(ride.item.key, at, &charged.kinds()).await?,
            false => Before::Unknown,
        };
        let judged = Charged { before: &before, ..charged }.judge();
        Ok(match (judged, allowed.installed) {
            (Judged::Dearer(_) | Judged::Cheaper(_), Installed::Possible) => Judged::Not(NotJudged::NoTable),
            (judged, _) => judged,
        })
    }

    /// What the ride may have been, likeliest first; none where that is not known.
    async fn journeys(
        &self,
        ride: &DayTransaction,
        place: TerminalPlace,
        at: DateTime,
    ) -> Result<Option<(u8, Vec<Journey>)>, StorageError> {
        let (industry, exit) = match place {
            TerminalPlace::Boarding { industry } => return Ok(Some((industry, vec![Journey::Boarding]))),
            TerminalPlace::Gate { industry, station } => (industry, station),
            TerminalPlace::Unknown | TerminalPlace::Till => return Ok(None),
        };
        let journeys = match self.began(ride.item.key).await? {
            Began::At(entry, entered) if entered <= at => {
                let mut all = vec![Journey::Between { entry, exit, entered_at: Some(entered) }];
                if self.may_be_free() {
                    // What looks like the entry may have been an exit for nothing.
                    all.push(Journey::EntryUnknown { exit });
                }
                all
            }
            Began::Nowhere => vec![Journey::EntryUnknown { exit }],
            Began::At(..) | Began::Unknown => return Ok(None),
        };
        Ok(Some((industry, journeys)))
    }

    /// The gate's transaction before this one.
    async fn began(&self, exit: TransactionKey) -> Result<Began, StorageError> {
        for back in 1..=BACK {
            let Some(counter) = exit.counter.checked_sub(back).filter(|counter| *counter > 0) else {
                return Ok(Began::Nowhere);
            };
            let Some(earlier) = self.centre.store.transaction(TransactionKey { counter, ..exit }).await?
            else {
                return Ok(Began::Unknown);
            };
            if !is_proven(&earlier) {
                return Ok(Began::Unknown);
            }
            if earlier.key.kind != TransactionType::CompositePurchase {
                continue;
            }
            match self.centre.terminals.place(earlier.terminal) {
                TerminalPlace::Gate { station, .. } if earlier.amount.is_zero() => {
                    return Ok(Began::At(station, CHINA.to_datetime(earlier.at)));
                }
                TerminalPlace::Gate { .. } => return Ok(Began::Nowhere),
                TerminalPlace::Boarding { .. } | TerminalPlace::Till => {}
                TerminalPlace::Unknown => return Ok(Began::Unknown),
            }
        }
        Ok(Began::Unknown)
    }

    /// What the card had spent and ridden, from its own transactions; each of them since the month began must be
    /// here, and at each the table must be certain.
    async fn before(&self, ride: TransactionKey, at: DateTime, kinds: &[u8]) -> Result<Before, StorageError> {
        let known = self.centre.store.transactions_of(ride.card, HISTORY).await?;
        let Some(earlier) = without_gap(known, ride, at) else { return Ok(Before::Unknown) };
        let mut states: Vec<_> = kinds.iter().copied().map(CardState::of_kind).collect();
        let mut free_at_gate = false;
        for paid in earlier {
            let industry = match self.centre.terminals.place(paid.terminal) {
                TerminalPlace::Till => continue,
                TerminalPlace::Unknown => return Ok(Before::Unknown),
                TerminalPlace::Gate { .. } if paid.amount.is_zero() => {
                    // Two in a row: one of them is an exit, and nobody can say which.
                    if std::mem::replace(&mut free_at_gate, true) {
                        return Ok(Before::Unknown);
                    }
                    continue;
                }
                TerminalPlace::Gate { industry, .. } => {
                    free_at_gate = false;
                    industry
                }
                TerminalPlace::Boarding { industry } => industry,
            };
            let Some(allowed) = self.allowed(paid.terminal, paid.at) else { return Ok(Before::Unknown) };
            let table = allowed.in_force;
            let is_certain = allowed.installed == Installed::No
                && allowed.older.iter().all(|older| !older.needs_totals() && !table.needs_totals());
            if !is_certain {
                return Ok(Before::Unknown);
            }
            if !table.needs_totals() {
                continue;
            }
            let trip = Trip { industry, journey: Journey::Boarding, at: CHINA.to_datetime(paid.at) };
            for state in &mut states {
                let Ok(fare) = table.fare(&trip, state) else { return Ok(Before::Unknown) };
                *state = table.after(&trip, &Fare { amount: paid.amount, ..fare }, state);
            }
        }
        Ok(Before::Known(states))
    }

    /// The tables by which a terminal may have charged.
    fn allowed(&self, terminal: TerminalNumber, at: Timestamp) -> Option<Allowed<'_>> {
        let versions = self.operators.get(&self.centre.operator_of(terminal)?)?;
        let due = versions.iter().rposition(|version| version.valid_from <= at)?;
        let told = self
            .told
            .get(&terminal)
            .filter(|told| told.since.saturating_add(CLOCKS).is_ok_and(|since| since <= at));
        let held = told.map_or(0, |told| told.held);
        let grace = SignedDuration::from_hours(24 * i64::from(self.centre.duties.fares_grace_days));
        let may_miss = |version: &Version| {
            version.table.version() > held
                && version.begins.saturating_add(grace).is_ok_and(|until| at < until)
        };
        let missed = versions[..=due].iter().rev().take_while(|version| may_miss(version)).count();
        let installed = if missed > due { Installed::Possible } else { Installed::No };
        let older = versions[due.saturating_sub(missed)..due].iter().map(|version| &version.table).collect();
        Some(Allowed { in_force: &versions[due].table, older, installed })
    }

    /// Where a terminal stands that takes fares by published tables.
    fn ride_place(&self, terminal: TerminalNumber) -> Option<TerminalPlace> {
        let place = self.centre.terminals.place(terminal);
        let rides = match place {
            TerminalPlace::Gate { .. } | TerminalPlace::Boarding { .. } => true,
            TerminalPlace::Unknown | TerminalPlace::Till => false,
        };
        let operator = self.centre.operator_of(terminal).filter(|_| rides)?;
        self.operators.contains_key(&operator).then_some(place)
    }

    fn may_be_free(&self) -> bool {
        self.operators.values().flatten().any(|version| version.table.may_be_free())
    }

    /// The difference, unless the card itself is in doubt: then its transactions may be a copy's.
    async fn contradicted(
        &mut self,
        day: BusinessDay,
        ride: &DayTransaction,
        cause: Cause,
        fare: &Fare,
    ) -> Result<Option<Difference>, StorageError> {
        let key = ride.item.key;
        let store = &self.centre.store;
        let is_frozen = store.account(key.card).await?.is_some_and(|row| row.account.freeze.is_some());
        if is_frozen || !store.aside_of(key.card, 1).await?.is_empty() {
            self.tally.not_judged += 1;
            return Ok(None);
        }
        self.tally.judged += 1;
        let (terminal, version) = (ride.terminal, self.version_at(ride));
        let (charged, says) = (ride.item.amount, fare.amount);
        let (english, chinese) = (fare.english(), fare.chinese());
        let text = format!(
            "terminal {terminal} charged {charged} yuan, version {version} says {says} yuan: {english} / 终端 {terminal} \
             收取 {charged} 元，第 {version} 版票价表为 {says} 元：{chinese}"
        );
        let words = ["difference", "fare", key.card.as_str(), &key.counter.to_string()];
        Ok(Some(Difference {
            id: DifferenceId::from_uuid(names::derived(&words)),
            day,
            cause,
            reference: Some(ride.item.reference),
            card: Some(key.card),
            transaction: Some(key),
            ours: Some(says),
            theirs: Some(charged),
            text,
            evidence: None,
            found_at: self.centre.now(),
            state: DifferenceState::Open,
        }))
    }

    fn version_at(&self, ride: &DayTransaction) -> u32 {
        self.allowed(ride.terminal, ride.at).map_or(0, |allowed| allowed.in_force.version())
    }
}

fn is_proven(transaction: &CardTransaction) -> bool {
    match transaction.proof {
        LoadProof::Tac(_) => true,
        LoadProof::TacUnavailable => false,
    }
}

/// The rides of a card before one, in order, back to the beginning of its month and a day before it; none where any
/// transaction since then is missing.
fn without_gap(
    known: Vec<CardTransaction>,
    ride: TransactionKey,
    at: DateTime,
) -> Option<Vec<CardTransaction>> {
    let month = at.date().first_of_month().to_datetime(jiff::civil::Time::midnight());
    let first = month.min(at.saturating_sub(SignedDuration::from_hours(24)));
    let mut offline: Vec<_> =
        known.into_iter().filter(|one| !one.key.kind.is_online() && one.key.counter < ride.counter).collect();
    offline.sort_unstable_by_key(|one| std::cmp::Reverse(one.key.counter));
    let (mut next, mut all) = (ride.counter, Vec::new());
    for one in offline {
        next = next.checked_sub(1)?;
        if one.key.counter != next || !is_proven(&one) {
            return None;
        }
        if CHINA.to_datetime(one.at) < first {
            all.reverse();
            return Some(all);
        }
        if one.key.kind == TransactionType::CompositePurchase {
            all.push(one);
        }
    }
    all.reverse();
    (next <= 1).then_some(all)
}
