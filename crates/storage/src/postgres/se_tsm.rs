//! The SE-TSM's store on PostgreSQL.

pub(super) mod migrations;

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
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

use super::database::{Db, single, step};
use super::rows::{
    all, body, column, first, from_text, limit, many, nanoseconds, narrow, one, params, parse, run,
};
use super::shared::{append_notes, check_fence, end, put_with};
use super::{Postgres, SeTsmTables};
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
            one: concat!("SELECT revision, body FROM ", $table, " WHERE id = $1"),
            all: concat!("SELECT revision, body FROM ", $table, " ORDER BY id"),
            put: concat!(
                "INSERT INTO ",
                $table,
                " (id, revision, body) VALUES ($1, $2, $3)
                ON CONFLICT (id) DO UPDATE SET revision = excluded.revision, body = excluded.body"
            ),
        };
    };
}

records!(PROVIDERS, "provider", "providers");
records!(STAFF, "account", "staff");
records!(APPLICATIONS, "application", "applications");
records!(DOMAINS, "security domain", "domains");

impl Records {
    async fn get<T: DeserializeOwned>(self, db: &Db<'_>, key: &str) -> Result<Option<Versioned<T>>> {
        let row = first(db, self.one, params![key], |row| Ok((column(row, 0)?, column(row, 1)?))).await?;
        row.map(|row| self.versioned(row)).transpose()
    }

    async fn list<T: DeserializeOwned>(self, db: &Db<'_>) -> Result<Vec<Versioned<T>>> {
        let rows = all(db, self.all, params![], |row| Ok((column(row, 0)?, column(row, 1)?))).await?;
        rows.into_iter().map(|row| self.versioned(row)).collect()
    }

    fn versioned<T: DeserializeOwned>(self, (revision, text): (i64, String)) -> Result<Versioned<T>> {
        let revision = u64::try_from(revision).map_err(|error| StorageError::corrupt(self.what, error))?;
        Ok(Versioned { value: parse(self.what, &text)?, revision: Revision(revision) })
    }

    async fn put<T: Serialize + DeserializeOwned + PartialEq>(
        self,
        db: &Db<'_>,
        key: &str,
        value: &T,
        revision: Revision,
    ) -> Result<Revision> {
        let current: Option<Versioned<T>> = self.get(db, key).await?;
        if let Some(stored) = current.as_ref().filter(|stored| stored.value == *value) {
            // An earlier run of the same step stored it.
            return Ok(stored.revision);
        }
        if current.map(|stored| stored.revision).unwrap_or_default() != revision {
            return Err(StorageError::conflict(self.what, key));
        }
        let next = revision.0 + 1;
        let column = i64::try_from(next).map_err(|error| StorageError::corrupt(self.what, error))?;
        run(db, self.put, params![key, column, body(value)?]).await?;
        Ok(Revision(next))
    }
}

// An AID has one owner: an application (all its load files, modules and instances) or a domain.
async fn own_aids(db: &Db<'_>, owner: &str, aids: impl IntoIterator<Item = Aid>) -> Result<()> {
    run(db, "DELETE FROM aids WHERE owner = $1", params![owner]).await?;
    for aid in aids.into_iter().collect::<BTreeSet<_>>() {
        let sql = "INSERT INTO aids (aid, owner) VALUES ($1, $2) ON CONFLICT (aid) DO NOTHING";
        if run(db, sql, params![aid.to_string(), owner]).await? == 0 {
            return Err(StorageError::conflict("AID", aid));
        }
    }
    Ok(())
}

async fn se_record(db: &Db<'_>, se: SeId) -> Result<Option<SeRecord>> {
    one(db, "SE", "SELECT body FROM ses WHERE se = $1", params![se.to_string()]).await
}

async fn known_se(db: &Db<'_>, se: SeId) -> Result<SeRecord> {
    se_record(db, se).await?.ok_or_else(|| StorageError::unknown("SE", se))
}

