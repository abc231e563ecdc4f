//! What more than one service keeps: conversations with their leases, sessions, an outbox, incidents and
//! hash-chained journals.

use std::fmt;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tsm_domain::bytes::Sha256Digest;
use tsm_domain::{CardNumber, ConversationId, DeliveryId, IncidentId, Msisdn, OperatorId, SeId, SessionId};

use crate::error::Result;

/// How often the link to an SE was given away. Every write of a conversation checks it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(pub u64);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The right of one conversation to write about one SE, until another takes it over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Fence {
    /// The SE.
    pub se: SeId,
    /// The conversation.
    pub conversation: ConversationId,
    /// The epoch in which it holds the link.
    pub epoch: Epoch,
}

/// What a new conversation does when another has the link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Claim {
    /// It waits: the answer is [`Begun::Busy`].
    Wait,
    /// It takes the link over, and the old conversation can write no more. For a wallet that came back
    /// without its old conversation.
    TakeOver,
}

/// A conversation with one SE.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conversation {
    /// Its identity. A hand-over between TSMs keeps it.
    pub id: ConversationId,
    /// The SE.
    pub se: SeId,
    /// What it is for, in the service's words: `download F04F…`, `top-up …`.
    pub purpose: String,
    /// When it began.
    pub started_at: jiff::Timestamp,
    /// How it ended; `None` while it is open.
    pub ended: Option<ConversationEnd>,
    /// The address of the process that holds it, where several processes of the role share the store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
}

/// How a conversation ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConversationEnd {
    /// When.
    pub at: jiff::Timestamp,
    /// The outcome in words.
    pub outcome: String,
    /// The status word that stopped it.
    pub status_word: Option<u16>,
}

/// The answer to the beginning of a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begun {
    /// It has the link.
    Granted(Fence),
    /// Another has it, until then at least.
    Busy {
        /// The other conversation.
        by: ConversationId,
        /// When its lease ends.
        until: jiff::Timestamp,
    },
}

/// Conversations and the lease of each SE.
#[async_trait]
pub trait Conversations: Send + Sync {
    /// Begins a conversation and takes the SE's lease until `until`. The row is durable before any APDU.
    ///
    /// Beginning the same conversation again gives the same fence while it holds the lease.
    async fn begin_conversation(
        &self,
        conversation: Conversation,
        claim: Claim,
        now: jiff::Timestamp,
        until: jiff::Timestamp,
    ) -> Result<Begun>;

    /// Extends the lease.
    async fn extend_lease(&self, fence: Fence, until: jiff::Timestamp) -> Result<()>;

    /// Ends the conversation and gives the lease back. Ending it again changes nothing.
    async fn end_conversation(&self, fence: Fence, end: ConversationEnd) -> Result<()>;

    /// A conversation.
    async fn conversation(&self, id: ConversationId) -> Result<Option<Conversation>>;

    /// The newest conversations of an SE.
    async fn conversations_of(&self, se: SeId, limit: usize) -> Result<Vec<Conversation>>;
}

/// A signed-in session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// Its identity; unguessable, because it is what the client presents.
    pub id: SessionId,
    /// Whose it is.
    pub holder: SessionHolder,
    /// When it began.
    pub created_at: jiff::Timestamp,
    /// When it ends by itself.
    pub expires_at: jiff::Timestamp,
}

/// Whose a session is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum SessionHolder {
    /// A wallet on this SE.
    Wallet {
        /// The SE.
        se: SeId,
        /// The number, where one is bound.
        number: Option<Msisdn>,
        /// What it may do.
        rights: WalletRights,
    },
    /// A person at a portal.
    Operator(OperatorId),
}

/// What a wallet's session may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum WalletRights {
    /// Everything.
    Full,
    /// Queries only (table S.5, case 3a).
    QueryOnly,
}

/// Sessions.
#[async_trait]
pub trait Sessions: Send + Sync {
    /// Keeps a session.
    async fn put_session(&self, session: Session) -> Result<()>;

    /// The session, if it has not ended by `now`.
    async fn session(&self, id: SessionId, now: jiff::Timestamp) -> Result<Option<Session>>;

    /// Ends a session. Ending it again changes nothing.
    async fn end_session(&self, id: SessionId) -> Result<()>;

    /// Ends every session of an SE, for example when its binding changes.
    async fn end_sessions_of(&self, se: SeId) -> Result<()>;

    /// Forgets sessions that ended before `now`; gives how many.
    async fn sweep_sessions(&self, now: jiff::Timestamp) -> Result<usize>;
}

