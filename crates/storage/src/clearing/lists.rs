//! The black and grey lists, their versions, and who put whom on them.
//!
//! A change of the list takes the next version in the step that makes it. A card that is frozen goes on the
//! grey list in the step that freezes it, whoever freezes it, and comes off when it is released.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tsm_domain::money::journal::Change;
use tsm_domain::money::{CardAccount, ListAction, ListChange, ListKind, ListReason, ListVersion, ListedCard};
use tsm_domain::{CardNumber, InstitutionId, OperatorId, ProposalId, TerminalNumber};

use super::Books;
use crate::error::{Result, StorageError};

/// A listed card.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listing {
    /// The card, its kind and reason.
    pub listed: ListedCard,
    /// The version that lists it so.
    pub version: ListVersion,
    /// When that was.
    pub at: jiff::Timestamp,
    /// The terminal that locked the card since.
    pub locked: Option<LockedBy>,
}

/// A terminal that locked a card.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockedBy {
    /// The terminal.
    pub terminal: TerminalNumber,
    /// When it says it did.
    pub at: jiff::Timestamp,
}

/// A lock as a terminal reports it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockRow {
    /// The card.
    pub card: CardNumber,
    /// The terminal.
    pub terminal: TerminalNumber,
    /// The number of the record in the terminal.
    pub number: u64,
    /// Who reported it.
    pub institution: InstitutionId,
    /// The version of the list that the terminal acted upon; 0 when it does not say.
    pub list_version: ListVersion,
    /// When the terminal says it did.
    pub at: jiff::Timestamp,
}

/// A proposed change of the list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProposalRow {
    /// Its identity.
    pub id: ProposalId,
    /// The institution whose person proposes.
    pub institution: InstitutionId,
    /// The person.
    pub by: OperatorId,
    /// The card.
    pub card: CardNumber,
    /// What is to happen.
    pub action: ListAction,
    /// Why, in words.
    pub why: String,
    /// When.
    pub at: jiff::Timestamp,
    /// The decision.
    pub decided: Option<ProposalDecided>,
}

/// A decision on a proposal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProposalDecided {
    /// The other person.
    pub by: OperatorId,
    /// What was decided.
    pub verdict: ProposalVerdict,
    /// When.
    pub at: jiff::Timestamp,
}

impl ProposalDecided {
    /// Whether the decision changes anything, beside who proposed and what was decided before: the same again changes
    /// nothing. None when it may not be, because the person proposed it, or because it was decided otherwise.
    pub(crate) fn is_new(&self, proposed_by: &OperatorId, before: Option<&Self>) -> Option<bool> {
        match before {
            _ if self.by == *proposed_by => None,
            None => Some(true),
            Some(known) if known.by == self.by && known.verdict == self.verdict => Some(false),
            Some(_) => None,
        }
    }
}

/// Yes or no.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProposalVerdict {
    /// The change is made.
    Approved,
    /// It is not.
    Refused,
}

/// What a terminal told of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TerminalStatusRow {
    /// The terminal.
    pub terminal: TerminalNumber,
    /// Whose it is.
    pub institution: InstitutionId,
    /// The version of the list that it uses.
    pub list_version: ListVersion,
    /// The version of the fare table that it uses.
    pub fare_version: u32,
    /// The highest version that it holds.
    #[serde(default)]
    pub fares_held: u32,
    /// Since when the centre knows that it holds that version; its store keeps the earliest time.
    #[serde(default)]
    pub held_since: Option<jiff::Timestamp>,
    /// Records that it had not delivered.
    pub undelivered: u64,
    /// When it told.
    pub seen_at: jiff::Timestamp,
}

/// The issuer's word about the loss of a card.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LossWord {
    /// The card.
    pub card: CardNumber,
    /// Whether it is lost.
    pub standing: LossStanding,
    /// How often it was lost or found until now.
    pub change: u64,
    /// When the word came.
    pub at: jiff::Timestamp,
}

