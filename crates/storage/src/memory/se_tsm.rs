//! The SE-TSM's store in memory.

mod migrations;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use tsm_domain::application::Application;
use tsm_domain::bytes::Sha256Digest;
use tsm_domain::migration::MigrationOrder;
use tsm_domain::provider::Provider;
use tsm_domain::se::{Batch, BatchBook, Binding, NumberChange, SeRecord};
use tsm_domain::se_application::SeState;
use tsm_domain::security_domain::{DomainDefinition, DomainOnSe};
use tsm_domain::subscription::Subscription;
use tsm_domain::task::{Task, TaskQueue, TaskState};
use tsm_domain::user::TokenRecord;
use tsm_domain::{
    BatchId, ConversationId, Msisdn, OperationId, OperatorId, ProviderId, SeId, SubscriptionId, TaskId,
    TicketId,
};
use tsm_iso7816::Aid;

use super::Memory;
use super::shared::{Shared, has_shared};
use crate::error::{Result, StorageError};
use crate::se_tsm::*;
use crate::shared::{Delivery, Fence, Note};

/// What the SE-TSM keeps.
#[derive(Debug, Clone, Default)]
pub struct SeTsmState {
    shared: Shared,
    providers: BTreeMap<ProviderId, Versioned<Provider>>,
    staff: BTreeMap<OperatorId, Versioned<StaffAccount>>,
    blobs: BTreeMap<Sha256Digest, Arc<[u8]>>,
    applications: BTreeMap<Aid, Versioned<Application>>,
    domains: BTreeMap<Aid, Versioned<DomainDefinition>>,
    batches: BatchBook,
    ses: BTreeMap<SeId, SeRecord>,
    tokens: BTreeMap<SeId, TokenRecord>,
    numbers: BTreeMap<Msisdn, NumberRecord>,
    on_se: BTreeMap<(SeId, Aid), ApplicationOnSe>,
    domains_on_se: BTreeMap<(SeId, Aid), DomainOnSe>,
    intentions: BTreeMap<(SeId, ConversationId, u32), Intention>,
    subscriptions: BTreeMap<SubscriptionId, Subscription>,
    /// Those that each SE has or had; one that moved is found with both.
    subscriptions_on: BTreeMap<SeId, BTreeSet<SubscriptionId>>,
    tickets: BTreeMap<TicketId, Ticket>,
    tasks: BTreeMap<(SeId, jiff::Timestamp, TaskId), Task>,
    migrations: BTreeMap<OperationId, MigrationOrder>,
}

has_shared!(SeTsmState);

/// The rows of one SE in a table that leads with it.
fn of_se<T>(rows: &BTreeMap<(SeId, Aid), T>, se: SeId) -> impl Iterator<Item = &T> {
    rows.range((se, LOWEST_AID)..).take_while(move |(key, _)| key.0 == se).map(|(_, row)| row)
}

/// No AID is shorter, and none has smaller bytes.
const LOWEST_AID: Aid = Aid::constant(&[0; 5]);

fn put<K: Ord + ToString, T: PartialEq>(
    rows: &mut BTreeMap<K, Versioned<T>>,
    what: &'static str,
    key: K,
    value: T,
    revision: Revision,
) -> Result<Revision> {
    let current = rows.get(&key);
    if let Some(stored) = current.filter(|stored| stored.value == value) {
        // An earlier run of the same step stored it.
        return Ok(stored.revision);
    }
    if current.map(|stored| stored.revision).unwrap_or_default() != revision {
        return Err(StorageError::conflict(what, key.to_string()));
    }
    let next = Revision(revision.0 + 1);
    rows.insert(key, Versioned { value, revision: next });
    Ok(next)
}

impl SeTsmState {
    fn put_subscription(&mut self, subscription: Subscription) {
        self.subscriptions_on.entry(subscription.se).or_default().insert(subscription.id);
        self.subscriptions.insert(subscription.id, subscription);
    }