/// A report or notification that must reach another system: stored with the step that caused it, sent
/// later, and repeated until it is acknowledged. Receivers take each identity once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// Its identity, which the receiver uses to take it once.
    pub id: DeliveryId,
    /// To whom: `centre`, `se-tsm`, a provider's number, an address.
    pub to: String,
    /// What kind of message it is.
    pub kind: String,
    /// The message, JSON.
    pub body: String,
    /// When it was stored.
    pub created_at: jiff::Timestamp,
    /// When it is to be sent next.
    pub due_at: jiff::Timestamp,
    /// How often it was tried.
    pub attempts: u32,
}

/// The outbox.
#[async_trait]
pub trait Outbox: Send + Sync {
    /// Puts a message into the outbox by itself. Most are put by the step that causes them.
    async fn put_delivery(&self, delivery: Delivery) -> Result<()>;

    /// Messages that are due, oldest first.
    async fn due_deliveries(&self, now: jiff::Timestamp, limit: usize) -> Result<Vec<Delivery>>;

    /// Messages that are due, oldest first, which no other process is given before `until`. A store that one
    /// process opens alone has nobody to keep them from.
    async fn claim_deliveries(
        &self,
        now: jiff::Timestamp,
        until: jiff::Timestamp,
        limit: usize,
    ) -> Result<Vec<Delivery>> {
        let _ = until;
        self.due_deliveries(now, limit).await
    }

    /// Whether other processes put messages in, too, so that one has to look from time to time.
    fn is_shared(&self) -> bool {
        false
    }

    /// When the next message is due.
    async fn next_delivery_at(&self) -> Result<Option<jiff::Timestamp>>;

    /// The receiver has it. Saying so again changes nothing.
    async fn delivered(&self, id: DeliveryId) -> Result<()>;

    /// It did not get through; try again at `due_at`.
    async fn postpone_delivery(&self, id: DeliveryId, due_at: jiff::Timestamp) -> Result<()>;
}

/// Something that someone has to look at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Incident {
    /// Its identity.
    pub id: IncidentId,
    /// The SE it is about.
    pub se: Option<SeId>,
    /// The card it is about.
    pub card: Option<CardNumber>,
    /// Its kind, stable: `reconciliation`, `suspicious-card`, `duplicate-seid`, …
    pub kind: String,
    /// What happened, in words.
    pub text: String,
    /// When.
    pub at: jiff::Timestamp,
    /// Who closed it, when, and with what note.
    pub closed: Option<IncidentClosed>,
}

/// How an incident was closed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IncidentClosed {
    /// Who.
    pub by: OperatorId,
    /// When.
    pub at: jiff::Timestamp,
    /// The note.
    pub note: String,
}

/// Which incidents to list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum IncidentFilter {
    /// Those that nobody closed.
    Open,
    /// All.
    All,
}

/// Incidents.
#[async_trait]
pub trait Incidents: Send + Sync {
    /// Records an incident. Recording it again changes nothing.
    async fn record_incident(&self, incident: Incident) -> Result<()>;

    /// Incidents, newest first.
    async fn incidents(&self, filter: IncidentFilter, limit: usize) -> Result<Vec<Incident>>;

    /// Closes an incident.
    async fn close_incident(&self, id: IncidentId, closed: IncidentClosed) -> Result<()>;
}

/// What a journal entry says, before it is chained.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// The chain: a card, an SE or an operator, so that no chain is shared by all.
    pub chain: ChainKey,
    /// When.
    pub at: jiff::Timestamp,
    /// Who did it: a role or a person.
    pub actor: String,
    /// What happened, a stable word: `login`, `card-opened`, `load-intended`, …
    pub event: String,
    /// Details, JSON. No APDU, password, key or full card number.
    pub detail: String,
}

/// The subject of a chain.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ChainKey {
    /// A card's journal.
    Card(CardNumber),
    /// An SE's audit trail.
    Se(SeId),
    /// A person's audit trail.
    Operator(OperatorId),
    /// What was booked on this day (UTC) about no card: settlements, losses.
    Day(jiff::civil::Date),
}

/// A journal entry in its chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its place in the chain, from 1.
    pub number: u64,
    /// What it says.
    pub note: Note,
    /// The hash of the entry before; zero for the first.
    pub previous: Sha256Digest,
    /// The hash over all the above.
    pub hash: Sha256Digest,
}

/// A chain does not hold together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("entry {number} of the journal does not follow from the one before it")]
pub struct ChainBroken {
    /// The first entry that does not fit.
    pub number: u64,
}

/// The hash-chained journals.
#[async_trait]
pub trait Chains: Send + Sync {
    /// Appends to a chain by itself. Most entries are appended by the step that they describe.
    async fn append(&self, note: Note) -> Result<Entry>;

