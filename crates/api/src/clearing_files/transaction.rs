//! The record of a transaction: UP on its way to the centre, CL when it is cleared.

use tsm_domain::bytes::Sha256Digest;
use tsm_domain::{CardNumber, TerminalNumber};

use super::Record;
use super::fields::{FormatError, Reader, Writer};
use crate::HexBytes;
use crate::clearing::collection::BatchRow;

/// The transaction type of a lock by a terminal.
pub const LOCK: u8 = 0x0A;

/// The width of the check data.
const CHECK_DATA: usize = 48;

/// A transaction as a line. Positions in brackets are those of CL.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TransactionRecord {
    /// The centre's serial; 0 in an upload [0-12].
    pub centre_serial: u64,
    /// The acquirer's serial: the record's number in its terminal [12-24].
    pub acquirer_serial: u64,
    /// The date at the acquirer, YYYYMMDD; 0 for none [24-32].
    pub acquirer_date: u32,
    /// The retrieval reference; 0 for none [32-44].
    pub retrieval: u64,
    /// The transaction type byte, as four digits [44-48].
    pub transaction_type: u8,
    /// The clearing institution [48-59].
    pub clearing: String,
    /// The acquirer's code [59-70].
    pub acquirer: String,
    /// The issuing company [70-81].
    pub issuer: String,
    /// The merchant's or acquirer's identity [81-92].
    pub acquirer_id: String,
    /// Who sends it [92-103].
    pub sender: String,
    /// The merchant category; 4111 is local transport [103-107].
    pub category: u16,
    /// The channel [107-109].
    pub channel: u8,
    /// The card [109-129].
    pub card: CardNumber,
    /// The card's counter after the transaction [129-135].
    pub counter: u16,
    /// The balance before it [135-147].
    pub balance_before_fen: u64,
    /// The amount [147-159].
    pub amount_fen: u32,
    /// The date as on the card: eight digits [159-167].
    pub date: [u8; 4],
    /// The time as on the card: six digits [167-173].
    pub time: [u8; 3],
    /// The algorithm's identifier [174-176]; the purse [173] is always EP.
    pub algorithm: u8,
    /// 0, or why it was not cleared [176-182].
    pub error: u32,
    /// The error in words [182-222].
    pub text: String,
    /// The fee [223-251]; the test flag [222] is always 0.
    pub fee_fen: u64,
    /// The issuer's share [251-279].
    pub issuer_share_fen: u64,
    /// The acquirer's share [279-307].
    pub acquirer_share_fen: u64,
    /// The terminal, in the check data after the reserved field [335-].
    pub terminal: TerminalNumber,
    /// The PSAM's transaction number.
    pub terminal_counter: u32,
    /// The TAC, when there is one.
    pub tac: Option<[u8; 4]>,
}

impl TransactionRecord {
    /// The category of local transport.
    pub const LOCAL_TRANSPORT: u16 = 4111;

    /// The record of a terminal's row, with everything empty that others add.
    pub fn of_row(terminal: TerminalNumber, row: &BatchRow) -> Result<Self, FormatError> {
        let bytes = |field: &HexBytes, name| -> Result<Vec<u8>, FormatError> {
            let decimal = field.0.iter().all(|byte| byte >> 4 <= 9 && byte & 15 <= 9);
            if decimal { Ok(field.0.clone()) } else { Err(FormatError::Field(name)) }
        };
        let serial: [u8; 10] =
            row.card.as_bytes().try_into().map_err(|_| FormatError::Field("card number"))?;
        let tac = row.tac.as_ref().map(|tac| tac.as_bytes().try_into()).transpose();
        Ok(Self {
            centre_serial: 0,
            acquirer_serial: row.number,
            acquirer_date: 0,
            retrieval: 0,
            transaction_type: row.transaction_type,
            clearing: String::new(),
            acquirer: String::new(),
            issuer: String::new(),
            acquirer_id: String::new(),
            sender: String::new(),
            category: Self::LOCAL_TRANSPORT,
            channel: 0,
            card: CardNumber::from_application_serial(&serial)
                .map_err(|_| FormatError::Field("card number"))?,
            counter: row.offline_counter,
            balance_before_fen: u64::from(row.balance_fen) + u64::from(row.amount_fen),
            amount_fen: row.amount_fen,
            date: bytes(&row.date, "date")?.try_into().map_err(|_| FormatError::Field("date"))?,
            time: bytes(&row.time, "time")?.try_into().map_err(|_| FormatError::Field("time"))?,
            algorithm: 0,
            error: 0,
            text: String::new(),
            fee_fen: 0,
            issuer_share_fen: 0,
            acquirer_share_fen: 0,
            terminal,
            terminal_counter: row.terminal_counter,
            tac: tac.map_err(|_| FormatError::Field("TAC"))?,
        })
    }

