//! The file of a day's cleared consumption (JT/T 978.4, CL): what an operator can compare its own records with.
//!
//! Text, one record a line. The standard prints the positions of the fields and not the widths of its reserved
//! part, so the record ends where the last named field ends; amounts are fen, filled with zeros on the left,
//! names are filled with blanks on the right. There is no TAC in it: the centre has verified it.

use std::fmt::Write as _;

use jiff::tz::Offset;
use sha2::{Digest as _, Sha256};

use super::{BusinessDay, Fee};
use crate::amount::Fen;
use crate::bytes::Sha256Digest;
use crate::id::{CardNumber, InstitutionId, TerminalNumber};
use crate::money::transaction::{TransactionKey, TransactionType};

/// The length of a record, without its end of line.
pub const RECORD_LENGTH: usize = 335;
/// At most so many records a file: its header counts them with six digits.
pub const MOST_RECORDS: u64 = 999_999;

/// A cleared transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClearedRecord {
    /// Its number in the file, from 1.
    pub number: u64,
    /// The day.
    pub day: BusinessDay,
    /// The operator.
    pub acquirer: InstitutionId,
    /// The issuer.
    pub issuer: InstitutionId,
    /// The card, its counter and the type.
    pub key: TransactionKey,
    /// The amount.
    pub amount: Fen,
    /// The balance before it, where the record tells it.
    pub balance_before: Option<Fen>,
    /// The terminal.
    pub terminal: TerminalNumber,
    /// When the terminal says it happened, to the second.
    pub at: jiff::Timestamp,
    /// The fee that it adds to the day's.
    pub fee: Fee,
}

/// Why a file is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    /// Too many records.
    #[error("a file has at most {MOST_RECORDS} records")]
    TooManyRecords,
    /// The header cannot be read.
    #[error("the header of the file cannot be read")]
    Header,
    /// A record cannot be read.
    #[error("record {0} of the file cannot be read")]
    Record(usize),
    /// The header promises another number of records.
    #[error("the file has {found} records and its header says {promised}")]
    Count {
        /// What the header says.
        promised: u64,
        /// How many there are.
        found: u64,
    },
}

/// The two lines before the records.
pub fn header(records: u64, day: BusinessDay, receiver: &InstitutionId) -> Result<String, FileError> {
    if records > MOST_RECORDS {
        return Err(FileError::TooManyRecords);
    }
    let (code, filler) = (code(receiver), "F".repeat(20));
    Ok(format!("01\n{records:06}{:08}{code}{RECORD_LENGTH:04}{filler}\n", day.number()))
}

/// The institution's eleven characters: its number, or where that is longer the beginning of its digest.
pub fn code(institution: &InstitutionId) -> String {
    let text = institution.as_str();
    if text.len() <= 11 {
        return format!("{text:<11}");
    }
    hex::encode_upper(Sha256::digest(text))[..11].to_owned()
}

impl ClearedRecord {
    /// Appends the record as a line.
    pub fn write(&self, out: &mut String) {
        // JT/T 978.4 CL, positions as in the standard's table, from 0.
        let acquirer = code(&self.acquirer);
        let number = self.number;
        let day = self.day.number();
        let kind = self.key.kind.to_byte();
        let before = self.balance_before.unwrap_or(Fen::ZERO).get();
        let time = Offset::constant(8).to_datetime(self.at).strftime("%Y%m%d%H%M%S");
        let (whole, issuer, share) = (self.fee.whole.get(), self.fee.issuer.get(), self.fee.acquirer.get());
        let start = out.len();
        // 0 centre's serial, 12 acquirer's serial, 24 its date, 32 retrieval reference, 44 type.
        let _ = write!(out, "{number:012}{number:012}{day:08}{:>12}{kind:04X}", self.terminal);
        // 48 clearing centre, 59 acquirer, 70 issuer, 81 acquirer's identification, 92 sender.
        let _ = write!(out, "{:<11}{acquirer}{}{acquirer}{acquirer}", "OPENTSM", code(&self.issuer));
        // 103 merchant category: passenger transport; 107 channel: offline terminal.
        out.push_str("411103");
        // 109 card, 129 its counter, 135 balance before, 147 amount, 159 time.
        let _ = write!(out, "{:<20}{:06}", self.key.card.as_str(), self.key.counter);
        let _ = write!(out, "{before:012}{:012}{time}", self.amount.get());
        // 173 purse: 0 the electronic purse; 174 algorithm; 176 error; 182 text; 222 test flag.
        let known = if self.balance_before.is_some() { "" } else { "BALANCE UNKNOWN" };
        let _ = write!(out, "000000000{known:<40}0");
        // 223 fee, 251 issuer's share, 279 acquirer's share, 307 reserved.
        let _ = writeln!(out, "{whole:028}{issuer:028}{share:028}{}", "F".repeat(28));
        debug_assert_eq!(out.len() - start, RECORD_LENGTH + 1);
    }

