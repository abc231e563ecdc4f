//! A point of sale: plain purchases, and composite ones that leave a record in the card's history.

use tsm_domain::money::fare::{Fare, FareTable, Journey};
use tsm_epurse::{
    Amount, DateTime,
    commands::{PurchaseKind, UpdateCappDataCache},
    file::{HistoryRecord, HistoryType, Industry},
};

use crate::{
    card::PurseCard,
    centre_fares::Due,
    fares::{self, Priced},
    gate::{serial_field, terminal_field},
    psam::CardKeys,
    purchase::{CacheFacts, Purchase},
    reader::CardReader,
    record::{Purpose, Refusal, TerminalRecord},
    settle::Settled,
    store::TerminalStore,
    terminal::{Service, TapError, Terminal},
};

/// Where a POS stands, for the records that it writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PosProfile {
    /// The industry: bus, ferry, shop.
    pub industry: Industry,
    /// The line.
    pub line: [u8; 2],
    /// The stop or till.
    pub station: [u8; 2],
    /// The operator.
    pub operator: [u8; 2],
    /// The acquirer's city.
    pub city: [u8; 2],
    /// The acquirer, 8 digits and FFFFFFFF.
    pub acquirer: [u8; 8],
}

/// What a customer gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Receipt {
    /// The purchase is made.
    Paid(TerminalRecord),
    /// This very purchase was made by an earlier tap whose end was lost; nothing more was charged.
    PaidBefore(TerminalRecord),
}

/// A POS.
#[derive(Debug)]
pub struct Pos<K, S> {
    profile: PosProfile,
    terminal: Terminal<K, S>,
}

/// What is sold.
struct Sale {
    kind: PurchaseKind,
    amount: Amount,
    at: DateTime,
    fare_version: u32,
    priced: Option<Priced>,
}

impl<K: CardKeys, S: TerminalStore> Pos<K, S> {
    /// A POS of `profile` with its terminal.
    pub const fn new(profile: PosProfile, terminal: Terminal<K, S>) -> Self {
        Self { profile, terminal }
    }

    /// The terminal inside.
    pub const fn terminal(&self) -> &Terminal<K, S> {
        &self.terminal
    }

    /// The terminal inside, to take new lists and give up records.
    pub const fn terminal_mut(&mut self) -> &mut Terminal<K, S> {
        &mut self.terminal
    }

    /// Sells for `amount`. A debit of the same amount that this card left without an answer and that took place
    /// counts as this sale.
    pub fn sell(
        &mut self,
        reader: &mut impl CardReader,
        kind: PurchaseKind,
        amount: Amount,
        at: DateTime,
    ) -> Result<Receipt, TapError> {
        let card = self.terminal.admit(reader, at, Service::Value)?;
        if let Settled::Happened { purpose: Purpose::Sale, record } =
            self.terminal.settle(reader, &card, at)?
            && record.amount_fen == amount.fen()
        {
            return Ok(Receipt::PaidBefore(record));
        }
        let sale = Sale { kind, amount, at, fare_version: 0, priced: None };
        self.book(reader, &card, sale).map(Receipt::Paid)
    }

    /// Takes the fare of a ride that is paid on boarding, by the centre's table that is in force, and before its
    /// first version by the one that the POS was `installed` with. Says how it came about. A ride that this card
    /// left without an answer and that was paid counts as this one.
    pub fn ride(
        &mut self,
        reader: &mut impl CardReader,
        installed: &FareTable,
        at: DateTime,
    ) -> Result<(Receipt, Option<Fare>), TapError> {
        let card = self.terminal.admit(reader, at, Service::Value)?;
        if let Settled::Happened { purpose: Purpose::Sale, record } =
            self.terminal.settle(reader, &card, at)?
        {
            return Ok((Receipt::PaidBefore(record), None));
        }
        let trip = (self.profile.industry, Journey::Boarding, at);
        let table = match self.terminal.fares_due(installed, at) {
            Due::InForce(table) => table,
            Due::OutOfDate { due, .. } => {
                return Err(self.terminal.refuse(Some(&card), at, Refusal::FaresOutOfDate { due })?);
            }
        };
        let fare_version = table.version();
        let priced = match fares::price(reader, &card, table, trip) {
            Err(TapError::Refused(refusal)) => {
                return Err(self.terminal.refuse(Some(&card), at, refusal)?);
            }
            priced => priced?,
        };
        let (amount, fare) = (priced.amount, priced.fare.clone());
        let kind = PurchaseKind::Composite;
        let sale = Sale { kind, amount, at, fare_version, priced: Some(priced) };
        let record = self.book(reader, &card, sale)?;
        Ok((Receipt::Paid(record), Some(fare)))
    }

    fn book(
        &mut self,
        reader: &mut impl CardReader,
        card: &PurseCard,
        sale: Sale,
    ) -> Result<TerminalRecord, TapError> {
        let Sale { kind, amount, at, fare_version, priced } = sale;
        let purchase =
            Purchase { kind, purpose: Purpose::Sale, amount, least_balance: amount, at, fare_version };
        let place = self.profile;
        self.terminal.purchase(reader, card, &purchase, |facts| match kind {
            PurchaseKind::Simple => Vec::new(),
            PurchaseKind::Composite => {
                let mut cache = Vec::new();
                if let Some(record) = priced.as_ref().and_then(|priced| priced.record.as_ref()) {
                    cache.push(fares::update(record, serial_field(facts)));
                }
                let history = place.history(amount, at, facts);
                cache.push(UpdateCappDataCache::history(history.encode().to_vec()));
                cache
            }
        })
    }
}

impl PosProfile {
    const fn history(&self, amount: Amount, at: DateTime, facts: &CacheFacts) -> HistoryRecord {
        HistoryRecord {
            history_type: HistoryType::Single,
            terminal: terminal_field(facts),
            industry: self.industry,
            line: self.line,
            station: self.station,
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
