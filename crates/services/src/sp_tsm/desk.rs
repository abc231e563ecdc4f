//! The issuer's desk: its cases as they are told, and how a person's decision is written down.

use std::sync::Arc;

use serde_json::{Value, json};
use tsm_api::StaffRole;
use tsm_api::ids::OperationId as WireOperation;
use tsm_api::problem::{Problem, ProblemCode};
use tsm_api::sp_tsm::desk::{CardMatter, CasesQuery, DeskMatterKind, DeskRecord, DeskRecords, DeskState};
use tsm_domain::card::CardRecord;
use tsm_domain::desk::{Decided, DeskCase, DeskMatter, DeskRefusal, DeskStage};
use tsm_domain::{CardNumber, OperatorId};
use tsm_storage::StorageError;
use tsm_storage::shared::Note;

use super::SpTsm;
use super::access::Caller;
use crate::purse::card_from_wire;
use crate::server::Call;
use crate::stored;

/// The longest reason, in characters.
const LONGEST_REASON: usize = 500;

/// Whoever looks after riders.
pub(super) const SERVICE: &[StaffRole] = &[StaffRole::CustomerService, StaffRole::Hall];
/// Whoever has the rider and his card before him.
pub(super) const HALL: &[StaffRole] = &[StaffRole::Hall];

/// What was decided about a card.
pub(super) async fn cases(tsm: Arc<SpTsm>, call: Call<Caller, CasesQuery>) -> Result<DeskRecords, Problem> {
    tsm.require_desk(&call.caller)?;
    let card = tsm.card_at_desk(card_from_wire(&call.request.card)?).await?;
    let cases = tsm.store.cases_of(card.card).await.map_err(problem)?;
    Ok(DeskRecords { cases: cases.iter().map(record).collect() })
}

/// A request of a person of the desk about a card.
pub(super) struct AtDesk {
    pub clerk: OperatorId,
    pub card: CardRecord,
    pub reason: String,
}

impl SpTsm {
    /// Who asks what about which card: a known person in one of these roles, with a reason, about a card of
    /// this issuer.
    pub(super) async fn at_desk(
        &self,
        caller: &Caller,
        matter: &CardMatter,
        roles: &[StaffRole],
    ) -> Result<AtDesk, Problem> {
        let clerk = self.clerk(caller, &matter.clerk, roles)?;
        let reason = matter.reason.trim();
        if reason.is_empty() || reason.chars().count() > LONGEST_REASON {
            let reason = "A decision says why, in a few sentences.";
            return Err(Problem::because(ProblemCode::ValueRefused, reason));
        }
        let card = self.card_at_desk(card_from_wire(&matter.card)?).await?;
        Ok(AtDesk { clerk, card, reason: reason.to_owned() })
    }

    async fn card_at_desk(&self, card: CardNumber) -> Result<CardRecord, Problem> {
        self.store.card(card).await.map_err(problem)?.ok_or_else(|| ProblemCode::UnknownId.into())
    }

    /// An entry of a card's journal under a person's name.
    pub(super) fn note_by(&self, by: &OperatorId, card: CardNumber, event: &str, detail: &Value) -> Note {
        Note { actor: by.to_string(), ..self.note(card, event, detail) }
    }

    pub(super) fn decided(&self, by: &OperatorId) -> Decided {
        Decided { by: by.clone(), at: self.now() }
    }
}

/// The detail of a journal entry about a case.
pub(super) fn detail(case: &DeskCase) -> Value {
    json!({ "case": case.id, "reason": case.reason, "opened_by": case.opened.by })
}

pub(super) fn problem(error: StorageError) -> Problem {
    stored::problem(&error)
}

pub(super) fn refused(refusal: DeskRefusal) -> Problem {
    let code = match refusal {
        DeskRefusal::FourEyes => ProblemCode::FourEyes,
        DeskRefusal::Decided | DeskRefusal::Ended => ProblemCode::StateForbids,
    };
    Problem::because(code, format_args!("In detail: {refusal}."))
}

/// A case as the desk sees it.
pub(super) fn record(case: &DeskCase) -> DeskRecord {
    DeskRecord {
        case: WireOperation(case.id.as_uuid()),
        card_number: case.card.to_string(),
        matter: match case.matter {
            DeskMatter::Payout { .. } => DeskMatterKind::Payout,
            DeskMatter::Lost => DeskMatterKind::Lost,
            DeskMatter::Unlock { .. } => DeskMatterKind::Unlock,
            DeskMatter::ClaimReturned { .. } => DeskMatterKind::ClaimReturned,
        },
        by: case.opened.by.to_string(),
        reason: case.reason.clone(),
        at: case.opened.at,
        state: match case.stage {
            DeskStage::Open => DeskState::Open,
            DeskStage::Done(_) => DeskState::Done,
            DeskStage::Refused(_) => DeskState::Refused,
        },
        until: match case.matter {
            DeskMatter::Unlock { until } => Some(until),
            DeskMatter::Payout { .. } | DeskMatter::Lost | DeskMatter::ClaimReturned { .. } => None,
        },
    }
}
