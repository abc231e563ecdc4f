//! Conversations, sessions, outbox, incidents and journals in memory.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use tsm_domain::{ConversationId, DeliveryId, IncidentId, InstitutionId, OperatorId, SeId, SessionId};

use super::{Memory, PlantedBug};
use crate::clerks::ClerkAccount;
use crate::error::{Result, StorageError};
use crate::shared::*;

/// How many steps are stored whole between two that lose their journal entries to a planted bug.
const SKIPPED_EVERY: u64 = 25;

/// The part of a state that every service has.
#[derive(Debug, Clone, Default)]
pub struct Shared {
    leases: BTreeMap<SeId, Lease>,
    conversations: BTreeMap<ConversationId, Conversation>,
    sessions: BTreeMap<SessionId, Session>,
    pub(super) clerks: BTreeMap<(InstitutionId, OperatorId), ClerkAccount>,
    outbox: BTreeMap<DeliveryId, Delivery>,
    due: BTreeSet<(jiff::Timestamp, DeliveryId)>,
    pub(super) incidents: BTreeMap<IncidentId, Incident>,
    chains: BTreeMap<String, Vec<Entry>>,
    pub(super) planted: Option<PlantedBug>,
    steps: u64,
}

#[derive(Debug, Clone, Copy)]
struct Lease {
    fence: Fence,
    until: Option<jiff::Timestamp>,
}

/// A state that has a shared part.
pub trait HasShared: Send + 'static {
    /// The shared part.
    fn shared(&self) -> &Shared;
    /// The shared part, to change.
    fn shared_mut(&mut self) -> &mut Shared;
}

macro_rules! has_shared {
    ($state:ident) => {
        impl crate::memory::shared::HasShared for $state {
            fn shared(&self) -> &crate::memory::shared::Shared {
                &self.shared
            }

            fn shared_mut(&mut self) -> &mut crate::memory::shared::Shared {
                &mut self.shared
            }
        }
    };
}
pub(super) use has_shared;

impl Shared {
    pub(super) fn check_fence(&self, fence: Fence) -> Result<()> {
        let current = self.leases.get(&fence.se).map(|lease| lease.fence);
        if current == Some(fence) {
            return Ok(());
        }
        let current = current.map(|fence| fence.epoch).unwrap_or_default();
        Err(StorageError::Fenced { se: fence.se, held: fence.epoch, current })
    }

    /// Puts what goes with a step. Nothing here can fail.
    pub(super) fn put_with(&mut self, deliveries: Vec<Delivery>, notes: Vec<Note>, incidents: Vec<Incident>) {
        for delivery in deliveries {
            self.put_delivery(delivery);
        }
        self.append_notes(notes);
        for incident in incidents {
            self.incidents.entry(incident.id).or_insert(incident);
        }
    }

    fn put_delivery(&mut self, delivery: Delivery) {
        // One that was delivered stays known, so that storing its step again does not send it again.
        if !self.outbox.contains_key(&delivery.id) {
            self.due.insert((delivery.due_at, delivery.id));
            self.outbox.insert(delivery.id, delivery);
        }
    }

    /// A message is not to be sent any more, if it was to be.
    pub(super) fn end_delivery(&mut self, id: DeliveryId) {
        if let Some(known) = self.outbox.get(&id) {
            self.due.remove(&(known.due_at, id));
        }
    }

    /// Appends notes. A list that a chain already ends with was stored by an earlier run of the same step.
    pub(super) fn append_notes(&mut self, notes: Vec<Note>) {
        self.steps += 1;
        if self.planted == Some(PlantedBug::SkippedJournal) && self.steps.is_multiple_of(SKIPPED_EVERY) {
            return;
        }
        let mut by_chain: BTreeMap<String, Vec<Note>> = BTreeMap::new();
        for note in notes {
            by_chain.entry(note.chain.to_text()).or_default().push(note);
        }
        for (key, notes) in by_chain {
            let chain = self.chains.entry(key).or_default();
            let tail = chain.len().saturating_sub(notes.len());
            if chain[tail..].iter().map(|entry| &entry.note).eq(&notes) {
                continue;
            }
            for note in notes {
                let entry = Entry::following(chain.last(), note);
                chain.push(entry);
            }
        }
    }

    /// The last entry of each chain, in order.
    pub(super) fn heads(&self) -> impl Iterator<Item = &Entry> {
        self.chains.values().filter_map(|chain| chain.last())
    }

