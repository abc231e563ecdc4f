//! The SE-TSM's store on SQLite.

pub(super) mod migrations;

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use rusqlite::{Connection, params};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tsm_domain::application::Application;
use tsm_domain::bytes::Sha256Digest;
use tsm_domain::provider::Provider;
use tsm_domain::se::{Batch, BatchBook, Binding, NumberChange, SeRecord};
use tsm_domain::se_application::SeState;
use tsm_domain::security_domain::{DomainDefinition, DomainOnSe};
use tsm_domain::subscription::Subscription;
use tsm_domain::task::{Task, TaskQueue, TaskState};
use tsm_domain::user::TokenRecord;
use tsm_domain::{
    BatchId, ConversationId, Msisdn, OperatorId, ProviderId, SeId, SubscriptionId, TaskId, TicketId,
};
use tsm_iso7816::Aid;

use super::rows::{all, body, first, from_text, limit, many, nanoseconds, one, parse, run};
use super::shared::{append_notes, check_fence, end, put_with};
use super::{SeTsmSchema, Sqlite};
use crate::error::{Result, StorageError};
use crate::se_tsm::*;
use crate::shared::{Delivery, Fence, Note};

/// A table of records with revisions.
#[derive(Clone, Copy)]
struct Records {
    what: &'static str,
    one: &'static str,
    all: &'static str,
    put: &'static str,
}

macro_rules! records {
    ($name:ident, $what:literal, $table:literal) => {
        const $name: Records = Records {
            what: $what,
            one: concat!("SELECT revision, body FROM ", $table, " WHERE id = ?1"),
            all: concat!("SELECT revision, body FROM ", $table, " ORDER BY id"),
            put: concat!("INSERT OR REPLACE INTO ", $table, " (id, revision, body) VALUES (?1, ?2, ?3)"),
        };
    };
}

records!(PROVIDERS, "provider", "providers");
records!(STAFF, "account", "staff");
records!(APPLICATIONS, "application", "applications");
records!(DOMAINS, "security domain", "domains");

impl Records {
    fn get<T: DeserializeOwned>(self, db: &Connection, key: &str) -> Result<Option<Versioned<T>>> {
        let row = first(db, self.one, [key], |row| Ok((row.get(0)?, row.get(1)?)))?;
        row.map(|row| self.versioned(row)).transpose()
    }

