//! What a terminal delivers to the clearing centre (B-7.3.1): batches of its records, numbered without a gap
//! and signed by the terminal.
//!
//! A batch is durable before it leaves, so that the same batch is sent again after a break, and its records are
//! forgotten only when the centre has said that it has them.

use tsm_api::{
    HexBytes,
    clearing::{
        Consumption, ConsumptionReport,
        collection::{BatchHeader, BatchReceipt, BatchRow, FileStage, TerminalBatch},
    },
    clearing_files::{self, FormatError, Kind, SignedRows, TransactionRecord, write_file},
    client::files::NamedFile,
    signature::MessageSigner,
};
use tsm_domain::TerminalNumber;

use crate::{
    psam::CardKeys,
    record::{LockRecord, RecordProof, TerminalRecord},
    state::TerminalState,
    store::{Change, StoreError, TerminalStore},
    terminal::Terminal,
};

/// Why no batch can be made.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// The batch could not be written down.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A record cannot be written as the files of the centre want it.
    #[error("a record cannot be written for the centre: {0}")]
    Row(String),
}

/// What became of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// The centre has the batch, and its records are forgotten.
    Taken,
    /// The centre does not have it whole; it is to be sent again.
    SendAgain,
}

/// The batch that is to be delivered next: the one that was made before and not acknowledged, or a new one of at
/// most `most` records; `None` when there is nothing to deliver.
pub fn next_batch<K: CardKeys, S: TerminalStore>(
    terminal: &mut Terminal<K, S>,
    most: usize,
    signer: Option<&dyn MessageSigner>,
) -> Result<Option<TerminalBatch>, UploadError> {
    let batches = terminal.state().batches();
    let (sequence, up_to) = match batches.open {
        Some(up_to) => (batches.last, up_to),
        None => {
            let numbers = numbers(terminal.state());
            let Some(&up_to) = numbers[..numbers.len().min(most)].last() else { return Ok(None) };
            let sequence = batches.last + 1;
            terminal.commit(vec![Change::Batched { sequence, up_to }])?;
            (sequence, up_to)
        }
    };
    let number = terminal.number().to_bytes();
    let rows = rows(terminal.state(), up_to);
    let mut header = header_of(number, sequence, &rows)?;
    header.signature = signer.map(|signer| HexBytes(signer.sign(&header.signed_bytes()).to_vec()));
    Ok(Some(TerminalBatch { header, rows }))
}

/// The header of a terminal's batch of these rows, not signed yet.
pub fn header_of(terminal: [u8; 6], sequence: u64, rows: &[BatchRow]) -> Result<BatchHeader, UploadError> {
    let refused = |error: &dyn std::fmt::Display| UploadError::Row(error.to_string());
    let number = TerminalNumber::from_bcd(terminal).map_err(|error| refused(&error))?;
    let digest = clearing_files::rows_digest(number, rows).map_err(|error| refused(&error))?;
    Ok(BatchHeader {
        terminal: HexBytes(terminal.to_vec()),
        sequence,
        count: rows.len() as u32,
        sum_fen: rows.iter().map(|row| u64::from(row.amount_fen)).sum(),
        digest: HexBytes(digest.0.to_vec()),
        signature: None,
    })
}

/// A batch as files for a centre that takes files (JT/T 978.4-2015): what the terminal signed, if it did, and then
/// the rows, which a centre that knows its key takes only with it. Their names differ in their first letters.
pub fn files_of(
    batch: &TerminalBatch,
    ending: &str,
    date: u32,
    receiver: &str,
) -> Result<Vec<NamedFile>, UploadError> {
    let refused = |error: FormatError| UploadError::Row(error.to_string());
    let number = batch.header.terminal.as_bytes().try_into().ok();
    let terminal = number.and_then(|number| TerminalNumber::from_bcd(number).ok());
    let terminal = terminal.ok_or_else(|| refused(FormatError::Field("terminal")))?;
    let named = |kind: Kind, text: String| NamedFile {
        name: format!("{}{ending}", kind.letters()),
        content: text.into_bytes(),
    };
    let mut files = Vec::new();
    if let Some(signed) = SignedRows::of_header(&batch.header) {
        let text = write_file(date, receiver, &[signed]).map_err(refused)?;
        files.push(named(Kind::Signatures, text));
    }
    let records: Result<Vec<_>, _> =
        batch.rows.iter().map(|row| TransactionRecord::of_row(terminal, row)).collect();
    let text = write_file(date, receiver, &records.map_err(refused)?).map_err(refused)?;
    files.push(named(Kind::Upload, text));
    Ok(files)
}