async fn put_se(db: &Db<'_>, record: &SeRecord) -> Result<()> {
    let number = record.binding.as_ref().map(|binding| binding.number.as_str());
    let sql = "INSERT INTO ses (se, number, body) VALUES ($1, $2, $3)
         ON CONFLICT (se) DO UPDATE SET number = excluded.number, body = excluded.body";
    run(db, sql, params![record.se.to_string(), number, body(record)?]).await?;
    Ok(())
}

async fn put_token(db: &Db<'_>, se: SeId, token: &TokenRecord) -> Result<()> {
    run(
        db,
        "INSERT INTO tokens (se, body) VALUES ($1, $2)
         ON CONFLICT (se) DO UPDATE SET body = excluded.body",
        params![se.to_string(), body(token)?],
    )
    .await?;
    Ok(())
}

async fn put_application_on(db: &Db<'_>, se: SeId, application: &ApplicationOnSe) -> Result<()> {
    run(
        db,
        "INSERT INTO applications_on_se (se, application, present, body) VALUES ($1, $2, $3, $4)
         ON CONFLICT (se, application) DO UPDATE SET present = excluded.present, body = excluded.body",
        params![
            se.to_string(),
            application.application.to_string(),
            application.record.state != SeState::Ready,
            body(application)?
        ],
    )
    .await?;
    Ok(())
}

async fn put_subscription(db: &Db<'_>, subscription: &Subscription) -> Result<()> {
    run(
        db,
        "INSERT INTO subscriptions (id, se, number, active, since, body) VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (id) DO UPDATE SET se = excluded.se, number = excluded.number, active = excluded.active, since = excluded.since, body = excluded.body",
        params![
            subscription.id.to_string(),
            subscription.se.to_string(),
            subscription.number.as_str(),
            subscription.is_active(),
            nanoseconds(subscription.since),
            body(subscription)?
        ],
    ).await?;
    Ok(())
}

async fn put_intention(db: &Db<'_>, se: SeId, intention: &Intention) -> Result<()> {
    run(
        db,
        "INSERT INTO intentions (se, conversation, number, at, unknown, body) VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (se, conversation, number) DO UPDATE SET at = excluded.at, unknown = excluded.unknown, body = excluded.body",
        params![
            se.to_string(),
            intention.conversation.to_string(),
            i64::from(intention.number),
            nanoseconds(intention.at),
            intention.outcome == Outcome::Unknown,
            body(intention)?
        ],
    ).await?;
    Ok(())
}

async fn put_task(db: &Db<'_>, task: &Task) -> Result<()> {
    let open = matches!(task.state, TaskState::Waiting | TaskState::Running);
    run(
        db,
        "INSERT INTO tasks (se, created_at, id, open, body) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (se, created_at, id) DO UPDATE SET open = excluded.open, body = excluded.body",
        params![task.se.to_string(), nanoseconds(task.created_at), task.id.to_string(), open, body(task)?],
    )
    .await?;
    Ok(())
}

async fn find_task(db: &Db<'_>, se: SeId, id: TaskId) -> Result<Option<Task>> {
    let sql = "SELECT body FROM tasks WHERE se = $1 AND id = $2";
    one(db, "task", sql, params![se.to_string(), id.to_string()]).await
}

async fn open_tasks(db: &Db<'_>, se: SeId) -> Result<TaskQueue> {
    let sql = "SELECT body FROM tasks WHERE se = $1 AND open ORDER BY created_at, id";
    Ok(TaskQueue::of(many::<Task>(db, "task", sql, params![se.to_string()]).await?))
}

async fn register(db: &Db<'_>, registration: &Registration) -> Result<Registered> {
    let mut record = known_se(db, registration.se).await?;
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
        record.binding = registration.number.clone().map(|number| Binding::new(number, registration.at));
        record.number_change = None;
        put_se(db, &record).await?;
    }
    put_token(db, registration.se, &registration.token).await?;
    append_notes(db, &registration.notes).await?;
    Ok(Registered::Done(record))
}