    /// The row that the terminal delivered.
    pub fn to_row(&self) -> Result<BatchRow, FormatError> {
        let after = self.balance_before_fen.checked_sub(self.amount_fen.into());
        let balance_fen = after.and_then(|after| u32::try_from(after).ok());
        Ok(BatchRow {
            number: self.acquirer_serial,
            card: HexBytes(self.card.application_serial().to_vec()),
            transaction_type: self.transaction_type,
            amount_fen: self.amount_fen,
            balance_fen: balance_fen.ok_or(FormatError::Field("balance before"))?,
            offline_counter: self.counter,
            terminal_counter: self.terminal_counter,
            date: HexBytes(self.date.to_vec()),
            time: HexBytes(self.time.to_vec()),
            tac: self.tac.map(|tac| HexBytes(tac.to_vec())),
        })
    }

    // Tag and length of two digits each. A transaction without a TAC has no third element.
    fn check_data(&self) -> String {
        let mut data = format!("0112{}0210{:010}", self.terminal, self.terminal_counter);
        if let Some(tac) = self.tac {
            data.push_str("0308");
            data.push_str(&hex::encode_upper(tac));
        }
        data
    }
}

fn check_data(text: &str) -> Result<(TerminalNumber, u32, Option<[u8; 4]>), FormatError> {
    const NAME: FormatError = FormatError::Field("check data");
    let rest = text.strip_prefix("0112").ok_or(NAME)?;
    let (terminal, rest) = rest.split_at_checked(12).ok_or(NAME)?;
    let rest = rest.strip_prefix("0210").ok_or(NAME)?;
    let (counter, rest) = rest.split_at_checked(10).ok_or(NAME)?;
    if !counter.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(NAME);
    }
    let tac = match rest {
        "" => None,
        rest => {
            let digits = rest.strip_prefix("0308").ok_or(NAME)?;
            let upper = digits.bytes().all(|byte| byte.is_ascii_digit() || (b'A'..=b'F').contains(&byte));
            let bytes = upper.then(|| hex::decode(digits).ok()).flatten().ok_or(NAME)?;
            Some(bytes.try_into().map_err(|_| NAME)?)
        }
    };
    let terminal = terminal.parse().map_err(|_| NAME)?;
    Ok((terminal, counter.parse().map_err(|_| NAME)?, tac))
}

/// Digits of a packed decimal field.
fn packed<const N: usize>(reader: &mut Reader<'_>, name: &'static str) -> Result<[u8; N], FormatError> {
    let text = reader.text(name, 2 * N)?;
    if text.len() != 2 * N || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(FormatError::Field(name));
    }
    let bytes = hex::decode(text).map_err(|_| FormatError::Field(name))?;
    bytes.try_into().map_err(|_| FormatError::Field(name))
}

pub(super) fn write_type(writer: &mut Writer, value: u8) -> Result<(), FormatError> {
    writer.text("transaction type", &format!("{value:04X}"), 4)
}

pub(super) fn read_type(reader: &mut Reader<'_>) -> Result<u8, FormatError> {
    const NAME: FormatError = FormatError::Field("transaction type");
    let text = reader.text("transaction type", 4)?;
    let value = text.strip_prefix("00").and_then(|digits| u8::from_str_radix(digits, 16).ok()).ok_or(NAME)?;
    // One way to write each, so that no two lines say the same.
    if format!("{value:04X}") == text { Ok(value) } else { Err(NAME) }
}

pub(super) fn read_card(reader: &mut Reader<'_>) -> Result<CardNumber, FormatError> {
    reader.text("card number", 20)?.parse().map_err(|_| FormatError::Field("card number"))
}