    fn list<T: DeserializeOwned>(self, db: &Connection) -> Result<Vec<Versioned<T>>> {
        let rows = all(db, self.all, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
        rows.into_iter().map(|row| self.versioned(row)).collect()
    }

    fn versioned<T: DeserializeOwned>(self, (revision, text): (i64, String)) -> Result<Versioned<T>> {
        let revision = u64::try_from(revision).map_err(|error| StorageError::corrupt(self.what, error))?;
        Ok(Versioned { value: parse(self.what, &text)?, revision: Revision(revision) })
    }

    fn put<T: Serialize + DeserializeOwned + PartialEq>(
        self,
        db: &Connection,
        key: &str,
        value: &T,
        revision: Revision,
    ) -> Result<Revision> {
        let current: Option<Versioned<T>> = self.get(db, key)?;
        if let Some(stored) = current.as_ref().filter(|stored| stored.value == *value) {
            // An earlier run of the same step stored it.
            return Ok(stored.revision);
        }
        if current.map(|stored| stored.revision).unwrap_or_default() != revision {
            return Err(StorageError::conflict(self.what, key));
        }
        let next = revision.0 + 1;
        let column = i64::try_from(next).map_err(|error| StorageError::corrupt(self.what, error))?;
        run(db, self.put, params![key, column, body(value)?])?;
        Ok(Revision(next))
    }
}

// An AID has one owner: an application (all its load files, modules and instances) or a domain.
fn own_aids(db: &Connection, owner: &str, aids: impl IntoIterator<Item = Aid>) -> Result<()> {
    run(db, "DELETE FROM aids WHERE owner = ?1", [owner])?;
    for aid in aids.into_iter().collect::<BTreeSet<_>>() {
        let sql = "INSERT INTO aids (aid, owner) VALUES (?1, ?2) ON CONFLICT (aid) DO NOTHING";
        if run(db, sql, params![aid.to_string(), owner])? == 0 {
            return Err(StorageError::conflict("AID", aid));
        }
    }
    Ok(())
}

fn se_record(db: &Connection, se: SeId) -> Result<Option<SeRecord>> {
    one(db, "SE", "SELECT body FROM ses WHERE se = ?1", [se.to_string()])
}

fn known_se(db: &Connection, se: SeId) -> Result<SeRecord> {
    se_record(db, se)?.ok_or_else(|| StorageError::unknown("SE", se))
}

fn put_se(db: &Connection, record: &SeRecord) -> Result<()> {
    let number = record.binding.as_ref().map(|binding| binding.number.as_str());
    let sql = "INSERT OR REPLACE INTO ses (se, number, body) VALUES (?1, ?2, ?3)";
    run(db, sql, params![record.se.to_string(), number, body(record)?])?;
    Ok(())
}

fn put_token(db: &Connection, se: SeId, token: &TokenRecord) -> Result<()> {
    run(
        db,
        "INSERT OR REPLACE INTO tokens (se, body) VALUES (?1, ?2)",
        params![se.to_string(), body(token)?],
    )?;
    Ok(())
}

fn put_application_on(db: &Connection, se: SeId, application: &ApplicationOnSe) -> Result<()> {
    run(
        db,
        "INSERT OR REPLACE INTO applications_on_se (se, application, present, body) VALUES (?1, ?2, ?3, ?4)",
        params![
            se.to_string(),
            application.application.to_string(),
            application.record.state != SeState::Ready,
            body(application)?
        ],
    )?;
    Ok(())
}

fn put_subscription(db: &Connection, subscription: &Subscription) -> Result<()> {
    run(
        db,
        "INSERT OR REPLACE INTO subscriptions (id, se, number, active, since, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        params![
            subscription.id.to_string(),
            subscription.se.to_string(),
            subscription.number.as_str(),
            subscription.is_active(),
            nanoseconds(subscription.since),
            body(subscription)?
        ],
    )?;
    Ok(())
}

fn put_intention(db: &Connection, se: SeId, intention: &Intention) -> Result<()> {
    run(
        db,
        "INSERT OR REPLACE INTO intentions (se, conversation, number, at, unknown, body)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        params![
            se.to_string(),
            intention.conversation.to_string(),
            intention.number,
            nanoseconds(intention.at),
            intention.outcome == Outcome::Unknown,
            body(intention)?
        ],
    )?;
    Ok(())
}

fn put_task(db: &Connection, task: &Task) -> Result<()> {
    let open = matches!(task.state, TaskState::Waiting | TaskState::Running);
    run(
        db,
        "INSERT OR REPLACE INTO tasks (se, created_at, id, open, body) VALUES (?1, ?2, ?3, ?4, ?5)",
        params![task.se.to_string(), nanoseconds(task.created_at), task.id.to_string(), open, body(task)?],
    )?;
    Ok(())
}

fn find_task(db: &Connection, se: SeId, id: TaskId) -> Result<Option<Task>> {
    let sql = "SELECT body FROM tasks WHERE se = ?1 AND id = ?2";
    one(db, "task", sql, params![se.to_string(), id.to_string()])
}

fn open_tasks(db: &Connection, se: SeId) -> Result<TaskQueue> {
    let sql = "SELECT body FROM tasks WHERE se = ?1 AND open = 1 ORDER BY created_at, id";
    Ok(TaskQueue::of(many::<Task>(db, "task", sql, [se.to_string()])?))
}

fn register(db: &Connection, registration: Registration) -> Result<Registered> {
    let mut record = known_se(db, registration.se)?;
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
    if bound != registration.number {
        record.binding = registration.number.map(|number| Binding::new(number, registration.at));
        record.number_change = None;
        put_se(db, &record)?;
    }
    put_token(db, registration.se, &registration.token)?;
    append_notes(db, registration.notes)?;
    Ok(Registered::Done(record))
}

