//! Work that was interrupted, offered to the rider to continue or to cancel (W-9.3.b and d).
//!
//! What the servers' rows say counts more than what the phone remembers: a phone that lost its storage, or
//! never saw the end, is told all the same. Continuing is doing the same again, which goes on from what the
//! card proves; a cancel of what may have reached the card needs the card's proof too.

use tsm_api::HexBytes;
use tsm_api::conversation::OutcomeDetail;
use tsm_api::endpoint::Nothing;
use tsm_api::ids::{OrderId, PaymentId};
use tsm_api::problem::ProblemCode;
use tsm_api::se_tsm::wallet::CatalogueList;
use tsm_api::sp_tsm::wallet::{CANCEL_ORDER, INTERRUPTED, Operation, WorkKind as ServerKind};

use super::{OnlinePayment, PaidTopUp, Returned, TopUpResult, Wallet, WalletError};
use crate::interaction::Interaction;
use crate::network::{Host, NetworkError};
use crate::se_operation::SecureElementAccess;
use crate::storage::{WalletStorage, WorkKind};

/// The kinds of interrupted work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum InterruptedKind {
    /// Opening a card.
    Opening,
    /// A paid top-up.
    TopUp,
    /// A return.
    Return,
    /// A migration to another phone.
    MigrationOut,
    /// A migration to this phone.
    MigrationIn,
    /// Writing the holder's data again, after a change of number.
    Repersonalisation,
    /// Locking a card.
    Lock,
    /// Unlocking a card.
    Unlock,
    /// Deleting an application.
    Deletion,
    /// Paying a merchant's order from a card.
    PayOnline,
}

/// Work that was interrupted, and what the rider may choose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interrupted {
    /// What.
    pub kind: InterruptedKind,
    /// The application.
    pub aid: HexBytes,
    /// The order, for work that money was paid for.
    pub order: Option<OrderId>,
    /// The amount, where it is known.
    pub amount_fen: Option<u32>,
    /// Whether it can be continued.
    pub may_continue: bool,
    /// Whether it can be cancelled.
    pub may_cancel: bool,
}

/// What came of continuing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Continued {
    /// The card is open.
    Opened,
    /// The top-up ended so.
    ToppedUp(TopUpResult),
    /// The card is returned.
    Returned(Returned),
    /// The card is parked, with this balance.
    MigratedOut(u32),
    /// The card holds its holder's data as they are now.
    Repersonalised,
    /// The card is locked.
    Locked,
    /// The card is unlocked.
    Unlocked,
    /// The application is gone.
    Deleted,
    /// The merchant's order ended so.
    PaidOnline(OnlinePayment),
}

/// What came of cancelling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancellation {
    /// It is cancelled; what was paid for it goes back.
    Cancelled,
    /// It had been done already, as the card proved.
    WasDone,
}

impl<A: SecureElementAccess, S: WalletStorage> Wallet<A, S> {
    /// What was interrupted, oldest first.
    pub async fn interrupted(&self) -> Result<Vec<Interrupted>, WalletError> {
        self.require_full_rights()?;
        let bearer = self.assertion()?;
        let known = self.network.call(Host::SpTsm, &INTERRUPTED, &[], Some(bearer), &Nothing {}).await?;
        let mut works: Vec<Interrupted> = known
            .works
            .into_iter()
            .map(|work| Interrupted {
                kind: match work.kind {
                    ServerKind::Opening => InterruptedKind::Opening,
                    ServerKind::TopUp => InterruptedKind::TopUp,
                    ServerKind::Return => InterruptedKind::Return,
                    ServerKind::MigrationOut => InterruptedKind::MigrationOut,
                    ServerKind::MigrationIn => InterruptedKind::MigrationIn,
                    ServerKind::Repersonalisation => InterruptedKind::Repersonalisation,
                    ServerKind::Lock => InterruptedKind::Lock,
                    ServerKind::Unlock => InterruptedKind::Unlock,
                },
                aid: work.aid,
                order: work.order,
                amount_fen: work.amount_fen,
                may_continue: work.may_continue,
                may_cancel: work.may_cancel,
            })
            .collect();
        works.extend(self.remembered(&works));
        if let Some(work) = self.record.interrupted.as_ref().filter(|work| work.kind == WorkKind::PayOnline) {
            works.extend(self.interrupted_payment(work).await?);
        }
        Ok(works)
    }

