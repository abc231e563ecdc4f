//! Several processes of the platform on one store: a conversation lives in the process where it began, its row
//! says which that is, and whoever gets a turn brings it there. What two processes begin at one order is kept
//! apart by the order's own row.

use jiff::SignedDuration;
use tracing::debug;
use tsm_api::conversation::Outcome;
use tsm_api::ids::ConversationId as WireConversation;
use tsm_domain::{ConversationId, OrderId};
use tsm_storage::shared::{Begun, Claim, Conversation, ConversationEnd, Fence};

use super::line_of;
use super::stop::Stop;
use crate::payment_sandbox::PaymentSandbox;

/// How long a row names a process that may be gone.
const LEASE: SignedDuration = SignedDuration::from_mins(10);

impl PaymentSandbox {
    /// Writes down that this process holds the conversation. One that is alone writes nothing.
    pub(super) async fn enlist(
        &self,
        conversation: WireConversation,
        order: OrderId,
    ) -> Result<Option<Fence>, Stop> {
        let Some(siblings) = &self.siblings else { return Ok(None) };
        let now = self.now();
        let row = Conversation {
            id: ConversationId::from_uuid(conversation.0),
            se: line_of(order)?,
            purpose: "pay from card".into(),
            started_at: now,
            ended: None,
            server: Some(siblings.here().to_owned()),
        };
        let until = now.saturating_add(LEASE).unwrap_or(now);
        match self.store.begin_conversation(row, Claim::TakeOver, now, until).await? {
            Begun::Granted(fence) => Ok(Some(fence)),
            Begun::Busy { .. } => Ok(None),
        }
    }

    /// The conversation is over.
    pub(super) async fn strike_off(&self, fence: Option<Fence>, outcome: &Outcome) {
        let Some(fence) = fence else { return };
        let outcome = format!("{:?}", outcome.result);
        let end = ConversationEnd { at: self.now(), outcome, status_word: None };
        if let Err(error) = self.store.end_conversation(fence, end).await {
            debug!(%error, "a conversation was not ended in the store");
        }
    }
}
