//! Fare tables: proposed by one person of an operator, published by another, signed by the centre, and given to the
//! operator's terminals. The centre prices no journey: a tap's record names the version, and the card proves the
//! amount.

use std::sync::Arc;

use serde_json::json;
use tsm_api::HexBytes;
use tsm_api::clearing::fares::{
    FareDecision, FareList, FareRecord, NewFares, ProposedFares, PublishedFares, SignedFares,
};
use tsm_api::endpoint::Nothing;
use tsm_api::problem::{Problem, ProblemCode, both};
use tsm_domain::InstitutionId;
use tsm_domain::bytes::Sha256Digest;
use tsm_domain::money::fare::{FareBookError, FareHead, FareTable};
use tsm_storage::StorageError;
use tsm_storage::clearing::Books;
use tsm_storage::clearing::fares::FareRow;
use tsm_storage::clearing::lists::{ProposalDecided, ProposalVerdict};
use tsm_storage::clerks::ClerkRole;
use tsm_storage::shared::{ChainKey, Note};

use super::Clearing;
use super::access::Institution;
use super::collection::institution_id;
use super::lists::{decision_of, verdict_of};
use crate::server::Call;
use crate::staff::clerks::name_of;
use crate::stored;

/// The longest table, in bytes of its text.
const LONGEST: usize = 512 * 1024;

/// A person proposes a version.
pub(super) async fn propose(
    centre: Arc<Clearing>,
    call: Call<Institution, NewFares>,
) -> Result<FareRecord, Problem> {
    let by = call.caller.operator(ClerkRole::Proposer)?;
    let operator = institution_id(&call.caller.0)?;
    if centre.terminals.numbers_of(operator.as_str()).next().is_none() {
        return Err(Problem::because(
            ProblemCode::NotAllowed,
            both("The institution has no terminals.", "该机构没有终端。"),
        ));
    }
    let NewFares { valid_from, valid_until, text } = call.request;
    if text.len() > LONGEST {
        return Err(Problem::because(
            ProblemCode::ValueRefused,
            both("A fare table has 512 KiB at most.", "票价表最大 512 KiB。"),
        ));
    }
    let table: FareTable =
        serde_json::from_str(&text).map_err(|error| Problem::because(ProblemCode::ValueRefused, error))?;
    if table.version() == 0 {
        return Err(Problem::because(
            ProblemCode::ValueRefused,
            both("Versions begin with 1.", "版本号从 1 开始。"),
        ));
    }
    let digest = Sha256Digest::of(text.as_bytes());
    let head = FareHead { version: table.version(), valid_from, valid_until, digest };
    for known in centre.published(&operator).await? {
        check_order(&head, &known.head)?;
    }
    head.fits(&head).map_err(refused_head)?;
    let row = FareRow { operator, head, by, at: centre.now(), decided: None };
    let stored = centre.store.propose_fares(row, text).await.map_err(|error| refused(&error))?;
    Ok(record_of(&stored))
}

/// Another person decides.
pub(super) async fn decide(
    centre: Arc<Clearing>,
    call: Call<Institution, FareDecision>,
) -> Result<FareRecord, Problem> {
    let by = call.caller.operator(ClerkRole::Approver)?;
    let operator = institution_id(&call.caller.0)?;
    let version: u32 = call.parameter()?;
    let (row, _) = centre.version(&operator, version).await?;
    if row.head.digest.0 != *call.request.digest.as_bytes() {
        return Err(Problem::because(
            ProblemCode::ValueRefused,
            both("This is not the text that was proposed.", "与提交的文本不一致。"),
        ));
    }
    if row.by == by {
        return Err(ProblemCode::FourEyes.into());
    }
    let verdict = verdict_of(call.request.decision);
    let detail =
        json!({ "version": version, "digest": hex::encode(row.head.digest.0), "proposed_by": row.by });
    let event = match verdict {
        ProposalVerdict::Approved => "fares-published",
        ProposalVerdict::Refused => "fares-refused",
    };
    let note = Note {
        chain: ChainKey::Operator(by.clone()),
        at: centre.now(),
        actor: operator.to_string(),
        event: event.into(),
        detail: detail.to_string(),
    };
    let books = Books { notes: vec![note], ..Books::default() };
    let decided = ProposalDecided { by, verdict, at: centre.now() };
    let stored = centre.store.decide_fares(&operator, version, decided, books).await;
    stored.map(|row| record_of(&row)).map_err(|error| refused(&error))
}

