//! Deleting an application from the secure element (W-6.3.3, B-8.5.3).

use tsm_api::HexBytes;
use tsm_api::conversation::OutcomeDetail;
use tsm_api::se_tsm::wallet::Operation;

use super::{Wallet, WalletError};
use crate::applications;
use crate::interaction::Interaction;
use crate::se_operation::SecureElementAccess;
use crate::storage::{WalletStorage, WorkKind};

impl<A: SecureElementAccess, S: WalletStorage> Wallet<A, S> {
    /// Deletes an application that the deletion list offers, with the ticket from that list.
    ///
    /// The provider must consent: a card that still holds value is refused, and must be returned
    /// first.
    pub async fn delete(
        &mut self,
        aid: &HexBytes,
        ticket: &str,
        shown: &mut dyn Interaction,
    ) -> Result<(), WalletError> {
        self.require_full_rights()?;
        self.begin_work(WorkKind::Delete, aid, None).await?;
        match self.se_tsm_operation(Operation::Delete, aid, ticket, shown).await {
            Ok(OutcomeDetail::Deleted { aid, .. }) => applications::remove(&mut self.record, &aid),
            Ok(_) => return Err(WalletError::UnexpectedOutcome),
            Err(refused @ WalletError::Refused(_)) => {
                self.end_work().await?;
                return Err(refused);
            }
            Err(other) => return Err(other),
        }
        self.end_work().await
    }
}
