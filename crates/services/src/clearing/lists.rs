//! The black and grey lists: given to terminals as changes or whole, signed; changed by loss reports and by
//! two people. Freezing a card lists it in the store's own step.

use std::sync::Arc;

use serde_json::json;
use tsm_api::HexBytes;
use tsm_api::clearing::lists::{
    ChangesQuery, Currency, Decision, ListContent, ListProposal, ListStanding, ListUpdate, LockedCard,
    LostCard, ProposalDecision, ProposalList, ProposalRecord, TerminalList, TerminalParameters,
    TerminalRecord, TerminalStatus, WireListKind, WireStanding,
};
use tsm_api::endpoint::Nothing;
use tsm_api::problem::{Problem, ProblemCode};
use tsm_domain::money::{CardList, ListAction, ListReason, ListVersion};
use tsm_domain::{CardNumber, ProposalId};
use tsm_epurse::DateTime;
use tsm_storage::StorageError;
use tsm_storage::clearing::collection::Counted;
use tsm_storage::clearing::lists::{
    Listing, LossStanding, LossWord, ProposalDecided, ProposalRow, ProposalVerdict, TerminalStatusRow,
};
use tsm_storage::clearing::{Books, LockRow};
use tsm_storage::clerks::ClerkRole;

use super::Clearing;
use super::access::Institution;
use super::collection::institution_id;
use crate::purse::{card_from_wire, card_to_wire, moment};
use crate::server::Call;
use crate::staff::clerks::name_of;
use crate::stored;

/// Changes in one answer; a terminal that is further behind gets the whole list.
const MOST_CHANGES: usize = 10_000;
/// Listings that are read at once.
const PAGE: usize = 10_000;
/// Proposals in one answer.
const MOST_PROPOSALS: usize = 1_000;

/// What changed since a version.
pub(super) async fn list_changes(
    centre: Arc<Clearing>,
    call: Call<Institution, ChangesQuery>,
) -> Result<ListUpdate, Problem> {
    let since = ListVersion(call.request.since);
    let list = centre.card_list().await?;
    let changes = centre.store.list_changes(since, MOST_CHANGES + 1).await.map_err(problem)?;
    let up_to_head = changes.iter().take_while(|change| change.version <= list.version());
    let is_shorter = changes.len() <= MOST_CHANGES.min(list.len() + 100) && since <= list.version();
    let content = if is_shorter {
        ListContent::Changes(up_to_head.copied().map(Into::into).collect())
    } else {
        ListContent::Whole(list.cards().map(Into::into).collect())
    };
    Ok(ListUpdate { head: centre.signed_head(&list)?, content })
}

/// The whole list.
pub(super) async fn whole_list(
    centre: Arc<Clearing>,
    _call: Call<Institution, Nothing>,
) -> Result<ListUpdate, Problem> {
    let list = centre.card_list().await?;
    let content = ListContent::Whole(list.cards().map(Into::into).collect());
    Ok(ListUpdate { head: centre.signed_head(&list)?, content })
}

/// A terminal tells what it has.
pub(super) async fn terminal_status(
    centre: Arc<Clearing>,
    call: Call<Institution, TerminalStatus>,
) -> Result<TerminalParameters, Problem> {
    let institution = institution_id(&call.caller.0)?;
    let told = call.request;
    let (terminal, _) = centre.terminal_of(&institution, told.terminal.as_bytes())?;
    let version = centre.store.list_version().await.map_err(problem)?;
    if told.list_version > version.0 {
        return Err(Problem::because(ProblemCode::ValueRefused, "No list has this version yet."));
    }
    let now = centre.now();
    let status = TerminalStatusRow {
        terminal,
        institution: institution.clone(),
        list_version: ListVersion(told.list_version),
        fare_version: told.fare_version,
        fares_held: told.fares_held,
        held_since: Some(now),
        undelivered: told.undelivered,
        seen_at: now,
    };
    centre.store.put_terminal_status(status).await.map_err(problem)?;
    let batches = centre.store.numbering(Counted::Batches(terminal)).await.map_err(problem)?;
    let (fare_version, fares) = centre.fares_for_terminals(&institution).await?;
    Ok(TerminalParameters {
        terminal: told.terminal,
        list_version: version.0,
        fare_version,
        fares,
        batch_sequence: batches.whole_up_to(),
        now,
    })
}

