//! Conversations, sessions, outbox, incidents and journals on PostgreSQL.

use std::collections::BTreeMap;

use async_trait::async_trait;
use tokio_postgres::Row;
use tsm_domain::{ConversationId, DeliveryId, IncidentId, SeId, SessionId};

use super::database::{Db, short, single, step};
use super::rows::{all, body, column, first, from_text, limit, many, nanoseconds, one, params, parse, run};
use super::schema::Tables;
use super::{Postgres, rows};
use crate::columns::checked_entries;
use crate::error::{Result, StorageError};
use crate::shared::*;

struct Lease {
    fence: Fence,
    until: Option<i64>,
}

// The lease, locked until the end of the transaction: a step that goes by it and a take-over do not pass each
// other, whatever the isolation of either.
async fn lease(db: &Db<'_>, se: SeId) -> Result<Option<Lease>> {
    let sql = "SELECT conversation, epoch, until FROM leases WHERE se = $1 FOR UPDATE";
    let read = |row: &Row| Ok((column::<String>(row, 0)?, column::<i64>(row, 1)?, column(row, 2)?));
    let Some((conversation, epoch, until)) = first(db, sql, params![se.to_string()], read).await? else {
        return Ok(None);
    };
    let conversation = from_text("conversation", &conversation)?;
    let epoch = Epoch(u64::try_from(epoch).map_err(|error| StorageError::corrupt("epoch", error))?);
    Ok(Some(Lease { fence: Fence { se, conversation, epoch }, until }))
}

async fn put_lease(db: &Db<'_>, fence: Fence, until: jiff::Timestamp) -> Result<()> {
    let epoch = i64::try_from(fence.epoch.0).map_err(|error| StorageError::corrupt("epoch", error))?;
    run(
        db,
        "INSERT INTO leases (se, conversation, epoch, until) VALUES ($1, $2, $3, $4)
         ON CONFLICT (se) DO UPDATE SET conversation = $2, epoch = $3, until = $4",
        params![fence.se.to_string(), fence.conversation.to_string(), epoch, nanoseconds(until)],
    )
    .await?;
    Ok(())
}

pub(super) async fn check_fence(db: &Db<'_>, fence: Fence) -> Result<()> {
    let current = lease(db, fence.se).await?.map(|lease| lease.fence);
    if current == Some(fence) {
        return Ok(());
    }
    let current = current.map(|fence| fence.epoch).unwrap_or_default();
    Err(StorageError::Fenced { se: fence.se, held: fence.epoch, current })
}

/// Puts what goes with a step.
pub(super) async fn put_with(
    db: &Db<'_>,
    deliveries: &[Delivery],
    notes: &[Note],
    incidents: &[Incident],
) -> Result<()> {
    for delivery in deliveries {
        put_delivery(db, delivery).await?;
    }
    append_notes(db, notes).await?;
    for incident in incidents {
        put_incident(db, incident).await?;
    }
    Ok(())
}

/// A message is not to be sent any more, if it was to be.
pub(super) async fn end_delivery(db: &Db<'_>, id: DeliveryId) -> Result<()> {
    run(db, "UPDATE outbox SET delivered = TRUE WHERE id = $1", params![id.to_string()]).await.map(drop)
}

async fn put_delivery(db: &Db<'_>, delivery: &Delivery) -> Result<()> {
    // One that was delivered stays known, so that storing its step again does not send it again.
    run(
        db,
        "INSERT INTO outbox (id, due_at, body) VALUES ($1, $2, $3) ON CONFLICT (id) DO NOTHING",
        params![delivery.id.to_string(), nanoseconds(delivery.due_at), body(delivery)?],
    )
    .await?;
    Ok(())
}

async fn put_incident(db: &Db<'_>, incident: &Incident) -> Result<()> {
    run(
        db,
        "INSERT INTO incidents (id, at, closed, body) VALUES ($1, $2, $3, $4) ON CONFLICT (id) DO NOTHING",
        params![
            incident.id.to_string(),
            nanoseconds(incident.at),
            incident.closed.is_some(),
            body(incident)?
        ],
    )
    .await?;
    Ok(())
}

/// Closes an incident; one that was never opened has nothing to close.
pub(super) async fn close_incident(db: &Db<'_>, id: IncidentId, closed: IncidentClosed) -> Result<()> {
    let sql = "SELECT body FROM incidents WHERE id = $1 FOR UPDATE";
    let found: Option<Incident> = one(db, "incident", sql, params![id.to_string()]).await?;
    let Some(mut incident) = found else { return Ok(()) };
    incident.closed.get_or_insert(closed);
    let sql = "UPDATE incidents SET closed = TRUE, body = $2 WHERE id = $1";
    run(db, sql, params![id.to_string(), body(&incident)?]).await?;
    Ok(())
}

