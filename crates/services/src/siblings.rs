//! Several processes of one role on one store.
//!
//! Any of them serves any request, except a turn or a cancel: a conversation lives in the process where it began.
//! Its row names that process, and whoever gets the turn or cancel passes it on there and brings the reply back. A process that
//! is gone has taken its conversations with it: the wallet is told to restart, and begins with what the card
//! holds.

use std::fmt;

use async_trait::async_trait;
use tsm_api::client::{Client, ClientError};
use tsm_api::conversation::{ConversationReply, RestartReason, TurnRequest};
use tsm_api::endpoint::{Endpoint, Nothing};
use tsm_api::ids::ConversationId as WireConversation;
use tsm_api::problem::Problem;
use tsm_domain::{ConversationId, SeId};
use tsm_storage::shared::Conversations;
use zeroize::Zeroizing;

use crate::conversation::{Engine, StopReason};
use crate::server::Peer;
use crate::stored;

/// What a wallet has shown of itself, to be shown to the process that holds its conversation.
#[derive(Clone, PartialEq, Eq)]
pub struct Bearer(Zeroizing<String>);

impl Bearer {
    pub(crate) fn new(text: &str) -> Self {
        Self(Zeroizing::new(text.to_owned()))
    }

    /// A client that shows it.
    pub(crate) fn shown_by(&self, client: Client) -> Client {
        client.with_bearer(self.0.as_str())
    }
}

impl fmt::Debug for Bearer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Bearer(..)")
    }
}

/// The other processes of this role.
#[async_trait]
pub trait Siblings: Send + Sync {
    /// The address under which this process alone is reached.
    fn here(&self) -> &str;

    /// What they show of themselves: the role's own certificate and signature.
    fn peer(&self) -> &Peer;

    /// A client of the process at this address, with the role's own identity.
    async fn at(&self, address: &str) -> Result<Client, Problem>;
}

/// Where a role's conversations live: here, or in another process on the same store.
pub(crate) struct Elsewhere<'a, S: ?Sized> {
    /// The other processes; none where this one is alone.
    pub(crate) siblings: Option<&'a dyn Siblings>,
    /// The store, whose rows name the processes.
    pub(crate) store: &'a S,
}

impl<S: Conversations + ?Sized> Elsewhere<'_, S> {
    /// Takes a turn here, or has it taken where the conversation lives. A process that cannot be reached holds no
    /// conversation any more.
    pub(crate) async fn turn(
        &self,
        engine: &Engine,
        endpoint: &Endpoint<TurnRequest, ConversationReply>,
        conversation: WireConversation,
        request: TurnRequest,
    ) -> Result<ConversationReply, Problem> {
        let reply = engine.turn(conversation, None, request.clone()).await?;
        if !is_unknown(&reply) {
            return Ok(reply);
        }
        let Some(sibling) = self.holder(conversation).await? else { return Ok(reply) };
        match sibling.call(endpoint, &[&conversation.to_string()], &request).await {
            Err(ClientError::NotSent(_) | ClientError::Unknown(_)) => Ok(reply),
            taken => taken.map_err(|error| error.to_problem()),
        }
    }

    /// Stops a conversation of this secure element here, or has it stopped where it lives, by what the wallet has
    /// shown of itself.
    pub(crate) async fn cancel(
        &self,
        engine: &Engine,
        endpoint: &Endpoint<Nothing, Nothing>,
        conversation: WireConversation,
        (se, bearer): (&SeId, &Bearer),
    ) -> Result<Nothing, Problem> {
        let stopped = engine.stop(conversation, Some(se), StopReason::Cancelled);
        let Err(unknown) = stopped else { return Ok(Nothing {}) };
        let Some(sibling) = self.holder(conversation).await? else { return Err(unknown) };
        let cancelled =
            bearer.shown_by(sibling).call(endpoint, &[&conversation.to_string()], &Nothing {}).await;
        cancelled.map_err(|error| error.to_problem())
    }

    /// A client of the process that holds a conversation; none when it is this one, or none is known.
    async fn holder(&self, conversation: WireConversation) -> Result<Option<Client>, Problem> {
        let Some(siblings) = self.siblings else { return Ok(None) };
        let id = ConversationId::from_uuid(conversation.0);
        let row = self.store.conversation(id).await.map_err(|error| stored::problem(&error))?;
        let Some(address) = row.filter(|row| row.ended.is_none()).and_then(|row| row.server) else {
            return Ok(None);
        };
        if address == siblings.here() { Ok(None) } else { siblings.at(&address).await.map(Some) }
    }
}

/// Whether no process here knows the conversation.
const fn is_unknown(reply: &ConversationReply) -> bool {
    matches!(reply, ConversationReply::Restart { reason: RestartReason::UnknownConversation })
}
