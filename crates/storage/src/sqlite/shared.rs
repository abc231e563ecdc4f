//! Conversations, sessions, outbox, incidents and journals on SQLite.

use std::collections::BTreeMap;

use async_trait::async_trait;
use rusqlite::{Connection, params};
use tsm_domain::{ConversationId, DeliveryId, IncidentId, SeId, SessionId};

use super::rows::{all, body, first, from_text, limit, many, nanoseconds, one, parse, run};
use super::schema::Schema;
use super::{Sqlite, rows};
use crate::columns::checked_entries;
use crate::error::{Result, StorageError};
use crate::shared::*;

struct Lease {
    fence: Fence,
    until: Option<i64>,
}

fn lease(db: &Connection, se: SeId) -> Result<Option<Lease>> {
    let sql = "SELECT conversation, epoch, until FROM leases WHERE se = ?1";
    let read = |row: &rusqlite::Row<'_>| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?, row.get(2)?));
    let Some((conversation, epoch, until)) = first(db, sql, [se.to_string()], read)? else {
        return Ok(None);
    };
    let conversation = from_text("conversation", &conversation)?;
    let epoch = Epoch(u64::try_from(epoch).map_err(|error| StorageError::corrupt("epoch", error))?);
    Ok(Some(Lease { fence: Fence { se, conversation, epoch }, until }))
}

fn put_lease(db: &Connection, fence: Fence, until: jiff::Timestamp) -> Result<()> {
    let epoch = i64::try_from(fence.epoch.0).map_err(|error| StorageError::corrupt("epoch", error))?;
    run(
        db,
        "INSERT INTO leases (se, conversation, epoch, until) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (se) DO UPDATE SET conversation = ?2, epoch = ?3, until = ?4",
        params![fence.se.to_string(), fence.conversation.to_string(), epoch, nanoseconds(until)],
    )?;
    Ok(())
}

pub(super) fn check_fence(db: &Connection, fence: Fence) -> Result<()> {
    let current = lease(db, fence.se)?.map(|lease| lease.fence);
    if current == Some(fence) {
        return Ok(());
    }
    let current = current.map(|fence| fence.epoch).unwrap_or_default();
    Err(StorageError::Fenced { se: fence.se, held: fence.epoch, current })
}

/// Puts what goes with a step.
pub(super) fn put_with(
    db: &Connection,
    deliveries: &[Delivery],
    notes: Vec<Note>,
    incidents: &[Incident],
) -> Result<()> {
    for delivery in deliveries {
        put_delivery(db, delivery)?;
    }
    append_notes(db, notes)?;
    for incident in incidents {
        put_incident(db, incident)?;
    }
    Ok(())
}

fn put_delivery(db: &Connection, delivery: &Delivery) -> Result<()> {
    // One that was delivered stays known, so that storing its step again does not send it again.
    run(
        db,
        "INSERT INTO outbox (id, due_at, body) VALUES (?1, ?2, ?3) ON CONFLICT (id) DO NOTHING",
        params![delivery.id.to_string(), nanoseconds(delivery.due_at), body(delivery)?],
    )?;
    Ok(())
}

/// A message is not to be sent any more, if it was to be.
pub(super) fn end_delivery(db: &Connection, id: DeliveryId) -> Result<()> {
    run(db, "UPDATE outbox SET delivered = 1 WHERE id = ?1", [id.to_string()]).map(drop)
}

fn put_incident(db: &Connection, incident: &Incident) -> Result<()> {
    run(
        db,
        "INSERT INTO incidents (id, at, closed, body) VALUES (?1, ?2, ?3, ?4) ON CONFLICT (id) DO NOTHING",
        params![
            incident.id.to_string(),
            nanoseconds(incident.at),
            incident.closed.is_some(),
            body(incident)?
        ],
    )?;
    Ok(())
}

/// Closes an incident; one that was never opened has nothing to close.
pub(super) fn close_incident(db: &Connection, id: IncidentId, closed: IncidentClosed) -> Result<()> {
    let sql = "SELECT body FROM incidents WHERE id = ?1";
    let Some(mut incident) = one::<Incident>(db, "incident", sql, [id.to_string()])? else { return Ok(()) };
    incident.closed.get_or_insert(closed);
    let sql = "UPDATE incidents SET closed = 1, body = ?2 WHERE id = ?1";
    run(db, sql, params![id.to_string(), body(&incident)?])?;
    Ok(())
}

