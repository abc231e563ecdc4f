//! A station's gate: entry and exit with the purse, as composite purchases.
//!
//! An entry debits nothing and writes where the trip began into the metro's record of EF1A; an exit debits the
//! fare between the two stations. Both add a record to the history EF1E. Records and debit become
//! effective together, so the card itself always says whether the trip is open, and a tap that was
//! interrupted is continued from there.

use serde::{Deserialize, Serialize};
use tsm_domain::{
    amount::Fen,
    money::fare::{Fare, FareTable, Journey, StationId},
};
use tsm_epurse::{
    Amount, DateTime,
    commands::{PurchaseKind, UpdateCappDataCache},
    file::{HistoryRecord, HistoryType, Industry, RailRecord, RecordHead, RecordId},
};

use crate::{
    card::PurseCard,
    centre_fares::Due,
    clock, fares,
    fares::Priced,
    psam::CardKeys,
    purchase::{CacheFacts, Purchase},
    reader::CardReader,
    record::{Purpose, Refusal, TerminalRecord},
    settle::Settled,
    store::TerminalStore,
    terminal::{Service, TapError, Terminal},
};

/// Where a gate stands and how it charges.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GateProfile {
    /// The station.
    pub station: StationId,
    /// The line.
    pub line: [u8; 2],
    /// The operator, in history records.
    pub operator: [u8; 2],
    /// The acquirer's city.
    pub city: [u8; 2],
    /// The acquirer, 8 digits and FFFFFFFF.
    pub acquirer: [u8; 8],
    /// The fares that the gate was installed with: in force until the first version that the centre distributes.
    pub fares: FareTable,
    /// The least balance with which a card may enter.
    pub least_balance: Fen,
    /// What happens at an exit of a card that has not entered.
    pub unmatched: UnmatchedJourney,
    /// How long after a tap at another gate of the station a card passes again without a new transaction,
    /// in seconds: for gates that failed to open. Zero never.
    pub neighbour_grace_s: u32,
}

/// What happens at an exit of a card that has not entered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnmatchedJourney {
    /// The gate stays closed.
    Refuse,
    /// The largest fare is charged.
    ChargeMaximum,
}

/// How the passage was booked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Booking {
    /// By this tap.
    Now,
    /// By an earlier tap whose end was lost; this one found it on the card and charged nothing.
    Before,
}

/// A gate that opens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Passage {
    /// Into the station.
    Entered {
        /// What can be spent.
        balance: Amount,
        /// Whether this tap booked it.
        booking: Booking,
    },
    /// Out of the station.
    Left {
        /// What the trip costs; charged once, by this tap or an earlier one.
        fare: Amount,
        /// What can be spent.
        balance: Amount,
        /// Whether this tap booked it.
        booking: Booking,
    },
}

/// A gate.
#[derive(Debug)]
pub struct Gate<K, S> {
    profile: GateProfile,
    terminal: Terminal<K, S>,
    last_fare: Option<Fare>,
}

impl<K: CardKeys, S: TerminalStore> Gate<K, S> {
    /// A gate of `profile` with its terminal.
    pub const fn new(profile: GateProfile, terminal: Terminal<K, S>) -> Self {
        Self { profile, terminal, last_fare: None }
    }

    /// How the fare of the last exit came about, for the display.
    pub const fn last_fare(&self) -> Option<&Fare> {
        self.last_fare.as_ref()
    }

    /// Takes a new fare table, for the taps from now on.
    pub fn set_fares(&mut self, fares: FareTable) {
        self.profile.fares = fares;
    }

    /// The terminal inside.
    pub const fn terminal(&self) -> &Terminal<K, S> {
        &self.terminal
    }

    /// The terminal inside, to take new lists and give up records.
    pub const fn terminal_mut(&mut self) -> &mut Terminal<K, S> {
        &mut self.terminal
    }

    /// A card is held to the entry side.
    pub fn enter(&mut self, reader: &mut impl CardReader, at: DateTime) -> Result<Passage, TapError> {
        let card = self.terminal.admit(reader, at, Service::Value)?;
        let settled = self.terminal.settle(reader, &card, at)?;
        let mut rail = card.rail_record(reader)?;
        if let Settled::Happened { purpose: Purpose::Entry, record } = &settled
            && self.entered_here(&rail, record.at)
        {
            return Ok(Passage::Entered { balance: fen(record.balance_fen), booking: Booking::Before });
        }
        if rail.head.locked != 0 {
            return Err(self.terminal.refuse(Some(&card), at, Refusal::RecordLocked)?);
        }
        if rail.head.state == RecordHead::INSIDE {
            return self.still_inside(reader, &card, &rail, at);
        }
        let table = match self.terminal.fares_due(&self.profile.fares, at) {
            Due::InForce(table) => table,
            Due::OutOfDate { due, .. } => {
                return Err(self.terminal.refuse(Some(&card), at, Refusal::FaresOutOfDate { due })?);
            }
        };
        let fare_version = table.version();
        let least = (self.profile.least_balance, at);
        let least_balance = fares::least_balance(reader, &card, table, least)?;
        let maximum = amount(table.highest()).unwrap_or(Amount::ZERO);
        self.write_entry(&mut rail, maximum, at);
        let (purpose, amount, priced) = (Purpose::Entry, Amount::ZERO, None);
        let entry = Booked { purpose, amount, least_balance, priced, fare_version };
        let record = self.book(reader, &card, entry, at, rail)?;
        Ok(Passage::Entered { balance: fen(record.balance_fen), booking: Booking::Now })
    }