/// Appends notes. A list that a chain already ends with was stored by an earlier run of the same step.
pub(super) async fn append_notes(db: &Db<'_>, notes: &[Note]) -> Result<()> {
    let mut by_chain: BTreeMap<String, Vec<&Note>> = BTreeMap::new();
    for note in notes {
        by_chain.entry(note.chain.to_text()).or_default().push(note);
    }
    for (key, notes) in by_chain {
        let sql = "SELECT body FROM chains WHERE chain = $1 ORDER BY number DESC LIMIT $2";
        let mut tail: Vec<Entry> = many(db, "journal entry", sql, params![key, limit(notes.len())]).await?;
        tail.reverse();
        if tail.iter().map(|entry| &entry.note).eq(notes.iter().copied()) {
            continue;
        }
        let mut last = tail.pop();
        for note in notes {
            let entry = Entry::following(last.as_ref(), note.clone());
            let number =
                i64::try_from(entry.number).map_err(|error| StorageError::corrupt("journal", error))?;
            run(
                db,
                "INSERT INTO chains (chain, number, hash, body) VALUES ($1, $2, $3, $4)",
                params![key, number, &entry.hash.0[..], body(&entry)?],
            )
            .await?;
            last = Some(entry);
        }
    }
    Ok(())
}

/// Ends the conversation and gives the lease back.
pub(super) async fn end(db: &Db<'_>, fence: Fence, end: &ConversationEnd) -> Result<()> {
    if let Some(mut conversation) = conversation(db, fence.conversation).await? {
        conversation.ended.get_or_insert_with(|| end.clone());
        save_conversation(db, &conversation).await?;
    }
    run(db, "UPDATE leases SET until = NULL WHERE se = $1", params![fence.se.to_string()]).await?;
    Ok(())
}

async fn conversation(db: &Db<'_>, id: ConversationId) -> Result<Option<Conversation>> {
    one(db, "conversation", "SELECT body FROM conversations WHERE id = $1", params![id.to_string()]).await
}

async fn save_conversation(db: &Db<'_>, conversation: &Conversation) -> Result<()> {
    let sql = "UPDATE conversations SET body = $2 WHERE id = $1";
    run(db, sql, params![conversation.id.to_string(), body(conversation)?]).await?;
    Ok(())
}

// Another SE's conversation may have taken the identity since it was looked for.
async fn begin_row(db: &Db<'_>, new: &Conversation) -> Result<()> {
    let sql = "INSERT INTO conversations (id, se, started_at, body) VALUES ($1, $2, $3, $4) ON CONFLICT (id) DO NOTHING";
    let started_at = nanoseconds(new.started_at);
    match run(db, sql, params![new.id.to_string(), new.se.to_string(), started_at, body(new)?]).await? {
        0 => Err(StorageError::conflict("conversation", new.id)),
        _ => Ok(()),
    }
}

async fn begin(
    db: &Db<'_>,
    new: &Conversation,
    claim: Claim,
    now: jiff::Timestamp,
    until: jiff::Timestamp,
) -> Result<Begun> {
    let known = conversation(db, new.id).await?;
    if known.as_ref().is_some_and(|known| known.se != new.se) {
        return Err(StorageError::conflict("conversation", new.id));
    }
    let mut last = lease(db, new.se).await?;
    if last.is_none() {
        // The row is made before it is locked, so that those who come at once queue for it.
        let sql = "INSERT INTO leases (se, conversation, epoch, until) VALUES ($1, $2, 0, NULL)
             ON CONFLICT (se) DO NOTHING";
        run(db, sql, params![new.se.to_string(), new.id.to_string()]).await?;
        last = lease(db, new.se).await?;
    }
    if let Some(Lease { fence, until: Some(held_until) }) = last {
        if fence.conversation == new.id {
            put_lease(db, fence, until).await?;
            return Ok(Begun::Granted(fence));
        }
        if held_until > nanoseconds(now) && claim == Claim::Wait {
            return Ok(Begun::Busy { by: fence.conversation, until: rows::instant(held_until)? });
        }
        if let Some(mut old) = conversation(db, fence.conversation).await? {
            let outcome = format!("taken over by conversation {}", new.id);
            old.ended.get_or_insert(ConversationEnd { at: now, outcome, status_word: None });
            save_conversation(db, &old).await?;
        }
    }
    if known.is_none() {
        begin_row(db, new).await?;
    }
    let epoch = Epoch(last.map_or(0, |lease| lease.fence.epoch.0) + 1);
    let fence = Fence { se: new.se, conversation: new.id, epoch };
    put_lease(db, fence, until).await?;
    Ok(Begun::Granted(fence))
}