async fn unbind(db: &Db<'_>, se: SeId, number: &Msisdn, notes: &[Note]) -> Result<Unbound> {
    let mut record = known_se(db, se).await?;
    if record.binding.as_ref().is_none_or(|binding| binding.number != *number) {
        return Ok(Unbound::NotBound);
    }
    let sql = "SELECT body FROM subscriptions WHERE se = $1 AND number = $2 AND active";
    let living: Vec<Subscription> =
        many(db, "subscription", sql, params![se.to_string(), number.as_str()]).await?;
    let mut subscribed: Vec<_> = living.iter().map(|row| row.what.aid()).collect();
    if !subscribed.is_empty() {
        subscribed.sort();
        return Ok(Unbound::Subscribed(subscribed));
    }
    record.binding = None;
    record.number_change = None;
    put_se(db, &record).await?;
    run(db, "DELETE FROM tokens WHERE se = $1", params![se.to_string()]).await?;
    append_notes(db, notes).await?;
    Ok(Unbound::Done)
}

async fn commit(db: &Db<'_>, fence: Fence, change: &SeChange) -> Result<()> {
    check_fence(db, fence).await?;
    let se = fence.se;
    let mut record = known_se(db, se).await?;
    if let Some((inventory, at)) = &change.observed {
        record.inventory = inventory.clone();
        record.observed_at = Some(*at);
        put_se(db, &record).await?;
    }
    if let Some(binding) = &change.renumbered {
        record.binding = Some(binding.clone());
        record.number_change = None;
        put_se(db, &record).await?;
    }
    for application in &change.applications {
        put_application_on(db, se, application).await?;
    }
    for domain in &change.domains {
        let sql = "INSERT INTO domains_on_se (se, domain, body) VALUES ($1, $2, $3)
         ON CONFLICT (se, domain) DO UPDATE SET body = excluded.body";
        run(db, sql, params![se.to_string(), domain.aid.to_string(), body(domain)?]).await?;
    }
    for aid in &change.removed_domains {
        let sql = "DELETE FROM domains_on_se WHERE se = $1 AND domain = $2";
        run(db, sql, params![se.to_string(), aid.to_string()]).await?;
    }
    for subscription in &change.subscriptions {
        put_subscription(db, subscription).await?;
    }
    for intention in &change.intentions {
        put_intention(db, se, intention).await?;
    }
    if let Some(token) = &change.token {
        put_token(db, se, token).await?;
    }
    put_with(db, &change.deliveries, &change.notes, &change.incidents).await?;
    match &change.end {
        Some(ended) => end(db, fence, ended).await,
        None => Ok(()),
    }
}

async fn use_ticket(
    db: &Db<'_>,
    id: TicketId,
    by: ConversationId,
    now: jiff::Timestamp,
) -> Result<TicketUse> {
    let found: Option<Ticket> =
        one(db, "ticket", "SELECT body FROM tickets WHERE id = $1", params![id.to_string()]).await?;
    let Some(mut ticket) = found else {
        return Ok(TicketUse::Unknown);
    };
    match ticket.used_by {
        Some(user) if user == by => Ok(TicketUse::Granted(ticket)),
        Some(user) => Ok(TicketUse::UsedBy(user)),
        None if ticket.expires_at <= now => Ok(TicketUse::Unknown),
        None => {
            ticket.used_by = Some(by);
            run(db, "UPDATE tickets SET body = $2 WHERE id = $1", params![id.to_string(), body(&ticket)?])
                .await?;
            Ok(TicketUse::Granted(ticket))
        }
    }
}

#[async_trait]
impl SeTsmStore for Postgres<SeTsmTables> {
    async fn put_provider(&self, provider: Provider, revision: Revision) -> Result<Revision> {
        step!(self, db, PROVIDERS.put(db, provider.id.as_str(), &provider, revision).await)
    }

    async fn provider(&self, id: &ProviderId) -> Result<Option<Versioned<Provider>>> {
        single!(self, db, PROVIDERS.get(db, id.as_str()).await)
    }

    async fn providers(&self) -> Result<Vec<Versioned<Provider>>> {
        single!(self, db, PROVIDERS.list(db).await)
    }

