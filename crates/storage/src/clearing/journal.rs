//! The one way in which a step at the centre enters the journal: the store tells a [`Step`] what it changes
//! as it changes it, and the step becomes one entry for each card. So no change is without its entry, in
//! whichever file of whichever store it is made, and a step that is run again writes nothing again.
//!
//! What a caller says of the step ([`Note`]) stands in the same entry: who did it, in which word, and its
//! details under `said`.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};
use tsm_domain::CardNumber;
use tsm_domain::money::journal::{Change, JournalEvent, TransactionRecorded, TransferMade, VERSION};
use tsm_domain::money::settlement::Settlement;
use tsm_domain::money::{CardAccount, CardTransaction, Transfer};

use super::{AccountChange, AccountRow};
use crate::error::{Result, StorageError};
use crate::shared::{ChainKey, Entry, Note};

/// The actor of an entry whose caller gave none.
const CENTRE: &str = "centre";

/// What one step changes, card by card.
#[derive(Debug, Default)]
pub(crate) struct Step {
    chains: BTreeMap<ChainKey, Changes>,
}

#[derive(Debug, Default)]
struct Changes {
    made: Vec<Change>,
    /// A date for an entry whose caller gave none.
    at: Option<jiff::Timestamp>,
}

impl Step {
    /// The account was opened.
    pub(crate) fn opened(card: CardNumber, se: tsm_domain::SeId, at: jiff::Timestamp) -> Self {
        let mut step = Self::default();
        step.push(ChainKey::Card(card), at, Some(Change::Opened { se, at }));
        step
    }

    /// The account is changed, step by step; an event that led to the present state changes nothing. Gives
    /// the account after it.
    pub(crate) fn account(row: &AccountRow, changes: &[AccountChange]) -> Result<(Self, CardAccount)> {
        let mut step = Self::default();
        step.push(ChainKey::Card(row.card), row.opened_at, None);
        let mut account = row.account.clone();
        for change in changes {
            let after = change.of(account.clone())?;
            if after != account {
                let told = match change {
                    AccountChange::Event(event) => Change::Moved(*event),
                    AccountChange::Frozen(reason) => Change::Frozen { reason: reason.clone() },
                    AccountChange::Released => Change::Released,
                };
                step.push(ChainKey::Card(row.card), row.opened_at, Some(told));
            }
            account = after;
        }
        Ok((step, account))
    }

    /// A transaction was recorded.
    pub(crate) fn recorded(transaction: &CardTransaction) -> Self {
        let mut step = Self::default();
        let made = Change::Recorded(TransactionRecorded::of(transaction));
        step.push(ChainKey::Card(transaction.key.card), transaction.at, Some(made));
        step
    }

    /// The card was put on a list that terminals get, or taken off it.
    pub(crate) fn listed(&mut self, edit: &super::lists::ListEdit, at: jiff::Timestamp) {
        for change in edit.journalled() {
            self.push(ChainKey::Card(edit.change.card), at, Some(change));
        }
    }

    /// A transfer was asked for; it was made unless it had been made before.
    pub(crate) fn transferred(&mut self, asked: &Transfer, made: Option<&Transfer>) {
        let card = asked.debit.card().or(asked.credit.card());
        let chain = card.map_or_else(|| ChainKey::day_of(asked.at), ChainKey::Card);
        self.push(chain, asked.at, made.map(|made| Change::Transferred(TransferMade::of(made))));
    }

    /// A settlement, in the chain of its day.
    pub(crate) fn settled(settlement: &Settlement) -> Self {
        let mut step = Self::default();
        let (day, at) = (settlement.day.date(), settlement.day.cut());
        step.push(ChainKey::Day(day), at, Some(Change::Settled(settlement.clone())));
        step
    }

    fn push(&mut self, chain: ChainKey, at: jiff::Timestamp, change: Option<Change>) {
        let changes = self.chains.entry(chain).or_default();
        changes.at = changes.at.max(Some(at));
        changes.made.extend(change);
    }