/// The caller's versions.
pub(super) async fn versions(
    centre: Arc<Clearing>,
    call: Call<Institution, Nothing>,
) -> Result<FareList, Problem> {
    let rows = centre.store.fares(&institution_id(&call.caller.0)?).await.map_err(problem)?;
    Ok(FareList { fares: rows.iter().map(record_of).collect() })
}

/// A version with its text.
pub(super) async fn proposed(
    centre: Arc<Clearing>,
    call: Call<Institution, Nothing>,
) -> Result<ProposedFares, Problem> {
    let (row, text) = centre.version(&institution_id(&call.caller.0)?, call.parameter()?).await?;
    Ok(ProposedFares { record: record_of(&row), text })
}

/// A published version.
pub(super) async fn published(
    centre: Arc<Clearing>,
    call: Call<Institution, Nothing>,
) -> Result<PublishedFares, Problem> {
    let (row, text) = centre.version(&institution_id(&call.caller.0)?, call.parameter()?).await?;
    if !row.is_published() {
        return Err(Problem::because(
            ProblemCode::UnknownId,
            both("The version is not published.", "该版本尚未发布。"),
        ));
    }
    Ok(PublishedFares { head: centre.signed_fares(&row)?, text })
}

impl Clearing {
    async fn version(&self, operator: &InstitutionId, version: u32) -> Result<(FareRow, String), Problem> {
        let found = self.store.fare_text(operator, version).await.map_err(problem)?;
        found.ok_or_else(|| {
            Problem::because(ProblemCode::UnknownId, both("There is no such version.", "没有该版本。"))
        })
    }

    /// An operator's published versions, in order.
    pub(super) async fn published(&self, operator: &InstitutionId) -> Result<Vec<FareRow>, Problem> {
        let rows = self.store.fares(operator).await.map_err(problem)?;
        Ok(rows.into_iter().filter(FareRow::is_published).collect())
    }

    /// The version that is in force, if one is, and the signed heads of it and of those that come later.
    pub(super) async fn fares_for_terminals(
        &self,
        operator: &InstitutionId,
    ) -> Result<(u32, Vec<SignedFares>), Problem> {
        let mut rows = self.published(operator).await?;
        let now = self.now();
        let due = rows.iter().rposition(|row| row.head.valid_from <= now);
        let current = due.map_or(0, |due| rows[due].head.version);
        let rows = rows.split_off(due.unwrap_or(0));
        let heads: Result<_, _> = rows.iter().map(|row| self.signed_fares(row)).collect();
        Ok((current, heads?))
    }

    fn signed_fares(&self, row: &FareRow) -> Result<SignedFares, Problem> {
        let FareHead { version, valid_from, valid_until, digest } = row.head;
        let message = SignedFares::signed_bytes(row.operator.as_str(), &row.head);
        Ok(SignedFares {
            operator: row.operator.to_string(),
            version,
            valid_from,
            valid_until,
            digest: HexBytes(digest.0.to_vec()),
            signature: self.signed_for_terminals(&message)?,
        })
    }
}

fn check_order(head: &FareHead, published: &FareHead) -> Result<(), Problem> {
    // The same version again is told by the store whether it is the same.
    if head.version < published.version {
        let reason = both(
            format!("Version {} is published already.", published.version),
            format!("第 {} 版已发布。", published.version),
        );
        return Err(Problem::because(ProblemCode::StateForbids, reason));
    }
    match head.fits(published) {
        Ok(()) | Err(FareBookError::Otherwise(_)) => Ok(()),
        Err(error) => Err(refused_head(error)),
    }
}

fn refused_head(error: FareBookError) -> Problem {
    Problem::because(ProblemCode::ValueRefused, error)
}

fn problem(error: StorageError) -> Problem {
    stored::problem(&error)
}

fn refused(error: &StorageError) -> Problem {
    match error {
        StorageError::Conflict { .. } => Problem::because(
            ProblemCode::StateForbids,
            both(
                "The version is a different one, was decided otherwise, or does not come after those published.",
                "该版本内容不同、已有其他审批结果，或不在已发布版本之后。",
            ),
        ),
        other => stored::problem(other),
    }
}

fn record_of(row: &FareRow) -> FareRecord {
    let FareHead { version, valid_from, valid_until, digest } = row.head;
    FareRecord {
        version,
        valid_from,
        valid_until,
        digest: HexBytes(digest.0.to_vec()),
        proposed_by: name_of(&row.by),
        proposed_at: row.at,
        decision: row.decided.as_ref().map(|decided| decision_of(decided.verdict)),
        decided_by: row.decided.as_ref().map(|decided| name_of(&decided.by)),
    }
}
