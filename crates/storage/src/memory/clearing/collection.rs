//! The collection of terminal transactions in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use async_trait::async_trait;
use tsm_domain::money::ledger::LedgerView as _;
use tsm_domain::money::{AccountKind, Numbering, TransactionKey};
use tsm_domain::{AsideId, CardNumber, InstitutionId};

use super::ClearingState;
use crate::clearing::collection::*;
use crate::clearing::{AccountChange, Books, LockRow, Step};
use crate::error::{Result, StorageError};
use crate::memory::Memory;

/// What the collection keeps.
#[derive(Debug, Default)]
pub(super) struct CollectionState {
    files: BTreeMap<FileKey, (FileRow, Vec<u8>)>,
    /// Those of which bytes are missing or rows are to be taken.
    moving: BTreeSet<FileKey>,
    outcomes: BTreeMap<FileKey, Vec<RowOutcome>>,
    pub(super) aside: BTreeMap<AsideId, AsideRow>,
    aside_of: BTreeSet<(CardNumber, AsideId)>,
    numberings: BTreeMap<Counted, Numbering>,
    /// Those with something missing, by their keys.
    gaps: BTreeMap<String, Counted>,
    doubts: BTreeMap<CardNumber, DoubtRow>,
    pub(super) locks: BTreeMap<(CardNumber, String, u64), LockRow>,
}

impl CollectionState {
    fn file(&self, key: &FileKey) -> Result<FileRow> {
        let found = self.files.get(key).map(|(row, _)| row.clone());
        found.ok_or_else(|| StorageError::unknown("file", &key.name))
    }

    fn put(&mut self, row: FileRow) -> FileRow {
        self.note_stage(&row);
        self.files.entry(row.key.clone()).or_insert_with(|| (row.clone(), Vec::new())).0 = row.clone();
        row
    }

    fn put_with(&mut self, row: FileRow, content: Vec<u8>) -> FileRow {
        self.note_stage(&row);
        self.files.insert(row.key.clone(), (row.clone(), content));
        row
    }

    fn note_stage(&mut self, row: &FileRow) {
        match row.stage {
            FileStage::Receiving | FileStage::Received => self.moving.insert(row.key.clone()),
            FileStage::Taken | FileStage::Refused(_) | FileStage::Made => self.moving.remove(&row.key),
        };
    }

    /// The files at a stage before the last, oldest first.
    fn at(&self, stage: &FileStage, limit: usize) -> Vec<FileRow> {
        let rows = self.moving.iter().filter_map(|key| self.files.get(key)).map(|(row, _)| row);
        let mut found: Vec<_> = rows.filter(|row| row.stage == *stage).cloned().collect();
        found.sort_by(|a, b| (a.begun_at, &a.key).cmp(&(b.begun_at, &b.key)));
        found.truncate(limit);
        found
    }

    /// Rows kept aside and not dealt with, oldest first.
    fn open_aside(
        &self,
        wanted: impl Fn(&AsideRow) -> bool,
        after: Option<AsidePlace>,
        limit: usize,
    ) -> Vec<AsideRow> {
        let open = self.aside.values().filter(|row| row.closed.is_none() && wanted(row));
        let later = open.filter(|row| after.is_none_or(|after| row.place() > after));
        let mut found: Vec<_> = later.collect();
        found.sort_by_key(|row| row.place());
        found.into_iter().take(limit).cloned().collect()
    }

    fn take(&mut self, counted: Counted, number: u64, at: jiff::Timestamp) {
        let mut numbering = self.numberings.get(&counted).cloned().unwrap_or_default();
        numbering.take(number, at);
        self.count(counted, numbering);
    }

    fn count(&mut self, counted: Counted, numbering: Numbering) {
        if numbering.is_whole() {
            self.gaps.remove(&counted.key());
        } else {
            self.gaps.insert(counted.key(), counted);
        }
        self.numberings.insert(counted, numbering);
    }
}

impl ClearingState {
    fn take_rows(&mut self, step: TakeStep) -> Result<Vec<RowOutcome>> {
        let file = match &step.file {
            Some((key, before)) => {
                Some(advanced(self.collection.file(key)?, *before, step.rows.len() as u64)?)
            }
            None => None,
        };
        let mut taking = Taking::default();
        for counted in Taking::counted(&step) {
            let known = self.collection.numberings.get(&counted).cloned().unwrap_or_default();
            taking.numberings.insert(counted, known);
        }
        for row in &step.rows {
            taking.came(row);
            match &row.judged {
                Judged::Purchase { transaction, transfer, note } => {
                    let recorded = self.record(transaction, books_of(transfer.as_ref(), note));
                    let ended = match Purchased::of(recorded)? {
                        Ok(recorded) => Purchased::Recorded(recorded, self.purse(transaction.key)),
                        Err(refusal) => Purchased::Refused(refusal),
                    };
                    taking.purchased(row, transaction, ended);
                }
                Judged::Lock(lock) => {
                    self.put_lock(lock);
                    taking.locked(row);
                }
                Judged::Aside { reason, transaction } => taking.keep(row, *reason, transaction.as_ref()),
            }
        }
        self.finish(taking, file)
    }

