//! Locking and unlocking at the holder's wish (B-8.5.4; D-5, D-23): APPLICATION BLOCK and UNBLOCK of the
//! purse, with keys that only the card and the key service have.
//!
//! The answer to APPLICATION BLOCK carries no MAC, and whoever forges it harms only himself: no value moves
//! on a card that is recorded as locked. An unlocked purse proves itself by MAC1 before it counts as such.

use std::sync::Arc;

use serde_json::json;
use tsm_api::conversation::{ApplicationState, Outcome, OutcomeDetail, OutcomeResult, Stage};
use tsm_api::ids::OperationId;
use tsm_api::problem::ProblemCode;
use tsm_api::se_tsm::peer::{OperationKind, OperationResult};
use tsm_card::purse::{ApplicationLock, change_application_lock};
use tsm_domain::card::{CardRecord, CardRefusal, CardState};
use tsm_domain::se_application::UnlockPolicy;
use tsm_domain::{Fen, SeId};
use tsm_epurse::KeyRole;
use tsm_iso7816::Aid;
use tsm_storage::StorageError;
use tsm_storage::shared::Fence;
use tsm_storage::sp_tsm::SpChange;

use super::attempts::suspicious;
use super::stop::Stop;
use super::{SpTsm, reports};
use crate::conversation::Session;
use crate::purse::card_to_wire;

/// Which change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LockChange {
    Lock,
    Unlock,
}

impl LockChange {
    const fn state(self) -> CardState {
        match self {
            Self::Lock => CardState::Locked,
            Self::Unlock => CardState::Active,
        }
    }
}

impl SpTsm {
    /// The flow.
    pub(super) async fn change_lock(
        self: Arc<Self>,
        mut session: Session,
        se: SeId,
        application: Aid,
        change: LockChange,
    ) -> Outcome {
        let fence = match self.take_link(se, session.conversation, "lock").await {
            Ok(fence) => fence,
            Err(stop) => return stop.into_outcome(),
        };
        match self.carry_lock(&mut session, fence, se, application, change).await {
            Ok(outcome) => outcome,
            Err(stop) => {
                self.give_link_back(fence, "lock not changed").await;
                stop.into_outcome()
            }
        }
    }

    async fn carry_lock(
        &self,
        session: &mut Session,
        fence: Fence,
        se: SeId,
        application: Aid,
        change: LockChange,
    ) -> Result<Outcome, Stop> {
        let card = self.card_on(se, application).await?.ok_or(ProblemCode::UnknownId)?;
        self.may_change_lock(&card, change).await?;
        session.progress.say(Stage::Locking, 10);
        let (role, lock) = match change {
            LockChange::Lock => (KeyRole::ApplicationBlock, ApplicationLock::Block),
            LockChange::Unlock => (KeyRole::ApplicationUnblock, ApplicationLock::Unblock),
        };
        let key = self.purse_of(&card)?.keys.of_card(&*self.keys, role, card.card)?;
        change_application_lock(&mut session.card, &*self.keys, &key, application, lock).await?;
        if change == LockChange::Unlock {
            session.progress.say(Stage::Observing, 70);
            let keys = self.load_keys(&card)?;
            self.contact(&mut session.card, fence, &card, &keys, Fen::new(1)).await?;
        }
        session.progress.say(Stage::Closing, 90);
        self.close_lock(session, fence, card, change).await
    }

    /// Only the holder's own lock is the holder's to lift (D-5): not that of a closing, and not that of a card
    /// which the centre holds, which a gate may have blocked.
    async fn may_change_lock(&self, card: &CardRecord, change: LockChange) -> Result<(), Stop> {
        match (card.state, change) {
            (CardState::Active | CardState::Locked, LockChange::Lock)
            | (CardState::Locked, LockChange::Unlock) => {}
            (from, _) => {
                return Err(StorageError::from(CardRefusal::Card { from, to: change.state() }).into());
            }
        }
        if card.frozen.is_some() {
            return Err(ProblemCode::SuspiciousCard.into());
        }
        if change == LockChange::Lock {
            return Ok(());
        }
        // Only a hall lets a lost card be unlocked, whatever the product's policy is.
        let at_hall =
            self.purse_of(card)?.unlock == UnlockPolicy::HallOnly || self.is_lost(card.card).await?;
        if at_hall && self.unlock_permission(card.card).await?.is_none() {
            return Err(ProblemCode::HallOnly.into());
        }
        let account = self.links.centre.account(&card_to_wire(card.card)).await;
        match account.map_err(|error| error.to_problem())?.held {
            None => Ok(()),
            Some(reason) => Err(suspicious(&reason)),
        }
    }

    async fn close_lock(
        &self,
        session: &Session,
        fence: Fence,
        card: CardRecord,
        change: LockChange,
    ) -> Result<Outcome, Stop> {
        let (kind, state, event) = match change {
            LockChange::Lock => (OperationKind::Lock, ApplicationState::Locked, "card-locked"),
            LockChange::Unlock => (OperationKind::Unlock, ApplicationState::Useable, "card-unlocked"),
        };
        let result = OperationResult {
            operation: OperationId(session.conversation.0),
            se_id: card.se.as_bytes().into(),
            aid: card.instance.into(),
            kind,
            result: OutcomeResult::Done,
            problem: None,
            observation: None,
            moved_from: None,
        };
        let delivery = reports::result(&result, self.now());
        // What the contact has just proved stays.
        let current = self.store.card(card.card).await?.ok_or(ProblemCode::UnknownId)?;
        let change = SpChange {
            notes: vec![self.note(card.card, event, &json!({}))],
            cards: vec![CardRecord { state: change.state(), ..current }],
            deliveries: vec![delivery.clone()],
            end: Some(self.end(event)),
            ..SpChange::default()
        };
        self.store.commit(fence, change).await?;
        if state == ApplicationState::Useable {
            self.use_permission(card.card).await?;
        }
        self.outbox.send_now(&[delivery]).await;
        Ok(Outcome::done(OutcomeDetail::LockChanged { aid: card.instance.into(), state }))
    }
}
