//! A terminal's batch: checked against its header, recorded whole, then taken.

use std::sync::Arc;

use tsm_api::clearing::collection::{BatchHeader, BatchReceipt, FileStage as WireStage, TerminalBatch};
use tsm_api::clearing_files::row_line;
use tsm_api::endpoint::Nothing;
use tsm_api::problem::{Both, Problem, ProblemCode, both};
use tsm_domain::bytes::Sha256Digest;
use tsm_domain::{IncidentId, InstitutionId, TerminalNumber};
use tsm_storage::StorageError;
use tsm_storage::clearing::collection::{BatchOf, FileKey, FileRow, FileStage};
use tsm_storage::shared::Incident;

use super::files::{stage_of, verdict_of};
use super::{file_key, institution_id, problem};
use crate::clearing::access::Institution;
use crate::clearing::{Clearing, RegisteredTerminal};
use crate::names;
use crate::server::Call;

/// Rows of one batch; more are refused.
const MOST: usize = 10_000;

/// Takes a batch.
pub(in crate::clearing) async fn batch(
    centre: Arc<Clearing>,
    call: Call<Institution, TerminalBatch>,
) -> Result<BatchReceipt, Problem> {
    let institution = institution_id(&call.caller.0)?;
    let TerminalBatch { header, rows } = call.request;
    if rows.len() > MOST {
        return Err(ProblemCode::TooLarge.into());
    }
    let (terminal, registered) = centre.terminal_of(&institution, header.terminal.as_bytes())?;
    let mut content = String::new();
    for row in &rows {
        let line =
            row_line(terminal, row).map_err(|error| Problem::because(ProblemCode::ValueRefused, error))?;
        content.push_str(&line);
        content.push('\n');
    }
    let digest = Sha256Digest::of(content.as_bytes());
    let sum_fen: u64 = rows.iter().map(|row| u64::from(row.amount_fen)).sum();
    if let Err(refused) = check(&header, rows.len(), sum_fen, digest, registered) {
        return Err(centre.refused_batch(&institution, terminal, header.sequence, refused).await);
    }
    let row = FileRow {
        key: batch_key(&institution, terminal, header.sequence),
        batch: Some(BatchOf { terminal, sequence: header.sequence }),
        size: content.len() as u64,
        digest,
        held: content.len() as u64,
        stage: FileStage::Received,
        rows: rows.len() as u64,
        taken: 0,
        begun_at: centre.now(),
        refusals: 0,
        last_byte_at: None,
    };
    let key = row.key.clone();
    match centre.store.record_file(row, content.into_bytes()).await {
        Ok(_) => {}
        Err(StorageError::Conflict { .. }) => {
            let reason =
                both("Another batch of this terminal has this number.", "该终端已有同号的另一批次。");
            let refused = Problem::because(ProblemCode::Duplicate, reason);
            return Err(centre.refused_batch(&institution, terminal, header.sequence, refused).await);
        }
        Err(error) => return Err(problem(error)),
    }
    // The batch is recorded, and the terminal may forget it: what hinders its rows is the centre's matter.
    if let Err(error) = centre.take_file(&key).await {
        tracing::warn!(%error, "a batch is recorded and not taken yet");
    }
    centre.receipt(&key).await
}

/// What became of a batch.
pub(in crate::clearing) async fn batch_state(
    centre: Arc<Clearing>,
    call: Call<Institution, Nothing>,
) -> Result<BatchReceipt, Problem> {
    let institution = institution_id(&call.caller.0)?;
    let name: String = call.parameter()?;
    let (terminal, sequence) = name.split_once('-').ok_or(ProblemCode::UnknownId)?;
    let terminal: TerminalNumber = terminal.parse().map_err(|_| Problem::new(ProblemCode::UnknownId))?;
    let sequence: u64 = sequence.parse().map_err(|_| Problem::new(ProblemCode::UnknownId))?;
    centre.receipt(&batch_key(&institution, terminal, sequence)).await
}

