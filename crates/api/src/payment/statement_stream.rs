//! A statement's text in pieces, written and read in bounded memory. The digest, which the platform signs,
//! covers the whole text, and a piece may end anywhere.
//!
//! What a reader gives out before the end is believed by nobody until [`Reader::finish`] has given the digest
//! and the signature over it has been checked.

use std::collections::BTreeSet;

use jiff::Timestamp;
use jiff::civil::Date;
use sha2::{Digest as _, Sha256};
use tsm_domain::money::{StatementKind, StatementLine, StatementTotals};

use super::statement::{HEADER, SUMMARY_HEADER, StatementError, read_line, written_line, written_summary};

/// Longer than any line of a statement: what has no end of line until here is none.
const LONGEST_LINE: usize = 1_024;

/// The text of a statement as it is made.
#[derive(Debug, Clone, Default)]
pub struct Writer {
    hash: Sha256,
    totals: StatementTotals,
}

impl Writer {
    /// The first line.
    pub fn head(&mut self) -> String {
        let text = format!("{HEADER}\n");
        self.hash.update(&text);
        text
    }

    /// More lines, in order of time.
    pub fn lines(&mut self, merchant: &str, lines: &[StatementLine]) -> Result<String, StatementError> {
        let mut text = String::new();
        for line in lines {
            self.totals.add(line).map_err(|_| StatementError::Totals)?;
            text.push_str(&written_line(merchant, line));
        }
        self.hash.update(&text);
        Ok(text)
    }