/// Appends notes. A list that a chain already ends with was stored by an earlier run of the same step.
pub(super) fn append_notes(db: &Connection, notes: Vec<Note>) -> Result<()> {
    let mut by_chain: BTreeMap<String, Vec<Note>> = BTreeMap::new();
    for note in notes {
        by_chain.entry(note.chain.to_text()).or_default().push(note);
    }
    for (key, notes) in by_chain {
        let sql = "SELECT body FROM chains WHERE chain = ?1 ORDER BY number DESC LIMIT ?2";
        let mut tail: Vec<Entry> = many(db, "journal entry", sql, params![key, limit(notes.len())])?;
        tail.reverse();
        if tail.iter().map(|entry| &entry.note).eq(&notes) {
            continue;
        }
        let mut last = tail.pop();
        for note in notes {
            let entry = Entry::following(last.as_ref(), note);
            let number =
                i64::try_from(entry.number).map_err(|error| StorageError::corrupt("journal", error))?;
            run(
                db,
                "INSERT INTO chains (chain, number, hash, body) VALUES (?1, ?2, ?3, ?4)",
                params![key, number, entry.hash.0, body(&entry)?],
            )?;
            last = Some(entry);
        }
    }
    Ok(())
}

/// Ends the conversation and gives the lease back.
pub(super) fn end(db: &Connection, fence: Fence, end: ConversationEnd) -> Result<()> {
    if let Some(mut conversation) = conversation(db, fence.conversation)? {
        conversation.ended.get_or_insert(end);
        save_conversation(db, &conversation)?;
    }
    run(db, "UPDATE leases SET until = NULL WHERE se = ?1", [fence.se.to_string()])?;
    Ok(())
}

fn conversation(db: &Connection, id: ConversationId) -> Result<Option<Conversation>> {
    one(db, "conversation", "SELECT body FROM conversations WHERE id = ?1", [id.to_string()])
}

fn save_conversation(db: &Connection, conversation: &Conversation) -> Result<()> {
    run(
        db,
        "INSERT INTO conversations (id, se, started_at, body) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (id) DO UPDATE SET body = ?4",
        params![
            conversation.id.to_string(),
            conversation.se.to_string(),
            nanoseconds(conversation.started_at),
            body(conversation)?
        ],
    )?;
    Ok(())
}

fn begin(
    db: &Connection,
    new: &Conversation,
    claim: Claim,
    now: jiff::Timestamp,
    until: jiff::Timestamp,
) -> Result<Begun> {
    let known = conversation(db, new.id)?;
    if known.as_ref().is_some_and(|known| known.se != new.se) {
        return Err(StorageError::conflict("conversation", new.id));
    }
    let last = lease(db, new.se)?;
    if let Some(Lease { fence, until: Some(held_until) }) = last {
        if fence.conversation == new.id {
            put_lease(db, fence, until)?;
            return Ok(Begun::Granted(fence));
        }
        if held_until > nanoseconds(now) && claim == Claim::Wait {
            return Ok(Begun::Busy { by: fence.conversation, until: rows::instant(held_until)? });
        }
        if let Some(mut old) = conversation(db, fence.conversation)? {
            let outcome = format!("taken over by conversation {}", new.id);
            old.ended.get_or_insert(ConversationEnd { at: now, outcome, status_word: None });
            save_conversation(db, &old)?;
        }
    }
    let epoch = Epoch(last.map_or(0, |lease| lease.fence.epoch.0) + 1);
    let fence = Fence { se: new.se, conversation: new.id, epoch };
    put_lease(db, fence, until)?;
    if known.is_none() {
        save_conversation(db, new)?;
    }
    Ok(Begun::Granted(fence))
}

#[async_trait]
impl<S: Schema> Conversations for Sqlite<S> {
    async fn begin_conversation(
        &self,
        conversation: Conversation,
        claim: Claim,
        now: jiff::Timestamp,
        until: jiff::Timestamp,
    ) -> Result<Begun> {
        self.write(move |db| begin(db, &conversation, claim, now, until)).await
    }

