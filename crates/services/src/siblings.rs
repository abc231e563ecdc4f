//! Several processes of one role on one store.
//!
//! Any of them serves any request, except a turn or a cancel: a conversation lives in the process where it began.
//! Its row names that process, and whoever gets the turn or cancel passes it on there and brings the reply back. A process that
//! is gone has taken its conversations with it: the wallet is told to restart, and begins with what the card
//! holds.

use std::fmt;

use async_trait::async_trait;
use tsm_api::client::{Client, ClientError};
use tsm_api::conversation::{ConversationReply, RestartReason};
use tsm_api::problem::Problem;
use tsm_domain::ConversationId;
use tsm_storage::shared::Conversations;
use zeroize::Zeroizing;

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

/// A client of the process that holds a conversation; none when it is this one, or none is known.
pub(crate) async fn holder(
    siblings: Option<&dyn Siblings>,
    store: &(impl Conversations + ?Sized),
    conversation: ConversationId,
) -> Result<Option<Client>, Problem> {
    let Some(siblings) = siblings else { return Ok(None) };
    let row = store.conversation(conversation).await.map_err(|error| stored::problem(&error))?;
    let Some(address) = row.filter(|row| row.ended.is_none()).and_then(|row| row.server) else {
        return Ok(None);
    };
    if address == siblings.here() { Ok(None) } else { siblings.at(&address).await.map(Some) }
}

/// What a passed-on request came to. A process that cannot be reached holds no conversation any more.
pub(crate) fn brought_back(
    reply: Result<ConversationReply, ClientError>,
) -> Result<ConversationReply, Problem> {
    match reply {
        Err(ClientError::NotSent(_) | ClientError::Unknown(_)) => Ok(unknown()),
        reply => reply.map_err(|error| error.to_problem()),
    }
}

/// Whether no process here knows the conversation.
pub(crate) const fn is_unknown(reply: &ConversationReply) -> bool {
    matches!(reply, ConversationReply::Restart { reason: RestartReason::UnknownConversation })
}

const fn unknown() -> ConversationReply {
    ConversationReply::Restart { reason: RestartReason::UnknownConversation }
}
