//! The endpoints of differences: the reconciliation view, and what two people do about it.

use std::sync::Arc;

use tsm_api::clearing::settlement::{
    ActionKind, ClerkRecord, DifferenceQuery, DifferenceRecord, Differences, NewProposal,
};
use tsm_api::endpoint::Nothing;
use tsm_api::problem::{Problem, ProblemCode};
use tsm_domain::DifferenceId;
use tsm_domain::money::reconciliation::{Action, Cause, Clerk, Difference, DifferenceState};
use tsm_storage::clearing::settlement::DifferenceQuery as Query;
use tsm_storage::clerks::ClerkRole;

use super::Clearing;
use super::access::Institution;
use crate::purse::{card_from_wire, card_to_wire};
use crate::server::Call;
use crate::stored;

/// Differences listed at once.
const PAGE: usize = 200;

/// The differences about the caller's cards; all for the desk.
pub(super) async fn differences(
    centre: Arc<Clearing>,
    call: Call<Institution, DifferenceQuery>,
) -> Result<Differences, Problem> {
    let institution = &call.caller.0;
    let query = read_query(&centre, call.request).await?;
    let prefixes: Vec<Option<String>> = if centre.duties.is_desk(institution) {
        vec![None]
    } else {
        centre.duties.prefixes_of(institution).map(|prefix| Some(prefix.to_owned())).collect()
    };
    let mut found = Vec::new();
    for prefix in prefixes {
        let query = Query { prefix, ..query.clone() };
        let page = centre.store.differences(&query, PAGE).await;
        found.extend(page.map_err(|error| stored::problem(&error))?);
    }
    found.sort_by_key(|difference| (difference.day, difference.id));
    found.truncate(PAGE);
    Ok(Differences { differences: found.iter().map(record).collect() })
}

async fn read_query(centre: &Clearing, asked: DifferenceQuery) -> Result<Query, Problem> {
    let DifferenceQuery { day, state, cause, after } = asked;
    let refused =
        |what: &str| Problem::because(ProblemCode::ValueRefused, format_args!("There is no such {what}."));
    let day = day.map(|day| day.parse().map_err(|_| refused("day"))).transpose()?;
    let cause = cause.map(|cause| Cause::from_name(&cause).ok_or_else(|| refused("cause"))).transpose()?;
    let after = match after.map(DifferenceId::from_uuid) {
        None => None,
        Some(id) => {
            let known = centre.store.difference(id).await.map_err(|error| stored::problem(&error))?;
            Some(known.map(|known| (known.day, id)).ok_or_else(|| refused("difference"))?)
        }
    };
    Ok(Query { day, state, cause, prefix: None, after })
}

/// One difference.
pub(super) async fn difference(
    centre: Arc<Clearing>,
    call: Call<Institution, Nothing>,
) -> Result<DifferenceRecord, Problem> {
    let found = centre.difference_for(&call.caller.0, call.parameter()?).await?;
    Ok(record(&found))
}

/// Proposes what to do.
pub(super) async fn propose(
    centre: Arc<Clearing>,
    call: Call<Institution, NewProposal>,
) -> Result<DifferenceRecord, Problem> {
    let by = call.caller.clerk(ClerkRole::Proposer)?;
    let known = centre.difference_for(&call.caller.0, call.parameter()?).await?;
    let NewProposal { action, card, note } = call.request;
    let card = card.as_ref().map(card_from_wire).transpose()?;
    let action = match action {
        ActionKind::Book => Action::Book { card },
        ActionKind::Refund => Action::Refund { card },
        ActionKind::WriteOff => Action::WriteOff,
        ActionKind::Ignore => Action::Ignore,
        ActionKind::FreezeCard => Action::FreezeCard,
        ActionKind::ReleaseCard => Action::ReleaseCard,
        ActionKind::GoOnWithout => Action::GoOnWithout,
    };
    centre.propose(known, by, action, note).await.map(|changed| record(&changed))
}

/// Approves what another person proposed.
pub(super) async fn approve(
    centre: Arc<Clearing>,
    call: Call<Institution, Nothing>,
) -> Result<DifferenceRecord, Problem> {
    let by = call.caller.clerk(ClerkRole::Approver)?;
    let known = centre.difference_for(&call.caller.0, call.parameter()?).await?;
    centre.approve(known, by).await.map(|changed| record(&changed))
}

/// Sends a proposal back.
pub(super) async fn reject(
    centre: Arc<Clearing>,
    call: Call<Institution, Nothing>,
) -> Result<DifferenceRecord, Problem> {
    call.caller.clerk(ClerkRole::Approver)?;
    let known = centre.difference_for(&call.caller.0, call.parameter()?).await?;
    centre.reject(known).await.map(|changed| record(&changed))
}

fn clerk_record(clerk: &Clerk) -> ClerkRecord {
    ClerkRecord { institution: clerk.institution.to_string(), person: clerk.person.to_string() }
}

fn record(difference: &Difference) -> DifferenceRecord {
    let proposal = match &difference.state {
        DifferenceState::Proposed(proposal) | DifferenceState::Resolved { proposal, .. } => Some(proposal),
        DifferenceState::Waiting { .. } | DifferenceState::Open | DifferenceState::Explained { .. } => None,
    };
    let approved_by = match &difference.state {
        DifferenceState::Resolved { approved_by, .. } => Some(clerk_record(approved_by)),
        DifferenceState::Waiting { .. }
        | DifferenceState::Open
        | DifferenceState::Proposed(_)
        | DifferenceState::Explained { .. } => None,
    };
    let cause = difference.cause;
    DifferenceRecord {
        difference: difference.id.as_uuid(),
        day: difference.day.to_string(),
        cause: cause.name().into(),
        cause_en: cause.en().into(),
        cause_zh: cause.zh().into(),
        proposal_en: cause.proposal_en().into(),
        proposal_zh: cause.proposal_zh().into(),
        reference: difference.reference.map(|reference| reference.as_uuid()),
        card: difference.card.map(card_to_wire),
        ours_fen: difference.ours.map(|fen| fen.get()),
        theirs_fen: difference.theirs.map(|fen| fen.get()),
        text: difference.text.clone(),
        state: difference.state.name().into(),
        action: proposal.map(|proposal| match proposal.action {
            Action::Book { .. } => ActionKind::Book,
            Action::Refund { .. } => ActionKind::Refund,
            Action::WriteOff => ActionKind::WriteOff,
            Action::Ignore => ActionKind::Ignore,
            Action::FreezeCard => ActionKind::FreezeCard,
            Action::ReleaseCard => ActionKind::ReleaseCard,
            Action::GoOnWithout => ActionKind::GoOnWithout,
        }),
        note: proposal.map(|proposal| proposal.note.clone()),
        proposed_by: proposal.map(|proposal| clerk_record(&proposal.by)),
        approved_by,
    }
}