fn unbind(db: &Connection, se: SeId, number: &Msisdn, notes: Vec<Note>) -> Result<Unbound> {
    let mut record = known_se(db, se)?;
    if record.binding.as_ref().is_none_or(|binding| binding.number != *number) {
        return Ok(Unbound::NotBound);
    }
    let sql = "SELECT body FROM subscriptions WHERE se = ?1 AND number = ?2 AND active = 1";
    let living: Vec<Subscription> = many(db, "subscription", sql, params![se.to_string(), number.as_str()])?;
    let mut subscribed: Vec<_> = living.iter().map(|row| row.what.aid()).collect();
    if !subscribed.is_empty() {
        subscribed.sort();
        return Ok(Unbound::Subscribed(subscribed));
    }
    record.binding = None;
    record.number_change = None;
    put_se(db, &record)?;
    run(db, "DELETE FROM tokens WHERE se = ?1", [se.to_string()])?;
    append_notes(db, notes)?;
    Ok(Unbound::Done)
}

fn commit(db: &Connection, fence: Fence, change: SeChange) -> Result<()> {
    check_fence(db, fence)?;
    let se = fence.se;
    let mut record = known_se(db, se)?;
    if let Some((inventory, at)) = change.observed {
        record.inventory = inventory;
        record.observed_at = Some(at);
        put_se(db, &record)?;
    }
    if let Some(binding) = change.renumbered {
        record.binding = Some(binding);
        record.number_change = None;
        put_se(db, &record)?;
    }
    for application in &change.applications {
        put_application_on(db, se, application)?;
    }
    for domain in &change.domains {
        let sql = "INSERT OR REPLACE INTO domains_on_se (se, domain, body) VALUES (?1, ?2, ?3)";
        run(db, sql, params![se.to_string(), domain.aid.to_string(), body(domain)?])?;
    }
    for aid in &change.removed_domains {
        let sql = "DELETE FROM domains_on_se WHERE se = ?1 AND domain = ?2";
        run(db, sql, params![se.to_string(), aid.to_string()])?;
    }
    for subscription in &change.subscriptions {
        put_subscription(db, subscription)?;
    }
    for intention in &change.intentions {
        put_intention(db, se, intention)?;
    }
    if let Some(token) = &change.token {
        put_token(db, se, token)?;
    }
    put_with(db, &change.deliveries, change.notes, &change.incidents)?;
    match change.end {
        Some(ended) => end(db, fence, ended),
        None => Ok(()),
    }
}

fn use_ticket(db: &Connection, id: TicketId, by: ConversationId, now: jiff::Timestamp) -> Result<TicketUse> {
    let found: Option<Ticket> =
        one(db, "ticket", "SELECT body FROM tickets WHERE id = ?1", [id.to_string()])?;
    let Some(mut ticket) = found else {
        return Ok(TicketUse::Unknown);
    };
    match ticket.used_by {
        Some(user) if user == by => Ok(TicketUse::Granted(ticket)),
        Some(user) => Ok(TicketUse::UsedBy(user)),
        None if ticket.expires_at <= now => Ok(TicketUse::Unknown),
        None => {
            ticket.used_by = Some(by);
            run(db, "UPDATE tickets SET body = ?2 WHERE id = ?1", params![id.to_string(), body(&ticket)?])?;
            Ok(TicketUse::Granted(ticket))
        }
    }
}

#[async_trait]
impl SeTsmStore for Sqlite<SeTsmSchema> {
    async fn put_provider(&self, provider: Provider, revision: Revision) -> Result<Revision> {
        self.write(move |db| PROVIDERS.put(db, provider.id.as_str(), &provider, revision)).await
    }

    async fn provider(&self, id: &ProviderId) -> Result<Option<Versioned<Provider>>> {
        self.read(|db| PROVIDERS.get(db, id.as_str()))
    }

