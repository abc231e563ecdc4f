//! A point of sale: plain purchases, and composite ones that leave a record in the card's history.

use tsm_epurse::{
    Amount, DateTime,
    commands::{PurchaseKind, UpdateCappDataCache},
    file::{HistoryRecord, HistoryType, Industry},
};

use crate::{
    gate::terminal_field,
    psam::CardKeys,
    reader::CardReader,
    record::{Purpose, TerminalRecord},
    state::Persistence,
    terminal::{Purchase, Settled, TapError, Terminal},
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
pub struct Pos<K, P> {
    profile: PosProfile,
    terminal: Terminal<K, P>,
}

impl<K: CardKeys, P: Persistence> Pos<K, P> {
    /// A POS of `profile` with its terminal.
    pub const fn new(profile: PosProfile, terminal: Terminal<K, P>) -> Self {
        Self { profile, terminal }
    }

    /// The terminal inside.
    pub const fn terminal(&self) -> &Terminal<K, P> {
        &self.terminal
    }

    /// The terminal inside, to take new lists and give up records.
    pub const fn terminal_mut(&mut self) -> &mut Terminal<K, P> {
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
        let card = self.terminal.admit(reader, at)?;
        if let Settled::Happened { purpose: Purpose::Sale, record } = self.terminal.settle(reader, &card)?
            && record.amount_fen == amount.fen()
        {
            return Ok(Receipt::PaidBefore(record));
        }
        let purchase =
            Purchase { kind, purpose: Purpose::Sale, amount, least_balance: amount, at, fare_version: 0 };
        let place = self.profile;
        let record = self.terminal.purchase(reader, &card, &purchase, |facts| match kind {
            PurchaseKind::Simple => Vec::new(),
            PurchaseKind::Composite => {
                let history = HistoryRecord {
                    history_type: HistoryType::Single,
                    terminal: terminal_field(facts),
                    industry: place.industry,
                    line: place.line,
                    station: place.station,
                    operator: place.operator,
                    reserved: 0,
                    amount,
                    balance: facts.balance_after,
                    at,
                    acquirer_city: place.city,
                    acquirer: place.acquirer,
                    filler: [0; 6],
                };
                vec![UpdateCappDataCache::history(history.encode().to_vec())]
            }
        })?;
        Ok(Receipt::Paid(record))
    }
}
