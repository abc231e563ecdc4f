//! Gates and shops: the terminals that ship, each with its PSAM, its store, and a way to the centre that is not
//! always there.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use jiff::{SignedDuration, Timestamp};
use tsm_api::signature::MessageVerifier;
use tsm_domain::money::TransactionKey;
use tsm_domain::money::fare::{FareBook, StationId};
use tsm_domain::{Fen, TerminalNumber};
use tsm_epurse::commands::PurchaseKind;
use tsm_epurse::file::Industry;
use tsm_epurse::{Amount, DateTime};
use tsm_iso7816::{CommandApdu, ResponseApdu};
use tsm_se::Interface;
use tsm_se::inspect::PurseReading;
use tsm_services::clearing::{TerminalPlace, Terminals as Registered};
use tsm_services::purse::card_time;
use tsm_terminal::centre_fares::CentreFares;
use tsm_terminal::gate::Booking;
use tsm_terminal::pos::PosProfile;
use tsm_terminal::state::Limits;
use tsm_terminal::store::{Line, StoreError};
use tsm_terminal::{
    Gate, GateProfile, ListInUse, ListPolicy, Passage, Pos, PsamProfile, ReaderError, Receipt, RootKeys,
    TapError, Terminal, TerminalClass, TerminalState, TerminalStore, UnmatchedJourney,
};

use super::card::{Card, Exchange};
use super::counts::{Doing, Kind as Counted, Tally, TapKind};
use super::executor::Executor;
use super::fares::{self, Fares};
use super::keys::{self, TerminalKey};
use super::lock;
use super::meddling::Meddled;
use super::planted::Plant;
use super::random::{Random, Stream};
use super::shop::ONLINE;
use super::trace::{Event, Trace};
use super::truth::Truth;
use super::truth::bodies::Debit;
use super::violation::Violation;

/// Stations of the city.
pub const STATIONS: u16 = 12;
/// Gates at each station.
pub(super) const GATES_PER_STATION: u16 = 2;
/// Shops and buses.
const SHOPS: u32 = 8;
/// Terminals of the city.
pub const COUNT: usize = STATIONS as usize * GATES_PER_STATION as usize + SHOPS as usize;
/// The operator of the gates.
pub const RAIL: &str = "GATES";
/// The operator of shops and buses.
pub const SHOPS_AND_BUSES: &str = "SHOPS";

/// The payment platform, where cards pay over the network.
pub const PLATFORM: &str = "PAYMENT";

/// Where a terminal keeps its state, which may fail.
#[derive(Default)]
pub struct Disk {
    list: ListInUse,
    fares: FareBook,
    /// The state that survives, while a failure is prepared.
    saved: Option<TerminalState>,
    /// Writes until it fails.
    left: u64,
}

impl TerminalStore for Disk {
    fn append(&mut self, line: &Line) -> Result<(), StoreError> {
        // While no failure is prepared, what is stored is what the terminal has.
        let Some(saved) = &mut self.saved else { return Ok(()) };
        if self.left == 0 {
            return Err(StoreError("the terminal lost its power".into()));
        }
        self.left -= 1;
        saved.apply(line);
        Ok(())
    }

    fn wants_compaction(&self) -> bool {
        false
    }

    fn compact(&mut self, _: &TerminalState) -> Result<(), StoreError> {
        Ok(())
    }

    fn keep_list(&mut self, list: &ListInUse) -> Result<(), StoreError> {
        self.list = list.clone();
        Ok(())
    }

    fn keep_fares(&mut self, fares: &FareBook) -> Result<(), StoreError> {
        self.fares = fares.clone();
        Ok(())
    }
}

pub(super) type SimTerminal = Terminal<RootKeys, SharedDisk>;

/// The disk, from inside the terminal.
#[derive(Clone, Default)]
pub struct SharedDisk(Arc<Mutex<Disk>>);

impl TerminalStore for SharedDisk {
    fn append(&mut self, line: &Line) -> Result<(), StoreError> {
        lock(&self.0).append(line)
    }

    fn wants_compaction(&self) -> bool {
        lock(&self.0).wants_compaction()
    }

    fn compact(&mut self, state: &TerminalState) -> Result<(), StoreError> {
        lock(&self.0).compact(state)
    }

    fn keep_list(&mut self, list: &ListInUse) -> Result<(), StoreError> {
        lock(&self.0).keep_list(list)
    }

    fn keep_fares(&mut self, fares: &FareBook) -> Result<(), StoreError> {
        lock(&self.0).keep_fares(fares)
    }
}