    async fn extend_lease(&self, fence: Fence, until: jiff::Timestamp) -> Result<()> {
        self.write(move |db| {
            check_fence(db, fence)?;
            let sql = "UPDATE leases SET until = ?2 WHERE se = ?1 AND until IS NOT NULL";
            run(db, sql, params![fence.se.to_string(), nanoseconds(until)])?;
            Ok(())
        })
        .await
    }

    async fn end_conversation(&self, fence: Fence, ended: ConversationEnd) -> Result<()> {
        self.write(move |db| {
            check_fence(db, fence)?;
            end(db, fence, ended)
        })
        .await
    }

    async fn conversation(&self, id: ConversationId) -> Result<Option<Conversation>> {
        self.read(|db| conversation(db, id))
    }

    async fn conversations_of(&self, se: SeId, most: usize) -> Result<Vec<Conversation>> {
        let sql = "SELECT body FROM conversations WHERE se = ?1 ORDER BY started_at DESC, id DESC LIMIT ?2";
        self.read(|db| many(db, "conversation", sql, params![se.to_string(), limit(most)]))
    }
}

#[async_trait]
impl<S: Schema> Sessions for Sqlite<S> {
    async fn put_session(&self, session: Session) -> Result<()> {
        self.write(move |db| {
            let se = match &session.holder {
                SessionHolder::Wallet { se, .. } => Some(se.to_string()),
                SessionHolder::Operator(_) => None,
            };
            run(
                db,
                "INSERT OR REPLACE INTO sessions (id, se, expires_at, body) VALUES (?1, ?2, ?3, ?4)",
                params![session.id.to_string(), se, nanoseconds(session.expires_at), body(&session)?],
            )?;
            Ok(())
        })
        .await
    }

    async fn session(&self, id: SessionId, now: jiff::Timestamp) -> Result<Option<Session>> {
        let sql = "SELECT body FROM sessions WHERE id = ?1 AND expires_at > ?2";
        self.read(|db| one(db, "session", sql, params![id.to_string(), nanoseconds(now)]))
    }

    async fn end_session(&self, id: SessionId) -> Result<()> {
        self.write(move |db| run(db, "DELETE FROM sessions WHERE id = ?1", [id.to_string()]).map(|_| ()))
            .await
    }

    async fn end_sessions_of(&self, se: SeId) -> Result<()> {
        self.write(move |db| run(db, "DELETE FROM sessions WHERE se = ?1", [se.to_string()]).map(|_| ()))
            .await
    }

    async fn sweep_sessions(&self, now: jiff::Timestamp) -> Result<usize> {
        self.write(move |db| run(db, "DELETE FROM sessions WHERE expires_at <= ?1", [nanoseconds(now)])).await
    }
}

#[async_trait]
impl<S: Schema> Outbox for Sqlite<S> {
    async fn put_delivery(&self, delivery: Delivery) -> Result<()> {
        self.write(move |db| put_delivery(db, &delivery)).await
    }

    async fn due_deliveries(&self, now: jiff::Timestamp, most: usize) -> Result<Vec<Delivery>> {
        let sql = "SELECT body FROM outbox WHERE delivered = 0 AND due_at <= ?1 ORDER BY due_at, id LIMIT ?2";
        self.read(|db| many(db, "delivery", sql, params![nanoseconds(now), limit(most)]))
    }

    async fn next_delivery_at(&self) -> Result<Option<jiff::Timestamp>> {
        let sql = "SELECT body FROM outbox WHERE delivered = 0 ORDER BY due_at, id LIMIT 1";
        self.read(|db| Ok(one::<Delivery>(db, "delivery", sql, [])?.map(|delivery| delivery.due_at)))
    }

    async fn delivered(&self, id: DeliveryId) -> Result<()> {
        self.write(move |db| {
            match run(db, "UPDATE outbox SET delivered = 1 WHERE id = ?1", [id.to_string()])? {
                0 => Err(StorageError::unknown("delivery", id)),
                _ => Ok(()),
            }
        })
        .await
    }