    async fn providers(&self) -> Result<Vec<Versioned<Provider>>> {
        self.read(|db| PROVIDERS.list(db))
    }

    async fn put_staff(&self, account: StaffAccount, revision: Revision) -> Result<Revision> {
        self.write(move |db| STAFF.put(db, account.id.as_str(), &account, revision)).await
    }

    async fn staff(&self, id: &OperatorId) -> Result<Option<Versioned<StaffAccount>>> {
        self.read(|db| STAFF.get(db, id.as_str()))
    }

    async fn put_blob(&self, content: Arc<[u8]>) -> Result<Sha256Digest> {
        let hash = Sha256Digest::of(&content);
        self.write(move |db| {
            let sql = "INSERT INTO blobs (hash, content) VALUES (?1, ?2) ON CONFLICT (hash) DO NOTHING";
            run(db, sql, params![hash.to_string(), &content[..]])?;
            Ok(hash)
        })
        .await
    }

    async fn blob(&self, hash: Sha256Digest) -> Result<Option<Arc<[u8]>>> {
        let sql = "SELECT content FROM blobs WHERE hash = ?1";
        let content = self.read(|db| first(db, sql, [hash.to_string()], |row| row.get::<_, Vec<u8>>(0)))?;
        match content {
            Some(content) if Sha256Digest::of(&content) != hash => {
                Err(StorageError::corrupt("uploaded file", "its content does not fit its hash"))
            }
            content => Ok(content.map(Arc::from)),
        }
    }

    async fn put_application(&self, application: Application, revision: Revision) -> Result<Revision> {
        self.write(move |db| {
            let aid = application.aid;
            own_aids(db, &format!("application/{aid}"), std::iter::once(aid).chain(application.aids()))?;
            APPLICATIONS.put(db, &aid.to_string(), &application, revision)
        })
        .await
    }

    async fn application(&self, aid: Aid) -> Result<Option<Versioned<Application>>> {
        self.read(|db| APPLICATIONS.get(db, &aid.to_string()))
    }

    async fn applications(&self) -> Result<Vec<Versioned<Application>>> {
        self.read(|db| APPLICATIONS.list(db))
    }

    async fn put_domain(&self, definition: DomainDefinition, revision: Revision) -> Result<Revision> {
        self.write(move |db| {
            let aid = definition.aid;
            own_aids(db, &format!("domain/{aid}"), [aid])?;
            DOMAINS.put(db, &aid.to_string(), &definition, revision)
        })
        .await
    }

    async fn domain(&self, aid: Aid) -> Result<Option<Versioned<DomainDefinition>>> {
        self.read(|db| DOMAINS.get(db, &aid.to_string()))
    }

    async fn domains(&self) -> Result<Vec<Versioned<DomainDefinition>>> {
        self.read(|db| DOMAINS.list(db))
    }

    async fn used_aids(&self) -> Result<Vec<Aid>> {
        let texts =
            self.read(|db| all(db, "SELECT aid FROM aids ORDER BY aid", [], |row| row.get::<_, String>(0)))?;
        texts.iter().map(|text| from_text("AID", text)).collect()
    }

    async fn domain_holders(&self, aid: Aid) -> Result<u64> {
        let sql = "SELECT count(*) FROM domains_on_se WHERE domain = ?1";
        self.read(|db| Ok(first(db, sql, [aid.to_string()], |row| row.get::<_, u32>(0))?.unwrap_or(0).into()))
    }

    async fn application_holders(&self, aid: Aid) -> Result<u64> {
        let sql = "SELECT count(*) FROM applications_on_se WHERE application = ?1 AND present = 1";
        self.read(|db| Ok(first(db, sql, [aid.to_string()], |row| row.get::<_, u32>(0))?.unwrap_or(0).into()))
    }

    async fn put_batch(&self, batch: Batch) -> Result<()> {
        self.write(move |db| {
            let mut book = BatchBook::default();
            for known in many::<Batch>(db, "batch", "SELECT body FROM batches ORDER BY id", [])? {
                book.put(known)?;
            }
            let (id, text) = (batch.id.clone(), body(&batch)?);
            book.put(batch)?;
            run(db, "INSERT OR REPLACE INTO batches (id, body) VALUES (?1, ?2)", params![id.as_str(), text])?;
            Ok(())
        })
        .await
    }