enum Kind {
    Gate(Gate<RootKeys, SharedDisk>, GateProfile),
    Shop(Pos<RootKeys, SharedDisk>, PosProfile),
}

pub(super) struct Post {
    pub(super) number: [u8; 6],
    disk: SharedDisk,
    kind: Kind,
    /// When it last asked the centre for fares and got all that there were.
    pub(super) told_fares: Option<Timestamp>,
    /// How far its clock is ahead.
    ahead: SignedDuration,
}

/// What befalls a tap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TapFault {
    /// The card leaves the field before this command.
    Leaves(u64),
    /// The card leaves the field after this command, with its answer.
    LeavesWithAnswer(u64),
    /// The terminal loses its power at this write.
    TerminalDies(u64),
}

/// How a tap ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tapped {
    /// The rider is through; what it cost, and the balance.
    Passed(u32, u32),
    /// The rider must tap again: card or terminal were gone.
    Again(String),
    /// The rider is turned away.
    Turned(String),
}

/// The terminals.
pub struct Terminals {
    pub(super) executor: Executor,
    keys: RootKeys,
    pub(super) posts: Vec<Mutex<Post>>,
    pub(super) random: Stream,
    pub(super) truth: Arc<Truth>,
    pub(super) trace: Arc<Trace>,
    pub(super) tally: Arc<Tally>,
    /// What is so about the gates' fares.
    pub(super) fares: Fares,
    /// Whether the gates have the bug that they keep the fares they have.
    pub(super) keeps_old_fares: bool,
    /// The centre's key for its lists, once a terminal has asked for it.
    pub(super) list_key: Mutex<Option<MessageVerifier>>,
    /// What somebody altered on its way to the centre.
    pub(super) meddled: Meddled,
    /// What cards have paid where a clock was wrong: the card's number and the offline counter after it.
    misdated: Mutex<BTreeSet<([u8; 10], u16)>>,
}

/// The number of terminal `index`.
pub(super) fn number(index: u32) -> [u8; 6] {
    let decimal = |value: u32| (value / 10 * 16 + value % 10) as u8;
    [0x09, 0x99, 0, 0, decimal(index / 100 % 100), decimal(index % 100)]
}

/// The terminals of an operator, each with the key of its store.
pub fn keyed_of(operator: &str) -> impl Iterator<Item = (TerminalNumber, &'static TerminalKey)> {
    let all = (1..).map(number).zip(keys::terminal_keys());
    let own = all.filter(move |(number, _)| operator_of(*number) == operator);
    own.map(|(number, key)| (TerminalNumber::from_bcd(number).expect("the number is decimal"), key))
}

/// The same terminals, each where it stands.
pub(super) fn in_their_places(terminals: Registered) -> Registered {
    let place = |index: u32| match u16::try_from(index) {
        Ok(index) if index <= STATIONS * GATES_PER_STATION => {
            TerminalPlace::Gate { industry: Industry::Rail.into(), station: StationId(station_of(index)) }
        }
        _ => TerminalPlace::Till,
    };
    let all = (1..=COUNT as u32).map(|index| (number(index), place(index)));
    all.chain([(ONLINE, TerminalPlace::Till)]).fold(terminals, |terminals, (number, place)| {
        let number = TerminalNumber::from_bcd(number).expect("the numbers are decimal");
        terminals.with_place(number, place)
    })
}

/// The station of a gate.
const fn station_of(gate: u16) -> u16 {
    (gate - 1) / GATES_PER_STATION + 1
}

/// Whose terminal it is.
pub fn operator_of(terminal: [u8; 6]) -> &'static str {
    if terminal == ONLINE {
        return PLATFORM;
    }
    let digits = |byte: u8| u32::from(byte / 16 * 10 + byte % 16);
    let index = digits(terminal[4]) * 100 + digits(terminal[5]);
    if index <= u32::from(STATIONS * GATES_PER_STATION) { RAIL } else { SHOPS_AND_BUSES }
}