/// Takes the centre's word about a batch.
pub fn delivered<K: CardKeys, S: TerminalStore>(
    terminal: &mut Terminal<K, S>,
    receipt: &BatchReceipt,
) -> Result<Delivery, StoreError> {
    let batches = terminal.state().batches();
    let own = receipt.terminal.as_bytes() == terminal.number().to_bytes();
    if !own || receipt.sequence != batches.last || batches.open.is_none() {
        return Ok(Delivery::SendAgain);
    }
    match receipt.stage {
        // A batch that is refused as a whole is damaged on its way or by us: nothing of it is forgotten.
        FileStage::Receiving | FileStage::Refused => Ok(Delivery::SendAgain),
        FileStage::Received | FileStage::Taken => {
            terminal.commit(vec![Change::Delivered { sequence: receipt.sequence }])?;
            Ok(Delivery::Taken)
        }
    }
}

/// The proven purchases as a notice, at most `most`; `None` when there are none. A notice is quicker than a
/// batch and nothing is forgotten for it: the batch that follows has the same records, and the centre records
/// each once.
pub fn notice<K: CardKeys, S: TerminalStore>(
    terminal: &Terminal<K, S>,
    most: usize,
) -> Option<ConsumptionReport> {
    let transactions: Vec<_> = terminal.state().records().iter().filter_map(consumption).take(most).collect();
    let report = |transactions| ConsumptionReport {
        terminal: terminal.number().to_bytes().to_vec().into(),
        transactions,
    };
    (!transactions.is_empty()).then(|| report(transactions))
}

/// The proven purchases of a batch as a notice, for a centre that takes no batches.
pub fn notice_of(batch: &TerminalBatch) -> ConsumptionReport {
    let transactions = batch.rows.iter().filter_map(|row| {
        Some(Consumption {
            card: row.card.clone(),
            amount_fen: row.amount_fen,
            balance_fen: row.balance_fen,
            offline_counter: row.offline_counter,
            terminal_counter: row.terminal_counter,
            transaction_type: row.transaction_type,
            date: row.date.clone(),
            time: row.time.clone(),
            tac: Some(row.tac.clone()?),
        })
    });
    ConsumptionReport { terminal: batch.header.terminal.clone(), transactions: transactions.collect() }
}

/// A record as a notice has it; `None` without a TAC.
pub fn consumption(record: &TerminalRecord) -> Option<Consumption> {
    let tac = record.tac?;
    debug_assert_ne!(record.proof, RecordProof::Unknown, "a TAC proves something");
    Some(Consumption {
        card: record.card.0.to_vec().into(),
        amount_fen: record.amount_fen,
        balance_fen: record.balance_fen,
        offline_counter: record.card_counter,
        terminal_counter: record.terminal_sequence,
        transaction_type: record.transaction_type,
        date: record.at.date.to_bytes().to_vec().into(),
        time: record.at.time.to_bytes().to_vec().into(),
        tac: Some(tac.to_bytes().to_vec().into()),
    })
}

/// The numbers of all undelivered records, in order.
fn numbers(state: &TerminalState) -> Vec<u64> {
    let records = state.records().iter().map(|record| record.number);
    let mut numbers: Vec<_> = records.chain(state.locks().iter().map(|lock| lock.number)).collect();
    numbers.sort_unstable();
    numbers
}

fn rows(state: &TerminalState, up_to: u64) -> Vec<BatchRow> {
    let purchases = state.records().iter().map(purchase_row);
    let mut rows: Vec<_> = purchases.chain(state.locks().iter().map(lock_row)).collect();
    rows.retain(|row| row.number <= up_to);
    rows.sort_unstable_by_key(|row| row.number);
    rows
}

fn purchase_row(record: &TerminalRecord) -> BatchRow {
    BatchRow {
        number: record.number,
        card: record.card.0.to_vec().into(),
        transaction_type: record.transaction_type,
        amount_fen: record.amount_fen,
        balance_fen: record.balance_fen,
        offline_counter: record.card_counter,
        terminal_counter: record.terminal_sequence,
        date: record.at.date.to_bytes().to_vec().into(),
        time: record.at.time.to_bytes().to_vec().into(),
        tac: record.tac.map(|tac| tac.to_bytes().to_vec().into()),
    }
}

fn lock_row(lock: &LockRecord) -> BatchRow {
    let locking = &lock.locking;
    BatchRow {
        number: lock.number,
        card: locking.card.0.to_vec().into(),
        transaction_type: LockRecord::TRANSACTION_TYPE,
        amount_fen: 0,
        balance_fen: 0,
        offline_counter: 0,
        terminal_counter: 0,
        date: locking.at.date.to_bytes().to_vec().into(),
        time: locking.at.time.to_bytes().to_vec().into(),
        tac: None,
    }
}