    async fn batch(&self, id: &BatchId) -> Result<Option<Batch>> {
        self.read(|db| one(db, "batch", "SELECT body FROM batches WHERE id = ?1", [id.as_str()]))
    }

    async fn batches(&self) -> Result<Vec<Batch>> {
        self.read(|db| many(db, "batch", "SELECT body FROM batches ORDER BY id", []))
    }

    async fn batch_of(&self, se: SeId) -> Result<Option<Batch>> {
        let batches = self.batches().await?;
        Ok(batches.into_iter().find(|batch| batch.segments.iter().any(|segment| segment.has(&se))))
    }

    async fn add_se(&self, record: SeRecord) -> Result<SeRecord> {
        self.write(move |db| {
            if let Some(known) = se_record(db, record.se)? {
                return Ok(known);
            }
            put_se(db, &record)?;
            Ok(record)
        })
        .await
    }

    async fn se(&self, se: SeId) -> Result<Option<SeRecord>> {
        self.read(|db| se_record(db, se))
    }

    async fn ses(&self, after: Option<SeId>, most: usize) -> Result<Vec<SeRecord>> {
        let after = after.map(|se| se.to_string()).unwrap_or_default();
        let sql =
            "SELECT body FROM ses WHERE (length(se), se) > (length(?1), ?1) ORDER BY length(se), se LIMIT ?2";
        self.read(|db| many(db, "SE", sql, params![after, limit(most)]))
    }

    async fn ses_of(&self, number: &Msisdn) -> Result<Vec<SeRecord>> {
        let sql = "SELECT body FROM ses WHERE number = ?1 ORDER BY length(se), se";
        self.read(|db| many(db, "SE", sql, [number.as_str()]))
    }

    async fn register_se(&self, registration: Registration) -> Result<Registered> {
        self.write(move |db| register(db, registration)).await
    }

    async fn order_number_change(
        &self,
        se: SeId,
        change: NumberChange,
        notes: Vec<Note>,
    ) -> Result<NumberChangeOrdered> {
        self.write(move |db| {
            let Some(record) = with_number_change(known_se(db, se)?, change) else {
                return Ok(NumberChangeOrdered::BoundElsewhere);
            };
            put_se(db, &record)?;
            append_notes(db, notes)?;
            Ok(NumberChangeOrdered::Accepted(record))
        })
        .await
    }

    async fn unbind_se(&self, se: SeId, number: &Msisdn, notes: Vec<Note>) -> Result<Unbound> {
        let number = number.clone();
        self.write(move |db| unbind(db, se, &number, notes)).await
    }

    async fn set_standing(
        &self,
        se: SeId,
        change: LossChange,
        deliveries: Vec<Delivery>,
        notes: Vec<Note>,
    ) -> Result<()> {
        self.write(move |db| {
            put_se(db, &change.of(known_se(db, se)?)?)?;
            put_with(db, &deliveries, notes, &[])
        })
        .await
    }

    async fn token(&self, se: SeId) -> Result<Option<TokenRecord>> {
        self.read(|db| one(db, "token", "SELECT body FROM tokens WHERE se = ?1", [se.to_string()]))
    }

    async fn put_token(&self, se: SeId, token: TokenRecord) -> Result<()> {
        self.write(move |db| {
            known_se(db, se)?;
            put_token(db, se, &token)
        })
        .await
    }

    async fn put_number(&self, record: NumberRecord) -> Result<()> {
        self.write(move |db| {
            let purpose = match record.purpose {
                NumberPurpose::Customer => "customer",
                NumberPurpose::Test => "test",
            };
            let sql = "INSERT OR REPLACE INTO numbers (number, purpose, body) VALUES (?1, ?2, ?3)";
            run(db, sql, params![record.number.as_str(), purpose, body(&record)?])?;
            Ok(())
        })
        .await
    }

