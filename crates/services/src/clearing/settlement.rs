//! Settling a day: closing it, adding it up for each issuer and operator, moving the money in the books,
//! making the operators' files.
//!
//! Every step has an identity or a key that follows from the day, so running it again, after a crash or on
//! another machine, gives the same. Nothing holds more than one page of transactions and one open file for
//! each operator; no step spans many keys.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::json;
use tsm_domain::money::settlement::file::{self, ClearedRecord, FileDigest};
use tsm_domain::money::settlement::{BusinessDay, Pair, RunningFee, Settlement, Volume};
use tsm_domain::money::{TransactionType, Transfer, TransferCode};
use tsm_domain::{Fen, InstitutionId, TransferId};
use tsm_storage::StorageError;
use tsm_storage::clearing::Books;
use tsm_storage::clearing::settlement::{
    BUCKETS, DayRow, DayTransaction, Place, SettlementFile, SettlementPart,
};

use super::Clearing;
use crate::names;

/// Buckets that are added up in one step.
const BUCKETS_PER_STEP: u16 = 64;
/// Transactions read at once.
const PAGE: usize = 4096;
/// A file is ended before it has more records than this, where a bucket's end allows it.
const RECORDS_PER_FILE: u64 = 5_000;
/// Files that are kept in one step.
const FILES_PER_STEP: usize = 64;

/// Why a day is not settled.
#[derive(Debug, thiserror::Error)]
pub enum SettlementError {
    /// It is not over.
    #[error("{day} ends at {cut} and cannot be closed before")]
    NotOver {
        /// The day.
        day: BusinessDay,
        /// Its end.
        cut: Timestamp,
    },
    /// It is not closed or not settled.
    #[error("{0} is not closed and settled")]
    NotSettled(BusinessDay),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StorageError),
    /// A file cannot be made.
    #[error(transparent)]
    File(#[from] file::FileError),
}

impl Clearing {
    /// Closes a day that is over and settles it. Doing it again changes nothing.
    pub async fn settle_day(&self, day: BusinessDay) -> Result<DayRow, SettlementError> {
        let (now, cut) = (self.now(), day.cut());
        if now < cut {
            return Err(SettlementError::NotOver { day, cut });
        }
        let row = self.store.close_day(day, now).await?;
        if row.settled_at.is_some() {
            return Ok(row);
        }
        self.add_up(day).await?;
        self.settle_pairs(day).await?;
        self.make_files(day).await?;
        let row = DayRow { settled_at: Some(now), ..row };
        self.store.put_day(row.clone()).await?;
        tracing::info!(%day, "a day was settled");
        Ok(row)
    }

    async fn add_up(&self, day: BusinessDay) -> Result<(), SettlementError> {
        let mut unassigned = Vec::new();
        for first in (0..BUCKETS).step_by(usize::from(BUCKETS_PER_STEP)) {
            let mut parts = Vec::new();
            for bucket in first..first + BUCKETS_PER_STEP {
                let mut pairs: BTreeMap<Pair, Volume> = BTreeMap::new();
                for at_terminal in self.store.purchases(Place { bucket, day }).await? {
                    let issuer = self.duties.issuer_of(&at_terminal.prefix).cloned();
                    match (issuer, self.operator_of(at_terminal.terminal)) {
                        (Some(issuer), Some(operator)) => {
                            pairs.entry(Pair { issuer, operator }).or_default().add(at_terminal.volume);
                        }
                        _ => unassigned.push(at_terminal),
                    }
                }
                let part = |(pair, volume)| SettlementPart { bucket, pair, volume };
                parts.extend(pairs.into_iter().map(part));
            }
            if !parts.is_empty() {
                self.store.put_parts(day, parts).await?;
            }
            if !unassigned.is_empty() {
                self.note_unassigned(day, first, std::mem::take(&mut unassigned)).await?;
            }
        }
        Ok(())
    }