/// Whether a card is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LossStanding {
    /// It is.
    Lost,
    /// It was, and is found.
    Found,
}

/// The lists.
#[async_trait]
pub trait Lists: Send + Sync {
    /// The version of the list.
    async fn list_version(&self) -> Result<ListVersion>;
    /// The changes after a version, in order.
    async fn list_changes(&self, since: ListVersion, limit: usize) -> Result<Vec<ListChange>>;
    /// The listed cards in order of number, from `after` on.
    async fn listings(&self, after: Option<CardNumber>, limit: usize) -> Result<Vec<Listing>>;
    /// How a card is listed.
    async fn listing(&self, card: CardNumber) -> Result<Option<Listing>>;
    /// Changes how a card is listed. What would change nothing makes no version.
    async fn edit_list(
        &self,
        card: CardNumber,
        action: ListAction,
        at: jiff::Timestamp,
        books: Books,
    ) -> Result<Option<Listing>>;
    /// Follows the issuer's word about the loss of a card, unless this or a newer one was followed. A card that is
    /// listed black for another reason stays so.
    async fn follow_loss(&self, word: LossWord, books: Books) -> Result<Option<Listing>>;
    /// Records a lock once. The listing of the card, if it is listed, says so from then on.
    async fn record_lock(&self, lock: LockRow) -> Result<Option<Listing>>;
    /// Keeps a proposal. The same one again changes nothing; another with its identity is a conflict.
    async fn propose(&self, proposal: ProposalRow) -> Result<ProposalRow>;
    /// Another person decides, and an approved change is made in the same step. The same decision again
    /// changes nothing; another one is a conflict, and so is one by the person who proposed.
    async fn decide(&self, id: ProposalId, decided: ProposalDecided, books: Books) -> Result<ProposalRow>;
    /// Proposals that nobody has decided, oldest first.
    async fn proposals(&self, limit: usize) -> Result<Vec<ProposalRow>>;
    /// A proposal.
    async fn proposal(&self, id: ProposalId) -> Result<Option<ProposalRow>>;
    /// Keeps what a terminal told. What it told earlier replaces nothing.
    async fn put_terminal_status(&self, status: TerminalStatusRow) -> Result<()>;
    /// What the terminals of an institution told last, in order of number.
    async fn terminal_statuses(&self, institution: &InstitutionId) -> Result<Vec<TerminalStatusRow>>;
}

impl TerminalStatusRow {
    /// What is kept when this is told after `known`; none when `known` was told later.
    pub(crate) fn after(self, known: Option<&Self>) -> Option<Self> {
        let Some(known) = known else { return Some(self) };
        if known.seen_at > self.seen_at {
            return None;
        }
        let since = known.held_since.filter(|_| known.fares_held == self.fares_held);
        Some(Self { held_since: since.or(self.held_since), ..self })
    }
}

/// A change of the list, and what it makes of the card's listing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ListEdit {
    pub(crate) change: ListChange,
    pub(crate) listing: Option<Listing>,
    replaced: Option<ListKind>,
}

/// What an action changes; none when the card is listed so already.
pub(crate) fn edit(
    card: CardNumber,
    current: Option<&Listing>,
    action: ListAction,
    last: ListVersion,
    at: jiff::Timestamp,
) -> Option<ListEdit> {
    let version = last.next();
    let replaced = current.map(|current| current.listed.kind);
    let listing = match action {
        ListAction::Put(kind, reason) => {
            let listed = ListedCard { card, kind, reason };
            if current.is_some_and(|current| current.listed == listed) {
                return None;
            }
            Some(Listing { listed, version, at, locked: current.and_then(|current| current.locked) })
        }
        ListAction::Remove => {
            current?;
            None
        }
    };
    Some(ListEdit { change: ListChange { version, card, action }, listing, replaced })
}

impl LossWord {
    /// Whether it is newer than what was followed.
    pub(crate) fn is_newer_than(&self, followed: Option<u64>) -> bool {
        followed.is_none_or(|followed| followed < self.change)
    }