    /// Reads a line. Institutions come back as their eleven characters say.
    pub fn read(line: &str) -> Option<Self> {
        if line.len() != RECORD_LENGTH || !line.is_ascii() {
            return None;
        }
        let field = |from: usize, to: usize| line.get(from..to);
        let number =
            |from, to| field(from, to).filter(|text| is_digits(text)).and_then(|text| text.parse().ok());
        let fen = |from, to| number(from, to).map(Fen::new);
        let institution = |from, to| field(from, to)?.trim_end().parse().ok();
        let kind = u8::from_str_radix(field(44, 48)?.strip_prefix("00")?, 16).ok()?;
        let card: CardNumber = field(109, 128)?.parse().ok()?;
        let counter = u16::try_from(number(129, 135)?).ok()?;
        let key = TransactionKey { card, counter, kind: TransactionType::from_byte(kind)? };
        let local = jiff::civil::DateTime::strptime("%Y%m%d%H%M%S", field(159, 173)?).ok()?;
        let fee = Fee { whole: fen(223, 251)?, issuer: fen(251, 279)?, acquirer: fen(279, 307)? };
        let day = i64::try_from(number(24, 32)?).ok()?;
        let record = Self {
            number: number(0, 12)?,
            day: BusinessDay::from_number(day).ok()?,
            acquirer: institution(59, 70)?,
            issuer: institution(70, 81)?,
            key,
            amount: fen(147, 159)?,
            balance_before: if field(182, 222)?.trim_end().is_empty() { Some(fen(135, 147)?) } else { None },
            terminal: field(32, 44)?.parse().ok()?,
            at: Offset::constant(8).to_timestamp(local).ok()?,
            fee,
        };
        // What is not written as we write it is not taken for ours.
        let mut again = String::with_capacity(RECORD_LENGTH + 1);
        record.write(&mut again);
        (again.trim_end_matches('\n') == line).then_some(record)
    }
}