impl Record for TransactionRecord {
    const LENGTH: u16 = 335 + CHECK_DATA as u16;

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
        writer.text("acquirer identity", &self.acquirer_id, 11)?;
        writer.text("sender", &self.sender, 11)?;
        writer.number("category", self.category.into(), 4)?;
        writer.number("channel", self.channel.into(), 2)?;
        writer.text("card number", self.card.as_str(), 20)?;
        writer.number("card counter", self.counter.into(), 6)?;
        writer.number("balance before", self.balance_before_fen, 12)?;
        writer.number("amount", self.amount_fen.into(), 12)?;
        writer.text("date", &hex::encode(self.date), 8)?;
        writer.text("time", &hex::encode(self.time), 6)?;
        writer.fill('0', 1);
        writer.text("algorithm", &format!("{:02X}", self.algorithm), 2)?;
        writer.number("error", self.error.into(), 6)?;
        writer.text("error text", &self.text, 40)?;
        writer.fill('0', 1);
        writer.number("fee", self.fee_fen, 28)?;
        writer.number("issuer share", self.issuer_share_fen, 28)?;
        writer.number("acquirer share", self.acquirer_share_fen, 28)?;
        writer.fill(' ', 28);
        writer.text("check data", &self.check_data(), CHECK_DATA)?;
        Ok(writer.into_text())
    }

    fn decode(line: &[u8]) -> Result<Self, FormatError> {
        let mut reader = Reader::new(line);
        let text = |reader: &mut Reader<'_>, name| reader.text(name, 11).map(str::to_owned);
        let mut record = Self {
            centre_serial: reader.number("centre serial", 12)?,
            acquirer_serial: reader.number("acquirer serial", 12)?,
            acquirer_date: reader.number_as("acquirer date", 8)?,
            retrieval: reader.number("retrieval reference", 12)?,
            transaction_type: read_type(&mut reader)?,
            clearing: text(&mut reader, "clearing institution")?,
            acquirer: text(&mut reader, "acquirer")?,
            issuer: text(&mut reader, "issuer")?,
            acquirer_id: text(&mut reader, "acquirer identity")?,
            sender: text(&mut reader, "sender")?,
            category: reader.number_as("category", 4)?,
            channel: reader.number_as("channel", 2)?,
            card: read_card(&mut reader)?,
            counter: reader.number_as("card counter", 6)?,
            balance_before_fen: reader.number("balance before", 12)?,
            amount_fen: reader.number_as("amount", 12)?,
            date: packed(&mut reader, "date")?,
            time: packed(&mut reader, "time")?,
            algorithm: 0,
            error: 0,
            text: String::new(),
            fee_fen: 0,
            issuer_share_fen: 0,
            acquirer_share_fen: 0,
            terminal: TerminalNumber::from_bcd([0; 6]).expect("zeros are decimal digits"),
            terminal_counter: 0,
            tac: None,
        };
        reader.filled("purse", '0', 1)?;
        let algorithm = reader.text("algorithm", 2)?;
        record.algorithm = u8::from_str_radix(algorithm, 16).map_err(|_| FormatError::Field("algorithm"))?;
        if format!("{:02X}", record.algorithm) != algorithm {
            return Err(FormatError::Field("algorithm"));
        }
        record.error = reader.number_as("error", 6)?;
        record.text = reader.text("error text", 40)?.to_owned();
        reader.filled("test flag", '0', 1)?;
        record.fee_fen = reader.number("fee", 28)?;
        record.issuer_share_fen = reader.number("issuer share", 28)?;
        record.acquirer_share_fen = reader.number("acquirer share", 28)?;
        reader.filled("reserved", ' ', 28)?;
        (record.terminal, record.terminal_counter, record.tac) =
            check_data(reader.text("check data", CHECK_DATA)?)?;
        reader.finish()?;
        Ok(record)
    }
}

/// A terminal's row as its line.
pub fn row_line(terminal: TerminalNumber, row: &BatchRow) -> Result<String, FormatError> {
    TransactionRecord::of_row(terminal, row)?.encode()
}

/// SHA-256 over the lines of a terminal's rows, each with its line end: the digest of a batch.
pub fn rows_digest(terminal: TerminalNumber, rows: &[BatchRow]) -> Result<Sha256Digest, FormatError> {
    let mut text = String::new();
    for row in rows {
        text.push_str(&row_line(terminal, row)?);
        text.push('\n');
    }
    Ok(Sha256Digest::of(text.as_bytes()))
}
