//! What a chunk of rows adds up to while it is taken: the same for every store.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;
use tsm_domain::money::journal::{Change, TransactionRecorded};
use tsm_domain::money::{Arrival, CardTransaction, Doubt, Numbering, Transfer, TransferRefusal};
use tsm_domain::{AsideId, CardNumber};

use super::{AsideReason, AsideRow, Counted, DoubtRow, Judged, RowOutcome, RowStep, TakeStep};
use crate::clearing::{Books, Recorded};
use crate::error::{Result, StorageError};
use crate::shared::{ChainKey, Note};

/// What a chunk adds up to while its rows are taken.
#[derive(Debug, Default)]
pub(crate) struct Taking {
    /// The sequences that the rows are in, as they were read and as they become.
    pub(crate) numberings: BTreeMap<Counted, Numbering>,
    changed: BTreeSet<Counted>,
    /// Rows to keep aside, unless they are kept already.
    pub(crate) aside: Vec<(AsideRow, Option<Note>)>,
    /// Rows that were taken, which may have been kept aside before.
    pub(crate) healed: Vec<(AsideId, jiff::Timestamp)>,
    /// Cards to examine.
    pub(crate) doubts: Vec<DoubtRow>,
    /// What became of each row.
    pub(crate) outcomes: Vec<RowOutcome>,
}

/// How the recording of a purchase ended.
#[derive(Debug)]
pub(crate) enum Purchased {
    /// It was recorded, or had been; the purse of the books now holds this much.
    Recorded(Recorded, tsm_domain::Fen),
    /// The ledger refused its transfer.
    Refused(TransferRefusal),
}

impl Purchased {
    /// What a refusal of the ledger means; every other failure ends the step.
    pub(crate) fn of(recorded: Result<Recorded>) -> Result<std::result::Result<Recorded, TransferRefusal>> {
        match recorded {
            Ok(recorded) => Ok(Ok(recorded)),
            Err(StorageError::Transfer(
                refusal
                @ (TransferRefusal::ExistsWithDifferences(_) | TransferRefusal::ExceedsBalance { .. }),
            )) => Ok(Err(refusal)),
            Err(error) => Err(error),
        }
    }
}

impl Taking {
    /// The sequences that the rows of a step are in.
    pub(crate) fn counted(step: &TakeStep) -> BTreeSet<Counted> {
        let mut all = BTreeSet::new();
        for row in &step.rows {
            if let (Some(terminal), Some(_)) = (row.reported.terminal, row.number) {
                all.insert(Counted::Terminal(terminal));
            }
            if let Judged::Purchase { transaction, .. } = &row.judged {
                all.insert(Counted::Card(transaction.key.card));
            }
        }
        all
    }

    /// The sequences that changed.
    pub(crate) fn changed(&self) -> impl Iterator<Item = (Counted, &Numbering)> {
        self.changed.iter().filter_map(|counted| Some((*counted, self.numberings.get(counted)?)))
    }

    /// A row came, whatever it is worth.
    pub(crate) fn came(&mut self, row: &RowStep) {
        if let (Some(terminal), Some(number)) = (row.reported.terminal, row.number) {
            self.count(Counted::Terminal(terminal), number, row.reported.at);
        }
    }

    fn count(&mut self, counted: Counted, number: u64, at: jiff::Timestamp) -> Arrival {
        self.changed.insert(counted);
        self.numberings.entry(counted).or_default().take(number, at)
    }

    /// A purchase was recorded, or not.
    pub(crate) fn purchased(&mut self, row: &RowStep, transaction: &CardTransaction, ended: Purchased) {
        match ended {
            Purchased::Recorded(Recorded::New, purse) => self.is_new(row, transaction, purse),
            Purchased::Recorded(Recorded::Before, _) => self.taken(row, RowOutcome::Duplicate),
            Purchased::Recorded(Recorded::Different(known), _) => {
                self.doubt_contradiction(row, transaction, &known);
                self.keep(row, AsideReason::Contradicts, Some(transaction));
            }
            Purchased::Refused(TransferRefusal::ExceedsBalance { .. }) => {
                self.keep(row, AsideReason::NotYet, Some(transaction));
            }
            Purchased::Refused(_) => self.keep(row, AsideReason::Contradicts, Some(transaction)),
        }
    }