    async fn settle_pairs(&self, day: BusinessDay) -> Result<(), SettlementError> {
        for (pair, volume) in self.store.pairs(day).await? {
            let settlement = Settlement::of(day, pair, volume, &self.duties.fees);
            let net = settlement.net();
            let kept = settlement.volume.gross.checked_sub(net).unwrap_or(Fen::ZERO);
            let moved = [(TransferCode::Settled, net), (TransferCode::SettlementFee, kept)];
            let moved = moved.into_iter().filter(|(_, amount)| !amount.is_zero());
            let transfers = moved.filter_map(|(code, amount)| {
                code.between_controls(settlement_transfer(code, day, &settlement.pair), amount, self.now())
            });
            let books = Books { transfers: transfers.collect(), ..Books::default() };
            self.store.settle(settlement, books).await?;
        }
        Ok(())
    }

    /// Makes every operator's files in one pass over the day.
    async fn make_files(&self, day: BusinessDay) -> Result<(), SettlementError> {
        let mut writers: BTreeMap<InstitutionId, FileWriter> = BTreeMap::new();
        let mut finished = Vec::new();
        for bucket in 0..BUCKETS {
            let mut counts: BTreeMap<InstitutionId, u64> = BTreeMap::new();
            let mut after = None;
            loop {
                let page = self.store.day_transactions(Place { bucket, day }, after.as_ref(), PAGE).await?;
                for row in &page {
                    let Some(pair) = self.pair_of(row) else { continue };
                    let writer = writers
                        .entry(pair.operator.clone())
                        .or_insert_with(|| FileWriter::new(day, pair.operator.clone()));
                    // A file ends with a bucket, so that it can be made again from its buckets alone.
                    if counts.insert(pair.operator.clone(), 1).is_none() && writer.is_full() {
                        finished.push(writer.finish(bucket - 1)?);
                    }
                    writer.add(bucket, pair, row, &self.duties.fees);
                }
                let Some(last) = page.last().filter(|_| page.len() == PAGE) else { break };
                after = Some(last.item.clone());
            }
            if finished.len() >= FILES_PER_STEP {
                self.store.put_files(std::mem::take(&mut finished)).await?;
            }
        }
        for writer in writers.values_mut().filter(|writer| writer.volume.number > 0) {
            finished.push(writer.finish(BUCKETS - 1)?);
        }
        for files in finished.chunks(FILES_PER_STEP) {
            self.store.put_files(files.to_vec()).await?;
        }
        Ok(())
    }

    /// Issuer and operator of a purchase; none for loads and for terminals that belong to nobody.
    fn pair_of(&self, row: &DayTransaction) -> Option<Pair> {
        if row.item.key.kind == TransactionType::Load {
            return None;
        }
        let issuer = self.duties.issuer_of(&row.item.key.card.as_str()[..8])?.clone();
        Some(Pair { issuer, operator: self.operator_of(row.terminal)? })
    }

    /// The text of a file, made again from its buckets.
    pub async fn file_text(&self, file: &SettlementFile) -> Result<String, SettlementError> {
        let mut writer = FileWriter::new(file.day, file.operator.clone());
        for part in self.store.parts(file.day, &file.operator).await? {
            if part.bucket < file.first_bucket {
                let before = writer.gross.entry(part.pair.issuer).or_default();
                *before = [*before, part.volume.gross].into_iter().sum();
            }
        }
        for bucket in file.first_bucket..=file.last_bucket {
            let (mut after, place) = (None, Place { bucket, day: file.day });
            loop {
                let page = self.store.day_transactions(place, after.as_ref(), PAGE).await?;
                for row in &page {
                    if let Some(pair) = self.pair_of(row).filter(|pair| pair.operator == file.operator) {
                        writer.add(bucket, pair, row, &self.duties.fees);
                    }
                }
                let Some(last) = page.last().filter(|_| page.len() == PAGE) else { break };
                after = Some(last.item.clone());
            }
        }
        Ok(writer.text()?)
    }

    /// The transfers by which an operator is paid for a settled day: those that were not made yet.
    pub(super) async fn payout_of(
        &self,
        day: BusinessDay,
        operator: &InstitutionId,
    ) -> Result<Vec<Transfer>, StorageError> {
        let mut transfers = Vec::new();
        for settlement in self.store.settlements(day).await? {
            if settlement.pair.operator == *operator && !self.is_paid(&settlement).await? {
                let id = settlement_transfer(TransferCode::OperatorPaid, day, &settlement.pair);
                let paid = TransferCode::OperatorPaid.between_controls(id, settlement.net(), self.now());
                transfers.extend(paid);
            }
        }
        Ok(transfers)
    }