    /// What only this phone knows of: downloads of applications that have no issuer here, and deletions.
    fn remembered(&self, known: &[Interrupted]) -> Option<Interrupted> {
        let work = self.record.interrupted.as_ref()?;
        let kind = match work.kind {
            WorkKind::Open => InterruptedKind::Opening,
            WorkKind::Delete => InterruptedKind::Deletion,
            // A paid top-up is known to its issuer; one that is not paid costs nobody anything.
            WorkKind::TopUp => return None,
            // The payment platform knows how it stands.
            WorkKind::PayOnline => return None,
        };
        // A card that comes from another phone is opened like a new one.
        let is_same = |other: InterruptedKind| {
            other == kind || (other == InterruptedKind::MigrationIn && kind == InterruptedKind::Opening)
        };
        let is_known = known.iter().any(|other| is_same(other.kind) && other.aid == work.aid);
        (!is_known).then(|| Interrupted {
            kind,
            aid: work.aid.clone(),
            order: None,
            amount_fen: None,
            may_continue: true,
            may_cancel: true,
        })
    }

    /// Goes on with it.
    pub async fn continue_interrupted(
        &mut self,
        work: &Interrupted,
        shown: &mut dyn Interaction,
    ) -> Result<Continued, WalletError> {
        match (work.kind, work.order) {
            (InterruptedKind::TopUp, Some(order)) => {
                let paid = PaidTopUp { aid: work.aid.clone(), order };
                self.top_up(&paid, shown).await.map(Continued::ToppedUp)
            }
            (InterruptedKind::TopUp, None) => Err(WalletError::UnexpectedOutcome),
            (InterruptedKind::Return, _) => self.return_card(&work.aid, shown).await.map(Continued::Returned),
            (InterruptedKind::MigrationOut, _) => {
                self.migrate_out(&work.aid, shown).await.map(Continued::MigratedOut)
            }
            (InterruptedKind::MigrationIn, _) => {
                self.migrate_in(&work.aid, None, shown).await.map(|()| Continued::Opened)
            }
            (InterruptedKind::Opening, _) => {
                let entries = self.catalogue(CatalogueList::Recommendation).await?;
                let entry = entries.into_iter().find(|entry| entry.aid == work.aid);
                let entry = entry.ok_or_else(|| WalletError::NotOffered(work.aid.clone()))?;
                self.open_card(&entry, shown).await.map(|()| Continued::Opened)
            }
            (InterruptedKind::Repersonalisation, _) => {
                match self.card_operation(Operation::Repersonalise, &work.aid, shown).await? {
                    OutcomeDetail::Repersonalised { .. } => Ok(Continued::Repersonalised),
                    _ => Err(WalletError::UnexpectedOutcome),
                }
            }
            (InterruptedKind::Lock, _) => self.lock_card(&work.aid, shown).await.map(|()| Continued::Locked),
            (InterruptedKind::Unlock, _) => {
                self.unlock_card(&work.aid, shown).await.map(|()| Continued::Unlocked)
            }
            (InterruptedKind::Deletion, _) => {
                self.delete_if_offered(&work.aid, shown).await?;
                Ok(Continued::Deleted)
            }
            (InterruptedKind::PayOnline, Some(order)) => {
                self.pay_online(&work.aid, PaymentId(order.0), shown).await.map(Continued::PaidOnline)
            }
            (InterruptedKind::PayOnline, None) => Err(WalletError::UnexpectedOutcome),
        }
    }