impl Terminals {
    /// The terminals of a city, with these keys in their PSAMs.
    pub fn new(
        executor: &Executor,
        keys: &RootKeys,
        (seed, planted): (u64, Option<Plant>),
        truth: &Arc<Truth>,
        trace: &Arc<Trace>,
        tally: &Arc<Tally>,
    ) -> Arc<Self> {
        let mut posts = Vec::new();
        for index in 1..=COUNT as u32 {
            let number = number(index);
            let gates = u32::from(STATIONS * GATES_PER_STATION);
            let disk = SharedDisk::default();
            let terminal = terminal(number, keys, TerminalState::default(), &disk);
            let kind = if index <= gates {
                let station = station_of(index as u16);
                let profile = gate_profile(station);
                Kind::Gate(Gate::new(profile.clone(), with_fares(terminal, &disk)), profile)
            } else {
                let profile = shop_profile();
                Kind::Shop(Pos::new(profile, terminal), profile)
            };
            posts.push(Mutex::new(Post {
                number,
                disk,
                kind,
                told_fares: None,
                ahead: SignedDuration::ZERO,
            }));
        }
        Arc::new(Self {
            executor: executor.clone(),
            keys: keys.clone(),
            posts,
            random: Stream::new(seed, 300),
            truth: truth.clone(),
            trace: trace.clone(),
            tally: tally.clone(),
            fares: Fares::default(),
            keeps_old_fares: planted == Some(Plant::OldFares),
            list_key: Mutex::default(),
            meddled: Meddled::default(),
            misdated: Mutex::default(),
        })
    }

    /// A rider enters at a station.
    pub fn enter(&self, station: u16, card: &Card, fault: Option<TapFault>) -> Tapped {
        let gate = self.gate_of(station);
        let tapped = self.tap(gate, card, fault, |post, reader, at| {
            let Kind::Gate(gate, _) = &mut post.kind else { return Ok((0, 0)) };
            let entered = gate.enter(reader, at)?;
            if let Passage::Entered { booking: Booking::Now, .. } = entered {
                self.entered(card.element(), station);
            }
            Ok(passage(entered))
        });
        self.passed(card, &tapped, Doing::Enter);
        tapped
    }

    /// A rider leaves at a station.
    pub fn leave(&self, station: u16, card: &Card, fault: Option<TapFault>) -> Tapped {
        let gate = self.gate_of(station);
        let tapped = self.tap(gate, card, fault, |post, reader, at| {
            let Kind::Gate(gate, _) = &mut post.kind else { return Ok((0, 0)) };
            let left = gate.leave(reader, at)?;
            match left {
                Passage::Left { fare, booking: Booking::Now, .. } => {
                    self.check_fare(post, card.element(), station, fare.fen());
                }
                _ => self.lost_track(card.element()),
            }
            Ok(passage(left))
        });
        self.passed(card, &tapped, Doing::Leave);
        tapped
    }

    /// A rider buys something for this much in a shop.
    pub fn buy(&self, shop: u32, amount: u32, card: &Card, fault: Option<TapFault>) -> Tapped {
        let first = usize::from(STATIONS * GATES_PER_STATION);
        let index = first + (shop % SHOPS) as usize;
        let composite = self.random.draw(|random| random.once_in(2));
        let kind = if composite { PurchaseKind::Composite } else { PurchaseKind::Simple };
        let tapped = self.tap(index, card, fault, |post, reader, at| match &mut post.kind {
            Kind::Shop(pos, _) => pos.sell(reader, kind, Amount::from_fen(amount), at).map(sold),
            Kind::Gate(..) => Ok((0, 0)),
        });
        self.passed(card, &tapped, Doing::Buy);
        tapped
    }

    /// What somebody did at a terminal, if he passed.
    fn passed(&self, card: &Card, tapped: &Tapped, doing: Doing) {
        if !matches!(tapped, Tapped::Passed(..)) {
            return;
        }
        self.tally.doing(doing);
        if card.element().is_copy() {
            self.tally.doing(Doing::SpendCopy);
        }
    }

    fn gate_of(&self, station: u16) -> usize {
        let gate = self.random.draw(|random| random.below(u64::from(GATES_PER_STATION))) as usize;
        usize::from((station - 1) * GATES_PER_STATION) + gate
    }

    /// Whether a purchase was made where a clock was wrong.
    pub(super) fn is_misdated(&self, purchase: TransactionKey) -> bool {
        lock(&self.misdated).contains(&(purchase.card.application_serial(), purchase.counter))
    }

    /// Sets a terminal's clock wrong, or right.
    pub(super) fn set_clock(&self, index: usize, ahead: SignedDuration) {
        lock(&self.posts[index]).ahead = ahead;
    }