#[async_trait]
impl<S: Tables> Conversations for Postgres<S> {
    async fn begin_conversation(
        &self,
        conversation: Conversation,
        claim: Claim,
        now: jiff::Timestamp,
        until: jiff::Timestamp,
    ) -> Result<Begun> {
        short!(self, db, begin(db, &conversation, claim, now, until).await)
    }

    async fn extend_lease(&self, fence: Fence, until: jiff::Timestamp) -> Result<()> {
        short!(self, db, {
            check_fence(db, fence).await?;
            let sql = "UPDATE leases SET until = $2 WHERE se = $1 AND until IS NOT NULL";
            run(db, sql, params![fence.se.to_string(), nanoseconds(until)]).await?;
            Ok(())
        })
    }

    async fn end_conversation(&self, fence: Fence, ended: ConversationEnd) -> Result<()> {
        short!(self, db, {
            check_fence(db, fence).await?;
            end(db, fence, &ended).await
        })
    }

    async fn conversation(&self, id: ConversationId) -> Result<Option<Conversation>> {
        single!(self, db, conversation(db, id).await)
    }

    async fn conversations_of(&self, se: SeId, most: usize) -> Result<Vec<Conversation>> {
        let sql = "SELECT body FROM conversations WHERE se = $1 ORDER BY started_at DESC, id DESC LIMIT $2";
        single!(self, db, many(db, "conversation", sql, params![se.to_string(), limit(most)]).await)
    }
}

#[async_trait]
impl<S: Tables> Sessions for Postgres<S> {
    async fn put_session(&self, session: Session) -> Result<()> {
        single!(self, db, {
            let se = match &session.holder {
                SessionHolder::Wallet { se, .. } => Some(se.to_string()),
                SessionHolder::Operator(_) => None,
            };
            run(
                db,
                "INSERT INTO sessions (id, se, expires_at, body) VALUES ($1, $2, $3, $4)
         ON CONFLICT (id) DO UPDATE SET se = excluded.se, expires_at = excluded.expires_at, body = excluded.body",
                params![session.id.to_string(), se, nanoseconds(session.expires_at), body(&session)?],
            ).await?;
            Ok(())
        })
    }

    async fn session(&self, id: SessionId, now: jiff::Timestamp) -> Result<Option<Session>> {
        let sql = "SELECT body FROM sessions WHERE id = $1 AND expires_at > $2";
        single!(self, db, one(db, "session", sql, params![id.to_string(), nanoseconds(now)]).await)
    }

    async fn end_session(&self, id: SessionId) -> Result<()> {
        single!(
            self,
            db,
            run(db, "DELETE FROM sessions WHERE id = $1", params![id.to_string()]).await.map(|_| ())
        )
    }

    async fn end_sessions_of(&self, se: SeId) -> Result<()> {
        single!(
            self,
            db,
            run(db, "DELETE FROM sessions WHERE se = $1", params![se.to_string()]).await.map(|_| ())
        )
    }

    async fn sweep_sessions(&self, now: jiff::Timestamp) -> Result<usize> {
        single!(
            self,
            db,
            run(db, "DELETE FROM sessions WHERE expires_at <= $1", params![nanoseconds(now)]).await
        )
    }
}

#[async_trait]
impl<S: Tables> Outbox for Postgres<S> {
    async fn put_delivery(&self, delivery: Delivery) -> Result<()> {
        single!(self, db, put_delivery(db, &delivery).await)
    }

    async fn due_deliveries(&self, now: jiff::Timestamp, most: usize) -> Result<Vec<Delivery>> {
        let sql = "SELECT body FROM outbox WHERE NOT delivered AND due_at <= $1 ORDER BY due_at, id LIMIT $2";
        single!(self, db, many(db, "delivery", sql, params![nanoseconds(now), limit(most)]).await)
    }

