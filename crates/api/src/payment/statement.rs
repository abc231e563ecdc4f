//! The text of a statement, as the large wallets' bills have it: a header, a line for each payment and each
//! refund, a second header, the totals.
//!
//! ```text
//! time,merchant,order,payment,kind,amount_fen,refund
//! 2026-11-21T01:30:00Z,CITY,8f…,8f…,paid,5000,
//! 2026-11-21T02:00:00Z,CITY,8f…,8f…,refunded,1200,c1…
//! payments,paid_fen,refunds,refunded_fen
//! 1,5000,1,1200
//! ```
//!
//! Reading is strict: one text stands for one statement, so what is missing, doubled or altered shows
//! in the totals or in the form, and all of it in the digest that the platform signs.

use jiff::Timestamp;
use jiff::civil::Date;
use sha2::{Digest as _, Sha256};
use tsm_domain::money::statement::{bounds_of_day, day_of};
use tsm_domain::money::{Statement, StatementKind, StatementLine, StatementTotals};
use tsm_domain::{Fen, TransferId};

pub(super) const HEADER: &str = "time,merchant,order,payment,kind,amount_fen,refund";
pub(super) const SUMMARY_HEADER: &str = "payments,paid_fen,refunds,refunded_fen";

/// Why a text is not a statement.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StatementError {
    /// A header is not there.
    #[error("line {line} of the statement is not the header {expected:?}")]
    Header {
        /// The line, from 1.
        line: usize,
        /// What must stand there.
        expected: &'static str,
    },
    /// A line cannot be read.
    #[error("line {line} of the statement cannot be read: {what}")]
    Line {
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The lines do not add up to the summary.
    #[error("the lines of the statement do not add up to its summary")]
    Totals,
    /// The text has more or other characters than the statement that it stands for.
    #[error("the statement is not written as a statement is")]
    Form,
}

/// Writes the text.
pub fn write(statement: &Statement) -> Result<String, StatementError> {
    let totals = statement.totals().map_err(|_| StatementError::Totals)?;
    let mut text = format!("{HEADER}\n");
    for line in &statement.lines {
        text.push_str(&written_line(&statement.merchant, line));
    }
    text.push_str(&written_summary(&totals));
    Ok(text)
}

pub(super) fn written_line(merchant: &str, line: &StatementLine) -> String {
    let StatementLine { order, payment, kind, amount, at } = line;
    let (word, refund) = match kind {
        StatementKind::Paid => ("paid", String::new()),
        StatementKind::Refunded { refund } => ("refunded", refund.to_string()),
    };
    format!("{at},{merchant},{order},{payment},{word},{},{refund}\n", amount.get())
}

pub(super) fn written_summary(totals: &StatementTotals) -> String {
    let (paid, refunded) = (totals.paid.get(), totals.refunded.get());
    format!("{SUMMARY_HEADER}\n{},{paid},{},{refunded}\n", totals.payments, totals.refunds)
}

/// Reads the text of one merchant's day.
pub fn read(merchant: &str, day: Date, text: &str) -> Result<Statement, StatementError> {
    let mut lines = text.lines().enumerate();
    let header = lines.next().map(|(_, line)| line);
    if header != Some(HEADER) {
        return Err(StatementError::Header { line: 1, expected: HEADER });
    }
    let mut statement = Statement { merchant: merchant.to_owned(), day, lines: Vec::new() };
    let mut refunds = std::collections::BTreeSet::new();
    let mut payments = std::collections::BTreeSet::new();
    loop {
        let at_end = StatementError::Header { line: statement.lines.len() + 2, expected: SUMMARY_HEADER };
        let Some((index, text)) = lines.next() else { return Err(at_end) };
        if text == SUMMARY_HEADER {
            break;
        }
        let wrong = |what| StatementError::Line { line: index + 1, what };
        let line = read_line(merchant, day, text).map_err(wrong)?;
        if statement.lines.last().is_some_and(|last| last.at > line.at) {
            return Err(wrong("it is older than the line before"));
        }
        let is_new = match line.kind {
            StatementKind::Paid => payments.insert(line.payment.clone()),
            StatementKind::Refunded { refund } => refunds.insert(refund),
        };
        if !is_new {
            return Err(wrong("it stands there twice"));
        }
        statement.lines.push(line);
    }
    // The totals, and every character, are those of the statement that was read.
    let written = write(&statement)?;
    if written == text {
        return Ok(statement);
    }
    let body = written.rfind(SUMMARY_HEADER).unwrap_or(0);
    let same_lines = text.get(..body) == Some(&written[..body]);
    Err(if same_lines { StatementError::Totals } else { StatementError::Form })
}

pub(super) fn read_line(merchant: &str, day: Date, text: &str) -> Result<StatementLine, &'static str> {
    let fields: Vec<&str> = text.split(',').collect();
    let [at, of, order, payment, kind, amount, refund] = fields[..] else {
        return Err("it does not have seven fields");
    };
    let at: Timestamp = at.parse().map_err(|_| "the time cannot be read")?;
    if bounds_of_day(day).is_none() || day_of(at) != day {
        return Err("it is of another day");
    }
    if of != merchant {
        return Err("it is of another merchant");
    }
    let amount: u64 = amount.parse().map_err(|_| "the amount cannot be read")?;
    if amount == 0 {
        return Err("it moves no money");
    }
    let kind = match (kind, refund) {
        ("paid", "") => StatementKind::Paid,
        ("refunded", refund) => {
            let refund: TransferId = refund.parse().map_err(|_| "the refund's number cannot be read")?;
            StatementKind::Refunded { refund }
        }
        _ => return Err("it is neither a payment nor a refund"),
    };
    Ok(StatementLine {
        order: order.parse().map_err(|_| "the order's number cannot be read")?,
        payment: payment.parse().map_err(|_| "the payment's reference cannot be read")?,
        kind,
        amount: Fen::new(amount),
        at,
    })
}