    /// Whether an operator was paid for a settlement.
    pub(super) async fn is_paid(&self, settlement: &Settlement) -> Result<bool, StorageError> {
        let id = settlement_transfer(TransferCode::OperatorPaid, settlement.day, &settlement.pair);
        Ok(settlement.net().is_zero() || self.store.transfer_by_id(id).await?.is_some())
    }

    async fn note_unassigned(
        &self,
        day: BusinessDay,
        chunk: u16,
        unassigned: Vec<tsm_storage::clearing::settlement::TerminalVolume>,
    ) -> Result<(), StorageError> {
        let found = unassigned.into_iter().map(|at_terminal| {
            let (terminal, volume) = (at_terminal.terminal, at_terminal.volume);
            let subject = json!([chunk, terminal, at_terminal.prefix]).to_string();
            let text = format!("{} purchases at terminal {terminal}", volume.number);
            self.unassigned_difference(day, &subject, volume.gross, text)
        });
        self.store.put_differences(found.collect()).await.map(drop)
    }
}

fn settlement_transfer(code: TransferCode, day: BusinessDay, pair: &Pair) -> TransferId {
    let words = ["transfer", code.name(), &day.to_string(), pair.issuer.as_str(), pair.operator.as_str()];
    TransferId::from_uuid(names::derived(&words))
}

/// A file while it is written.
struct FileWriter {
    day: BusinessDay,
    operator: InstitutionId,
    number: u32,
    first_bucket: Option<u16>,
    body: String,
    volume: Volume,
    /// What earlier transactions of each issuer came to: single fees are what the day's fee grows by.
    gross: BTreeMap<InstitutionId, Fen>,
}

impl FileWriter {
    const fn new(day: BusinessDay, operator: InstitutionId) -> Self {
        let volume = Volume { number: 0, gross: Fen::ZERO };
        Self {
            day,
            operator,
            number: 1,
            first_bucket: None,
            body: String::new(),
            volume,
            gross: BTreeMap::new(),
        }
    }

    const fn is_full(&self) -> bool {
        self.volume.number >= RECORDS_PER_FILE
    }

    fn add(
        &mut self,
        bucket: u16,
        pair: Pair,
        row: &DayTransaction,
        fees: &tsm_domain::money::settlement::FeeSchedule,
    ) {
        self.first_bucket.get_or_insert(bucket);
        let gross = self.gross.entry(pair.issuer.clone()).or_default();
        let fee = RunningFee::after(fees.rule(self.day, &pair), *gross).next(row.item.amount);
        *gross = [*gross, row.item.amount].into_iter().sum();
        self.volume.add(Volume { number: 1, gross: row.item.amount });
        let before = row.balance_after.and_then(|after| after.checked_add(row.item.amount));
        let record = ClearedRecord {
            number: self.volume.number,
            day: self.day,
            acquirer: pair.operator,
            issuer: pair.issuer,
            key: row.item.key,
            amount: row.item.amount,
            balance_before: before,
            terminal: row.terminal,
            at: row.at,
            fee,
        };
        record.write(&mut self.body);
    }

    fn text(self) -> Result<String, file::FileError> {
        let mut text = file::header(self.volume.number, self.day, &self.operator)?;
        text.push_str(&self.body);
        Ok(text)
    }

    /// Ends the file with this bucket and begins the next.
    fn finish(&mut self, last_bucket: u16) -> Result<SettlementFile, file::FileError> {
        let header = file::header(self.volume.number, self.day, &self.operator)?;
        let mut digest = FileDigest::default();
        digest.add(&header);
        digest.add(&self.body);
        let finished = SettlementFile {
            day: self.day,
            operator: self.operator.clone(),
            number: self.number,
            first_bucket: self.first_bucket.unwrap_or(last_bucket),
            last_bucket,
            volume: self.volume,
            bytes: (header.len() + self.body.len()) as u64,
            digest: digest.finish(),
        };
        self.number += 1;
        self.first_bucket = None;
        self.body.clear();
        self.volume = Volume::default();
        Ok(finished)
    }
}