    fn se(&self, se: SeId) -> Result<&SeRecord> {
        self.ses.get(&se).ok_or_else(|| StorageError::unknown("SE", se))
    }

    fn se_mut(&mut self, se: SeId) -> Result<&mut SeRecord> {
        self.ses.get_mut(&se).ok_or_else(|| StorageError::unknown("SE", se))
    }

    // An AID has one owner: an application (all its load files, modules and instances) or a domain.
    fn check_aids(&self, owner: Aid, aids: impl Iterator<Item = Aid>) -> Result<()> {
        let others = self.applications.iter().filter(|(aid, _)| **aid != owner);
        let used: BTreeSet<Aid> = others
            .flat_map(|(aid, row)| std::iter::once(*aid).chain(row.value.aids()))
            .chain(self.domains.keys().copied().filter(|aid| *aid != owner))
            .collect();
        match aids.into_iter().find(|aid| used.contains(aid)) {
            Some(taken) => Err(StorageError::conflict("AID", taken)),
            None => Ok(()),
        }
    }

    fn register(&mut self, registration: Registration) -> Result<Registered> {
        let record = self.se(registration.se)?;
        let bound = record.binding.as_ref().map(|binding| binding.number.clone());
        let may_bind = match (&bound, &registration.from) {
            (None, _) => true,
            (Some(bound), _) if Some(bound) == registration.number.as_ref() => true,
            (Some(bound), BindingFrom::Number(from)) => bound == from && registration.number.is_some(),
            (Some(_), BindingFrom::Nobody) => false,
        };
        if let (false, Some(bound)) = (may_bind, bound.clone()) {
            return Ok(Registered::BoundTo(bound));
        }
        let record = self.se_mut(registration.se)?;
        if bound != registration.number {
            record.binding = registration.number.map(|number| Binding::new(number, registration.at));
            record.number_change = None;
        }
        let record = record.clone();
        self.tokens.insert(registration.se, registration.token);
        self.shared.append_notes(registration.notes);
        Ok(Registered::Done(record))
    }

    fn commit(&mut self, fence: Fence, change: SeChange) -> Result<()> {
        self.shared.check_fence(fence)?;
        let se = fence.se;
        let record = self.se_mut(se)?;
        if let Some((inventory, at)) = change.observed {
            record.inventory = inventory;
            record.observed_at = Some(at);
        }
        if let Some(binding) = change.renumbered {
            record.binding = Some(binding);
            record.number_change = None;
        }
        for application in change.applications {
            self.on_se.insert((se, application.application), application);
        }
        for domain in change.domains {
            self.domains_on_se.insert((se, domain.aid), domain);
        }
        for aid in change.removed_domains {
            self.domains_on_se.remove(&(se, aid));
        }
        for subscription in change.subscriptions {
            self.put_subscription(subscription);
        }
        for intention in change.intentions {
            self.intentions.insert((se, intention.conversation, intention.number), intention);
        }
        if let Some(token) = change.token {
            self.tokens.insert(se, token);
        }
        self.shared.put_with(change.deliveries, change.notes, change.incidents);
        if let Some(end) = change.end {
            self.shared.end(fence, end);
        }
        Ok(())
    }

    fn tasks_in_order(&self, se: SeId) -> impl Iterator<Item = &Task> {
        self.tasks
            .range((se, jiff::Timestamp::MIN, NO_TASK)..)
            .take_while(move |(key, _)| key.0 == se)
            .map(|row| row.1)
    }
}

const NO_TASK: TaskId = TaskId::from_uuid(uuid::Uuid::nil());

#[async_trait]
impl SeTsmStore for Memory<SeTsmState> {
    async fn put_provider(&self, provider: Provider, revision: Revision) -> Result<Revision> {
        self.write(|state| put(&mut state.providers, "provider", provider.id.clone(), provider, revision))
    }

    async fn provider(&self, id: &ProviderId) -> Result<Option<Versioned<Provider>>> {
        self.read(|state| Ok(state.providers.get(id).cloned()))
    }