fn batch_key(institution: &InstitutionId, terminal: TerminalNumber, sequence: u64) -> FileKey {
    file_key(institution, &format!("batch-{terminal}-{sequence}"))
}

/// What the header says of the rows is what they are, and the terminal's store says so too.
fn check(
    header: &BatchHeader,
    count: usize,
    sum_fen: u64,
    digest: Sha256Digest,
    registered: &RegisteredTerminal,
) -> Result<(), Problem> {
    let refused = |reason: Both| Err(Problem::because(ProblemCode::ValueRefused, reason));
    if header.sequence == 0 {
        return refused(both("Batches are numbered from 1.", "批次号从 1 开始。"));
    }
    if usize::try_from(header.count).ok() != Some(count) || header.sum_fen != sum_fen {
        return refused(both(
            "The rows do not have the count or the sum that the header says.",
            "记录的笔数或金额与批次头不符。",
        ));
    }
    if header.digest.as_bytes() != digest.0 {
        return refused(both(
            "The rows do not have the digest that the header says.",
            "记录的摘要与批次头不符。",
        ));
    }
    let Some(key) = &registered.key else { return Ok(()) };
    let Some(signature) = &header.signature else {
        return Err(Problem::because(
            ProblemCode::SignatureWrong,
            both("The terminal has not signed the batch.", "终端未对批次签名。"),
        ));
    };
    key.verify(&header.signed_bytes(), signature.as_bytes()).map_err(|_| {
        Problem::because(
            ProblemCode::SignatureWrong,
            both("The terminal's signature is wrong.", "终端签名错误。"),
        )
    })
}

impl Clearing {
    /// A terminal of the institution.
    pub(in crate::clearing) fn terminal_of(
        &self,
        institution: &InstitutionId,
        number: &[u8],
    ) -> Result<(TerminalNumber, &RegisteredTerminal), Problem> {
        let unknown = || {
            Problem::because(
                ProblemCode::UnknownId,
                both("No terminal of this institution has this number.", "该机构没有此编号的终端。"),
            )
        };
        let number: [u8; 6] = number.try_into().map_err(|_| unknown())?;
        let number = TerminalNumber::from_bcd(number).map_err(|_| unknown())?;
        let registered = self.terminals.of_operator(institution.as_str(), number).ok_or_else(unknown)?;
        Ok((number, registered))
    }

    /// A batch that was refused as a whole stands in the reconciliation view with its reason, once for each reason:
    /// nothing of it was taken, and somebody has to ask where it came from.
    async fn refused_batch(
        &self,
        institution: &InstitutionId,
        terminal: TerminalNumber,
        sequence: u64,
        refused: Problem,
    ) -> Problem {
        let code = format!("{:?}", refused.code);
        let words = ["incident", "batch", &terminal.to_string(), &sequence.to_string(), &code];
        let incident = Incident {
            id: IncidentId::from_uuid(names::derived(&words)),
            se: None,
            card: None,
            kind: "batch-refused".into(),
            text: format!("batch {sequence} of terminal {terminal} of {institution}: {}", refused.message_en),
            at: self.now(),
            closed: None,
        };
        match self.store.record_incident(incident).await {
            Ok(_) => refused,
            Err(error) => problem(error),
        }
    }

    async fn receipt(&self, key: &FileKey) -> Result<BatchReceipt, Problem> {
        let row = self.store.file(key.clone()).await.map_err(problem)?;
        let row = row.ok_or(ProblemCode::UnknownId)?;
        let batch = row.batch.ok_or(ProblemCode::UnknownId)?;
        let stage = stage_of(&row);
        let verdicts = match stage {
            WireStage::Taken => self.store.outcomes(key.clone()).await.map_err(problem)?,
            WireStage::Receiving | WireStage::Received | WireStage::Refused => Vec::new(),
        };
        Ok(BatchReceipt {
            terminal: tsm_api::HexBytes(batch.terminal.to_bcd().to_vec()),
            sequence: batch.sequence,
            stage,
            verdicts: verdicts.into_iter().map(verdict_of).collect(),
        })
    }
}