/// The caller's terminals.
pub(super) async fn terminals(
    centre: Arc<Clearing>,
    call: Call<Institution, Nothing>,
) -> Result<TerminalList, Problem> {
    let institution = institution_id(&call.caller.0)?;
    let version = centre.store.list_version().await.map_err(problem)?;
    let (fares, _) = centre.fares_for_terminals(&institution).await?;
    let told = centre.store.terminal_statuses(&institution).await.map_err(problem)?;
    let record = |number: tsm_domain::TerminalNumber| {
        let status = told.iter().find(|status| status.terminal == number);
        let currency = match status {
            None => Currency::Silent,
            Some(status) if status.list_version < version || status.fares_held < fares => Currency::Behind,
            Some(_) => Currency::Current,
        };
        TerminalRecord {
            terminal: HexBytes(number.to_bcd().to_vec()),
            currency,
            list_version: status.map_or(0, |status| status.list_version.0),
            fare_version: status.map_or(0, |status| status.fare_version),
            undelivered: status.map_or(0, |status| status.undelivered),
            seen_at: status.map(|status| status.seen_at),
        }
    };
    let terminals = centre.terminals.numbers_of(institution.as_str()).map(record).collect();
    Ok(TerminalList { list_version: version.0, terminals })
}

/// A card is lost.
pub(super) async fn report_lost(
    centre: Arc<Clearing>,
    call: Call<Institution, LostCard>,
) -> Result<ListStanding, Problem> {
    centre.follow_loss(&call, LossStanding::Lost, "reported-lost").await
}

/// A lost card is found. A card that is listed for another reason stays listed; one that is frozen as well
/// goes back to the grey list.
pub(super) async fn report_found(
    centre: Arc<Clearing>,
    call: Call<Institution, LostCard>,
) -> Result<ListStanding, Problem> {
    centre.follow_loss(&call, LossStanding::Found, "reported-found").await
}

/// A terminal locked a card.
pub(super) async fn report_locked(
    centre: Arc<Clearing>,
    call: Call<Institution, LockedCard>,
) -> Result<ListStanding, Problem> {
    let institution = institution_id(&call.caller.0)?;
    let told = call.request;
    let (terminal, _) = centre.terminal_of(&institution, told.terminal.as_bytes())?;
    let card = card_from_wire(&told.card)?;
    let at = stated(&told)
        .ok_or_else(|| Problem::because(ProblemCode::ValueRefused, "The date or time cannot be read."))?;
    let lock = LockRow {
        card,
        terminal,
        number: told.number,
        institution,
        list_version: ListVersion(told.list_version),
        at,
    };
    centre.store.record_lock(lock).await.map_err(problem)?;
    centre.list_standing(card).await
}

fn stated(told: &LockedCard) -> Option<jiff::Timestamp> {
    let date: [u8; 4] = told.date.as_bytes().try_into().ok()?;
    let time: [u8; 3] = told.time.as_bytes().try_into().ok()?;
    moment(DateTime { date: date.into(), time: time.into() })
}

/// How a card is listed.
pub(super) async fn standing(
    centre: Arc<Clearing>,
    call: Call<Institution, Nothing>,
) -> Result<ListStanding, Problem> {
    let card = call.parameters.first().and_then(|text| hex::decode(text).ok());
    let card = card_from_wire(&HexBytes(card.ok_or(ProblemCode::UnknownId)?))?;
    centre.list_standing(card).await
}

/// A person proposes a change.
pub(super) async fn propose(
    centre: Arc<Clearing>,
    call: Call<Institution, ListProposal>,
) -> Result<ProposalRecord, Problem> {
    let by = call.caller.operator(ClerkRole::Proposer)?;
    let institution = institution_id(&call.caller.0)?;
    let told = call.request;
    centre.check_keeper_of(institution.as_str(), card_from_wire(&told.card)?)?;
    let proposal = ProposalRow {
        id: ProposalId::from_uuid(told.proposal),
        by,
        institution,
        card: card_from_wire(&told.card)?,
        action: match told.listed {
            Some(kind) => ListAction::Put(kind.into(), ListReason::Decided),
            None => ListAction::Remove,
        },
        why: told.why,
        at: centre.now(),
        decided: None,
    };
    let stored = centre.store.propose(proposal).await.map_err(|error| refused(&error))?;
    Ok(record_of(&stored))
}

/// Another person decides.
pub(super) async fn decide(
    centre: Arc<Clearing>,
    call: Call<Institution, ProposalDecision>,
) -> Result<ProposalRecord, Problem> {
    let by = call.caller.operator(ClerkRole::Approver)?;
    let institution = institution_id(&call.caller.0)?;
    let id = ProposalId::from_uuid(call.parameter()?);
    let proposal = centre.store.proposal(id).await.map_err(problem)?;
    let proposal = proposal.filter(|proposal| proposal.institution == institution);
    let proposal = proposal.ok_or(ProblemCode::UnknownId)?;
    let verdict = verdict_of(call.request.decision);
    let said = json!({ "proposed_by": proposal.by, "decided_by": by, "proposal": id });
    let note = centre.note(proposal.card, institution.as_str(), "list-decided", &said);
    let books = Books { notes: vec![note], ..Books::default() };
    let decided = ProposalDecided { by, verdict, at: centre.now() };
    let stored = centre.store.decide(id, decided, books).await.map_err(|error| refused(&error))?;
    Ok(record_of(&stored))
}