    fn is_new(&mut self, row: &RowStep, transaction: &CardTransaction, purse: tsm_domain::Fen) {
        let key = transaction.key;
        let counted = Counted::Card(key.card);
        // Plain and composite purchases share the counter, so a new one has a number of its own.
        if self.count(counted, key.counter.into(), row.reported.at) == Arrival::Known && key.counter > 0 {
            self.doubt(key.card, Doubt::SameCounter, row.reported.at);
        }
        let numbering = &self.numberings[&counted];
        let is_last = numbering.highest() == u64::from(key.counter);
        let closes_last_gap = !is_last && numbering.is_whole();
        if closes_last_gap || (is_last && transaction.balance_after.is_some_and(|after| after != purse)) {
            self.doubt(key.card, Doubt::Balance, row.reported.at);
        }
        self.taken(row, RowOutcome::Recorded);
    }

    // Two purchases with one counter, each with a TAC of its own: one card cannot have made both.
    fn doubt_contradiction(&mut self, row: &RowStep, new: &CardTransaction, known: &CardTransaction) {
        let highest = self.numberings.get(&Counted::Card(new.key.card)).map_or(0, Numbering::highest);
        let doubt = if u64::from(new.key.counter) < highest && new.at > known.at {
            Doubt::CounterWentBack
        } else {
            Doubt::SameCounter
        };
        self.doubt(new.key.card, doubt, row.reported.at);
    }

    fn doubt(&mut self, card: CardNumber, doubt: Doubt, since: jiff::Timestamp) {
        self.doubts.push(DoubtRow { card, doubt, since });
    }

    /// A lock was recorded.
    pub(crate) fn locked(&mut self, row: &RowStep) {
        self.taken(row, RowOutcome::LockRecorded);
    }

    fn taken(&mut self, row: &RowStep, outcome: RowOutcome) {
        self.healed.push((row.reported.id, row.reported.at));
        self.outcomes.push(outcome);
    }

    /// A row is kept aside.
    pub(crate) fn keep(&mut self, row: &RowStep, reason: AsideReason, transaction: Option<&CardTransaction>) {
        let kept = AsideRow { reported: row.reported.clone(), reason, closed: None };
        let note = transaction.map(|transaction| quarantined(&kept, transaction));
        self.aside.push((kept, note));
        self.outcomes.push(RowOutcome::Aside(reason));
    }

    /// The letters of the outcomes.
    pub(crate) fn letters(&self) -> String {
        self.outcomes.iter().map(|outcome| outcome.letter()).collect()
    }
}

/// A doubt that a card is already under stays, unless the new one proves more.
pub(crate) fn graver(known: Option<DoubtRow>, new: DoubtRow) -> DoubtRow {
    match known {
        Some(known) if known.doubt != Doubt::Balance || new.doubt == Doubt::Balance => known,
        Some(_) | None => new,
    }
}

/// What goes into the books with a purchase.
pub(crate) fn books_of(transfer: Option<&Transfer>, note: &Note) -> Books {
    Books {
        transfers: transfer.cloned().into_iter().collect(),
        notes: vec![note.clone()],
        ..Books::default()
    }
}

fn quarantined(kept: &AsideRow, transaction: &CardTransaction) -> Note {
    let change = Change::Quarantined {
        transaction: TransactionRecorded::of(transaction),
        reason: kept.reason.words().to_owned(),
    };
    let said = json!({ "file": kept.reported.file });
    Note {
        chain: ChainKey::Card(transaction.key.card),
        at: kept.reported.at,
        actor: kept.reported.institution.to_string(),
        event: change.word().to_owned(),
        detail: json!({ "changes": [change], "said": said }).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_outweighs_a_balance() {
        let card = CardNumber::compose("31049900", 1).unwrap();
        let row = |doubt| DoubtRow { card, doubt, since: jiff::Timestamp::UNIX_EPOCH };
        let (balance, copy) = (row(Doubt::Balance), row(Doubt::SameCounter));
        assert_eq!(graver(None, balance), balance);
        assert_eq!(graver(Some(balance), copy), copy);
        assert_eq!(graver(Some(copy), balance), copy);
    }
}