    /// The notes of the step: those of its caller, of which the first about a card carries that card's
    /// changes. Where all had been done before, a caller's notes about the card tell nothing new.
    pub(crate) fn notes(mut self, said: Vec<Note>) -> Result<Vec<Note>> {
        let mut notes = Vec::with_capacity(said.len());
        let mut repeated = BTreeSet::new();
        for note in said {
            if !note.chain.is_of_the_books() {
                notes.push(note);
                continue;
            }
            match self.chains.remove(&note.chain) {
                Some(Changes { made, .. }) if made.is_empty() => {
                    repeated.insert(note.chain);
                }
                Some(Changes { made, .. }) => notes.push(entry(note, made)?),
                None if repeated.contains(&note.chain) => {}
                None => notes.push(entry(note, Vec::new())?),
            }
        }
        for (chain, changes) in self.chains {
            let (Some(first), Some(at)) = (changes.made.first(), changes.at) else { continue };
            let (actor, event) = (CENTRE.to_owned(), first.word().to_owned());
            let bare = Note { chain, at, actor, event, detail: String::new() };
            notes.push(entry(bare, changes.made)?);
        }
        Ok(notes)
    }
}

/// A caller's note with the step's changes in it. Changes that the caller gives itself (a list, a settlement)
/// come first.
fn entry(note: Note, changes: Vec<Change>) -> Result<Note> {
    let corrupt = |error| StorageError::corrupt("journal entry", error);
    let mut detail = Map::new();
    let said = if note.detail.is_empty() {
        Value::Null
    } else {
        serde_json::from_str(&note.detail).map_err(corrupt)?
    };
    let mut all = match said.get("changes") {
        Some(_) => serde_json::from_value::<JournalEvent>(said.clone()).map_err(corrupt)?.changes,
        None => Vec::new(),
    };
    all.extend(changes);
    detail.insert("v".into(), json!(VERSION));
    if !all.is_empty() {
        detail.insert("changes".into(), serde_json::to_value(all).map_err(corrupt)?);
    }
    let said = match said {
        Value::Object(mut fields) if fields.contains_key("changes") => {
            fields.remove("said").unwrap_or_default()
        }
        other => other,
    };
    let is_empty = said.is_null() || said.as_object().is_some_and(Map::is_empty);
    if !is_empty {
        detail.insert("said".into(), said);
    }
    Ok(Note { detail: Value::Object(detail).to_string(), ..note })
}

/// The event that an entry of a card's journal carries.
pub fn event_of(entry: &Entry) -> Result<JournalEvent> {
    let reading = |error| StorageError::corrupt("journal entry", error);
    serde_json::from_str(&entry.note.detail).map_err(reading)
}

#[cfg(test)]
mod tests {
    use tsm_domain::money::TransferCode;
    use tsm_domain::{Fen, TransferId};

    use super::*;

    fn card() -> CardNumber {
        CardNumber::compose("31049900", 1).unwrap()
    }

    fn said(event: &str, detail: &str) -> Note {
        let chain = ChainKey::Card(card());
        Note {
            chain,
            at: jiff::Timestamp::UNIX_EPOCH,
            actor: "sp-tsm".into(),
            event: event.into(),
            detail: detail.into(),
        }
    }

    fn paid() -> Transfer {
        let id = TransferId::from_uuid(uuid::Uuid::from_u128(7));
        TransferCode::PaymentConfirmed.transfer(id, card(), Fen::new(5), jiff::Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn the_first_note_about_a_card_carries_its_changes() {
        let mut step = Step::default();
        step.transferred(&paid(), Some(&paid()));
        let notes = step.notes(vec![said("paid", r#"{"order":1}"#), said("also", "{}")]).unwrap();
        let expected = concat!(
            r#"{"changes":[{"transferred":{"amount":5,"at":"1970-01-01T00:00:00Z","code":"PaymentConfirmed","#,
            r#""id":"00000000-0000-0000-0000-000000000007","kind":"Single"}}],"said":{"order":1},"v":1}"#
        );
        assert_eq!(notes[0].detail, expected);
        assert_eq!((notes[1].event.as_str(), notes[1].detail.as_str()), ("also", r#"{"v":1}"#));
        assert!(!notes[0].detail.contains(card().as_str()), "no card number in the detail");
    }

    #[test]
    fn a_change_that_nobody_spoke_of_has_its_entry() {
        let mut step = Step::default();
        step.transferred(&paid(), Some(&paid()));
        let notes = step.notes(Vec::new()).unwrap();
        assert_eq!((notes[0].event.as_str(), notes[0].actor.as_str()), ("transferred", CENTRE));
    }

    #[test]
    fn what_was_done_before_is_not_told_again() {
        let mut step = Step::default();
        step.transferred(&paid(), None);
        assert_eq!(step.notes(vec![said("paid", "{}")]).unwrap(), []);
        let remark = Step::default().notes(vec![said("remark", "{}")]).unwrap();
        assert_eq!(remark.len(), 1, "a remark without a change stands for itself");
    }
}