fn is_digits(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Reads a whole file: day, receiver's eleven characters, records.
pub fn read(text: &str) -> Result<(BusinessDay, String, Vec<ClearedRecord>), FileError> {
    let mut lines = text.split_terminator('\n');
    if lines.next() != Some("01") {
        return Err(FileError::Header);
    }
    let head = lines.next().filter(|head| head.len() == 49 && head.is_ascii()).ok_or(FileError::Header)?;
    let digits = |from, to| head.get(from..to).filter(|text| is_digits(text)).ok_or(FileError::Header);
    let promised: u64 = digits(0, 6)?.parse().map_err(|_| FileError::Header)?;
    let day = digits(6, 14)?.parse().map_err(|_| FileError::Header)?;
    let day = BusinessDay::from_number(day).map_err(|_| FileError::Header)?;
    if digits(25, 29)?.parse() != Ok(RECORD_LENGTH) || head[29..].bytes().any(|byte| byte != b'F') {
        return Err(FileError::Header);
    }
    let receiver = head[14..25].to_owned();
    let mut records = Vec::new();
    for (index, line) in lines.enumerate() {
        records.push(ClearedRecord::read(line).ok_or(FileError::Record(index + 1))?);
    }
    let found = records.len() as u64;
    if found == promised { Ok((day, receiver, records)) } else { Err(FileError::Count { promised, found }) }
}

/// The digest of a file, part by part.
#[derive(Debug, Clone, Default)]
pub struct FileDigest(Sha256);

impl FileDigest {
    /// Takes the next part of the text.
    pub fn add(&mut self, text: &str) {
        self.0.update(text);
    }

    /// The digest.
    pub fn finish(self) -> Sha256Digest {
        Sha256Digest(self.0.finalize().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(number: u64) -> ClearedRecord {
        ClearedRecord {
            number,
            day: "2026-11-20".parse().unwrap(),
            acquirer: "METRO".parse().unwrap(),
            issuer: "CITY".parse().unwrap(),
            key: TransactionKey {
                card: "3104999000000012345".parse().unwrap(),
                counter: 300 + number as u16,
                kind: TransactionType::CompositePurchase,
            },
            amount: Fen::new(350),
            balance_before: (number != 2).then_some(Fen::new(10_000)),
            terminal: "099900000042".parse().unwrap(),
            at: "2026-11-20T00:05:09Z".parse().unwrap(),
            fee: Fee { whole: Fen::new(2), issuer: Fen::new(1), acquirer: Fen::new(1) },
        }
    }

    fn file() -> String {
        let day = "2026-11-20".parse().unwrap();
        let mut text = header(2, day, &"METRO".parse().unwrap()).unwrap();
        record(1).write(&mut text);
        record(2).write(&mut text);
        text
    }

    /// JT/T 978.4, positions of the CL record.
    #[test]
    fn fields_stand_where_the_standard_puts_them() {
        let text = file();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], "01");
        assert_eq!(lines[1], "00000220261120METRO      0335FFFFFFFFFFFFFFFFFFFF");
        let line = lines[2];
        assert_eq!(line.len(), RECORD_LENGTH);
        for (from, to, expected) in [
            (0, 12, "000000000001"),
            (24, 32, "20261120"),
            (44, 48, "0009"),
            (59, 70, "METRO      "),
            (70, 81, "CITY       "),
            (109, 129, "3104999000000012345 "),
            (129, 135, "000301"),
            (135, 147, "000000010000"),
            (147, 159, "000000000350"),
            (159, 173, "20261120080509"),
            (222, 223, "0"),
            (223, 251, "0000000000000000000000000002"),
        ] {
            assert_eq!(&line[from..to], expected, "{from}");
        }
    }

    #[test]
    fn a_file_is_read_as_it_was_written_or_not_at_all() {
        let text = file();
        let (day, receiver, records) = read(&text).unwrap();
        assert_eq!((day, receiver.as_str()), ("2026-11-20".parse().unwrap(), "METRO      "));
        assert_eq!(records, [record(1), record(2)]);
        let cut = &text[..text.len() - RECORD_LENGTH - 1];
        assert_eq!(read(cut), Err(FileError::Count { promised: 2, found: 1 }));
        for length in 0..text.len() {
            assert!(read(&text[..length]).is_err() || length == text.len() - 1, "cut at {length}");
        }
        assert_eq!(header(1_000_000, day, &"METRO".parse().unwrap()), Err(FileError::TooManyRecords));
        let long = code(&"A-VERY-LONG-NUMBER".parse().unwrap());
        assert_eq!(long.len(), 11);
        assert_ne!(long, code(&"A-VERY-LONG-NUMBES".parse().unwrap()));
    }

    #[test]
    fn no_bytes_make_the_reader_panic() {
        bolero::check!().for_each(|bytes: &[u8]| {
            let text = String::from_utf8_lossy(bytes);
            let _ = read(&text);
            let _ = ClearedRecord::read(&text);
            let framed = format!("01\n00000120261120METRO      0335FFFFFFFFFFFFFFFFFFFF\n{text}");
            let _ = read(&framed);
        });
    }
}