    async fn put_staff(&self, account: StaffAccount, revision: Revision) -> Result<Revision> {
        step!(self, db, STAFF.put(db, account.id.as_str(), &account, revision).await)
    }

    async fn staff(&self, id: &OperatorId) -> Result<Option<Versioned<StaffAccount>>> {
        single!(self, db, STAFF.get(db, id.as_str()).await)
    }

    async fn put_blob(&self, content: Arc<[u8]>) -> Result<Sha256Digest> {
        let hash = Sha256Digest::of(&content);
        single!(self, db, {
            let sql = "INSERT INTO blobs (hash, content) VALUES ($1, $2) ON CONFLICT (hash) DO NOTHING";
            run(db, sql, params![hash.to_string(), &content[..]]).await?;
            Ok(hash)
        })
    }

    async fn blob(&self, hash: Sha256Digest) -> Result<Option<Arc<[u8]>>> {
        let sql = "SELECT content FROM blobs WHERE hash = $1";
        let content = single!(
            self,
            db,
            first(db, sql, params![hash.to_string()], |row| column::<Vec<u8>>(row, 0)).await
        )?;
        match content {
            Some(content) if Sha256Digest::of(&content) != hash => {
                Err(StorageError::corrupt("uploaded file", "its content does not fit its hash"))
            }
            content => Ok(content.map(Arc::from)),
        }
    }

    async fn put_application(&self, application: Application, revision: Revision) -> Result<Revision> {
        step!(self, db, {
            let aid = application.aid;
            own_aids(db, &format!("application/{aid}"), std::iter::once(aid).chain(application.aids()))
                .await?;
            APPLICATIONS.put(db, &aid.to_string(), &application, revision).await
        })
    }

    async fn application(&self, aid: Aid) -> Result<Option<Versioned<Application>>> {
        single!(self, db, APPLICATIONS.get(db, &aid.to_string()).await)
    }

    async fn applications(&self) -> Result<Vec<Versioned<Application>>> {
        single!(self, db, APPLICATIONS.list(db).await)
    }

    async fn put_domain(&self, definition: DomainDefinition, revision: Revision) -> Result<Revision> {
        step!(self, db, {
            let aid = definition.aid;
            own_aids(db, &format!("domain/{aid}"), [aid]).await?;
            DOMAINS.put(db, &aid.to_string(), &definition, revision).await
        })
    }

    async fn domain(&self, aid: Aid) -> Result<Option<Versioned<DomainDefinition>>> {
        single!(self, db, DOMAINS.get(db, &aid.to_string()).await)
    }

    async fn domains(&self) -> Result<Vec<Versioned<DomainDefinition>>> {
        single!(self, db, DOMAINS.list(db).await)
    }

    async fn used_aids(&self) -> Result<Vec<Aid>> {
        let texts = single!(
            self,
            db,
            all(db, "SELECT aid FROM aids ORDER BY aid", params![], |row| column::<String>(row, 0)).await
        )?;
        texts.iter().map(|text| from_text("AID", text)).collect()
    }

    async fn domain_holders(&self, aid: Aid) -> Result<u64> {
        let sql = "SELECT count(*) FROM domains_on_se WHERE domain = $1";
        single!(
            self,
            db,
            Ok(first(db, sql, params![aid.to_string()], |row| narrow::<u64>(row, 0)).await?.unwrap_or(0))
        )
    }

    async fn application_holders(&self, aid: Aid) -> Result<u64> {
        let sql = "SELECT count(*) FROM applications_on_se WHERE application = $1 AND present";
        single!(
            self,
            db,
            Ok(first(db, sql, params![aid.to_string()], |row| narrow::<u64>(row, 0)).await?.unwrap_or(0))
        )
    }

    async fn put_batch(&self, batch: Batch) -> Result<()> {
        step!(self, db, {
            let mut book = BatchBook::default();
            for known in many::<Batch>(db, "batch", "SELECT body FROM batches ORDER BY id", params![]).await?
            {
                book.put(known)?;
            }
            let (id, text) = (batch.id.clone(), body(&batch)?);
            book.put(batch.clone())?;
            run(
                db,
                "INSERT INTO batches (id, body) VALUES ($1, $2)
         ON CONFLICT (id) DO UPDATE SET body = excluded.body",
                params![id.as_str(), text],
            )
            .await?;
            Ok(())
        })
    }

