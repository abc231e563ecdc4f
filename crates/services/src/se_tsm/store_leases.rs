//! Leases in the SE-TSM's store: the conversation's row is durable before any command leaves.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::SignedDuration;
use tracing::warn;
use tsm_domain::ConversationId;
use tsm_storage::SeTsmStore;
use tsm_storage::shared::{Begun, Claim, Conversation, ConversationEnd, Fence};

use crate::conversation::{Epoch, Holder, LeaseError, Leases};
use crate::runtime::Environment;

/// How long a lease lasts when its server is gone.
const LEASE: SignedDuration = SignedDuration::from_mins(10);

pub(super) struct StoreLeases {
    store: Arc<dyn SeTsmStore>,
    environment: Environment,
    server: Option<String>,
}

impl StoreLeases {
    pub(super) fn new(store: Arc<dyn SeTsmStore>, environment: Environment, server: Option<String>) -> Self {
        Self { store, environment, server }
    }
}

#[async_trait]
impl Leases for StoreLeases {
    async fn acquire(&self, holder: &Holder) -> Result<Epoch, LeaseError> {
        let now = self.environment.now();
        let conversation = Conversation {
            id: ConversationId::from_uuid(holder.conversation.0),
            se: holder.se,
            purpose: holder.purpose.to_owned(),
            started_at: now,
            ended: None,
            server: self.server.clone(),
        };
        let until = now.checked_add(LEASE).unwrap_or(now);
        // The wallet holds one conversation at a time, so one that asks has lost its old one.
        match self.store.begin_conversation(conversation, Claim::TakeOver, now, until).await {
            Ok(Begun::Granted(fence)) => Ok(Epoch(fence.epoch.0)),
            Ok(Begun::Busy { .. }) => Err(LeaseError::Held),
            Err(error) => Err(LeaseError::Store(error.to_string())),
        }
    }

    async fn release(&self, holder: &Holder, epoch: Epoch, outcome: &'static str) {
        let end =
            ConversationEnd { at: self.environment.now(), outcome: outcome.to_owned(), status_word: None };
        if let Err(error) = self.store.end_conversation(fence(holder, epoch), end).await {
            // The lease ends by itself; nothing rests on its being given back.
            warn!(%error, "a lease could not be given back");
        }
    }
}

fn fence(holder: &Holder, epoch: Epoch) -> Fence {
    Fence {
        se: holder.se,
        conversation: ConversationId::from_uuid(holder.conversation.0),
        epoch: tsm_storage::shared::Epoch(epoch.0),
    }
}