    /// A card is held to the exit side.
    pub fn leave(&mut self, reader: &mut impl CardReader, at: DateTime) -> Result<Passage, TapError> {
        self.last_fare = None;
        let card = self.terminal.admit(reader, at, Service::WayOut)?;
        let settled = self.terminal.settle(reader, &card, at)?;
        let mut rail = card.rail_record(reader)?;
        if let Settled::Happened { purpose: Purpose::Exit, record } = &settled
            && self.left_here(&rail, record.at)
        {
            let (fare, balance) = (fen(record.amount_fen), fen(record.balance_fen));
            return Ok(Passage::Left { fare, balance, booking: Booking::Before });
        }
        if rail.head.locked != 0 {
            return Err(self.terminal.refuse(Some(&card), at, Refusal::RecordLocked)?);
        }
        let within_grace = self.within_grace(rail.exit_at, at);
        if rail.head.state == RecordHead::OUTSIDE && within_grace && self.left_here(&rail, rail.exit_at) {
            // Another gate of this station booked the exit a moment ago.
            let balance = card.balance(reader)?;
            return Ok(Passage::Left { fare: Amount::ZERO, balance, booking: Booking::Before });
        }
        let journey = match self.journey(&rail) {
            Ok(journey) => journey,
            Err(refusal) => return Err(self.terminal.refuse(Some(&card), at, refusal)?),
        };
        let trip = (Industry::Rail, journey, at);
        let table = match self.terminal.fares_due(&self.profile.fares, at) {
            // Whoever is inside gets out, for what the last table says.
            Due::InForce(table) | Due::OutOfDate { last: table, .. } => table,
        };
        let fare_version = table.version();
        let priced = match fares::price(reader, &card, table, trip) {
            Err(TapError::Refused(refusal)) => {
                return Err(self.terminal.refuse(Some(&card), at, refusal)?);
            }
            priced => priced?,
        };
        self.write_exit(&mut rail, at);
        let fare = priced.amount;
        self.last_fare = Some(priced.fare.clone());
        let (purpose, least_balance, priced) = (Purpose::Exit, fare, Some(priced));
        let exit = Booked { purpose, amount: fare, least_balance, priced, fare_version };
        let record = self.book(reader, &card, exit, at, rail)?;
        Ok(Passage::Left { fare, balance: fen(record.balance_fen), booking: Booking::Now })
    }

    /// A card that is inside comes to the entry side.
    fn still_inside(
        &mut self,
        reader: &mut impl CardReader,
        card: &PurseCard,
        rail: &RailRecord,
        at: DateTime,
    ) -> Result<Passage, TapError> {
        if self.within_grace(rail.entry_at, at) && self.entered_here(rail, rail.entry_at) {
            return Ok(Passage::Entered { balance: card.balance(reader)?, booking: Booking::Before });
        }
        let station = station_of(rail.entry_station).0;
        Err(self.terminal.refuse(Some(card), at, Refusal::StillInside { station })?)
    }

    /// The journey that ends here, as the card's record has it.
    fn journey(&self, rail: &RailRecord) -> Result<Journey, Refusal> {
        let exit = self.profile.station;
        if rail.head.state == RecordHead::INSIDE {
            let entry = station_of(rail.entry_station);
            return Ok(Journey::Between { entry, exit, entered_at: clock::civil(rail.entry_at) });
        }
        match self.profile.unmatched {
            UnmatchedJourney::Refuse => Err(Refusal::NotInside),
            UnmatchedJourney::ChargeMaximum => Ok(Journey::EntryUnknown { exit }),
        }
    }

    fn entered_here(&self, rail: &RailRecord, at: DateTime) -> bool {
        rail.head.state == RecordHead::INSIDE
            && station_of(rail.entry_station) == self.profile.station
            && rail.entry_at == at
    }

    fn left_here(&self, rail: &RailRecord, at: DateTime) -> bool {
        rail.head.state == RecordHead::OUTSIDE
            && station_of(rail.exit_station) == self.profile.station
            && rail.exit_at == at
    }