    async fn batch(&self, id: &BatchId) -> Result<Option<Batch>> {
        single!(
            self,
            db,
            one(db, "batch", "SELECT body FROM batches WHERE id = $1", params![id.as_str()]).await
        )
    }

    async fn batches(&self) -> Result<Vec<Batch>> {
        single!(self, db, many(db, "batch", "SELECT body FROM batches ORDER BY id", params![]).await)
    }

    async fn batch_of(&self, se: SeId) -> Result<Option<Batch>> {
        let batches = self.batches().await?;
        Ok(batches.into_iter().find(|batch| batch.segments.iter().any(|segment| segment.has(&se))))
    }

    async fn add_se(&self, record: SeRecord) -> Result<SeRecord> {
        step!(self, db, {
            if let Some(known) = se_record(db, record.se).await? {
                return Ok(known);
            }
            put_se(db, &record).await?;
            Ok(record.clone())
        })
    }

    async fn se(&self, se: SeId) -> Result<Option<SeRecord>> {
        single!(self, db, se_record(db, se).await)
    }

    async fn ses(&self, after: Option<SeId>, most: usize) -> Result<Vec<SeRecord>> {
        let after = after.map(|se| se.to_string()).unwrap_or_default();
        let sql = "SELECT body FROM ses WHERE (length(se), se) > (length($1::text), $1) ORDER BY length(se), se LIMIT $2";
        single!(self, db, many(db, "SE", sql, params![after, limit(most)]).await)
    }

    async fn ses_of(&self, number: &Msisdn) -> Result<Vec<SeRecord>> {
        let sql = "SELECT body FROM ses WHERE number = $1 ORDER BY length(se), se";
        single!(self, db, many(db, "SE", sql, params![number.as_str()]).await)
    }

    async fn register_se(&self, registration: Registration) -> Result<Registered> {
        step!(self, db, register(db, &registration).await)
    }

    async fn order_number_change(
        &self,
        se: SeId,
        change: NumberChange,
        notes: Vec<Note>,
    ) -> Result<NumberChangeOrdered> {
        step!(self, db, {
            let Some(record) = with_number_change(known_se(db, se).await?, change.clone()) else {
                return Ok(NumberChangeOrdered::BoundElsewhere);
            };
            put_se(db, &record).await?;
            append_notes(db, &notes).await?;
            Ok(NumberChangeOrdered::Accepted(record))
        })
    }

    async fn unbind_se(&self, se: SeId, number: &Msisdn, notes: Vec<Note>) -> Result<Unbound> {
        step!(self, db, unbind(db, se, number, &notes).await)
    }

    async fn set_standing(
        &self,
        se: SeId,
        change: LossChange,
        deliveries: Vec<Delivery>,
        notes: Vec<Note>,
    ) -> Result<()> {
        step!(self, db, {
            put_se(db, &change.clone().of(known_se(db, se).await?)?).await?;
            put_with(db, &deliveries, &notes, &[]).await
        })
    }

    async fn token(&self, se: SeId) -> Result<Option<TokenRecord>> {
        single!(
            self,
            db,
            one(db, "token", "SELECT body FROM tokens WHERE se = $1", params![se.to_string()]).await
        )
    }

    async fn put_token(&self, se: SeId, token: TokenRecord) -> Result<()> {
        step!(self, db, {
            known_se(db, se).await?;
            put_token(db, se, &token).await
        })
    }

    async fn put_number(&self, record: NumberRecord) -> Result<()> {
        single!(self, db, {
            let purpose = match record.purpose {
                NumberPurpose::Customer => "customer",
                NumberPurpose::Test => "test",
            };
            let sql = "INSERT INTO numbers (number, purpose, body) VALUES ($1, $2, $3)
         ON CONFLICT (number) DO UPDATE SET purpose = excluded.purpose, body = excluded.body";
            run(db, sql, params![record.number.as_str(), purpose, body(&record)?]).await?;
            Ok(())
        })
    }

