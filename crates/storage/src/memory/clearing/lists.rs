//! The black and grey lists in memory.

use std::collections::BTreeMap;

use async_trait::async_trait;
use tsm_domain::money::{CardAccount, ListAction, ListChange, ListVersion};
use tsm_domain::{CardNumber, InstitutionId, ProposalId, TerminalNumber};

use super::ClearingState;
use crate::clearing::lists::*;
use crate::clearing::{Books, Step};
use crate::error::{Result, StorageError};
use crate::memory::Memory;

/// What the lists keep.
#[derive(Debug, Default)]
pub(super) struct ListsState {
    changes: Vec<ListChange>,
    listings: BTreeMap<CardNumber, Listing>,
    proposals: BTreeMap<ProposalId, ProposalRow>,
    statuses: BTreeMap<TerminalNumber, TerminalStatusRow>,
    losses_followed: BTreeMap<CardNumber, u64>,
}

impl ListsState {
    fn version(&self) -> ListVersion {
        self.changes.last().map_or(ListVersion::NONE, |last| last.version)
    }

    fn edit(&self, card: CardNumber, action: ListAction, at: jiff::Timestamp) -> Option<ListEdit> {
        edit(card, self.listings.get(&card), action, self.version(), at)
    }

    pub(super) fn put(&mut self, edit: ListEdit) {
        self.changes.push(edit.change);
        match edit.listing {
            Some(listing) => self.listings.insert(edit.change.card, listing),
            None => self.listings.remove(&edit.change.card),
        };
    }

    /// What freezing or releasing an account does to the list.
    pub(super) fn frozen(
        &self,
        card: CardNumber,
        before: &CardAccount,
        after: &CardAccount,
        at: jiff::Timestamp,
    ) -> Option<ListEdit> {
        let action = frozen_action(self.listings.get(&card), before, after)?;
        self.edit(card, action, at)
    }
}

impl ClearingState {
    fn edit_list(
        &mut self,
        card: CardNumber,
        action: ListAction,
        at: jiff::Timestamp,
        books: Books,
    ) -> Result<()> {
        let Some(edit) = self.lists.edit(card, action, at) else { return Ok(()) };
        let mut step = Step::default();
        step.listed(&edit, at);
        self.book(step, books)?;
        self.lists.put(edit);
        Ok(())
    }

    /// Records a lock once.
    pub(super) fn put_lock(&mut self, lock: &LockRow) {
        let key = (lock.card, lock.terminal.to_string(), lock.number);
        if self.collection.locks.contains_key(&key) {
            return;
        }
        self.collection.locks.insert(key, lock.clone());
        if let Some(listing) = self.lists.listings.get_mut(&lock.card) {
            *listing = locked(*listing, lock);
        }
    }
}

#[async_trait]
impl Lists for Memory<ClearingState> {
    async fn list_version(&self) -> Result<ListVersion> {
        self.read(|state| Ok(state.lists.version()))
    }

    async fn list_changes(&self, since: ListVersion, limit: usize) -> Result<Vec<ListChange>> {
        self.read(|state| {
            let later = state.lists.changes.iter().filter(|change| change.version > since);
            Ok(later.take(limit).copied().collect())
        })
    }

    async fn listings(&self, after: Option<CardNumber>, limit: usize) -> Result<Vec<Listing>> {
        self.read(|state| {
            let all = state.lists.listings.iter();
            let later = all.filter(|(card, _)| after.is_none_or(|after| **card > after));
            Ok(later.map(|(_, listing)| *listing).take(limit).collect())
        })
    }

    async fn listing(&self, card: CardNumber) -> Result<Option<Listing>> {
        self.read(|state| Ok(state.lists.listings.get(&card).copied()))
    }

    async fn edit_list(
        &self,
        card: CardNumber,
        action: ListAction,
        at: jiff::Timestamp,
        books: Books,
    ) -> Result<Option<Listing>> {
        self.write(|state| {
            state.edit_list(card, action, at, books)?;
            Ok(state.lists.listings.get(&card).copied())
        })
    }

    async fn follow_loss(&self, word: LossWord, books: Books) -> Result<Option<Listing>> {
        self.write(|state| {
            if word.is_newer_than(state.lists.losses_followed.get(&word.card).copied()) {
                let account = state.account(word.card)?.account;
                if let Some(action) = word.action(state.lists.listings.get(&word.card), &account) {
                    state.edit_list(word.card, action, word.at, books)?;
                }
                state.lists.losses_followed.insert(word.card, word.change);
            }
            Ok(state.lists.listings.get(&word.card).copied())
        })
    }

    async fn record_lock(&self, lock: LockRow) -> Result<Option<Listing>> {
        self.write(|state| {
            state.put_lock(&lock);
            Ok(state.lists.listings.get(&lock.card).copied())
        })
    }

    async fn propose(&self, proposal: ProposalRow) -> Result<ProposalRow> {
        self.write(|state| match state.lists.proposals.get(&proposal.id) {
            Some(stored) => same_proposal(stored.clone(), &proposal),
            None => {
                state.lists.proposals.insert(proposal.id, proposal.clone());
                Ok(proposal)
            }
        })
    }

    async fn decide(&self, id: ProposalId, by: ProposalDecided, books: Books) -> Result<ProposalRow> {
        self.write(|state| {
            let stored = state.lists.proposals.get(&id).cloned();
            let stored = stored.ok_or_else(|| StorageError::unknown("list proposal", id))?;
            let at = by.at;
            let (proposal, action) = decided(stored, by)?;
            if let Some(action) = action {
                state.edit_list(proposal.card, action, at, books)?;
            }
            state.lists.proposals.insert(id, proposal.clone());
            Ok(proposal)
        })
    }

    async fn proposals(&self, limit: usize) -> Result<Vec<ProposalRow>> {
        self.read(|state| {
            let open = state.lists.proposals.values().filter(|proposal| proposal.decided.is_none());
            let mut found: Vec<_> = open.cloned().collect();
            found.sort_by_key(|proposal| (proposal.at, proposal.id));
            found.truncate(limit);
            Ok(found)
        })
    }

    async fn proposal(&self, id: ProposalId) -> Result<Option<ProposalRow>> {
        self.read(|state| Ok(state.lists.proposals.get(&id).cloned()))
    }

    async fn put_terminal_status(&self, status: TerminalStatusRow) -> Result<()> {
        self.write(|state| {
            let known = state.lists.statuses.get(&status.terminal);
            if let Some(status) = status.after(known) {
                state.lists.statuses.insert(status.terminal, status);
            }
            Ok(())
        })
    }

    async fn terminal_statuses(&self, institution: &InstitutionId) -> Result<Vec<TerminalStatusRow>> {
        self.read(|state| {
            let all = state.lists.statuses.values();
            Ok(all.filter(|status| status.institution == *institution).cloned().collect())
        })
    }
}