    async fn claim_deliveries(
        &self,
        now: jiff::Timestamp,
        until: jiff::Timestamp,
        most: usize,
    ) -> Result<Vec<Delivery>> {
        // Rows that another process is claiming are passed over.
        let sql = "WITH due AS (
                SELECT id FROM outbox WHERE NOT delivered AND due_at <= $1
                ORDER BY due_at, id LIMIT $3 FOR UPDATE SKIP LOCKED)
            UPDATE outbox SET due_at = $2 FROM due WHERE outbox.id = due.id RETURNING outbox.body";
        let parameters = params![nanoseconds(now), nanoseconds(until), limit(most)];
        let mut claimed: Vec<Delivery> = single!(self, db, many(db, "delivery", sql, parameters).await)?;
        claimed.sort_by_key(|delivery| (delivery.due_at, delivery.id));
        Ok(claimed)
    }

    fn is_shared(&self) -> bool {
        true
    }

    async fn next_delivery_at(&self) -> Result<Option<jiff::Timestamp>> {
        let sql = "SELECT due_at FROM outbox WHERE NOT delivered ORDER BY due_at, id LIMIT 1";
        single!(self, db, {
            let found = first(db, sql, params![], |row| column::<i64>(row, 0)).await?;
            found.map(super::rows::instant).transpose()
        })
    }

    async fn delivered(&self, id: DeliveryId) -> Result<()> {
        single!(self, db, {
            match run(db, "UPDATE outbox SET delivered = TRUE WHERE id = $1", params![id.to_string()]).await?
            {
                0 => Err(StorageError::unknown("delivery", id)),
                _ => Ok(()),
            }
        })
    }

    async fn postpone_delivery(&self, id: DeliveryId, due_at: jiff::Timestamp) -> Result<()> {
        short!(self, db, {
            let sql = "SELECT body, delivered FROM outbox WHERE id = $1 FOR UPDATE";
            let found = first(db, sql, params![id.to_string()], |row| {
                Ok((column::<String>(row, 0)?, column::<bool>(row, 1)?))
            })
            .await?;
            let (text, delivered) = found.ok_or_else(|| StorageError::unknown("delivery", id))?;
            if delivered {
                // It got through meanwhile and is not sent again.
                return Ok(());
            }
            let mut delivery: Delivery = parse("delivery", &text)?;
            delivery.due_at = due_at;
            delivery.attempts += 1;
            let sql = "UPDATE outbox SET due_at = $2, body = $3 WHERE id = $1";
            run(db, sql, params![id.to_string(), nanoseconds(due_at), body(&delivery)?]).await?;
            Ok(())
        })
    }
}

#[async_trait]
impl<S: Tables> Incidents for Postgres<S> {
    async fn record_incident(&self, incident: Incident) -> Result<()> {
        single!(self, db, put_incident(db, &incident).await)
    }

    async fn incidents(&self, filter: IncidentFilter, most: usize) -> Result<Vec<Incident>> {
        let sql = match filter {
            IncidentFilter::Open => {
                "SELECT body FROM incidents WHERE NOT closed ORDER BY at DESC, id DESC LIMIT $1"
            }
            IncidentFilter::All => "SELECT body FROM incidents ORDER BY at DESC, id DESC LIMIT $1",
        };
        single!(self, db, many(db, "incident", sql, params![limit(most)]).await)
    }

    async fn close_incident(&self, id: IncidentId, closed: IncidentClosed) -> Result<()> {
        short!(self, db, {
            let sql = "SELECT body FROM incidents WHERE id = $1 FOR UPDATE";
            let found: Option<Incident> = one(db, "incident", sql, params![id.to_string()]).await?;
            let mut incident = found.ok_or_else(|| StorageError::unknown("incident", id))?;
            incident.closed.get_or_insert_with(|| closed.clone());
            let sql = "UPDATE incidents SET closed = TRUE, body = $2 WHERE id = $1";
            run(db, sql, params![id.to_string(), body(&incident)?]).await?;
            Ok(())
        })
    }
}

fn read_entry(row: &Row) -> Result<(Vec<u8>, String)> {
    Ok((column(row, 0)?, column(row, 1)?))
}

#[async_trait]
impl<S: Tables> Chains for Postgres<S> {
    async fn append(&self, note: Note) -> Result<Entry> {
        step!(self, db, {
            let key = note.chain.to_text();
            append_notes(db, std::slice::from_ref(&note)).await?;
            let sql = "SELECT body FROM chains WHERE chain = $1 ORDER BY number DESC LIMIT 1";
            one(db, "journal entry", sql, params![key])
                .await?
                .ok_or_else(|| StorageError::unknown("journal", key))
        })
    }

    async fn chain(&self, key: ChainKey, after: u64, most: usize) -> Result<Vec<Entry>> {
        let after = i64::try_from(after).unwrap_or(i64::MAX);
        let sql = "SELECT hash, body FROM chains WHERE chain = $1 AND number > $2 ORDER BY number LIMIT $3";
        single!(
            self,
            db,
            checked_entries(all(db, sql, params![key.to_text(), after, limit(most)], read_entry).await?)
        )
    }

    async fn chain_heads(&self, after: Option<ChainKey>, most: usize) -> Result<Vec<Entry>> {
        let after = after.map(|key| key.to_text()).unwrap_or_default();
        // The join picks each chain's last row by its key, without reading the rows before it.
        let sql = "SELECT head.hash, head.body FROM
                (SELECT chain, max(number) AS number FROM chains WHERE chain > $1 GROUP BY chain ORDER BY chain LIMIT $2) last
            JOIN chains head ON head.chain = last.chain AND head.number = last.number ORDER BY head.chain";
        single!(self, db, checked_entries(all(db, sql, params![after, limit(most)], read_entry).await?))
    }
}
