//! The record of a transaction that was not taken: FB.

use tsm_domain::CardNumber;

use super::Record;
use super::fields::{FormatError, Reader, Writer};
use super::transaction::{TransactionRecord, read_type, write_type};

/// A rejected transaction. Positions in brackets.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RejectRecord {
    /// The centre's serial: the row in its file [0-12].
    pub centre_serial: u64,
    /// The acquirer's serial [12-24].
    pub acquirer_serial: u64,
    /// The date at the acquirer; 0 for none [24-32].
    pub acquirer_date: u32,
    /// The retrieval reference [32-44].
    pub retrieval: u64,
    /// The transaction type [44-48].
    pub transaction_type: u8,
    /// The clearing institution [48-59].
    pub clearing: String,
    /// The acquirer [59-70].
    pub acquirer: String,
    /// The issuer [70-81].
    pub issuer: String,
    /// The sender [81-92].
    pub sender: String,
    /// The merchant category [92-96].
    pub category: u16,
    /// The channel [96-98].
    pub channel: u8,
    /// The card [98-118]; none of a line that cannot be read.
    pub card: Option<CardNumber>,
    /// The card's counter [118-124].
    pub counter: u16,
    /// The balance before [124-136].
    pub balance_before_fen: u64,
    /// The amount [136-148].
    pub amount_fen: u32,
    /// Date and time as fourteen digits [148-162].
    pub at: [u8; 7],
    /// The error [162-168].
    pub error: u32,
    /// The error in words [168-208].
    pub text: String,
}

impl RejectRecord {
    /// The rejection of an uploaded record.
    pub fn of(record: &TransactionRecord, row: u64, error: u32, text: &str) -> Self {
        let mut at = [0; 7];
        at[..4].copy_from_slice(&record.date);
        at[4..].copy_from_slice(&record.time);
        Self {
            centre_serial: row,
            acquirer_serial: record.acquirer_serial,
            acquirer_date: record.acquirer_date,
            retrieval: record.retrieval,
            transaction_type: record.transaction_type,
            clearing: record.clearing.clone(),
            acquirer: record.acquirer.clone(),
            issuer: record.issuer.clone(),
            sender: record.sender.clone(),
            category: record.category,
            channel: record.channel,
            card: Some(record.card),
            counter: record.counter,
            balance_before_fen: record.balance_before_fen,
            amount_fen: record.amount_fen,
            at,
            error,
            text: text.to_owned(),
        }
    }

    /// The rejection of a line that cannot be read, or with row 0 that of the file: empty but for the row and what is
    /// wrong with it.
    pub fn of_unreadable(row: u64, error: u32, text: &str) -> Self {
        Self {
            centre_serial: row,
            acquirer_serial: 0,
            acquirer_date: 0,
            retrieval: 0,
            transaction_type: 0,
            clearing: String::new(),
            acquirer: String::new(),
            issuer: String::new(),
            sender: String::new(),
            category: 0,
            channel: 0,
            card: None,
            counter: 0,
            balance_before_fen: 0,
            amount_fen: 0,
            at: [0; 7],
            error,
            text: text.chars().take(40).collect::<String>().trim_end().to_owned(),
        }
    }
}

impl Record for RejectRecord {
    const LENGTH: u16 = 321;

    fn encode(&self) -> Result<String, FormatError> {
        let mut writer = Writer::default();
        writer.number("centre serial", self.centre_serial, 12)?;
        writer.number("acquirer serial", self.acquirer_serial, 12)?;
        writer.number("acquirer date", self.acquirer_date.into(), 8)?;
        writer.number("retrieval reference", self.retrieval, 12)?;
        write_type(&mut writer, self.transaction_type)?;
        writer.text("clearing institution", &self.clearing, 11)?;
        writer.text("acquirer", &self.acquirer, 11)?;
        writer.text("issuer", &self.issuer, 11)?;
        writer.text("sender", &self.sender, 11)?;
        writer.number("category", self.category.into(), 4)?;
        writer.number("channel", self.channel.into(), 2)?;
        writer.text("card number", self.card.as_ref().map_or("", CardNumber::as_str), 20)?;
        writer.number("card counter", self.counter.into(), 6)?;
        writer.number("balance before", self.balance_before_fen, 12)?;
        writer.number("amount", self.amount_fen.into(), 12)?;
        writer.text("time", &hex::encode(self.at), 14)?;
        writer.number("error", self.error.into(), 6)?;
        writer.text("error text", &self.text, 40)?;
        writer.fill('0', 1);
        // Fee and shares: what is not cleared is not charged.
        writer.fill('0', 3 * 28);
        writer.fill(' ', 28);
        Ok(writer.into_text())
    }

    fn decode(line: &[u8]) -> Result<Self, FormatError> {
        let mut reader = Reader::new(line);
        let text = |reader: &mut Reader<'_>, name| reader.text(name, 11).map(str::to_owned);
        let record = Self {
            centre_serial: reader.number("centre serial", 12)?,
            acquirer_serial: reader.number("acquirer serial", 12)?,
            acquirer_date: reader.number_as("acquirer date", 8)?,
            retrieval: reader.number("retrieval reference", 12)?,
            transaction_type: read_type(&mut reader)?,
            clearing: text(&mut reader, "clearing institution")?,
            acquirer: text(&mut reader, "acquirer")?,
            issuer: text(&mut reader, "issuer")?,
            sender: text(&mut reader, "sender")?,
            category: reader.number_as("category", 4)?,
            channel: reader.number_as("channel", 2)?,
            card: read_card_or_none(&mut reader)?,
            counter: reader.number_as("card counter", 6)?,
            balance_before_fen: reader.number("balance before", 12)?,
            amount_fen: reader.number_as("amount", 12)?,
            at: digits(reader.text("time", 14)?)?,
            error: reader.number_as("error", 6)?,
            text: reader.text("error text", 40)?.to_owned(),
        };
        reader.filled("test flag", '0', 1)?;
        reader.filled("fee and shares", '0', 3 * 28)?;
        reader.filled("reserved", ' ', 28)?;
        reader.finish()?;
        Ok(record)
    }
}

fn read_card_or_none(reader: &mut Reader<'_>) -> Result<Option<CardNumber>, FormatError> {
    const NAME: FormatError = FormatError::Field("card number");
    match reader.text("card number", 20)? {
        "" => Ok(None),
        number => number.parse().map(Some).map_err(|_| NAME),
    }
}

fn digits(text: &str) -> Result<[u8; 7], FormatError> {
    const NAME: FormatError = FormatError::Field("time");
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(NAME);
    }
    hex::decode(text).ok().and_then(|bytes| bytes.try_into().ok()).ok_or(NAME)
}
