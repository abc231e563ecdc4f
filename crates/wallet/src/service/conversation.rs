//! A conversation, as the wallet holds it: carry the steps, bring the answers, until the outcome.

use tsm_api::conversation::{ConversationReply, Outcome, OutcomeDetail, OutcomeResult, Party, TurnRequest};
use tsm_api::ids::ConversationId;
use tsm_api::{payment, se_tsm, sp_tsm};

use super::{Wallet, WalletError};
use crate::interaction::Interaction;
use crate::network::{Host, NetworkError};
use crate::se_operation::SecureElementAccess;
use crate::storage::WalletStorage;

/// Where the conversation is held at the moment.
struct Place {
    party: Party,
    ticket: Option<String>,
}

impl<A: SecureElementAccess, S: WalletStorage> Wallet<A, S> {
    /// Holds a conversation that `party` began with `reply`, to its end.
    ///
    /// A repeated turn gets the same reply, so a lost reply is asked for again. A conversation that
    /// the server no longer knows is [`WalletError::Restarted`]: the caller begins again, and the
    /// server observes the card anew.
    pub(super) async fn converse(
        &mut self,
        party: Party,
        reply: ConversationReply,
        shown: &mut dyn Interaction,
    ) -> Result<OutcomeDetail, WalletError> {
        let outcome = self.converse_to_outcome(party, reply, shown).await;
        self.element.release().await;
        detail_of(outcome?)
    }

    async fn converse_to_outcome(
        &mut self,
        party: Party,
        mut reply: ConversationReply,
        shown: &mut dyn Interaction,
    ) -> Result<Outcome, WalletError> {
        let mut place = Place { party, ticket: None };
        loop {
            reply = match reply {
                ConversationReply::Outcome { outcome, .. } => return Ok(outcome),
                ConversationReply::Restart { reason } => return Err(WalletError::Restarted(reason)),
                ConversationReply::Queued { conversation, turn, .. } => {
                    self.answer(&place, conversation, TurnRequest { turn, ..Default::default() }).await?
                }
                ConversationReply::Steps { conversation, turn, steps, progress } => {
                    shown.progress(progress);
                    let answers = self.element.carry(&steps).await;
                    let request = TurnRequest {
                        turn,
                        responses: answers.responses,
                        fault: answers.fault,
                        ticket: None,
                    };
                    self.answer(&place, conversation, request).await?
                }
                ConversationReply::Handover { party, conversation, ticket, turn, steps, progress } => {
                    place = Place { party, ticket: Some(ticket) };
                    ConversationReply::Steps { conversation, turn, steps, progress }
                }
            };
        }
    }

    async fn answer(
        &self,
        place: &Place,
        conversation: ConversationId,
        request: TurnRequest,
    ) -> Result<ConversationReply, WalletError> {
        let request = TurnRequest { ticket: place.ticket.clone(), ..request };
        let id = conversation.to_string();
        let parameters = [id.as_str()];
        let reply = match place.party {
            Party::SeTsm => {
                self.network.call(Host::SeTsm, &se_tsm::wallet::TURN, &parameters, None, &request).await
            }
            Party::SpTsm => {
                self.network.call(Host::SpTsm, &sp_tsm::wallet::TURN, &parameters, None, &request).await
            }
            Party::Payment => {
                self.network.call(Host::Payment, &payment::purse::TURN, &parameters, None, &request).await
            }
        };
        match reply {
            // Whether the last list was believed is not known until the card is asked again.
            Err(NetworkError::NoReply(_)) => Err(WalletError::Unknown),
            other => Ok(other?),
        }
    }
}

fn detail_of(outcome: Outcome) -> Result<OutcomeDetail, WalletError> {
    match (outcome.result, outcome.problem) {
        (OutcomeResult::Done, _) => Ok(outcome.detail),
        (OutcomeResult::Refused, Some(problem)) => Err(WalletError::Refused(Box::new(problem))),
        (OutcomeResult::Failed, Some(problem)) => {
            Err(WalletError::Failed { problem: Box::new(problem), card: outcome.card_error.map(Box::new) })
        }
        (OutcomeResult::Cancelled, _) => Err(WalletError::Cancelled),
        (OutcomeResult::Unknown, _) => Err(WalletError::Unknown),
        (OutcomeResult::Refused | OutcomeResult::Failed, None) => Err(WalletError::UnexpectedOutcome),
    }
}