    pub(super) fn end(&mut self, fence: Fence, end: ConversationEnd) {
        if let Some(conversation) = self.conversations.get_mut(&fence.conversation) {
            conversation.ended.get_or_insert(end);
        }
        if let Some(lease) = self.leases.get_mut(&fence.se) {
            lease.until = None;
        }
    }

    fn begin(
        &mut self,
        conversation: Conversation,
        claim: Claim,
        now: jiff::Timestamp,
        until: jiff::Timestamp,
    ) -> Result<Begun> {
        let known = self.conversations.get(&conversation.id);
        if known.is_some_and(|known| known.se != conversation.se) {
            return Err(StorageError::conflict("conversation", conversation.id));
        }
        let (id, se) = (conversation.id, conversation.se);
        let last = self.leases.get(&se).copied();
        if let Some(Lease { fence, until: Some(held_until) }) = last {
            if fence.conversation == id {
                self.leases.insert(se, Lease { fence, until: Some(until) });
                return Ok(Begun::Granted(fence));
            }
            if held_until > now && claim == Claim::Wait {
                return Ok(Begun::Busy { by: fence.conversation, until: held_until });
            }
            let outcome = format!("taken over by conversation {id}");
            if let Some(old) = self.conversations.get_mut(&fence.conversation) {
                old.ended.get_or_insert(ConversationEnd { at: now, outcome, status_word: None });
            }
        }
        let epoch = Epoch(last.map_or(0, |lease| lease.fence.epoch.0) + 1);
        let fence = Fence { se, conversation: id, epoch };
        self.leases.insert(se, Lease { fence, until: Some(until) });
        self.conversations.entry(id).or_insert(conversation);
        Ok(Begun::Granted(fence))
    }
}

#[async_trait]
impl<S: HasShared> Conversations for Memory<S> {
    async fn begin_conversation(
        &self,
        conversation: Conversation,
        claim: Claim,
        now: jiff::Timestamp,
        until: jiff::Timestamp,
    ) -> Result<Begun> {
        self.write(|state| state.shared_mut().begin(conversation, claim, now, until))
    }

    async fn extend_lease(&self, fence: Fence, until: jiff::Timestamp) -> Result<()> {
        self.write(|state| {
            let shared = state.shared_mut();
            shared.check_fence(fence)?;
            if let Some(lease) = shared.leases.get_mut(&fence.se).filter(|lease| lease.until.is_some()) {
                lease.until = Some(until);
            }
            Ok(())
        })
    }

    async fn end_conversation(&self, fence: Fence, end: ConversationEnd) -> Result<()> {
        self.write(|state| {
            let shared = state.shared_mut();
            shared.check_fence(fence)?;
            shared.end(fence, end);
            Ok(())
        })
    }

    async fn conversation(&self, id: ConversationId) -> Result<Option<Conversation>> {
        self.read(|state| Ok(state.shared().conversations.get(&id).cloned()))
    }

    async fn conversations_of(&self, se: SeId, limit: usize) -> Result<Vec<Conversation>> {
        self.read(|state| {
            let all = state.shared().conversations.values();
            let mut found: Vec<_> = all.filter(|conversation| conversation.se == se).cloned().collect();
            found.sort_by_key(|conversation| std::cmp::Reverse((conversation.started_at, conversation.id)));
            found.truncate(limit);
            Ok(found)
        })
    }
}

#[async_trait]
impl<S: HasShared> Sessions for Memory<S> {
    async fn put_session(&self, session: Session) -> Result<()> {
        self.write(|state| {
            state.shared_mut().sessions.insert(session.id, session);
            Ok(())
        })
    }

    async fn session(&self, id: SessionId, now: jiff::Timestamp) -> Result<Option<Session>> {
        self.read(|state| {
            Ok(state.shared().sessions.get(&id).filter(|session| session.expires_at > now).cloned())
        })
    }

    async fn end_session(&self, id: SessionId) -> Result<()> {
        self.write(|state| {
            state.shared_mut().sessions.remove(&id);
            Ok(())
        })
    }

    async fn end_sessions_of(&self, of: SeId) -> Result<()> {
        self.write(|state| {
            let is_of =
                |holder: &SessionHolder| matches!(holder, SessionHolder::Wallet { se, .. } if *se == of);
            state.shared_mut().sessions.retain(|_, session| !is_of(&session.holder));
            Ok(())
        })
    }