/// The digest of a text.
pub fn digest(text: &str) -> [u8; 32] {
    Sha256::digest(text).into()
}

/// What the platform signs of a statement.
pub fn signed_bytes(merchant: &str, day: Date, sha256: &[u8]) -> Vec<u8> {
    format!("OPENTSM-STATEMENT-1\n{merchant}\n{day}\n{}\n", hex::encode(sha256)).into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use uuid::Uuid;

    const DAY: &str = "2026-11-21";

    fn day() -> Date {
        DAY.parse().unwrap()
    }

    fn line(number: u128, kind: StatementKind, fen: u64, at: &str) -> StatementLine {
        let order = Uuid::from_u128(number);
        StatementLine {
            order: tsm_domain::OrderId::from_uuid(order),
            payment: order.to_string().parse().unwrap(),
            kind,
            amount: Fen::new(fen),
            at: at.parse().unwrap(),
        }
    }

    fn sample() -> Statement {
        let refund = TransferId::from_uuid(Uuid::from_u128(77));
        let lines = vec![
            line(1, StatementKind::Paid, 5000, "2026-11-21T01:30:00Z"),
            line(2, StatementKind::Paid, 700, "2026-11-21T01:30:00.5Z"),
            line(1, StatementKind::Refunded { refund }, 1200, "2026-11-21T02:00:00Z"),
        ];
        Statement { merchant: "CITY".into(), day: day(), lines }
    }

    #[test]
    fn the_text_is_what_it_is_said_to_be() {
        let text = write(&sample()).unwrap();
        let first = "00000000-0000-0000-0000-000000000001";
        let expected = format!(
            "time,merchant,order,payment,kind,amount_fen,refund\n\
             2026-11-21T01:30:00Z,CITY,{first},{first},paid,5000,\n"
        );
        assert!(text.starts_with(&expected), "{text}");
        assert!(text.ends_with("payments,paid_fen,refunds,refunded_fen\n2,5700,1,1200\n"), "{text}");
        assert_eq!(read("CITY", day(), &text), Ok(sample()));
    }

    /// A line that is missing, doubled, put in, moved or altered is found, whichever it is.
    #[test]
    fn a_line_that_is_missing_extra_or_altered_is_found() {
        let text = write(&sample()).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        let joined = |lines: &[&str]| lines.iter().map(|line| format!("{line}\n")).collect::<String>();
        for index in 0..lines.len() {
            let mut without = lines.clone();
            without.remove(index);
            assert!(read("CITY", day(), &joined(&without)).is_err(), "without line {index}");
            let mut doubled = lines.clone();
            doubled.insert(index, lines[index]);
            assert!(read("CITY", day(), &joined(&doubled)).is_err(), "line {index} twice");
        }
        let mut swapped = lines.clone();
        swapped.swap(1, 3);
        assert!(read("CITY", day(), &joined(&swapped)).is_err(), "in another order");
        let altered = text.replace("CITY,00000000-0000-0000-0000-000000000002", "CITY,x");
        assert!(matches!(read("CITY", day(), &altered), Err(StatementError::Line { line: 3, .. })));
        assert_eq!(read("CITY", day(), &text.replace(",5000,", ",4000,")), Err(StatementError::Totals));
        assert_eq!(read("CITY", day(), &text.replace(",5000,", ",05000,")), Err(StatementError::Form));
        assert!(read("OTHER", day(), &text).is_err(), "of another merchant");
        assert!(read("CITY", day().tomorrow().unwrap(), &text).is_err(), "of another day");
        assert!(read("CITY", day(), &format!("{text}\n")).is_err(), "something behind the summary");
        assert!(read("CITY", day(), text.trim_end()).is_err(), "the last end of line is missing");
        assert!(read("CITY", day(), &text.replace('\n', "\r\n")).is_err(), "other ends of line");
        assert!(read("CITY", day(), "").is_err());
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(amounts in prop::collection::vec((1u64..1 << 40, any::<bool>()), 0..20)) {
            let lines = amounts.into_iter().enumerate().map(|(index, (fen, is_refund))| {
                let refund = TransferId::from_uuid(Uuid::from_u128(1000 + index as u128));
                let kind =
                    if is_refund { StatementKind::Refunded { refund } } else { StatementKind::Paid };
                line(index as u128, kind, fen, "2026-11-21T01:30:00Z")
            });
            let statement = Statement { merchant: "CITY".into(), day: day(), lines: lines.collect() };
            let text = write(&statement).unwrap();
            prop_assert_eq!(read("CITY", day(), &text), Ok(statement));
        }
    }

    /// Whatever comes, nothing panics, and what is taken is written the same.
    #[test]
    fn fuzz_statements() {
        let good = write(&sample()).unwrap();
        bolero::check!().with_type::<(u16, u8, Vec<u8>)>().for_each(|(at, cut, bytes)| {
            let mut text = good.clone().into_bytes();
            let from = usize::from(*at) % (text.len() + 1);
            let to = (from + usize::from(*cut)).min(text.len());
            text.splice(from..to, bytes.iter().copied());
            for text in [String::from_utf8_lossy(&text), String::from_utf8_lossy(bytes)] {
                if let Ok(statement) = read("CITY", day(), &text) {
                    assert_eq!(write(&statement).as_deref(), Ok(&*text));
                }
            }
        });
    }
}
