//! What the card itself says of its lock, and what follows: the record, the journal, the SE-TSM.
//!
//! It settles a lock or unlock whose end was lost, and finds what nobody told the issuer: a purse that a gate has
//! blocked. What the card proves counts, not what was meant.

use serde_json::json;
use tracing::warn;
use tsm_api::conversation::OutcomeResult;
use tsm_api::ids::OperationId as WireOperation;
use tsm_api::problem::{Problem, ProblemCode, both};
use tsm_api::se_tsm::peer::{OperationKind, OperationResult};
use tsm_card::ProcedureError;
use tsm_card::purse::{PurseLook, look};
use tsm_domain::card::{CardRecord, LockChange, ProvenPurse};
use tsm_domain::{Fen, OnlineCounter, OperationId};
use tsm_epurse::commands::PurseAvailability;
use tsm_storage::StorageError;
use tsm_storage::shared::{Delivery, Fence};
use tsm_storage::sp_tsm::SpChange;

use super::attempts::suspicious;
use super::stop::Stop;
use super::words::Word;
use super::{SpTsm, reports};
use crate::conversation::Session;

/// How a card was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    /// It proved its lock under R-MAC, with its balance and online counter.
    Looked(LockChange, Fen, OnlineCounter),
    /// It proved by MAC1 that it works, or said without proof that it is blocked.
    Tried(LockChange),
}

impl Seen {
    const fn lock(&self) -> LockChange {
        match self {
            Self::Looked(lock, ..) | Self::Tried(lock) => *lock,
        }
    }
}

impl SpTsm {
    /// Settles a lock or unlock whose outcome is not known.
    pub(super) async fn settle_lock(
        &self,
        session: &mut Session,
        fence: Fence,
        card: CardRecord,
    ) -> Result<CardRecord, Stop> {
        if card.lock.is_none() { Ok(card) } else { self.look_at_lock(session, fence, card).await }
    }

    /// Asks the card whether it is locked.
    pub(super) async fn look_at_lock(
        &self,
        session: &mut Session,
        fence: Fence,
        card: CardRecord,
    ) -> Result<CardRecord, Stop> {
        if let Ok(proof) = self.purse_session(&card) {
            let look = look(&mut session.card, &*self.keys, &proof, card.instance).await?;
            return self.lock_looked_at(fence, &card, &look).await;
        }
        // This purse cannot prove its lock. What MAC1 proves is that it is not locked.
        let keys = self.load_keys(&card)?;
        let seen = match self.contact(&mut session.card, fence, &card, &keys, Fen::new(1)).await {
            Ok(_) => LockChange::Unlock,
            Err(Stop::Card(ProcedureError::Status { .. })) => LockChange::Lock,
            Err(stop) => return Err(stop),
        };
        self.lock_seen(fence, &card, Seen::Tried(seen)).await
    }

    /// What a purse proved by a look.
    pub(super) async fn lock_looked_at(
        &self,
        fence: Fence,
        card: &CardRecord,
        look: &PurseLook,
    ) -> Result<CardRecord, Stop> {
        self.check_look(card, look).await?;
        let lock = match look.status.availability {
            PurseAvailability::Blocked => LockChange::Lock,
            PurseAvailability::Open => LockChange::Unlock,
        };
        let (balance, counter) = amounts(look);
        self.lock_seen(fence, card, Seen::Looked(lock, balance, counter)).await
    }