/// The caller's proposals that nobody has decided.
pub(super) async fn proposals(
    centre: Arc<Clearing>,
    call: Call<Institution, Nothing>,
) -> Result<ProposalList, Problem> {
    let institution = institution_id(&call.caller.0)?;
    let open = centre.store.proposals(MOST_PROPOSALS).await.map_err(problem)?;
    let own = open.iter().filter(|proposal| proposal.institution == institution);
    Ok(ProposalList { proposals: own.map(record_of).collect() })
}

fn problem(error: StorageError) -> Problem {
    stored::problem(&error)
}

fn refused(error: &StorageError) -> Problem {
    match error {
        StorageError::Conflict { .. } => Problem::because(
            ProblemCode::StateForbids,
            "It was decided otherwise, is a different proposal, or the same person decides.",
        ),
        other => stored::problem(other),
    }
}

/// What a second person says, as it is kept.
pub(super) const fn verdict_of(decision: Decision) -> ProposalVerdict {
    match decision {
        Decision::Approve => ProposalVerdict::Approved,
        Decision::Refuse => ProposalVerdict::Refused,
    }
}

/// What a second person said.
pub(super) const fn decision_of(verdict: ProposalVerdict) -> Decision {
    match verdict {
        ProposalVerdict::Approved => Decision::Approve,
        ProposalVerdict::Refused => Decision::Refuse,
    }
}

fn record_of(row: &ProposalRow) -> ProposalRecord {
    ProposalRecord {
        proposal: ListProposal {
            proposal: row.id.as_uuid(),
            card: card_to_wire(row.card),
            listed: match row.action {
                ListAction::Put(kind, _) => Some(WireListKind::from(kind)),
                ListAction::Remove => None,
            },
            why: row.why.clone(),
        },
        proposed_by: name_of(&row.by),
        proposed_at: row.at,
        decided: row
            .decided
            .as_ref()
            .map(|decided| ProposalDecision { decision: decision_of(decided.verdict) }),
        decided_by: row.decided.as_ref().map(|decided| name_of(&decided.by)),
    }
}

impl Clearing {
    /// Follows the issuer's word, unless a newer one came before it.
    async fn follow_loss(
        &self,
        call: &Call<Institution, LostCard>,
        standing: LossStanding,
        event: &str,
    ) -> Result<ListStanding, Problem> {
        let card = card_from_wire(&call.request.card)?;
        self.check_issuer(&call.caller.0, card)?;
        self.known(card).await?;
        let note = self.note(card, &call.caller.0, event, &json!({}));
        let books = Books { notes: vec![note], ..Books::default() };
        let word = LossWord { card, standing, change: call.request.change, at: self.now() };
        self.store.follow_loss(word, books).await.map_err(problem)?;
        self.list_standing(card).await
    }

    pub(super) async fn list_standing(&self, card: CardNumber) -> Result<ListStanding, Problem> {
        let listing: Option<Listing> = self.store.listing(card).await.map_err(problem)?;
        let version = self.store.list_version().await.map_err(problem)?;
        let listed = listing.map(|listing| WireStanding {
            kind: listing.listed.kind.into(),
            reason: listing.listed.reason.into(),
        });
        let locked = listing.and_then(|listing| listing.locked);
        Ok(ListStanding {
            card: card_to_wire(card),
            listed,
            list_version: version.0,
            locked_by: locked.map(|by| HexBytes(by.terminal.to_bcd().to_vec())),
        })
    }

    /// The list, at one version: when it changed while it was read, it is read again.
    pub(super) async fn card_list(&self) -> Result<CardList, Problem> {
        loop {
            let version = self.store.list_version().await.map_err(problem)?;
            let mut cards = Vec::new();
            let mut after = None;
            loop {
                let page = self.store.listings(after, PAGE).await.map_err(problem)?;
                cards.extend(page.iter().map(|listing| listing.listed));
                match page.last() {
                    Some(last) if page.len() == PAGE => after = Some(last.listed.card),
                    _ => break,
                }
            }
            if self.store.list_version().await.map_err(problem)? == version {
                return CardList::new(version, cards).map_err(|error| {
                    tracing::error!(%error, "the list is not one");
                    ProblemCode::Internal.into()
                });
            }
        }
    }
}