    async fn number(&self, number: &Msisdn) -> Result<Option<NumberRecord>> {
        single!(
            self,
            db,
            one(db, "number", "SELECT body FROM numbers WHERE number = $1", params![number.as_str()]).await
        )
    }

    async fn test_numbers(&self) -> Result<BTreeSet<Msisdn>> {
        let sql = "SELECT number FROM numbers WHERE purpose = 'test'";
        let texts = single!(self, db, all(db, sql, params![], |row| column::<String>(row, 0)).await)?;
        texts.iter().map(|text| from_text("number", text)).collect()
    }

    async fn commit(&self, fence: Fence, change: SeChange) -> Result<()> {
        step!(self, db, commit(db, fence, &change).await)
    }

    async fn applications_on(&self, se: SeId) -> Result<Vec<ApplicationOnSe>> {
        let sql = "SELECT body FROM applications_on_se WHERE se = $1 ORDER BY application";
        single!(self, db, many(db, "application on an SE", sql, params![se.to_string()]).await)
    }

    async fn domains_on(&self, se: SeId) -> Result<Vec<DomainOnSe>> {
        let sql = "SELECT body FROM domains_on_se WHERE se = $1 ORDER BY domain";
        single!(self, db, many(db, "domain on an SE", sql, params![se.to_string()]).await)
    }

    async fn open_intentions(&self, se: SeId) -> Result<Vec<Intention>> {
        let sql = "SELECT body FROM intentions WHERE se = $1 AND unknown ORDER BY at, conversation, number";
        single!(self, db, many(db, "intention", sql, params![se.to_string()]).await)
    }

    async fn subscriptions_of(&self, se: SeId) -> Result<Vec<Subscription>> {
        let sql = "SELECT body FROM subscriptions WHERE se = $1 ORDER BY since, id";
        single!(self, db, many(db, "subscription", sql, params![se.to_string()]).await)
    }

    async fn subscription(&self, id: SubscriptionId) -> Result<Option<Subscription>> {
        let sql = "SELECT body FROM subscriptions WHERE id = $1";
        single!(self, db, one(db, "subscription", sql, params![id.to_string()]).await)
    }

    async fn put_ticket(&self, ticket: Ticket) -> Result<()> {
        single!(self, db, {
            let sql = "INSERT INTO tickets (id, body) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING";
            run(db, sql, params![ticket.id.to_string(), body(&ticket)?]).await?;
            Ok(())
        })
    }

    async fn use_ticket(&self, id: TicketId, by: ConversationId, now: jiff::Timestamp) -> Result<TicketUse> {
        step!(self, db, use_ticket(db, id, by, now).await)
    }

    async fn enqueue_task(&self, task: Task) -> Result<()> {
        step!(
            self,
            db,
            match find_task(db, task.se, task.id).await? {
                Some(_) => Ok(()),
                None => put_task(db, &task).await,
            }
        )
    }

    async fn start_task(&self, se: SeId, now: jiff::Timestamp) -> Result<Option<Task>> {
        step!(self, db, {
            let mut queue = open_tasks(db, se).await?;
            let Ok(Some(started)) = queue.start_next(now) else { return Ok(None) };
            put_task(db, started).await?;
            Ok(Some(started.clone()))
        })
    }

    async fn finish_task(&self, se: SeId, id: TaskId, ended: TaskState) -> Result<()> {
        step!(self, db, {
            let task = find_task(db, se, id).await?.ok_or_else(|| StorageError::unknown("task", id))?;
            match task.state {
                TaskState::Waiting | TaskState::Running => {
                    put_task(db, &Task { state: ended.clone(), ..task }).await
                }
                TaskState::Done | TaskState::Failed { .. } | TaskState::Terminated(_) => Ok(()),
            }
        })
    }

    async fn tasks_of(&self, se: SeId) -> Result<Vec<Task>> {
        single!(self, db, Ok(open_tasks(db, se).await?.tasks().cloned().collect()))
    }
}
