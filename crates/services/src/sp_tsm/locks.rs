//! Locking and unlocking at the holder's wish (B-8.5.4; D-5, D-23): APPLICATION BLOCK and UNBLOCK of the
//! purse, with keys that only the card and the key service have.
//!
//! ```text
//! the purse draws a challenge
//! the change is intended, durable
//!         -> APPLICATION BLOCK or UNBLOCK
//!         <- locked: the purse's own word under R-MAC; unlocked: MAC1
//! locked or not, durable, with the report to the SE-TSM
//! ```
//!
//! A break after *intended* leaves a card of which only the card knows whether it is locked; `lock_seen` settles
//! that at the next contact. A product whose purse cannot prove its lock is taken at its word when it says that
//! it is locked: whoever forges that harms only himself, for no value moves on a card that is recorded so.

use tsm_api::conversation::{ApplicationState, Outcome, OutcomeDetail, Stage};
use tsm_api::problem::{Problem, ProblemCode, both};
use tsm_card::ProcedureError;
use tsm_card::purse::{
    ApplicationLock, BlockOrder, block_and_look, prepare_application_lock, send_application_lock,
};
use tsm_domain::card::{CardRecord, CardRefusal, CardState, LockChange, LockIntention};
use tsm_domain::se_application::UnlockPolicy;
use tsm_domain::{Fen, OperationId, SeId};
use tsm_epurse::KeyRole;
use tsm_iso7816::Aid;
use tsm_keys::KeyHandle;
use tsm_storage::StorageError;
use tsm_storage::shared::Fence;
use tsm_storage::sp_tsm::SpChange;

use super::SpTsm;
use super::attempts::suspicious;
use super::lock_seen::Seen;
use super::stop::Stop;
use crate::conversation::Session;
use crate::purse::card_to_wire;

impl SpTsm {
    /// The flow.
    pub(super) async fn change_lock(
        &self,
        session: &mut Session,
        fence: Fence,
        se: SeId,
        application: Aid,
        change: LockChange,
    ) -> Result<Outcome, Stop> {
        let card = self.card_on(se, application).await?.ok_or(ProblemCode::UnknownId)?;
        if !matches!(card.state, CardState::Active | CardState::Locked) {
            return Err(StorageError::from(CardRefusal::Card { from: card.state, to: change.state() }).into());
        }
        if card.frozen.is_some() {
            return Err(ProblemCode::SuspiciousCard.into());
        }
        session.progress.say(Stage::Locking, 10);
        let card = match change {
            LockChange::Lock => self.lock(session, fence, card).await?,
            LockChange::Unlock => self.unlock_with_permission(session, fence, card).await?,
        };
        let state = match card.state {
            CardState::Locked => ApplicationState::Locked,
            _ => ApplicationState::Useable,
        };
        Ok(Outcome::done(OutcomeDetail::LockChanged { aid: card.instance.into(), state }))
    }

    /// A card that is locked already is locked again, which is no error.
    async fn lock(&self, session: &mut Session, fence: Fence, card: CardRecord) -> Result<CardRecord, Stop> {
        let key = self.lock_key(&card, LockChange::Lock)?;
        let proof = self.purse_session(&card).ok();
        let order = prepare_application_lock(&mut session.card, card.instance).await?;
        let card = self.intend_lock(session, fence, &card, LockChange::Lock).await?;
        session.progress.say(Stage::Locking, 50);
        let Some(proof) = proof else {
            self.send_lock(session, &key, order, ApplicationLock::Block).await?;
            return self.lock_seen(fence, &card, Seen::Tried(LockChange::Lock)).await;
        };
        let look = block_and_look(&mut session.card, &*self.keys, &key, order, &proof).await?;
        session.progress.say(Stage::Closing, 90);
        let card = self.lock_looked_at(fence, &card, &look).await?;
        if card.state == CardState::Locked {
            return Ok(card);
        }
        let reason =
            both("The card itself says that it is not blocked; try again.", "卡片表明其未被锁定，请重试。");
        Err(Problem::because(ProblemCode::CardUnproven, reason).into())
    }

    /// Unlocks a card, and uses up a hall's permission to do so.
    pub(super) async fn unlock_with_permission(
        &self,
        session: &mut Session,
        fence: Fence,
        card: CardRecord,
    ) -> Result<CardRecord, Stop> {
        let card = self.unlock(session, fence, card).await?;
        self.use_permission(card.card).await?;
        Ok(card)
    }

    /// A card that is in use already needs no unlock: its own word counts, not the record's.
    async fn unlock(
        &self,
        session: &mut Session,
        fence: Fence,
        card: CardRecord,
    ) -> Result<CardRecord, Stop> {
        let card = if card.state == CardState::Active || card.lock.is_some() {
            self.look_at_lock(session, fence, card).await?
        } else {
            card
        };
        if card.state == CardState::Active {
            return Ok(card);
        }
        self.may_unlock(&card).await?;
        let key = self.lock_key(&card, LockChange::Unlock)?;
        let order = prepare_application_lock(&mut session.card, card.instance).await?;
        let card = self.intend_lock(session, fence, &card, LockChange::Unlock).await?;
        match self.send_lock(session, &key, order, ApplicationLock::Unblock).await {
            // A card that was never blocked refuses to be unblocked; MAC1 tells which it is.
            Ok(()) | Err(ProcedureError::Status { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        session.progress.say(Stage::Observing, 70);
        let keys = self.load_keys(&card)?;
        self.contact(&mut session.card, fence, &card, &keys, Fen::new(1)).await?;
        session.progress.say(Stage::Closing, 90);
        self.lock_seen(fence, &card, Seen::Tried(LockChange::Unlock)).await
    }

    /// Only the holder's own lock is the holder's to lift (D-5): not that of a card which the centre holds, which
    /// a gate may have blocked.
    pub(super) async fn may_unlock(&self, card: &CardRecord) -> Result<(), Stop> {
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

    fn lock_key(&self, card: &CardRecord, change: LockChange) -> Result<KeyHandle, Stop> {
        let role = match change {
            LockChange::Lock => KeyRole::ApplicationBlock,
            LockChange::Unlock => KeyRole::ApplicationUnblock,
        };
        Ok(self.purse_of(card)?.keys.of_card(&*self.keys, role, card.card)?)
    }

    /// The intention is durable before the command leaves.
    async fn intend_lock(
        &self,
        session: &Session,
        fence: Fence,
        card: &CardRecord,
        change: LockChange,
    ) -> Result<CardRecord, Stop> {
        // What a look has just proved stays.
        let card = self.store.card(card.card).await?.ok_or(ProblemCode::UnknownId)?;
        let operation = OperationId::from_uuid(session.conversation.0);
        let intention = LockIntention { operation, change, begun_at: self.now() };
        let card = card.with_lock_intended(intention).map_err(StorageError::from)?;
        let event = match change {
            LockChange::Lock => "lock-intended",
            LockChange::Unlock => "unlock-intended",
        };
        let note = self.note(card.card, event, &serde_json::json!({}));
        let change = SpChange { cards: vec![card.clone()], notes: vec![note], ..SpChange::default() };
        self.store.commit(fence, change).await?;
        Ok(card)
    }

    async fn send_lock(
        &self,
        session: &mut Session,
        key: &KeyHandle,
        order: BlockOrder,
        change: ApplicationLock,
    ) -> Result<(), ProcedureError> {
        send_application_lock(&mut session.card, &*self.keys, key, order, change).await
    }
}