    async fn postpone_delivery(&self, id: DeliveryId, due_at: jiff::Timestamp) -> Result<()> {
        self.write(move |db| {
            let sql = "SELECT body, delivered FROM outbox WHERE id = ?1";
            let found = first(db, sql, [id.to_string()], |row| {
                Ok((row.get::<_, String>(0)?, row.get::<_, bool>(1)?))
            })?;
            let (text, delivered) = found.ok_or_else(|| StorageError::unknown("delivery", id))?;
            if delivered {
                // It got through meanwhile and is not sent again.
                return Ok(());
            }
            let mut delivery: Delivery = parse("delivery", &text)?;
            delivery.due_at = due_at;
            delivery.attempts += 1;
            let sql = "UPDATE outbox SET due_at = ?2, body = ?3 WHERE id = ?1";
            run(db, sql, params![id.to_string(), nanoseconds(due_at), body(&delivery)?])?;
            Ok(())
        })
        .await
    }
}

#[async_trait]
impl<S: Schema> Incidents for Sqlite<S> {
    async fn record_incident(&self, incident: Incident) -> Result<()> {
        self.write(move |db| put_incident(db, &incident)).await
    }

    async fn incidents(&self, filter: IncidentFilter, most: usize) -> Result<Vec<Incident>> {
        let sql = match filter {
            IncidentFilter::Open => {
                "SELECT body FROM incidents WHERE closed = 0 ORDER BY at DESC, id DESC LIMIT ?1"
            }
            IncidentFilter::All => "SELECT body FROM incidents ORDER BY at DESC, id DESC LIMIT ?1",
        };
        self.read(|db| many(db, "incident", sql, [limit(most)]))
    }

    async fn close_incident(&self, id: IncidentId, closed: IncidentClosed) -> Result<()> {
        self.write(move |db| {
            let sql = "SELECT body FROM incidents WHERE id = ?1";
            let found: Option<Incident> = one(db, "incident", sql, [id.to_string()])?;
            let mut incident = found.ok_or_else(|| StorageError::unknown("incident", id))?;
            incident.closed.get_or_insert(closed);
            let sql = "UPDATE incidents SET closed = 1, body = ?2 WHERE id = ?1";
            run(db, sql, params![id.to_string(), body(&incident)?])?;
            Ok(())
        })
        .await
    }
}

fn read_entry(row: &rusqlite::Row<'_>) -> rusqlite::Result<(Vec<u8>, String)> {
    Ok((row.get(0)?, row.get(1)?))
}

#[async_trait]
impl<S: Schema> Chains for Sqlite<S> {
    async fn append(&self, note: Note) -> Result<Entry> {
        self.write(move |db| {
            let key = note.chain.to_text();
            append_notes(db, vec![note])?;
            let sql = "SELECT body FROM chains WHERE chain = ?1 ORDER BY number DESC LIMIT 1";
            one(db, "journal entry", sql, [&key])?.ok_or_else(|| StorageError::unknown("journal", key))
        })
        .await
    }

    async fn chain(&self, key: ChainKey, after: u64, most: usize) -> Result<Vec<Entry>> {
        let after = i64::try_from(after).unwrap_or(i64::MAX);
        let sql = "SELECT hash, body FROM chains WHERE chain = ?1 AND number > ?2 ORDER BY number LIMIT ?3";
        self.read(|db| checked_entries(all(db, sql, params![key.to_text(), after, limit(most)], read_entry)?))
    }

    async fn chain_heads(&self, after: Option<ChainKey>, most: usize) -> Result<Vec<Entry>> {
        let after = after.map(|key| key.to_text()).unwrap_or_default();
        // The join picks each chain's last row by its key, without reading the rows before it.
        let sql = "SELECT head.hash, head.body FROM
                (SELECT chain, max(number) AS number FROM chains WHERE chain > ?1 GROUP BY chain ORDER BY chain LIMIT ?2) last
            JOIN chains head ON head.chain = last.chain AND head.number = last.number ORDER BY head.chain";
        self.read(|db| checked_entries(all(db, sql, params![after, limit(most)], read_entry)?))
    }
}
