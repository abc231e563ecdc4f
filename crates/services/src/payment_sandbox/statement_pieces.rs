//! The statement of a day in pieces, so that neither side holds a large day at once. A piece is some time of the
//! day; the last one carries the digest and the signature of the whole text.
//!
//! What the text before a piece comes to (its digest so far, its totals) is remembered, and made again from
//! the store when it is not: after a restart, or for whoever begins in the middle.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};
use tsm_api::payment::statement_stream::Writer;
use tsm_api::payment::{StatementPiece, StatementPieceQuery};
use tsm_api::problem::{Problem, ProblemCode, both};
use tsm_domain::money::StatementLine;
use tsm_domain::money::statement::bounds_of_day;

use super::PaymentSandbox;
use super::access::Caller;
use crate::server::Call;

/// A piece ends when it has so many lines, or a few more.
const LINES: usize = 4_096;
/// So much of a day is read at once, and less when it has too many lines.
const WINDOW: SignedDuration = SignedDuration::from_mins(5);
/// Less than this is never read at once.
const SMALLEST: SignedDuration = SignedDuration::from_millis(100);
/// Statements that are remembered while they are fetched.
const REMEMBERED: usize = 64;

type Key = (String, Date, Timestamp);

/// What the text before a piece comes to, by merchant, day and where the piece begins.
#[derive(Default)]
pub(super) struct Begun(Mutex<BTreeMap<Key, Writer>>);

/// Gives a piece.
pub(super) async fn statement_piece(
    sandbox: Arc<PaymentSandbox>,
    call: Call<Caller, StatementPieceQuery>,
) -> Result<StatementPiece, Problem> {
    let merchant = call.caller.merchant()?;
    let StatementPieceQuery { day, from } = call.request;
    let (begin, end) = bounds_of_day(day).ok_or(ProblemCode::ValueRefused)?;
    if sandbox.now() < end {
        return Err(Problem::because(
            ProblemCode::StateForbids,
            both("The day is not over.", "该日尚未结束。"),
        ));
    }
    let (from, mut text, mut writer) = match from {
        None => {
            let mut writer = Writer::default();
            (begin, writer.head(), writer)
        }
        Some(from) if (begin..end).contains(&from) => {
            (from, String::new(), sandbox.before(&merchant, day, from).await?)
        }
        Some(_) => return Err(Problem::because(ProblemCode::ValueRefused, "No piece begins there.")),
    };
    let (lines, next) = sandbox.piece(&merchant, from, end).await?;
    text.push_str(&writer.lines(&merchant, &lines).map_err(|_| ProblemCode::Internal)?);
    let seal = match next {
        Some(next) => {
            sandbox.pieces.remember((merchant.clone(), day, next), writer);
            None
        }
        None => {
            let (summary, digest) = writer.finish();
            text.push_str(&summary);
            Some(sandbox.seal(&merchant, day, digest)?)
        }
    };
    Ok(StatementPiece { merchant, day, text, next, seal })
}

impl PaymentSandbox {
    /// The lines from `from` on, as many as a piece has, and where the next piece begins.
    async fn piece(
        &self,
        merchant: &str,
        mut from: Timestamp,
        end: Timestamp,
    ) -> Result<(Vec<StatementLine>, Option<Timestamp>), Problem> {
        let mut lines = Vec::new();
        let mut window = WINDOW;
        while from < end && lines.len() < LINES {
            let to = from.saturating_add(window).map_or(end, |to| to.min(end));
            let more = self.lines_between(merchant, from, to).await?;
            if more.len() > 2 * LINES && window > SMALLEST {
                window /= 2;
                continue;
            }
            lines.extend(more);
            from = to;
        }
        Ok((lines, (from < end).then_some(from)))
    }

    /// What the text before `until` comes to.
    async fn before(&self, merchant: &str, day: Date, until: Timestamp) -> Result<Writer, Problem> {
        if let Some(known) = self.pieces.known(&(merchant.to_owned(), day, until)) {
            return Ok(known);
        }
        let (mut from, _) = bounds_of_day(day).ok_or(ProblemCode::ValueRefused)?;
        let mut writer = Writer::default();
        writer.head();
        while from < until {
            let (lines, next) = self.piece(merchant, from, until).await?;
            writer.lines(merchant, &lines).map_err(|_| ProblemCode::Internal)?;
            from = next.unwrap_or(until);
        }
        Ok(writer)
    }
}

impl Begun {
    fn known(&self, key: &Key) -> Option<Writer> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }

    fn remember(&self, key: Key, writer: Writer) {
        let mut begun = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if begun.len() >= REMEMBERED && !begun.contains_key(&key) {
            begun.pop_first();
        }
        begun.insert(key, writer);
    }
}