    /// Stores how a card was seen, with the report to the SE-TSM if that is news.
    pub(super) async fn lock_seen(
        &self,
        fence: Fence,
        card: &CardRecord,
        seen: Seen,
    ) -> Result<CardRecord, Stop> {
        // What the contact has just proved stays.
        let current = self.store.card(card.card).await?.ok_or(ProblemCode::UnknownId)?;
        let proven = self.proven_by(&current, &seen).await?;
        let settled = current.with_lock_seen(seen.lock()).map_err(StorageError::from)?;
        let settled = CardRecord { proven: proven.or(current.proven), ..settled };
        let done = current.lock.filter(|intention| intention.change == seen.lock());
        let is_news = done.is_some() || settled.state != current.state;
        let operation = done.map_or(OperationId::from_uuid(fence.conversation.as_uuid()), |it| it.operation);
        let report = is_news.then(|| self.lock_report(&settled, seen.lock(), operation, fence));
        let event = match (is_news, seen.lock()) {
            (true, LockChange::Lock) => Some("card-locked"),
            (true, LockChange::Unlock) => Some("card-unlocked"),
            (false, _) => current.lock.map(|_| "lock-not-changed"),
        };
        if settled == current {
            return Ok(current);
        }
        let change = SpChange {
            notes: event.map(|event| self.note(card.card, event, &json!({}))).into_iter().collect(),
            cards: vec![settled.clone()],
            deliveries: report.iter().cloned().collect(),
            ..SpChange::default()
        };
        self.store.commit(fence, change).await?;
        if let Some(report) = report {
            self.outbox.send_now(&[report]).await;
        }
        Ok(settled)
    }

    /// The SE-TSM learns that a card is locked or not.
    pub(super) fn lock_report(
        &self,
        card: &CardRecord,
        lock: LockChange,
        operation: OperationId,
        fence: Fence,
    ) -> Delivery {
        let (kind, word) = match lock {
            LockChange::Lock => (OperationKind::Lock, Word::Locked),
            LockChange::Unlock => (OperationKind::Unlock, Word::Unlocked),
        };
        let result = OperationResult {
            operation: WireOperation(operation.as_uuid()),
            se_id: card.se.as_bytes().into(),
            aid: card.instance.into(),
            kind,
            result: OutcomeResult::Done,
            problem: None,
            observation: None,
            moved_from: None,
            number: Some(word.number(fence)),
        };
        reports::lock_result(&result, self.now())
    }

    /// What a look proves of the amounts. While the outcome of a top-up is not known its own contact settles it.
    async fn proven_by(&self, card: &CardRecord, seen: &Seen) -> Result<Option<ProvenPurse>, Stop> {
        let Seen::Looked(_, balance, counter) = *seen else { return Ok(None) };
        if self.is_in_doubt(card).await? {
            return Ok(None);
        }
        Ok(Some(ProvenPurse { balance, counter, at: self.now() }))
    }

    /// Whether only the card knows what came of a top-up. What it proved before says little until that is settled.
    async fn is_in_doubt(&self, card: &CardRecord) -> Result<bool, Stop> {
        let open = self.store.open_top_ups(card.card).await?;
        Ok(open.iter().any(|order| order.attempt_in_doubt().is_some()))
    }

    /// Whether a look is at this card, and fits what it proved before.
    async fn check_look(&self, card: &CardRecord, look: &PurseLook) -> Result<(), Stop> {
        if look.serial.0 != card.card.application_serial() {
            let reason = both("The secure element holds another card.", "安全单元上是另一张卡。");
            return Err(Problem::because(ProblemCode::CardUnproven, reason).into());
        }
        let (balance, counter) = amounts(look);
        self.check_amounts(card, balance, counter).await
    }

    /// Whether balance and online counter that a card proved under R-MAC fit what it proved before.
    pub(super) async fn check_amounts(
        &self,
        card: &CardRecord,
        balance: Fen,
        counter: OnlineCounter,
    ) -> Result<(), Stop> {
        let Some(proven) = &card.proven else { return Ok(()) };
        let reason = if counter < proven.counter {
            format!("the card's online counter is {counter}, and it was {} before", proven.counter)
        } else if counter == proven.counter && balance > proven.balance {
            format!("the purse holds {balance} yuan and held {} without a load between", proven.balance)
        } else {
            return Ok(());
        };
        if self.is_in_doubt(card).await? {
            // The contact that settles the top-up finds it as well, and freezes the card with what belongs to it.
            return Ok(());
        }
        warn!(card = %card.card, reason, "a card contradicts the records");
        self.freeze(card, &reason).await?;
        Err(suspicious(&reason))
    }
}

fn amounts(look: &PurseLook) -> (Fen, OnlineCounter) {
    let state = &look.status.start.state;
    (Fen::new(state.purse().fen().into()), OnlineCounter(state.online().value()))
}