    /// The summary, and the digest of all of the text.
    pub fn finish(mut self) -> (String, [u8; 32]) {
        let text = written_summary(&self.totals);
        self.hash.update(&text);
        (text, self.hash.finalize().into())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expected {
    Header,
    Line,
    Summary,
    Nothing,
}

/// A statement as it is read.
#[derive(Debug)]
pub struct Reader {
    merchant: String,
    day: Date,
    hash: Sha256,
    totals: StatementTotals,
    /// The beginning of a line whose end has not come.
    rest: String,
    line: usize,
    expected: Expected,
    last_at: Option<Timestamp>,
    /// What stands there with the time of the last line: the same again would stand next to it.
    with_last: BTreeSet<String>,
}

impl Reader {
    /// Reads the statement of a merchant's day.
    pub fn new(merchant: &str, day: Date) -> Self {
        Self {
            merchant: merchant.to_owned(),
            day,
            hash: Sha256::new(),
            totals: StatementTotals::default(),
            rest: String::new(),
            line: 0,
            expected: Expected::Header,
            last_at: None,
            with_last: BTreeSet::new(),
        }
    }

    /// Takes the next piece, and gives the lines that are whole with it.
    pub fn push(&mut self, piece: &str) -> Result<Vec<StatementLine>, StatementError> {
        self.hash.update(piece);
        self.rest.push_str(piece);
        let text = std::mem::take(&mut self.rest);
        let mut lines = Vec::new();
        let mut from = 0;
        while let Some(length) = text[from..].find('\n') {
            lines.extend(self.read(&text[from..from + length])?);
            from += length + 1;
        }
        text[from..].clone_into(&mut self.rest);
        if self.rest.len() > LONGEST_LINE {
            return Err(StatementError::Line { line: self.line + 1, what: "it is too long" });
        }
        Ok(lines)
    }

    /// The end of the text: its digest, and what its lines add up to.
    pub fn finish(self) -> Result<([u8; 32], StatementTotals), StatementError> {
        match self.expected {
            Expected::Nothing if self.rest.is_empty() => Ok((self.hash.finalize().into(), self.totals)),
            Expected::Nothing => Err(StatementError::Form),
            Expected::Header => Err(StatementError::Header { line: 1, expected: HEADER }),
            Expected::Line => Err(StatementError::Header { line: self.line + 1, expected: SUMMARY_HEADER }),
            Expected::Summary => Err(StatementError::Totals),
        }
    }

    fn read(&mut self, text: &str) -> Result<Option<StatementLine>, StatementError> {
        self.line += 1;
        match self.expected {
            Expected::Header if text == HEADER => self.expected = Expected::Line,
            Expected::Header => return Err(StatementError::Header { line: 1, expected: HEADER }),
            Expected::Line if text == SUMMARY_HEADER => self.expected = Expected::Summary,
            Expected::Line => return self.read_line(text).map(Some),
            Expected::Summary if written_summary(&self.totals).lines().nth(1) == Some(text) => {
                self.expected = Expected::Nothing;
            }
            Expected::Summary => return Err(StatementError::Totals),
            Expected::Nothing => return Err(StatementError::Form),
        }
        Ok(None)
    }

    fn read_line(&mut self, text: &str) -> Result<StatementLine, StatementError> {
        let wrong = |what| StatementError::Line { line: self.line, what };
        let line = read_line(&self.merchant, self.day, text).map_err(wrong)?;
        if written_line(&self.merchant, &line).strip_suffix('\n') != Some(text) {
            return Err(StatementError::Form);
        }
        match self.last_at {
            Some(last) if last > line.at => return Err(wrong("it is older than the line before")),
            Some(last) if last == line.at => {}
            Some(_) | None => self.with_last.clear(),
        }
        self.last_at = Some(line.at);
        let what = match line.kind {
            StatementKind::Paid => line.payment.to_string(),
            StatementKind::Refunded { refund } => refund.to_string(),
        };
        if !self.with_last.insert(what) {
            return Err(StatementError::Line { line: self.line, what: "it stands there twice" });
        }
        self.totals.add(&line).map_err(|_| StatementError::Totals)?;
        Ok(line)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tsm_domain::money::Statement;
    use tsm_domain::{Fen, OrderId, TransferId};
    use uuid::Uuid;

    use super::super::statement;
    use super::*;

    const DAY: &str = "2026-11-21";

    fn day() -> Date {
        DAY.parse().unwrap()
    }

    fn sample(lines: usize) -> Statement {
        let line = |number: usize| {
            let order = Uuid::from_u128(number as u128);
            let refund = TransferId::from_uuid(Uuid::from_u128(1_000 + number as u128));
            let second = jiff::SignedDuration::from_secs(number as i64 / 2);
            StatementLine {
                order: OrderId::from_uuid(order),
                payment: order.to_string().parse().unwrap(),
                kind: if number % 3 == 2 { StatementKind::Refunded { refund } } else { StatementKind::Paid },
                amount: Fen::new(100 + number as u64),
                at: "2026-11-21T01:30:00Z".parse::<Timestamp>().unwrap() + second,
            }
        };
        Statement { merchant: "CITY".into(), day: day(), lines: (0..lines).map(line).collect() }
    }

    fn read_in(text: &str, piece: usize) -> Result<(Vec<StatementLine>, [u8; 32]), StatementError> {
        let mut reader = Reader::new("CITY", day());
        let mut lines = Vec::new();
        let mut from = 0;
        while from < text.len() {
            let mut to = (from + piece).min(text.len());
            while !text.is_char_boundary(to) {
                to += 1;
            }
            lines.extend(reader.push(&text[from..to])?);
            from = to;
        }
        Ok((lines, reader.finish()?.0))
    }

    proptest! {
        /// Whatever the pieces, the lines and the digest are those of the whole text.
        #[test]
        fn pieces_are_the_whole(lines in 0_usize..20, piece in 1_usize..400) {
            let statement = sample(lines);
            let text = statement::write(&statement).unwrap();
            let (read, digest) = read_in(&text, piece).unwrap();
            prop_assert_eq!(&read, &statement.lines);
            prop_assert_eq!(digest, statement::digest(&text));
            let mut writer = Writer::default();
            let mut made = writer.head();
            for chunk in statement.lines.chunks(piece) {
                made.push_str(&writer.lines("CITY", chunk).unwrap());
            }
            let (end, digest) = writer.finish();
            made.push_str(&end);
            prop_assert_eq!(digest, statement::digest(&made));
            prop_assert_eq!(made, text);
        }
    }

    /// A line that is missing, doubled, moved or cut off is found, whichever it is.
    #[test]
    fn what_is_not_the_statement_is_found() {
        let text = statement::write(&sample(6)).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        let joined = |lines: &[&str]| lines.iter().map(|line| format!("{line}\n")).collect::<String>();
        for index in 0..lines.len() {
            let mut without = lines.clone();
            without.remove(index);
            assert!(read_in(&joined(&without), 50).is_err(), "without line {index}");
            let mut doubled = lines.clone();
            doubled.insert(index, lines[index]);
            assert!(read_in(&joined(&doubled), 50).is_err(), "line {index} twice");
            assert!(read_in(&joined(&lines[..index]), 50).is_err(), "cut off before line {index}");
        }
        for altered in [
            text.replace(",100,", ",101,"),
            text.replace(",100,", ",0100,"),
            text.replace('\n', "\r\n"),
            format!("{text}\n"),
            text.trim_end().to_owned(),
        ] {
            assert!(read_in(&altered, 50).is_err(), "{altered}");
        }
        assert!(matches!(
            Reader::new("CITY", day()).push(&"x".repeat(5_000)),
            Err(StatementError::Line { what: "it is too long", .. })
        ));
    }

    /// Whatever comes, nothing panics, and what is taken is written the same.
    #[test]
    fn fuzz_pieces() {
        let good = statement::write(&sample(4)).unwrap();
        bolero::check!().with_type::<(u16, u8, Vec<u8>)>().for_each(|(at, cut, bytes)| {
            let mut text = good.clone().into_bytes();
            let from = usize::from(*at) % (text.len() + 1);
            let to = (from + usize::from(*cut)).min(text.len());
            text.splice(from..to, bytes.iter().copied());
            let text = String::from_utf8_lossy(&text);
            if let Ok((lines, _)) = read_in(&text, 1 + usize::from(*cut)) {
                let statement = Statement { merchant: "CITY".into(), day: day(), lines };
                assert_eq!(statement::write(&statement).as_deref(), Ok(&*text));
            }
        });
    }
}