    async fn providers(&self) -> Result<Vec<Versioned<Provider>>> {
        self.read(|state| Ok(state.providers.values().cloned().collect()))
    }

    async fn put_staff(&self, account: StaffAccount, revision: Revision) -> Result<Revision> {
        self.write(|state| put(&mut state.staff, "account", account.id.clone(), account, revision))
    }

    async fn staff(&self, id: &OperatorId) -> Result<Option<Versioned<StaffAccount>>> {
        self.read(|state| Ok(state.staff.get(id).cloned()))
    }

    async fn put_blob(&self, content: Arc<[u8]>) -> Result<Sha256Digest> {
        let hash = Sha256Digest::of(&content);
        self.write(|state| {
            state.blobs.insert(hash, content);
            Ok(hash)
        })
    }

    async fn blob(&self, hash: Sha256Digest) -> Result<Option<Arc<[u8]>>> {
        self.read(|state| Ok(state.blobs.get(&hash).cloned()))
    }

    async fn put_application(&self, application: Application, revision: Revision) -> Result<Revision> {
        self.write(|state| {
            let aid = application.aid;
            state.check_aids(aid, std::iter::once(aid).chain(application.aids()))?;
            if state.domains.contains_key(&aid) {
                return Err(StorageError::conflict("AID", aid));
            }
            put(&mut state.applications, "application", aid, application, revision)
        })
    }

    async fn application(&self, aid: Aid) -> Result<Option<Versioned<Application>>> {
        self.read(|state| Ok(state.applications.get(&aid).cloned()))
    }

    async fn applications(&self) -> Result<Vec<Versioned<Application>>> {
        self.read(|state| Ok(state.applications.values().cloned().collect()))
    }

    async fn put_domain(&self, definition: DomainDefinition, revision: Revision) -> Result<Revision> {
        self.write(|state| {
            let aid = definition.aid;
            state.check_aids(aid, std::iter::once(aid))?;
            if state.applications.contains_key(&aid) {
                return Err(StorageError::conflict("AID", aid));
            }
            put(&mut state.domains, "security domain", aid, definition, revision)
        })
    }

    async fn domain(&self, aid: Aid) -> Result<Option<Versioned<DomainDefinition>>> {
        self.read(|state| Ok(state.domains.get(&aid).cloned()))
    }

    async fn domains(&self) -> Result<Vec<Versioned<DomainDefinition>>> {
        self.read(|state| Ok(state.domains.values().cloned().collect()))
    }

    async fn used_aids(&self) -> Result<Vec<Aid>> {
        self.read(|state| {
            let applications = state.applications.iter();
            let of_applications =
                applications.flat_map(|(aid, row)| std::iter::once(*aid).chain(row.value.aids()));
            let all: BTreeSet<Aid> = of_applications.chain(state.domains.keys().copied()).collect();
            Ok(all.into_iter().collect())
        })
    }

    async fn domain_holders(&self, aid: Aid) -> Result<u64> {
        self.read(|state| Ok(state.domains_on_se.keys().filter(|(_, domain)| *domain == aid).count() as u64))
    }

    async fn application_holders(&self, aid: Aid) -> Result<u64> {
        self.read(|state| {
            let holds = |row: &&ApplicationOnSe| row.application == aid && row.record.state != SeState::Ready;
            Ok(state.on_se.values().filter(holds).count() as u64)
        })
    }

    async fn put_batch(&self, batch: Batch) -> Result<()> {
        self.write(|state| Ok(state.batches.put(batch)?))
    }

    async fn batch(&self, id: &BatchId) -> Result<Option<Batch>> {
        self.read(|state| Ok(state.batches.all().iter().find(|batch| batch.id == *id).cloned()))
    }

    async fn batches(&self) -> Result<Vec<Batch>> {
        self.read(|state| {
            let mut all = state.batches.all().to_vec();
            all.sort_by(|a, b| a.id.cmp(&b.id));
            Ok(all)
        })
    }