    /// What it does to the card's listing. A card that is found and frozen as well goes to the grey list.
    pub(crate) fn action(&self, current: Option<&Listing>, account: &CardAccount) -> Option<ListAction> {
        let listed = current.map(|current| current.listed);
        match self.standing {
            LossStanding::Lost => {
                let is_black = listed.is_some_and(|listed| listed.kind == ListKind::Black);
                (!is_black).then_some(ListAction::Put(ListKind::Black, ListReason::Lost))
            }
            LossStanding::Found => {
                let is_lost = listed.is_some_and(|listed| listed.reason == ListReason::Lost);
                is_lost.then_some(match account.freeze {
                    Some(_) => ListAction::Put(ListKind::Grey, ListReason::Frozen),
                    None => ListAction::Remove,
                })
            }
        }
    }
}

impl ListEdit {
    /// What the card's journal says of the edit.
    pub(crate) fn journalled(&self) -> Vec<Change> {
        let version = self.change.version;
        let now = self.listing.map(|listing| listing.listed.kind);
        let left = self.replaced.filter(|before| now != Some(*before));
        let left = left.map(|list| Change::Unlisted { list, version });
        let entered = now.map(|list| Change::Listed { list, version });
        left.into_iter().chain(entered).collect()
    }
}

/// What freezing or releasing an account does to the card's listing. A freeze says its reason before a colon;
/// a release takes off what a freeze put on.
pub(crate) fn frozen_action(
    current: Option<&Listing>,
    before: &CardAccount,
    after: &CardAccount,
) -> Option<ListAction> {
    let is_black = current.is_some_and(|current| current.listed.kind == ListKind::Black);
    match (&before.freeze, &after.freeze) {
        (_, Some(freeze)) if before.freeze.as_ref() != Some(freeze) && !is_black => {
            let word = freeze.reason.split(':').next().unwrap_or_default();
            let reason = ListReason::from_name(word).unwrap_or(ListReason::Frozen);
            Some(ListAction::Put(ListKind::Grey, reason))
        }
        (Some(_), None) => {
            let of_a_freeze = current.is_some_and(|current| {
                current.listed.kind == ListKind::Grey && is_of_a_freeze(current.listed.reason)
            });
            of_a_freeze.then_some(ListAction::Remove)
        }
        _ => None,
    }
}

const fn is_of_a_freeze(reason: ListReason) -> bool {
    match reason {
        ListReason::Copied
        | ListReason::CounterWentBack
        | ListReason::BalanceDoesNotFollow
        | ListReason::Frozen => true,
        ListReason::Lost | ListReason::Closed | ListReason::Decided => false,
    }
}

/// A listing of a card that a terminal locked. The first lock since it was listed stays.
pub(crate) fn locked(listing: Listing, lock: &LockRow) -> Listing {
    let by = LockedBy { terminal: lock.terminal, at: lock.at };
    Listing { locked: listing.locked.or(Some(by)), ..listing }
}

/// A proposal that was made before must be the same.
pub(crate) fn same_proposal(stored: ProposalRow, again: &ProposalRow) -> Result<ProposalRow> {
    let same = (&stored.by, stored.card, stored.action) == (&again.by, again.card, again.action);
    if same { Ok(stored) } else { Err(StorageError::conflict("list proposal", again.id)) }
}

/// A proposal after a decision, and whether its change is to be made now.
pub(crate) fn decided(
    proposal: ProposalRow,
    decided: ProposalDecided,
) -> Result<(ProposalRow, Option<ListAction>)> {
    let is_new = decided.is_new(&proposal.by, proposal.decided.as_ref());
    if !is_new.ok_or_else(|| StorageError::conflict("list proposal", proposal.id))? {
        return Ok((proposal, None));
    }
    let action = match decided.verdict {
        ProposalVerdict::Approved => Some(proposal.action),
        ProposalVerdict::Refused => None,
    };
    Ok((ProposalRow { decided: Some(decided), ..proposal }, action))
}