    fn purse(&self, key: TransactionKey) -> tsm_domain::Fen {
        let Ok(balance) = self.ledger.balance(key.card, AccountKind::Purse);
        balance.posted
    }

    fn finish(&mut self, taking: Taking, file: Option<FileRow>) -> Result<Vec<RowOutcome>> {
        for (counted, numbering) in taking.changed() {
            self.collection.count(counted, numbering.clone());
        }
        for (row, note) in taking.aside {
            if !self.collection.aside.contains_key(&row.reported.id) {
                self.book(Step::default(), Books { notes: note.into_iter().collect(), ..Books::default() })?;
                let of = row.reported.card.map(|card| (card, row.reported.id));
                self.collection.aside_of.extend(of);
                self.collection.aside.insert(row.reported.id, row);
            }
        }
        for (id, at) in taking.healed {
            if let Some(row) = self.collection.aside.get_mut(&id) {
                *row = row.clone().closed_by(AsideClosed { at, how: "taken".into() });
            }
        }
        for doubt in taking.doubts {
            let known = self.collection.doubts.get(&doubt.card).copied();
            self.collection.doubts.insert(doubt.card, graver(known, doubt));
        }
        if let Some(file) = file {
            let outcomes = self.collection.outcomes.entry(file.key.clone()).or_default();
            outcomes.extend(&taking.outcomes);
            self.collection.put(file);
        }
        Ok(taking.outcomes)
    }
}

#[async_trait]
impl Collection for Memory<ClearingState> {
    async fn begin_file(&self, file: FileRow, upload: Option<FileKey>) -> Result<FileBegun> {
        self.write(|state| {
            let files = &state.collection.files;
            let Some((stored, _)) = files.get(&file.key) else {
                return Ok(FileBegun::Here(state.collection.put(file)));
            };
            let needed = match upload {
                Some(key) => Needed::by(files.get(&key).map(|(row, _)| row.clone())),
                None => Needed::AsItIs,
            };
            match begun(stored.clone(), file, needed)? {
                Begun::Known(row) => Ok(FileBegun::Here(row)),
                Begun::Anew(row) => Ok(FileBegun::Here(state.collection.put_with(row, Vec::new()))),
                Begun::Busy => Ok(FileBegun::Busy),
            }
        })
    }

    async fn append_file(&self, file: &FileRow, part: FilePart) -> Result<FileRow> {
        self.write(|state| {
            let row = same_file(state.collection.file(&file.key)?, file)?;
            let Some(next) = appended(&row, &part) else { return Ok(row) };
            if let Some((_, content)) = state.collection.files.get_mut(&file.key) {
                content.extend(part.bytes);
            }
            Ok(state.collection.put(next))
        })
    }

    async fn restart_file(&self, file: &FileRow) -> Result<FileRow> {
        self.write(|state| {
            let row = restarted(same_file(state.collection.file(&file.key)?, file)?)?;
            Ok(state.collection.put_with(row, Vec::new()))
        })
    }

    async fn move_file(&self, file: &FileRow, stage: FileStage, rows: u64) -> Result<FileRow> {
        self.write(|state| {
            let row = moved(same_file(state.collection.file(&file.key)?, file)?, stage, rows)?;
            Ok(state.collection.put(row))
        })
    }

    async fn record_file(&self, file: FileRow, content: Vec<u8>) -> Result<FileRow> {
        self.write(|state| {
            if let Some((stored, _)) = state.collection.files.get(&file.key) {
                return same_file(stored.clone(), &file);
            }
            if let Some(batch) = file.batch {
                state.collection.take(Counted::Batches(batch.terminal), batch.sequence, file.begun_at);
            }
            Ok(state.collection.put_with(file, content))
        })
    }

    async fn file(&self, key: FileKey) -> Result<Option<FileRow>> {
        self.read(|state| Ok(state.collection.files.get(&key).map(|(row, _)| row.clone())))
    }

    async fn file_bytes(&self, key: FileKey, from: u64, length: usize) -> Result<Vec<u8>> {
        self.read(|state| {
            let content =
                state.collection.files.get(&key).map(|(_, content)| &content[..]).unwrap_or_default();
            let from = usize::try_from(from).unwrap_or(usize::MAX).min(content.len());
            let to = from.saturating_add(length).min(content.len());
            Ok(content[from..to].to_vec())
        })
    }

    async fn unfinished_files(&self, limit: usize) -> Result<Vec<FileRow>> {
        self.read(|state| Ok(state.collection.at(&FileStage::Receiving, limit)))
    }