    async fn batch_of(&self, se: SeId) -> Result<Option<Batch>> {
        self.read(|state| Ok(state.batches.find(&se).cloned()))
    }

    async fn add_se(&self, record: SeRecord) -> Result<SeRecord> {
        self.write(|state| Ok(state.ses.entry(record.se).or_insert(record).clone()))
    }

    async fn se(&self, se: SeId) -> Result<Option<SeRecord>> {
        self.read(|state| Ok(state.ses.get(&se).cloned()))
    }

    async fn ses(&self, after: Option<SeId>, limit: usize) -> Result<Vec<SeRecord>> {
        self.read(|state| {
            let later = state.ses.values().filter(|record| after.is_none_or(|after| record.se > after));
            Ok(later.take(limit).cloned().collect())
        })
    }

    async fn ses_of(&self, number: &Msisdn) -> Result<Vec<SeRecord>> {
        self.read(|state| {
            let is_bound =
                |record: &&SeRecord| record.binding.as_ref().is_some_and(|binding| binding.number == *number);
            Ok(state.ses.values().filter(is_bound).cloned().collect())
        })
    }

    async fn register_se(&self, registration: Registration) -> Result<Registered> {
        self.write(|state| state.register(registration))
    }

    async fn order_number_change(
        &self,
        se: SeId,
        change: NumberChange,
        notes: Vec<Note>,
    ) -> Result<NumberChangeOrdered> {
        self.write(|state| {
            let Some(record) = with_number_change(state.se(se)?.clone(), change) else {
                return Ok(NumberChangeOrdered::BoundElsewhere);
            };
            state.ses.insert(se, record.clone());
            state.shared.append_notes(notes);
            Ok(NumberChangeOrdered::Accepted(record))
        })
    }

    async fn unbind_se(&self, se: SeId, number: &Msisdn, notes: Vec<Note>) -> Result<Unbound> {
        self.write(|state| {
            if state.se(se)?.binding.as_ref().is_none_or(|binding| binding.number != *number) {
                return Ok(Unbound::NotBound);
            }
            let living = state
                .subscriptions
                .values()
                .filter(|row| row.se == se && row.number == *number && row.is_active());
            let mut subscribed: Vec<_> = living.map(|row| row.what.aid()).collect();
            if !subscribed.is_empty() {
                subscribed.sort();
                return Ok(Unbound::Subscribed(subscribed));
            }
            let record = state.se_mut(se)?;
            record.binding = None;
            record.number_change = None;
            state.tokens.remove(&se);
            state.shared.append_notes(notes);
            Ok(Unbound::Done)
        })
    }

    async fn set_standing(
        &self,
        se: SeId,
        change: LossChange,
        deliveries: Vec<Delivery>,
        notes: Vec<Note>,
    ) -> Result<()> {
        self.write(|state| {
            let record = state.se_mut(se)?;
            *record = change.of(record.clone())?;
            state.shared.put_with(deliveries, notes, Vec::new());
            Ok(())
        })
    }

    async fn token(&self, se: SeId) -> Result<Option<TokenRecord>> {
        self.read(|state| Ok(state.tokens.get(&se).cloned()))
    }

    async fn put_token(&self, se: SeId, token: TokenRecord) -> Result<()> {
        self.write(|state| {
            state.se(se)?;
            state.tokens.insert(se, token);
            Ok(())
        })
    }

    async fn put_number(&self, record: NumberRecord) -> Result<()> {
        self.write(|state| {
            state.numbers.insert(record.number.clone(), record);
            Ok(())
        })
    }

    async fn number(&self, number: &Msisdn) -> Result<Option<NumberRecord>> {
        self.read(|state| Ok(state.numbers.get(number).cloned()))
    }

    async fn test_numbers(&self) -> Result<BTreeSet<Msisdn>> {
        self.read(|state| {
            let tests = state.numbers.values().filter(|record| record.purpose == NumberPurpose::Test);
            Ok(tests.map(|record| record.number.clone()).collect())
        })
    }