    fn tap(
        &self,
        index: usize,
        card: &Card,
        fault: Option<TapFault>,
        work: impl FnOnce(&mut Post, &mut Field<'_>, DateTime) -> Result<(u32, u32), TapError>,
    ) -> Tapped {
        let mut post = lock(&self.posts[index]);
        let at = card_time(post.time(self.executor.now()));
        if !post.ahead.is_zero() {
            self.trace.rider(card.rider(), Event::TerminalClock(index as u32 + 1, post.ahead.as_secs()));
        }
        if let Some(TapFault::TerminalDies(writes)) = fault {
            let state = post.terminal().state().clone();
            let mut disk = lock(&post.disk.0);
            (disk.saved, disk.left) = (Some(state), writes);
            drop(disk);
        }
        card.reset(Interface::Contactless);
        let before = self.truth.reading(card.element());
        let open = before.and_then(|before| post.open_debit(before.serial));
        let payers = open.as_ref().map(|open| self.truth.payers(open)).unwrap_or_default();
        let mut field = Field { card, count: 0, fault, left: None };
        let outcome = work(&mut post, &mut field, at);
        // The card leaves the field.
        card.reset(Interface::Contactless);
        if let Some(left) = field.left {
            self.tally.fault(Counted::Tap(left));
        }
        let (tapped, died) = match outcome {
            Ok((fare, balance)) => (Tapped::Passed(fare, balance), false),
            Err(TapError::Refused(refusal)) => (Tapped::Turned(refusal.to_string()), false),
            Err(TapError::Store(error)) => (Tapped::Again(error.to_string()), true),
            Err(error) => (Tapped::Again(error.to_string()), false),
        };
        let saved = lock(&post.disk.0).saved.take();
        if died {
            self.tally.fault(Counted::Tap(TapKind::TerminalDies));
            self.trace.rider(card.rider(), Event::TerminalRestarted(index as u32 + 1));
            self.restart(&mut post, saved.unwrap_or_default());
        }
        if let Some(open) = open.filter(|open| !post.remembers(open)) {
            self.truth.denied(card.element(), &open, &payers);
        }
        let after = self.truth.reading(card.element());
        let offline = |reading: Option<PurseReading>| reading.map(|reading| reading.state.offline());
        let has_moved = offline(before) != offline(after);
        if let Some(after) = after.filter(|_| has_moved && !post.ahead.is_zero()) {
            lock(&self.misdated).insert((after.serial, after.state.offline().value()));
        }
        if has_moved && !matches!(tapped, Tapped::Passed(..)) {
            self.lost_track(card.element());
        }
        if let (Some(before), Some(after)) = (before, after)
            && before.state.offline() != after.state.offline()
            && !post.knows(after.serial, after.state.offline().value())
        {
            let amount = before.state.purse().fen() - after.state.purse().fen();
            self.truth.find(Some(card.rider()), Violation::DebitWithoutRecord { amount });
        }
        tapped
    }

    /// The terminal starts again from what it had stored.
    fn restart(&self, post: &mut Post, state: TerminalState) {
        let list = lock(&post.disk.0).list.clone();
        let terminal = terminal(post.number, &self.keys, state, &post.disk);
        let terminal = terminal.with_list(list, ListPolicy::default());
        match &mut post.kind {
            Kind::Gate(gate, profile) => {
                *gate = Gate::new(profile.clone(), with_fares(terminal, &post.disk));
            }
            Kind::Shop(pos, profile) => *pos = Pos::new(*profile, terminal),
        }
    }

    /// How many terminals there are.
    pub fn count(&self) -> usize {
        self.posts.len()
    }

    /// Whether a terminal waits for a card to say what became of its debit at this counter.
    pub(super) fn awaits(&self, terminal: [u8; 6], serial: [u8; 10], counter: u16) -> bool {
        self.posts.iter().any(|post| {
            let post = lock(post);
            let open = post.open_debit(serial).filter(|_| post.number == terminal);
            open.is_some_and(|open| open.counter == counter)
        })
    }

    /// Records that the centre does not have yet.
    pub fn undelivered(&self) -> usize {
        self.posts.iter().map(|post| lock(post).terminal().state().records().len()).sum()
    }
}

/// The field of a terminal with a card in it.
struct Field<'a> {
    card: &'a Card,
    count: u64,
    fault: Option<TapFault>,
    /// How the card left, if it did.
    left: Option<TapKind>,
}

impl tsm_terminal::CardReader for Field<'_> {
    fn transmit(&mut self, command: &CommandApdu) -> Result<ResponseApdu, ReaderError> {
        let count = self.count;
        self.count += 1;
        match self.fault {
            Some(TapFault::Leaves(at)) if count >= at => {
                self.left = Some(TapKind::Leaves);
                return Err(ReaderError::CardLeft);
            }
            Some(TapFault::LeavesWithAnswer(at)) if count > at => return Err(ReaderError::CardLeft),
            _ => {}
        }
        let exchange = self.card.exchange(Interface::Contactless, command);
        match (self.fault, exchange) {
            (Some(TapFault::LeavesWithAnswer(at)), _) if count == at => {
                self.left = Some(TapKind::LeavesWithAnswer);
                Err(ReaderError::CardLeft)
            }
            (_, Exchange::Answer(answer)) => Ok(answer),
            (_, Exchange::Dead) => Err(ReaderError::CardLeft),
        }
    }
}

