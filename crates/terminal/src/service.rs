//! A service terminal: shows what is on a card, and changes nothing.

use tsm_epurse::{
    Amount, Sfi,
    commands::ReadRecord,
    file::{HISTORY_RECORDS, HistoryRecord, LOG_RECORDS, LogRecord, PublicInformation, RailRecord},
};

use crate::{
    card::{PurseCard, record},
    reader::{CardReader, ExchangeError},
    terminal::TapError,
};

/// What a service terminal shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CardSummary {
    /// EF15.
    pub public_information: PublicInformation,
    /// What can be spent.
    pub balance: Amount,
    /// The transaction log, newest first.
    pub log: Vec<LogRecord>,
    /// The transit history, newest first.
    pub history: Vec<HistoryRecord>,
    /// The metro's record.
    pub rail: RailRecord,
}

/// Reads a card. All of it is free to read, of cards that are not enabled or past their validity as well.
pub fn read_card(reader: &mut impl CardReader) -> Result<CardSummary, TapError> {
    let card = PurseCard::find(reader)?;
    let mut log = Vec::new();
    for number in 1..=LOG_RECORDS as u8 {
        match card.log_record(reader, number)? {
            Some(record) => log.push(record),
            None => break,
        }
    }
    let mut history = Vec::new();
    for number in 1..=HISTORY_RECORDS as u8 {
        let command = ReadRecord::number(Sfi::TRANSIT_HISTORY, number);
        let Some(content) = record(reader, &command.to_apdu())? else {
            break;
        };
        let record = HistoryRecord::decode(&content);
        history.push(record.map_err(|_| ExchangeError::Answer { command: "READ RECORD" })?);
    }
    Ok(CardSummary {
        public_information: *card.public_information(),
        balance: card.balance(reader)?,
        log,
        history,
        rail: card.rail_record(reader)?,
    })
}