    fn within_grace(&self, earlier: DateTime, now: DateTime) -> bool {
        let (Some(earlier), Some(now)) = (earlier.seconds(), now.seconds()) else {
            return false;
        };
        self.profile.neighbour_grace_s > 0
            && (0..=i64::from(self.profile.neighbour_grace_s)).contains(&(now - earlier))
    }

    fn write_entry(&self, rail: &mut RailRecord, maximum: Amount, at: DateTime) {
        let place = &self.profile;
        rail.head = RecordHead {
            valid: 1,
            interoperability: 1,
            state: RecordHead::INSIDE,
            ..RecordHead::empty(RecordId::RAIL)
        };
        rail.entry_city = place.city;
        rail.entry_operator = place.acquirer;
        rail.entry_station = station_field(place.station);
        rail.entry_at = at;
        rail.maximum_fare = maximum;
    }

    fn write_exit(&self, rail: &mut RailRecord, at: DateTime) {
        let place = &self.profile;
        rail.head = RecordHead {
            valid: 1,
            interoperability: 1,
            state: RecordHead::OUTSIDE,
            ..RecordHead::empty(RecordId::RAIL)
        };
        rail.exit_city = place.city;
        rail.exit_operator = place.acquirer;
        rail.exit_station = station_field(place.station);
        rail.exit_at = at;
    }

    fn book(
        &mut self,
        reader: &mut impl CardReader,
        card: &PurseCard,
        booked: Booked,
        at: DateTime,
        mut rail: RailRecord,
    ) -> Result<TerminalRecord, TapError> {
        let Booked { purpose, amount, least_balance, priced, fare_version } = booked;
        let kind = PurchaseKind::Composite;
        let purchase = Purchase { kind, purpose, amount, least_balance, at, fare_version };
        let place = &self.profile;
        self.terminal.purchase(reader, card, &purchase, |facts| {
            let terminal = terminal_field(facts);
            let history_type = if purpose == Purpose::Entry {
                rail.entry_terminal = terminal;
                HistoryType::Entry
            } else {
                rail.exit_terminal = terminal;
                HistoryType::Exit
            };
            rail.head.serial = serial_field(facts);
            let history = place.history(history_type, amount, at, facts);
            let mut cache = vec![UpdateCappDataCache::transit_record(RecordId::RAIL, rail.encode())];
            if let Some(record) = priced.as_ref().and_then(|priced| priced.record.as_ref()) {
                cache.push(fares::update(record, serial_field(facts)));
            }
            cache.push(UpdateCappDataCache::history(history.encode().to_vec()));
            cache
        })
    }
}

/// What a passage books.
struct Booked {
    purpose: Purpose,
    amount: Amount,
    least_balance: Amount,
    priced: Option<Priced>,
    fare_version: u32,
}

impl GateProfile {
    fn history(
        &self,
        history_type: HistoryType,
        amount: Amount,
        at: DateTime,
        facts: &CacheFacts,
    ) -> HistoryRecord {
        HistoryRecord {
            history_type,
            terminal: terminal_field(facts),
            industry: Industry::Rail,
            line: self.line,
            station: self.station.0.to_be_bytes(),
            operator: self.operator,
            reserved: 0,
            amount,
            balance: facts.balance_after,
            at,
            acquirer_city: self.city,
            acquirer: self.acquirer,
            filler: [0; 6],
        }
    }
}

const fn fen(fen: u32) -> Amount {
    Amount::from_fen(fen)
}

fn amount(fen: Fen) -> Option<Amount> {
    fen.to_purse().map(Amount::from_bytes)
}

/// A station in the eight bytes of a transit record: its number at the end.
const fn station_field(station: StationId) -> [u8; 8] {
    let [high, low] = station.0.to_be_bytes();
    [0, 0, 0, 0, 0, 0, high, low]
}

const fn station_of(field: [u8; 8]) -> StationId {
    let [.., high, low] = field;
    StationId(u16::from_be_bytes([high, low]))
}

/// The terminal's number in eight bytes: 0000 and its six.
pub(crate) const fn terminal_field(facts: &CacheFacts) -> [u8; 8] {
    let [a, b, c, d, e, f] = facts.terminal.to_bytes();
    [0, 0, a, b, c, d, e, f]
}

/// The terminal's transaction number as sixteen decimal digits.
pub(crate) fn serial_field(facts: &CacheFacts) -> [u8; 8] {
    let digits = format!("{:016}", facts.terminal_sequence.value());
    let mut field = [0; 8];
    hex::decode_to_slice(digits, &mut field).expect("sixteen decimal digits are eight hexadecimal bytes");
    field
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stations_read_back_from_records() {
        let station = StationId(0x1234);
        assert_eq!(station_of(station_field(station)), station);
    }
}