impl Post {
    /// The time by its own clock.
    pub(super) fn time(&self, now: Timestamp) -> Timestamp {
        now.saturating_add(self.ahead).unwrap_or(now)
    }

    /// The debit that a card left without an answer here.
    fn open_debit(&self, serial: [u8; 10]) -> Option<Debit> {
        let mut pending = self.terminal().state().pending().iter();
        let record = &pending.find(|pending| pending.record.card.0 == serial)?.record;
        Some(Debit {
            serial,
            counter: record.card_counter,
            amount: record.amount_fen,
            terminal: self.number,
            sequence: record.terminal_sequence,
        })
    }

    /// Whether the terminal still knows of a debit, done or not.
    fn remembers(&self, debit: &Debit) -> bool {
        let state = self.terminal().state();
        let pending = state.pending().iter().map(|pending| &pending.record);
        let mut all = pending.chain(state.records().iter().rev());
        all.any(|record| record.terminal_sequence == debit.sequence)
    }

    /// Whether the terminal keeps a record, finished or not, of what a card paid at this counter.
    fn knows(&self, serial: [u8; 10], counter: u16) -> bool {
        let state = self.terminal().state();
        let pending = state.pending().iter().map(|pending| &pending.record);
        let mut all = pending.chain(state.records().iter().rev());
        all.any(|record| record.card.0 == serial && record.card_counter == counter)
    }

    pub(super) fn terminal(&self) -> &SimTerminal {
        match &self.kind {
            Kind::Gate(gate, _) => gate.terminal(),
            Kind::Shop(pos, _) => pos.terminal(),
        }
    }

    pub(super) fn terminal_mut(&mut self) -> &mut SimTerminal {
        match &mut self.kind {
            Kind::Gate(gate, _) => gate.terminal_mut(),
            Kind::Shop(pos, _) => pos.terminal_mut(),
        }
    }
}

fn terminal(number: [u8; 6], keys: &RootKeys, state: TerminalState, disk: &SharedDisk) -> SimTerminal {
    let profile = PsamProfile {
        terminal: tsm_epurse::TerminalNumber::new(number),
        serial: [number[5]; 10],
        purchase_key_index: 1,
        wrong_mac2_limit: u16::MAX,
    };
    let limits = Limits::default();
    Terminal::start(TerminalClass::A, profile, keys.clone(), state, disk.clone(), limits)
        .expect("a PSAM with a profile says its number")
}

/// A gate's terminal, with the fares that its disk holds.
fn with_fares(terminal: SimTerminal, disk: &SharedDisk) -> SimTerminal {
    let book = lock(&disk.0).fares.clone();
    terminal.with_fares(CentreFares { operator: RAIL.into(), book })
}

fn passage(passage: Passage) -> (u32, u32) {
    match passage {
        Passage::Entered { balance, .. } => (0, balance.fen()),
        Passage::Left { fare, balance, .. } => (fare.fen(), balance.fen()),
    }
}

fn sold(receipt: Receipt) -> (u32, u32) {
    match receipt {
        Receipt::Paid(record) | Receipt::PaidBefore(record) => (record.amount_fen, record.balance_fen),
    }
}

/// What befalls a tap, drawn.
pub fn draw_fault(random: &mut Random) -> TapFault {
    let command = random.below(9);
    match random.below(3) {
        0 => TapFault::Leaves(command),
        1 => TapFault::LeavesWithAnswer(command),
        _ => TapFault::TerminalDies(random.below(2)),
    }
}

fn gate_profile(station: u16) -> GateProfile {
    GateProfile {
        station: StationId(station),
        line: [0x01, 0x00],
        operator: [0x30, 0x00],
        city: [0x99, 0x00],
        acquirer: [0x09, 0x99, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF],
        fares: fares::installed(),
        least_balance: Fen::new(300),
        unmatched: UnmatchedJourney::ChargeMaximum,
        neighbour_grace_s: 120,
    }
}

const fn shop_profile() -> PosProfile {
    PosProfile {
        industry: Industry::Bus,
        line: [0x08, 0x00],
        station: [0x19, 0x00],
        operator: [0x30, 0x00],
        city: [0x99, 0x00],
        acquirer: [0x09, 0x99, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF],
    }
}
