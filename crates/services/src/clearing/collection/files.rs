//! Files over HTTPS: uploaded in pieces, and what the centre made of them.

use std::sync::Arc;

use tsm_api::HexBytes;
use tsm_api::clearing::collection::{
    FileContent, FileContentQuery, FilePiece, FileRecord, FileStage as WireStage, ResultFile, ResultList,
    RowVerdict, VerdictCount,
};
use tsm_api::clearing_transport::{FileInfo, Outcome};
use tsm_api::endpoint::Nothing;
use tsm_api::problem::{Problem, ProblemCode, both};
use tsm_domain::bytes::Sha256Digest;
use tsm_storage::StorageError;
use tsm_storage::clearing::collection::{AsideReason, FilePart, FileRow, FileStage, RowOutcome};

use super::{file_key, institution_id, problem};
use crate::clearing::Clearing;
use crate::clearing::access::Institution;
use crate::server::Call;

/// Bytes of a result in one answer.
const PIECE: usize = 1 << 20;
/// Results in one answer.
const MOST: usize = 10_000;

/// A piece of a file.
pub(in crate::clearing) async fn file_piece(
    centre: Arc<Clearing>,
    call: Call<Institution, FilePiece>,
) -> Result<FileRecord, Problem> {
    let institution = institution_id(&call.caller.0)?;
    let FilePiece { name, size, digest, offset, content } = call.request;
    let digest: [u8; 32] = digest
        .as_bytes()
        .try_into()
        .map_err(|_| Problem::because(ProblemCode::ValueRefused, "A digest has 32 bytes."))?;
    let info = FileInfo { name, size, digest: Sha256Digest(digest) };
    if info.name.len() > 50 {
        return Err(Problem::because(
            ProblemCode::ValueRefused,
            both("A name has at most 50 characters.", "文件名最长 50 个字符。"),
        ));
    }
    let announced = centre.announce(&institution, &info).await.map_err(problem)?;
    let row = announced.map_err(refusal)?;
    let key = row.key.clone();
    let part = FilePart { offset, bytes: content.0, at: centre.now() };
    let row = match centre.store.append_file(&row, part).await {
        // Another content took its place since it was announced.
        Err(StorageError::Conflict { .. }) => return Err(refusal(Outcome::Unavailable)),
        appended => appended.map_err(problem)?,
    };
    if row.held == row.size && matches!(row.stage, FileStage::Receiving | FileStage::Refused(_)) {
        match centre.check_whole(&row).await.map_err(problem)? {
            Outcome::Done | Outcome::FileRefused => {}
            outcome => return Err(refusal(outcome)),
        }
    }
    centre.take_file(&key).await?;
    centre.file_record(&key).await
}

/// What became of a file.
pub(in crate::clearing) async fn file(
    centre: Arc<Clearing>,
    call: Call<Institution, Nothing>,
) -> Result<FileRecord, Problem> {
    let name: String = call.parameter()?;
    let institution = institution_id(&call.caller.0)?;
    centre.file_record(&file_key(&institution, &name)).await
}

/// The files that the centre made for the caller.
pub(in crate::clearing) async fn results(
    centre: Arc<Clearing>,
    call: Call<Institution, Nothing>,
) -> Result<ResultList, Problem> {
    let institution = institution_id(&call.caller.0)?;
    centre.make_list_file(&institution).await?;
    let rows = centre.store.files_of(&institution, "", MOST).await.map_err(problem)?;
    let made = rows.into_iter().filter(|row| row.stage == FileStage::Made);
    let files = made.map(|row| ResultFile { name: row.key.name, size: row.size, made_at: row.begun_at });
    Ok(ResultList { files: files.collect() })
}

/// A piece of a file that the centre made.
pub(in crate::clearing) async fn file_content(
    centre: Arc<Clearing>,
    call: Call<Institution, FileContentQuery>,
) -> Result<FileContent, Problem> {
    let name: String = call.parameter()?;
    let institution = institution_id(&call.caller.0)?;
    let key = file_key(&institution, &name);
    let row = centre.store.file(key.clone()).await.map_err(problem)?;
    let row = row.filter(|row| row.stage == FileStage::Made).ok_or(ProblemCode::UnknownId)?;
    let content = centre.store.file_bytes(key, call.request.offset, PIECE).await.map_err(problem)?;
    let digest = HexBytes(row.digest.0.to_vec());
    Ok(FileContent { size: row.size, digest, content: HexBytes(content) })
}

fn refusal(outcome: Outcome) -> Problem {
    let code = match outcome {
        Outcome::Done | Outcome::Unavailable => ProblemCode::Unavailable,
        Outcome::NotAdmitted => ProblemCode::NotAllowed,
        Outcome::DigestWrong => ProblemCode::ValueRefused,
        Outcome::FileRefused | Outcome::Malformed => ProblemCode::ValueRefused,
        Outcome::SizeConflict => ProblemCode::Duplicate,
    };
    Problem::because(code, format_args!("In detail: {outcome}."))
}

impl Clearing {
    async fn file_record(
        &self,
        key: &tsm_storage::clearing::collection::FileKey,
    ) -> Result<FileRecord, Problem> {
        let row = self.store.file(key.clone()).await.map_err(problem)?;
        let row = row.filter(|row| row.stage != FileStage::Made).ok_or(ProblemCode::UnknownId)?;
        let outcomes = self.store.outcomes(key.clone()).await.map_err(problem)?;
        Ok(FileRecord {
            name: row.key.name.clone(),
            size: row.size,
            held: row.held,
            stage: stage_of(&row),
            refused: match &row.stage {
                FileStage::Refused(reason) => Some(reason.clone()),
                FileStage::Receiving | FileStage::Received | FileStage::Taken | FileStage::Made => None,
            },
            rows_taken: row.taken,
            counts: counts(&outcomes),
        })
    }
}

/// The stage on the wire.
pub(super) fn stage_of(row: &FileRow) -> WireStage {
    match row.stage {
        FileStage::Receiving => WireStage::Receiving,
        FileStage::Received => WireStage::Received,
        FileStage::Taken | FileStage::Made => WireStage::Taken,
        FileStage::Refused(_) => WireStage::Refused,
    }
}

/// The verdict on the wire.
pub(in crate::clearing) const fn verdict_of(outcome: RowOutcome) -> RowVerdict {
    match outcome {
        RowOutcome::Recorded => RowVerdict::Recorded,
        RowOutcome::Duplicate => RowVerdict::Duplicate,
        RowOutcome::LockRecorded => RowVerdict::LockRecorded,
        RowOutcome::Aside(reason) => verdict_of_reason(reason),
    }
}

/// The reason on the wire.
pub(super) const fn verdict_of_reason(reason: AsideReason) -> RowVerdict {
    match reason {
        AsideReason::TacWrong => RowVerdict::TacWrong,
        AsideReason::UnknownCard => RowVerdict::UnknownCard,
        AsideReason::UnknownTerminal => RowVerdict::UnknownTerminal,
        AsideReason::Contradicts => RowVerdict::Contradicts,
        AsideReason::NotYet => RowVerdict::NotYet,
        AsideReason::Unproven => RowVerdict::Unproven,
        AsideReason::Malformed => RowVerdict::Malformed,
    }
}

fn counts(outcomes: &[RowOutcome]) -> Vec<VerdictCount> {
    let count = |verdict: RowVerdict| {
        let rows = outcomes.iter().filter(|outcome| verdict_of(**outcome) == verdict).count() as u64;
        (rows > 0).then_some(VerdictCount { verdict, rows })
    };
    RowVerdict::ALL.into_iter().filter_map(count).collect()
}
