//! The beginning of every flow: the conversation's row and the fence that every write names.

use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use jiff::SignedDuration;
use tsm_api::conversation::Outcome;
use tsm_api::ids::ConversationId as WireConversation;
use tsm_domain::card::{CardRecord, CardState};
use tsm_domain::{ConversationId, SeId};
use tsm_iso7816::Aid;
use tsm_storage::shared::{Begun, ChainKey, Claim, Conversation, ConversationEnd, Fence, Note};

use super::SpTsm;
use super::stop::Stop;
use crate::conversation::{Ending, Flow, Session};
use tsm_api::problem::ProblemCode;

/// When a flow asks the card for proofs that the centre misses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Proofs {
    /// Before it does anything: afterwards the card may be blocked, and prove nothing any more.
    First,
    /// The centre is asked while the flow talks to the card, and the card at the end: when nothing is missed, as
    /// always but for a lie or a loss, nobody waits.
    Beside,
}

/// How long a conversation keeps the link when its server dies.
const LEASE: SignedDuration = SignedDuration::from_mins(10);

impl SpTsm {
    /// A flow with the card of an application: what is carried out while it has the link to the SE, which it
    /// gives back however it ends. The card is asked for the proofs that the centre misses on the way.
    pub(super) fn linked<C>(
        self: Arc<Self>,
        (se, application): (SeId, Aid),
        (purpose, proofs): (&'static str, Proofs),
        carry: C,
    ) -> Flow
    where
        C: Send + 'static,
        C: for<'a> FnOnce(&'a Self, &'a mut Session, Fence) -> BoxFuture<'a, Result<Outcome, Stop>>,
    {
        let flow = async move |mut session: Session| {
            let fence = match self.take_link(se, session.conversation, purpose).await {
                Ok(fence) => fence,
                Err(stop) => return stop.into_outcome(),
            };
            let carried = match proofs {
                Proofs::First => {
                    let wanted = self.wanted_of(se, application).await;
                    self.bring_proofs(&mut session, wanted).await;
                    carry(&self, &mut session, fence).await
                }
                Proofs::Beside => {
                    let work = carry(&self, &mut session, fence);
                    let (carried, wanted) = self.ask_beside(work, se, application).await;
                    // A card that is gone is asked at its next contact.
                    if carried.is_ok() {
                        self.bring_proofs(&mut session, wanted).await;
                    }
                    carried
                }
            };
            if let Err(Stop::Card(error)) = &carried {
                self.tell_unproven((se, application), purpose, error).await;
            }
            let outcome = carried.unwrap_or_else(Stop::into_outcome);
            self.give_link_back(fence, &format!("{:?}", outcome.result)).await;
            outcome
        };
        Box::new(move |session| flow(session).map(Ending::from).boxed())
    }

    /// Makes the conversation durable and takes the link to the SE.
    ///
    /// The wallet is the arbiter of its one link, and the engine lets one conversation of this process run
    /// at an SE, so whoever held the link before is gone; its late writes are fenced off.
    pub(super) async fn take_link(
        &self,
        se: SeId,
        conversation: WireConversation,
        purpose: &str,
    ) -> Result<Fence, Stop> {
        let now = self.now();
        let row = Conversation {
            id: ConversationId::from_uuid(conversation.0),
            se,
            purpose: purpose.into(),
            started_at: now,
            ended: None,
            server: self.siblings.as_ref().map(|siblings| siblings.here().to_owned()),
        };
        let until = now.saturating_add(LEASE).unwrap_or(now);
        match self.store.begin_conversation(row, Claim::TakeOver, now, until).await? {
            Begun::Granted(fence) => Ok(fence),
            Begun::Busy { .. } => Err(ProblemCode::Busy.into()),
        }
    }

    /// Gives the link back. A store that does not answer lets it run out.
    pub(super) async fn give_link_back(&self, fence: Fence, outcome: &str) {
        let end = self.end(outcome);
        if let Err(error) = self.store.end_conversation(fence, end).await {
            tracing::debug!(%error, "a conversation was not ended in the store");
        }
    }

    pub(super) fn end(&self, outcome: &str) -> ConversationEnd {
        ConversationEnd { at: self.now(), outcome: outcome.into(), status_word: None }
    }

    /// The card that an instance on an SE is, unless it is closed.
    pub(super) async fn card_on(&self, se: SeId, instance: Aid) -> Result<Option<CardRecord>, Stop> {
        let cards = self.store.cards_on(se).await?;
        Ok(cards.into_iter().find(|card| card.instance == instance && card.state != CardState::Closed))
    }

    /// An entry in a card's journal.
    pub(super) fn note(&self, card: tsm_domain::CardNumber, event: &str, detail: &serde_json::Value) -> Note {
        Note {
            chain: ChainKey::Card(card),
            at: self.now(),
            actor: "sp-tsm".into(),
            event: event.into(),
            detail: detail.to_string(),
        }
    }
}