    async fn commit(&self, fence: Fence, change: SeChange) -> Result<()> {
        self.write(|state| state.commit(fence, change))
    }

    async fn applications_on(&self, se: SeId) -> Result<Vec<ApplicationOnSe>> {
        self.read(|state| Ok(of_se(&state.on_se, se).cloned().collect()))
    }

    async fn domains_on(&self, se: SeId) -> Result<Vec<DomainOnSe>> {
        self.read(|state| Ok(of_se(&state.domains_on_se, se).copied().collect()))
    }

    async fn open_intentions(&self, se: SeId) -> Result<Vec<Intention>> {
        self.read(|state| {
            let first = (se, ConversationId::from_uuid(uuid::Uuid::nil()), 0);
            let of_se = state.intentions.range(first..).take_while(|(key, _)| key.0 == se);
            let of_se = of_se.map(|(_, row)| row);
            let mut open: Vec<_> = of_se.filter(|row| row.outcome == Outcome::Unknown).cloned().collect();
            open.sort_by_key(|row| (row.at, row.conversation, row.number));
            Ok(open)
        })
    }

    async fn subscriptions_of(&self, se: SeId) -> Result<Vec<Subscription>> {
        self.read(|state| {
            let own = state.subscriptions_on.get(&se).into_iter().flatten();
            let mut found: Vec<_> = own
                .filter_map(|id| state.subscriptions.get(id))
                .filter(|row| row.se == se)
                .cloned()
                .collect();
            found.sort_by_key(|row| (row.since, row.id));
            Ok(found)
        })
    }

    async fn subscription(&self, id: SubscriptionId) -> Result<Option<Subscription>> {
        self.read(|state| Ok(state.subscriptions.get(&id).cloned()))
    }

    async fn put_ticket(&self, ticket: Ticket) -> Result<()> {
        self.write(|state| {
            state.tickets.entry(ticket.id).or_insert(ticket);
            Ok(())
        })
    }

    async fn use_ticket(&self, id: TicketId, by: ConversationId, now: jiff::Timestamp) -> Result<TicketUse> {
        self.write(|state| {
            let Some(ticket) = state.tickets.get_mut(&id) else {
                return Ok(TicketUse::Unknown);
            };
            match ticket.used_by {
                Some(user) if user == by => Ok(TicketUse::Granted(ticket.clone())),
                Some(user) => Ok(TicketUse::UsedBy(user)),
                None if ticket.expires_at <= now => Ok(TicketUse::Unknown),
                None => {
                    ticket.used_by = Some(by);
                    Ok(TicketUse::Granted(ticket.clone()))
                }
            }
        })
    }

    async fn enqueue_task(&self, task: Task) -> Result<()> {
        self.write(|state| {
            state.tasks.entry((task.se, task.created_at, task.id)).or_insert(task);
            Ok(())
        })
    }

    async fn start_task(&self, se: SeId, now: jiff::Timestamp) -> Result<Option<Task>> {
        self.write(|state| {
            let mut queue = TaskQueue::of(state.tasks_in_order(se).cloned());
            let Ok(Some(started)) = queue.start_next(now) else { return Ok(None) };
            let started = started.clone();
            state.tasks.insert((se, started.created_at, started.id), started.clone());
            Ok(Some(started))
        })
    }

    async fn finish_task(&self, se: SeId, id: TaskId, ended: TaskState) -> Result<()> {
        self.write(|state| {
            let key =
                state.tasks_in_order(se).find(|task| task.id == id).map(|task| (se, task.created_at, id));
            let task = key.and_then(|key| state.tasks.get_mut(&key));
            let task = task.ok_or_else(|| StorageError::unknown("task", id))?;
            if matches!(task.state, TaskState::Waiting | TaskState::Running) {
                task.state = ended;
            }
            Ok(())
        })
    }

    async fn tasks_of(&self, se: SeId) -> Result<Vec<Task>> {
        self.read(|state| Ok(TaskQueue::of(state.tasks_in_order(se).cloned()).tasks().cloned().collect()))
    }
}
