//! Locking and unlocking a card, and letting its issuer look at it (B-8.5.4, W-6.3.4).

use tsm_api::HexBytes;
use tsm_api::conversation::{OutcomeDetail, Party};
use tsm_api::sp_tsm::wallet::{Operation, START, StartRequest};

use super::{ONLY_THIS_WALLET, Wallet, WalletError};
use crate::interaction::Interaction;
use crate::network::Host;
use crate::se_operation::SecureElementAccess;
use crate::storage::WalletStorage;

impl<A: SecureElementAccess, S: WalletStorage> Wallet<A, S> {
    /// Locks a card: it can be read and not spent from, until it is unlocked.
    pub async fn lock_card(
        &mut self,
        aid: &HexBytes,
        shown: &mut dyn Interaction,
    ) -> Result<(), WalletError> {
        match self.card_operation(Operation::Lock, aid, shown).await? {
            OutcomeDetail::LockChanged { .. } => Ok(()),
            _ => Err(WalletError::UnexpectedOutcome),
        }
    }

    /// Unlocks a card.
    pub async fn unlock_card(
        &mut self,
        aid: &HexBytes,
        shown: &mut dyn Interaction,
    ) -> Result<(), WalletError> {
        match self.card_operation(Operation::Unlock, aid, shown).await? {
            OutcomeDetail::LockChanged { .. } => Ok(()),
            _ => Err(WalletError::UnexpectedOutcome),
        }
    }

    /// Lets the issuer look at the card, which settles what was unknown. Returns the proven balance and how
    /// many records were corrected.
    pub async fn synchronise_card(
        &mut self,
        aid: &HexBytes,
        shown: &mut dyn Interaction,
    ) -> Result<(u32, u32), WalletError> {
        match self.card_operation(Operation::Synchronise, aid, shown).await? {
            OutcomeDetail::PurseSynchronised { balance_fen, corrected, .. } => Ok((balance_fen, corrected)),
            _ => Err(WalletError::UnexpectedOutcome),
        }
    }

    pub(super) async fn card_operation(
        &mut self,
        operation: Operation,
        aid: &HexBytes,
        shown: &mut dyn Interaction,
    ) -> Result<OutcomeDetail, WalletError> {
        self.require_full_rights()?;
        let mut request = StartRequest::on(operation, aid.clone(), None, self.request_id());
        request.options.if_busy = ONLY_THIS_WALLET;
        let bearer = self.assertion()?;
        let reply = self.network.call(Host::SpTsm, &START, &[], Some(bearer), &request).await?;
        self.converse(Party::SpTsm, reply, shown).await
    }
}
