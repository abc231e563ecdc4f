//! The endpoints of days: closing, settlements, files.

use std::sync::Arc;

use tsm_api::clearing::settlement::{
    DayRecord, Days, FileRecord, FileText, Files, SettlementRecord, Settlements,
};
use tsm_api::endpoint::Nothing;
use tsm_api::problem::{Problem, ProblemCode, both};
use tsm_domain::money::settlement::{BusinessDay, Settlement};
use tsm_storage::StorageError;
use tsm_storage::clearing::settlement::{DayRow, SettlementFile};

use super::Clearing;
use super::access::Institution;
use super::reconciliation::ReconciliationError;
use super::settlement::SettlementError;
use crate::server::Call;
use crate::stored;

/// Days listed at once.
const DAYS: usize = 100;

/// Closes and settles a day.
pub(super) async fn close_day(
    centre: Arc<Clearing>,
    call: Call<Institution, Nothing>,
) -> Result<DayRecord, Problem> {
    centre.check_desk(&call.caller.0)?;
    let row = centre.settle_day(call.parameter()?).await;
    row.map(|row| day_record(&row)).map_err(|error| not_settled(&error))
}

/// Reconciles a day.
pub(super) async fn reconcile_day(
    centre: Arc<Clearing>,
    call: Call<Institution, Nothing>,
) -> Result<DayRecord, Problem> {
    centre.check_desk(&call.caller.0)?;
    match centre.reconcile_day(call.parameter()?).await {
        Ok((row, _)) => Ok(day_record(&row)),
        Err(ReconciliationError::Store(error)) => Err(stored::problem(&error)),
        Err(error @ ReconciliationError::NotSettled(_)) => {
            Err(Problem::because(ProblemCode::StateForbids, error))
        }
        Err(error @ ReconciliationError::Statement(_)) => {
            Err(Problem::because(ProblemCode::PeerRefused, error))
        }
    }
}

/// The closed days.
pub(super) async fn days(centre: Arc<Clearing>, _call: Call<Institution, Nothing>) -> Result<Days, Problem> {
    let rows = centre.store.days(DAYS).await.map_err(|error| stored::problem(&error))?;
    Ok(Days { days: rows.iter().map(day_record).collect() })
}

/// A day's settlements.
pub(super) async fn settlements(
    centre: Arc<Clearing>,
    call: Call<Institution, Nothing>,
) -> Result<Settlements, Problem> {
    centre.settlements_for(&call.caller.0, call.parameter()?).await
}

/// An operator's files.
pub(super) async fn files(centre: Arc<Clearing>, call: Call<Institution, Nothing>) -> Result<Files, Problem> {
    let day: BusinessDay = call.parameter()?;
    let files = centre.files_of(&call.caller.0, day).await?;
    Ok(Files { files: files.iter().map(file_record).collect() })
}

/// One file.
pub(super) async fn file(
    centre: Arc<Clearing>,
    call: Call<Institution, Nothing>,
) -> Result<FileText, Problem> {
    let day: BusinessDay = call.parameter()?;
    let number: Option<u32> = call.parameters.get(1).and_then(|text| text.parse().ok());
    let files = centre.files_of(&call.caller.0, day).await?;
    let file = files.iter().find(|file| Some(file.number) == number).ok_or(ProblemCode::UnknownId)?;
    let text = centre.file_text(file).await.map_err(|error| not_settled(&error))?;
    Ok(FileText { file: file_record(file), text })
}

impl Clearing {
    pub(super) async fn settled(&self, day: BusinessDay) -> Result<DayRow, Problem> {
        let row = self.store.day(day).await.map_err(|error| stored::problem(&error))?;
        let row = row.ok_or(ProblemCode::UnknownId)?;
        if row.settled_at.is_some() {
            return Ok(row);
        }
        Err(Problem::because(
            ProblemCode::StateForbids,
            both("The day is not settled yet.", "该日尚未清算。"),
        ))
    }

    async fn settlements_for(&self, institution: &str, day: BusinessDay) -> Result<Settlements, Problem> {
        let problem = |error: StorageError| stored::problem(&error);
        self.settled(day).await?;
        let is_desk = self.duties.is_desk(institution);
        let mut found = Vec::new();
        for settlement in self.store.settlements(day).await.map_err(problem)? {
            let pair = &settlement.pair;
            let is_own = [&pair.issuer, &pair.operator].into_iter().any(|id| id.as_str() == institution);
            if is_desk || is_own {
                let paid = self.is_paid(&settlement).await.map_err(problem)?;
                found.push(settlement_record(&settlement, paid));
            }
        }
        Ok(Settlements { settlements: found })
    }

    async fn files_of(&self, institution: &str, day: BusinessDay) -> Result<Vec<SettlementFile>, Problem> {
        self.settled(day).await?;
        let operator =
            institution.parse().map_err(|error| Problem::because(ProblemCode::UnknownId, error))?;
        self.store.files(day, &operator).await.map_err(|error| stored::problem(&error))
    }
}

pub(super) fn not_settled(error: &SettlementError) -> Problem {
    match error {
        SettlementError::Store(error) => stored::problem(error),
        SettlementError::NotOver { .. } | SettlementError::NotSettled(_) => {
            Problem::because(ProblemCode::StateForbids, error)
        }
        SettlementError::File(error) => {
            tracing::error!(%error, "a settlement file cannot be made");
            ProblemCode::Internal.into()
        }
    }
}

fn day_record(row: &DayRow) -> DayRecord {
    DayRecord {
        day: row.day.to_string(),
        closed_at: row.closed_at,
        settled_at: row.settled_at,
        reconciled_at: row.reconciled_at,
        statement_lines: row.statement.as_ref().map_or(0, |head| head.lines),
        statements_missing: row.statement.as_ref().map_or(0, |head| head.missing),
        rides_judged: row.fares.judged,
        rides_not_judged: row.fares.not_judged,
    }
}

fn settlement_record(settlement: &Settlement, paid: bool) -> SettlementRecord {
    SettlementRecord {
        issuer: settlement.pair.issuer.to_string(),
        operator: settlement.pair.operator.to_string(),
        number: settlement.volume.number,
        gross_fen: settlement.volume.gross.get(),
        fee_fen: settlement.fee.whole.get(),
        issuer_share_fen: settlement.fee.issuer.get(),
        acquirer_share_fen: settlement.fee.acquirer.get(),
        net_fen: settlement.net().get(),
        due_from_issuer_fen: settlement.due_from_issuer().get(),
        paid,
    }
}

fn file_record(file: &SettlementFile) -> FileRecord {
    FileRecord {
        number: file.number,
        name: format!("CL{:08}{:04}", file.day.number(), file.number),
        records: file.volume.number,
        gross_fen: file.volume.gross.get(),
        bytes: file.bytes,
        sha256: tsm_api::HexBytes(file.digest.0.to_vec()),
    }
}