    async fn number(&self, number: &Msisdn) -> Result<Option<NumberRecord>> {
        self.read(|db| one(db, "number", "SELECT body FROM numbers WHERE number = ?1", [number.as_str()]))
    }

    async fn test_numbers(&self) -> Result<BTreeSet<Msisdn>> {
        let sql = "SELECT number FROM numbers WHERE purpose = 'test'";
        let texts = self.read(|db| all(db, sql, [], |row| row.get::<_, String>(0)))?;
        texts.iter().map(|text| from_text("number", text)).collect()
    }

    async fn commit(&self, fence: Fence, change: SeChange) -> Result<()> {
        self.write(move |db| commit(db, fence, change)).await
    }

    async fn applications_on(&self, se: SeId) -> Result<Vec<ApplicationOnSe>> {
        let sql = "SELECT body FROM applications_on_se WHERE se = ?1 ORDER BY application";
        self.read(|db| many(db, "application on an SE", sql, [se.to_string()]))
    }

    async fn domains_on(&self, se: SeId) -> Result<Vec<DomainOnSe>> {
        let sql = "SELECT body FROM domains_on_se WHERE se = ?1 ORDER BY domain";
        self.read(|db| many(db, "domain on an SE", sql, [se.to_string()]))
    }

    async fn open_intentions(&self, se: SeId) -> Result<Vec<Intention>> {
        let sql =
            "SELECT body FROM intentions WHERE se = ?1 AND unknown = 1 ORDER BY at, conversation, number";
        self.read(|db| many(db, "intention", sql, [se.to_string()]))
    }

    async fn subscriptions_of(&self, se: SeId) -> Result<Vec<Subscription>> {
        let sql = "SELECT body FROM subscriptions WHERE se = ?1 ORDER BY since, id";
        self.read(|db| many(db, "subscription", sql, [se.to_string()]))
    }

    async fn subscription(&self, id: SubscriptionId) -> Result<Option<Subscription>> {
        let sql = "SELECT body FROM subscriptions WHERE id = ?1";
        self.read(|db| one(db, "subscription", sql, [id.to_string()]))
    }

    async fn put_ticket(&self, ticket: Ticket) -> Result<()> {
        self.write(move |db| {
            let sql = "INSERT INTO tickets (id, body) VALUES (?1, ?2) ON CONFLICT (id) DO NOTHING";
            run(db, sql, params![ticket.id.to_string(), body(&ticket)?])?;
            Ok(())
        })
        .await
    }

    async fn use_ticket(&self, id: TicketId, by: ConversationId, now: jiff::Timestamp) -> Result<TicketUse> {
        self.write(move |db| use_ticket(db, id, by, now)).await
    }

    async fn enqueue_task(&self, task: Task) -> Result<()> {
        self.write(move |db| match find_task(db, task.se, task.id)? {
            Some(_) => Ok(()),
            None => put_task(db, &task),
        })
        .await
    }

    async fn start_task(&self, se: SeId, now: jiff::Timestamp) -> Result<Option<Task>> {
        self.write(move |db| {
            let mut queue = open_tasks(db, se)?;
            let Ok(Some(started)) = queue.start_next(now) else { return Ok(None) };
            put_task(db, started)?;
            Ok(Some(started.clone()))
        })
        .await
    }

    async fn finish_task(&self, se: SeId, id: TaskId, ended: TaskState) -> Result<()> {
        self.write(move |db| {
            let task = find_task(db, se, id)?.ok_or_else(|| StorageError::unknown("task", id))?;
            match task.state {
                TaskState::Waiting | TaskState::Running => put_task(db, &Task { state: ended, ..task }),
                TaskState::Done | TaskState::Failed { .. } | TaskState::Terminated(_) => Ok(()),
            }
        })
        .await
    }

    async fn tasks_of(&self, se: SeId) -> Result<Vec<Task>> {
        self.read(|db| Ok(open_tasks(db, se)?.tasks().cloned().collect()))
    }
}