    /// Cancels it. Money that was paid goes back only when the card has proved that it did not get it.
    pub async fn cancel_interrupted(
        &mut self,
        work: &Interrupted,
        shown: &mut dyn Interaction,
    ) -> Result<Cancellation, WalletError> {
        match (work.kind, work.order) {
            (InterruptedKind::TopUp, Some(order)) => self.cancel_top_up(&work.aid, order, shown).await,
            (InterruptedKind::TopUp, None) => Err(WalletError::UnexpectedOutcome),
            (InterruptedKind::Return | InterruptedKind::MigrationOut, _) => {
                match self.card_operation(Operation::CancelClosing, &work.aid, shown).await? {
                    OutcomeDetail::BackInUse { .. } => Ok(Cancellation::Cancelled),
                    _ => Err(WalletError::UnexpectedOutcome),
                }
            }
            (InterruptedKind::MigrationIn, Some(migration)) => {
                self.cancel_migration_in(&work.aid, &migration.to_string(), shown).await
            }
            // The number has changed already; what the card holds follows.
            (InterruptedKind::MigrationIn, None) | (InterruptedKind::Repersonalisation, _) => {
                Err(WalletError::UnexpectedOutcome)
            }
            (InterruptedKind::Opening, order) => self.cancel_opening(&work.aid, order, shown).await,
            (InterruptedKind::PayOnline, Some(order)) => {
                match self.give_online_payment_up(&work.aid, PaymentId(order.0), shown).await? {
                    OnlinePayment::Paid { .. } => Ok(Cancellation::WasDone),
                    OnlinePayment::NotPaid | OnlinePayment::Closed => Ok(Cancellation::Cancelled),
                }
            }
            (InterruptedKind::PayOnline, None) => Err(WalletError::UnexpectedOutcome),
            // The card becomes again what it was, if anything happened to it.
            (InterruptedKind::Lock, _) => {
                self.unlock_card(&work.aid, shown).await.map(|()| Cancellation::Cancelled)
            }
            (InterruptedKind::Unlock, _) => {
                self.lock_card(&work.aid, shown).await.map(|()| Cancellation::Cancelled)
            }
            // Either the card has deleted it or it has not; the platform looks at the next contact.
            (InterruptedKind::Deletion, _) => {
                self.end_work().await?;
                Ok(Cancellation::Cancelled)
            }
        }
    }

    async fn cancel_top_up(
        &mut self,
        aid: &HexBytes,
        order: OrderId,
        shown: &mut dyn Interaction,
    ) -> Result<Cancellation, WalletError> {
        match self.ask_to_cancel(order).await {
            Err(NetworkError::Refused(problem)) if problem.code == ProblemCode::OutcomeUnknown => {}
            other => return self.cancelled(other).await,
        }
        // Only the card knows whether it was credited.
        self.synchronise_card(aid, shown).await?;
        let again = self.ask_to_cancel(order).await;
        self.cancelled(again).await
    }

    pub(super) async fn ask_to_cancel(&self, order: OrderId) -> Result<(), NetworkError> {
        let id = order.to_string();
        let parameters = [id.as_str()];
        let bearer = self.session.as_ref().and_then(|session| session.assertion.as_deref());
        self.network.call(Host::SpTsm, &CANCEL_ORDER, &parameters, bearer, &Nothing {}).await.map(drop)
    }

    async fn cancelled(&mut self, asked: Result<(), NetworkError>) -> Result<Cancellation, WalletError> {
        let done = match asked {
            Ok(()) => Cancellation::Cancelled,
            Err(NetworkError::Refused(problem)) if problem.code == ProblemCode::StateForbids => {
                Cancellation::WasDone
            }
            Err(NetworkError::Refused(problem)) => return Err(WalletError::Refused(problem)),
            Err(other) => return Err(other.into()),
        };
        if self.record.interrupted.as_ref().is_some_and(|work| work.kind == WorkKind::TopUp) {
            self.end_work().await?;
        }
        Ok(done)
    }

    /// Deletes an application if the platform offers its deletion; else there is nothing to delete.
    pub(super) async fn delete_if_offered(
        &mut self,
        aid: &HexBytes,
        shown: &mut dyn Interaction,
    ) -> Result<(), WalletError> {
        let offered = self.lists().await?.delete;
        match offered.into_iter().find(|listed| listed.aid == *aid) {
            Some(listed) => self.delete(aid, &listed.ticket, shown).await,
            None => self.end_work().await,
        }
    }
}
