//! The issuer's desk: its cases as they are told, and how a person's decision is written down.

use std::sync::Arc;

use serde_json::{Value, json};
use tsm_api::ids::OperationId as WireOperation;
use tsm_api::problem::{Problem, ProblemCode, both};
use tsm_api::sp_tsm::desk::{CardMatter, CasesQuery, DeskMatterKind, DeskRecord, DeskRecords, DeskState};
use tsm_domain::card::CardRecord;
use tsm_domain::desk::{Decided, DeskCase, DeskMatter, DeskRefusal, DeskStage};
use tsm_domain::{CardNumber, OperationId, OperatorId};
use tsm_storage::StorageError;
use tsm_storage::clerks::ClerkRole;
use tsm_storage::shared::Note;
use tsm_storage::sp_tsm::With;

use super::SpTsm;
use super::access::Caller;
use crate::names;
use crate::purse::card_from_wire;
use crate::server::Call;
use crate::stored;

/// The longest reason, in characters.
const LONGEST_REASON: usize = 500;

/// Whoever looks after riders.
pub(super) const SERVICE: &[ClerkRole] = &[ClerkRole::CustomerService, ClerkRole::Hall];
/// Whoever has the rider and his card before him.
pub(super) const HALL: &[ClerkRole] = &[ClerkRole::Hall];

/// What was decided about a card.
pub(super) async fn cases(tsm: Arc<SpTsm>, call: Call<Caller, CasesQuery>) -> Result<DeskRecords, Problem> {
    tsm.someone(&call.caller)?;
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
    /// Who asks what about which card: a person who is logged in with one of these roles, with a reason, about a card of
    /// this issuer.
    pub(super) async fn at_desk(
        &self,
        caller: &Caller,
        matter: &CardMatter,
        roles: &[ClerkRole],
    ) -> Result<AtDesk, Problem> {
        let clerk = self.clerk(caller, roles)?;
        let reason = matter.reason.trim();
        if reason.is_empty() || reason.chars().count() > LONGEST_REASON {
            let reason = both("A decision says why, in a few sentences.", "决定须用几句话说明理由。");
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

    /// The case that the path names, about such a matter.
    pub(super) async fn case_of<Q>(
        &self,
        call: &Call<Caller, Q>,
        is_such: impl Fn(DeskMatter) -> bool,
    ) -> Result<DeskCase, Problem> {
        let id: WireOperation = call.parameter()?;
        let case = self.store.desk_case(OperationId::from_uuid(id.0)).await.map_err(problem)?;
        case.filter(|case| is_such(case.matter)).ok_or_else(|| ProblemCode::UnknownId.into())
    }

    /// Opens a case that two people decide. A matter has one case that counts: its number follows from the matter,
    /// and another one is opened only when it was rejected. `check` says whether there is anything to decide.
    pub(super) async fn propose_case(
        &self,
        at: AtDesk,
        (words, event): (&[&str], &str),
        is_it: impl Fn(DeskMatter) -> bool,
        check: impl AsyncFnOnce(&CardRecord) -> Result<DeskMatter, Problem>,
    ) -> Result<DeskCase, Problem> {
        let before = self.store.cases_of(at.card.card).await.map_err(problem)?;
        let rejected = before
            .iter()
            .filter(|case| is_it(case.matter) && matches!(case.stage, DeskStage::Refused(_)))
            .count()
            .to_string();
        let id = OperationId::from_uuid(names::derived(&[words, &[rejected.as_str()]].concat()));
        if let Some(known) = before.into_iter().find(|case| case.id == id) {
            return Ok(known);
        }
        let matter = check(&at.card).await?;
        let opened = self.decided(&at.clerk);
        let case = DeskCase {
            id,
            card: at.card.card,
            matter,
            opened,
            reason: at.reason,
            requests: Vec::new(),
            stage: DeskStage::Open,
        };
        let note = self.note_by(&at.clerk, case.card, event, &detail(&case));
        let with = With { notes: vec![note], ..With::default() };
        self.store.open_case(case, with).await.map_err(problem)
    }

    /// Rejects a case. Said again by the same person, it changes nothing.
    pub(super) async fn reject_case(
        &self,
        case: DeskCase,
        clerk: &OperatorId,
        event: &str,
    ) -> Result<DeskCase, Problem> {
        if matches!(&case.stage, DeskStage::Refused(decided) if decided.by == *clerk) {
            return Ok(case);
        }
        let rejected = case.refused(self.decided(clerk)).map_err(refused)?;
        let note = self.note_by(clerk, case.card, event, &detail(&case));
        let with = With { notes: vec![note], ..With::default() };
        self.store.decide_case(&case, rejected.clone(), with).await.map_err(decided_otherwise)?;
        Ok(rejected)
    }
}

/// The detail of a journal entry about a case.
pub(super) fn detail(case: &DeskCase) -> Value {
    json!({ "case": case.id, "reason": case.reason, "opened_by": case.opened.by })
}

pub(super) fn problem(error: StorageError) -> Problem {
    stored::problem(&error)
}

pub(super) fn decided_otherwise(error: StorageError) -> Problem {
    match error {
        StorageError::Conflict { .. } => Problem::because(
            ProblemCode::StateForbids,
            both("Somebody else has decided it meanwhile.", "其间他人已作出决定。"),
        ),
        other => problem(other),
    }
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
