//! Cancelling a return or migration that was interrupted (W-9.3): the card is unblocked if it was blocked, and
//! is in use again when it has proved by MAC1 that it works. A card that was never asked needs no contact.

use tsm_api::clearing::closing::UndoEvidence;
use tsm_api::conversation::{Outcome, OutcomeDetail, Stage};
use tsm_api::problem::{Problem, ProblemCode, both};
use tsm_card::ProcedureError;
use tsm_card::purse::{ApplicationLock, change_application_lock};
use tsm_domain::card::{CardRecord, CardState, ClosingProgress, ProvenPurse};
use tsm_domain::{Fen, OnlineCounter, SeId};
use tsm_epurse::KeyRole;
use tsm_iso7816::Aid;
use tsm_storage::shared::Fence;

use super::SpTsm;
use super::closing_card::closing_of;
use super::stop::Stop;
use super::unloading::emptied_already;
use crate::conversation::Session;
use crate::purse::to_wire;

impl SpTsm {
    /// The flow.
    pub(super) async fn cancel_closing(
        &self,
        session: &mut Session,
        fence: Fence,
        se: SeId,
        application: Aid,
    ) -> Result<Outcome, Stop> {
        let card = self.card_on(se, application).await?.ok_or(ProblemCode::UnknownId)?;
        let card = match card.state {
            CardState::Closing => match self.undo(session, fence, card).await? {
                card if card.state == CardState::Parked => return Ok(emptied_already()),
                card => card,
            },
            CardState::Active | CardState::Locked => card,
            CardState::Parked | CardState::Closed | CardState::Issuing => {
                let reason = both("The card is closed already.", "卡片已退卡。");
                return Err(Problem::because(ProblemCode::StateForbids, reason).into());
            }
        };
        let balance = card.proven.map_or(Fen::ZERO, |proven| proven.balance);
        Ok(Outcome::done(OutcomeDetail::BackInUse { aid: application.into(), balance_fen: to_wire(balance) }))
    }

    async fn undo(&self, session: &mut Session, fence: Fence, card: CardRecord) -> Result<CardRecord, Stop> {
        if card.frozen.is_some() {
            return Err(ProblemCode::SuspiciousCard.into());
        }
        let closing = closing_of(&card)?;
        if closing.progress == ClosingProgress::Intended {
            return self.put_back(fence, &card, UndoEvidence::NeverSent, None).await;
        }
        if !self.proves_content(&card)? {
            return self.undo_debit(session, fence, card).await;
        }
        if closing.before == CardState::Locked {
            // The lock goes with the closing, so whoever may not lift it goes on with the closing.
            self.may_unlock(&card).await?;
        }
        session.progress.say(Stage::Locking, 20);
        let key = self.purse_of(&card)?.keys.of_card(&*self.keys, KeyRole::ApplicationUnblock, card.card)?;
        let unblock = ApplicationLock::Unblock;
        match change_application_lock(&mut session.card, &*self.keys, &key, card.instance, unblock).await {
            // A card that was never blocked refuses to be unblocked; MAC1 tells which it is.
            Ok(()) | Err(ProcedureError::Status { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        session.progress.say(Stage::Observing, 60);
        let keys = self.load_keys(&card)?;
        let contact = self.contact(&mut session.card, fence, &card, &keys, Fen::new(1)).await?;
        let answer = contact.attempt.answer;
        let (balance, counter) = (answer.balance.fen(), answer.counter.value());
        let evidence = UndoEvidence::NotBlocked { balance_fen: balance, online_counter: counter };
        let proven = ProvenPurse {
            balance: Fen::new(balance.into()),
            counter: OnlineCounter(counter),
            at: self.now(),
        };
        self.put_back(fence, &card, evidence, Some(proven)).await
    }
}