    async fn sweep_sessions(&self, now: jiff::Timestamp) -> Result<usize> {
        self.write(|state| {
            let sessions = &mut state.shared_mut().sessions;
            let before = sessions.len();
            sessions.retain(|_, session| session.expires_at > now);
            Ok(before - sessions.len())
        })
    }
}

#[async_trait]
impl<S: HasShared> Outbox for Memory<S> {
    async fn put_delivery(&self, delivery: Delivery) -> Result<()> {
        self.write(|state| {
            state.shared_mut().put_delivery(delivery);
            Ok(())
        })
    }

    async fn due_deliveries(&self, now: jiff::Timestamp, limit: usize) -> Result<Vec<Delivery>> {
        self.read(|state| {
            let shared = state.shared();
            let due = shared.due.iter().take_while(|(at, _)| *at <= now).take(limit);
            Ok(due.filter_map(|(_, id)| shared.outbox.get(id)).cloned().collect())
        })
    }

    async fn next_delivery_at(&self) -> Result<Option<jiff::Timestamp>> {
        self.read(|state| Ok(state.shared().due.first().map(|(at, _)| *at)))
    }

    async fn delivered(&self, id: DeliveryId) -> Result<()> {
        self.write(|state| {
            let shared = state.shared_mut();
            let known = shared.outbox.get(&id).ok_or_else(|| StorageError::unknown("delivery", id))?;
            let key = (known.due_at, id);
            shared.due.remove(&key);
            Ok(())
        })
    }

    async fn postpone_delivery(&self, id: DeliveryId, due_at: jiff::Timestamp) -> Result<()> {
        self.write(|state| {
            let shared = state.shared_mut();
            let known = shared.outbox.get_mut(&id).ok_or_else(|| StorageError::unknown("delivery", id))?;
            // One that was delivered meanwhile is not sent again.
            if shared.due.remove(&(known.due_at, id)) {
                known.due_at = due_at;
                known.attempts += 1;
                shared.due.insert((due_at, id));
            }
            Ok(())
        })
    }
}

#[async_trait]
impl<S: HasShared> Incidents for Memory<S> {
    async fn record_incident(&self, incident: Incident) -> Result<()> {
        self.write(|state| {
            state.shared_mut().incidents.entry(incident.id).or_insert(incident);
            Ok(())
        })
    }

    async fn incidents(&self, filter: IncidentFilter, limit: usize) -> Result<Vec<Incident>> {
        self.read(|state| {
            let wanted = |incident: &&Incident| match filter {
                IncidentFilter::Open => incident.closed.is_none(),
                IncidentFilter::All => true,
            };
            let mut found: Vec<_> = state.shared().incidents.values().filter(wanted).cloned().collect();
            found.sort_by_key(|incident| std::cmp::Reverse((incident.at, incident.id)));
            found.truncate(limit);
            Ok(found)
        })
    }

    async fn close_incident(&self, id: IncidentId, closed: IncidentClosed) -> Result<()> {
        self.write(|state| {
            let incidents = &mut state.shared_mut().incidents;
            let incident = incidents.get_mut(&id).ok_or_else(|| StorageError::unknown("incident", id))?;
            incident.closed.get_or_insert(closed);
            Ok(())
        })
    }
}

#[async_trait]
impl<S: HasShared> Chains for Memory<S> {
    async fn append(&self, note: Note) -> Result<Entry> {
        self.write(|state| {
            let shared = state.shared_mut();
            let key = note.chain.to_text();
            shared.append_notes(vec![note]);
            let last = shared.chains.get(&key).and_then(|chain| chain.last()).cloned();
            last.ok_or_else(|| StorageError::unknown("journal", key))
        })
    }

    async fn chain(&self, key: ChainKey, after: u64, limit: usize) -> Result<Vec<Entry>> {
        self.read(|state| {
            let chain = state.shared().chains.get(&key.to_text()).map(Vec::as_slice).unwrap_or_default();
            Ok(chain.iter().filter(|entry| entry.number > after).take(limit).cloned().collect())
        })
    }

    async fn chain_heads(&self, after: Option<ChainKey>, limit: usize) -> Result<Vec<Entry>> {
        self.read(|state| {
            let after = after.map(|key| key.to_text()).unwrap_or_default();
            let later = state.shared().chains.iter().filter(|(key, _)| **key > after).take(limit);
            Ok(later.filter_map(|(_, chain)| chain.last()).cloned().collect())
        })
    }
}