    /// A chain's entries from `after` on, in order.
    async fn chain(&self, key: ChainKey, after: u64, limit: usize) -> Result<Vec<Entry>>;

    /// The last entry of each chain, in order of key from `after` on, for periodic sealing.
    async fn chain_heads(&self, after: Option<ChainKey>, limit: usize) -> Result<Vec<Entry>>;
}

impl fmt::Display for ChainKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Card(card) => write!(f, "card/{card}"),
            Self::Se(se) => write!(f, "se/{se}"),
            Self::Operator(operator) => write!(f, "operator/{operator}"),
            Self::Day(day) => write!(f, "day/{day}"),
        }
    }
}

impl ChainKey {
    /// The key as stores write it. Unlike its `Display` it carries the whole card number.
    pub fn to_text(&self) -> String {
        match self {
            Self::Card(card) => format!("card/{}", card.as_str()),
            Self::Se(se) => format!("se/{se}"),
            Self::Operator(operator) => format!("operator/{operator}"),
            Self::Day(day) => format!("day/{day}"),
        }
    }

    /// The chain of what is booked about no card at this moment.
    pub fn day_of(at: jiff::Timestamp) -> Self {
        Self::Day(at.to_zoned(jiff::tz::TimeZone::UTC).date())
    }

    /// Whether its entries carry changes of the centre's books.
    pub const fn is_of_the_books(&self) -> bool {
        match self {
            Self::Card(_) | Self::Day(_) => true,
            Self::Se(_) | Self::Operator(_) => false,
        }
    }
}

impl Entry {
    /// The hash before a chain's first entry.
    pub const START: Sha256Digest = Sha256Digest([0; 32]);

    /// The entry that puts `note` after `last`.
    pub fn following(last: Option<&Self>, note: Note) -> Self {
        let number = last.map_or(1, |last| last.number + 1);
        let previous = last.map_or(Self::START, |last| last.hash);
        let hash = Self::hash_of(number, &note, &previous);
        Self { number, note, previous, hash }
    }

    // Each field goes in with its length, so that no two entries have the same input.
    fn hash_of(number: u64, note: &Note, previous: &Sha256Digest) -> Sha256Digest {
        let mut hasher = Sha256::new();
        hasher.update(previous.0);
        hasher.update(number.to_be_bytes());
        hasher.update(note.at.as_nanosecond().to_be_bytes());
        for field in [&note.chain.to_text(), &note.actor, &note.event, &note.detail] {
            hasher.update((field.len() as u64).to_be_bytes());
            hasher.update(field.as_bytes());
        }
        Sha256Digest(hasher.finalize().into())
    }

    /// Checks that `entries` follow each other from `before` on.
    pub fn check_chain<'a>(
        before: Option<&Self>,
        entries: impl IntoIterator<Item = &'a Self>,
    ) -> std::result::Result<(), ChainBroken> {
        let mut last = before.map(|entry| (entry.number, entry.hash)).unwrap_or((0, Self::START));
        for entry in entries {
            let follows = entry.number == last.0 + 1 && entry.previous == last.1;
            if !follows || entry.hash != Self::hash_of(entry.number, &entry.note, &entry.previous) {
                return Err(ChainBroken { number: last.0 + 1 });
            }
            last = (entry.number, entry.hash);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(event: &str) -> Note {
        Note {
            chain: ChainKey::Se(SeId::new(&[1]).unwrap()),
            at: jiff::Timestamp::UNIX_EPOCH,
            actor: "wallet".into(),
            event: event.into(),
            detail: "{}".into(),
        }
    }

    #[test]
    fn a_changed_missing_or_moved_entry_breaks_the_chain() {
        let first = Entry::following(None, note("login"));
        let second = Entry::following(Some(&first), note("download"));
        let third = Entry::following(Some(&second), note("delete"));
        let chain = [first.clone(), second.clone(), third.clone()];
        assert_eq!(Entry::check_chain(None, &chain), Ok(()));
        assert_eq!(Entry::check_chain(Some(&first), &chain[1..]), Ok(()));
        let mut changed = chain.clone();
        changed[1].note.detail = "{\"a\":1}".into();
        assert_eq!(Entry::check_chain(None, &changed), Err(ChainBroken { number: 2 }));
        assert_eq!(Entry::check_chain(None, [&first, &third]), Err(ChainBroken { number: 2 }));
        assert_eq!(Entry::check_chain(None, [&second]), Err(ChainBroken { number: 1 }));
        let mut rehashed = chain;
        rehashed[1] = Entry::following(Some(&first), note("another"));
        assert_eq!(Entry::check_chain(None, &rehashed), Err(ChainBroken { number: 3 }));
    }
}