    async fn files_to_take(&self, limit: usize) -> Result<Vec<FileRow>> {
        self.read(|state| Ok(state.collection.at(&FileStage::Received, limit)))
    }

    async fn files_of(&self, institution: &InstitutionId, after: &str, limit: usize) -> Result<Vec<FileRow>> {
        self.read(|state| {
            let rows = state.collection.files.values().map(|(row, _)| row);
            let of = rows.filter(|row| row.key.institution == *institution && row.key.name.as_str() > after);
            Ok(of.take(limit).cloned().collect())
        })
    }

    async fn take_rows(&self, step: TakeStep) -> Result<Vec<RowOutcome>> {
        self.write(|state| state.take_rows(step))
    }

    async fn outcomes(&self, key: FileKey) -> Result<Vec<RowOutcome>> {
        self.read(|state| Ok(state.collection.outcomes.get(&key).cloned().unwrap_or_default()))
    }

    async fn waiting_aside(&self, after: Option<AsidePlace>, limit: usize) -> Result<Vec<AsideRow>> {
        self.read(|state| Ok(state.collection.open_aside(|row| row.reason.may_heal(), after, limit)))
    }

    async fn kept_aside(
        &self,
        institution: Option<&InstitutionId>,
        after: Option<AsidePlace>,
        limit: usize,
    ) -> Result<Vec<AsideRow>> {
        let is_of = |row: &AsideRow| institution.is_none_or(|of| row.reported.institution == *of);
        self.read(|state| Ok(state.collection.open_aside(is_of, after, limit)))
    }

    async fn aside_of(&self, card: CardNumber, limit: usize) -> Result<Vec<AsideRow>> {
        self.read(|state| {
            let (first, last) =
                (AsideId::from_uuid(uuid::Uuid::nil()), AsideId::from_uuid(uuid::Uuid::max()));
            let of = state.collection.aside_of.range((card, first)..=(card, last));
            let of = of.filter_map(|(_, id)| state.collection.aside.get(id));
            let mut found: Vec<_> = of.cloned().collect();
            found.sort_by_key(AsideRow::place);
            found.truncate(limit);
            Ok(found)
        })
    }

    async fn aside(&self, id: AsideId) -> Result<Option<AsideRow>> {
        self.read(|state| Ok(state.collection.aside.get(&id).cloned()))
    }

    async fn close_aside(&self, id: AsideId, closed: AsideClosed, books: Books) -> Result<AsideRow> {
        self.write(|state| {
            let known = state.collection.aside.get(&id).cloned();
            let known = known.ok_or_else(|| StorageError::unknown("row kept aside", id))?;
            if known.closed.is_some() {
                return Ok(known);
            }
            state.book(Step::default(), books)?;
            let row = known.closed_by(closed);
            state.collection.aside.insert(id, row.clone());
            Ok(row)
        })
    }

    async fn numbering(&self, of: Counted) -> Result<Numbering> {
        self.read(|state| Ok(state.collection.numberings.get(&of).cloned().unwrap_or_default()))
    }

    async fn expect_number(&self, of: Counted, number: u64, at: jiff::Timestamp) -> Result<()> {
        self.write(|state| {
            let mut known = state.collection.numberings.get(&of).cloned().unwrap_or_default();
            known.expect(number, at);
            state.collection.count(of, known);
            Ok(())
        })
    }

    async fn gaps(&self, after: Option<Counted>, limit: usize) -> Result<Vec<(Counted, Numbering)>> {
        self.read(|state| {
            let after = after.map(Counted::key).unwrap_or_default();
            let later = state.collection.gaps.range((Bound::Excluded(after), Bound::Unbounded));
            let found = later.filter_map(|(_, counted)| {
                state.collection.numberings.get(counted).map(|numbering| (*counted, numbering.clone()))
            });
            Ok(found.take(limit).collect())
        })
    }

    async fn doubts(&self, after: Option<DoubtRow>, limit: usize) -> Result<Vec<DoubtRow>> {
        self.read(|state| {
            let all = state.collection.doubts.values().copied();
            let later = all.filter(|row| after.is_none_or(|after| row.place() > after.place()));
            let mut found: Vec<_> = later.collect();
            found.sort_by_key(DoubtRow::place);
            found.truncate(limit);
            Ok(found)
        })
    }

    async fn settle_doubt(&self, doubt: DoubtRow, freeze: Option<String>, books: Books) -> Result<()> {
        self.write(|state| {
            if state.collection.doubts.get(&doubt.card) != Some(&doubt) {
                return Ok(());
            }
            match freeze {
                Some(reason) => {
                    state.change_account(doubt.card, &[AccountChange::Frozen(reason)], books)?;
                }
                None => state.book(Step::default(), books)?,
            }
            state.collection.doubts.remove(&doubt.card);
            Ok(())
        })
    }
}
