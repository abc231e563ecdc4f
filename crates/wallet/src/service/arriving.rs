//! Bringing a parked card to this phone (B-7.6.1.e to i): the order claims it, and the opening writes it. An
//! arrival that broke off goes on by the same call.

use tsm_api::HexBytes;
use tsm_api::conversation::OutcomeDetail;
use tsm_api::endpoint::Nothing;
use tsm_api::problem::ProblemCode;
use tsm_api::se_tsm::wallet::CatalogueList;
use tsm_api::sp_tsm::migration::{
    CANCEL_MIGRATION, MigrationOrder, MigrationState, ORDER_MIGRATION, PARKED_CARDS, ParkedCard,
};
use tsm_api::sp_tsm::wallet::Operation;

use super::interrupted::Cancellation;
use super::{Wallet, WalletError};
use crate::interaction::Interaction;
use crate::network::{Host, NetworkError};
use crate::se_operation::SecureElementAccess;
use crate::storage::WalletStorage;

impl<A: SecureElementAccess, S: WalletStorage> Wallet<A, S> {
    /// The rider's cards that are parked at the centre.
    pub async fn parked_cards(&self) -> Result<Vec<ParkedCard>, WalletError> {
        self.require_full_rights()?;
        let bearer = self.assertion()?;
        Ok(self.network.call(Host::SpTsm, &PARKED_CARDS, &[], Some(bearer), &Nothing {}).await?.cards)
    }

    /// Brings a parked card to this phone: the one with this number, masked as it was listed, or the only one.
    pub async fn migrate_in(
        &mut self,
        aid: &HexBytes,
        card_number: Option<String>,
        shown: &mut dyn Interaction,
    ) -> Result<(), WalletError> {
        self.require_full_rights()?;
        let order = MigrationOrder { request: self.request_id(), aid: aid.clone(), card_number };
        let bearer = self.assertion()?;
        self.network.call(Host::SpTsm, &ORDER_MIGRATION, &[], Some(bearer), &order).await?;
        let entries = self.catalogue(CatalogueList::Recommendation).await?;
        let entry = entries.into_iter().find(|entry| entry.aid == *aid);
        let entry = entry.ok_or_else(|| WalletError::NotOffered(aid.clone()))?;
        self.open_card(&entry, shown).await
    }

    /// Gives an arrival up. When its data were sent already the card tells whether it holds them, and what it
    /// may hold is deleted before another phone can have the card.
    pub(super) async fn cancel_migration_in(
        &mut self,
        aid: &HexBytes,
        migration: &str,
        shown: &mut dyn Interaction,
    ) -> Result<Cancellation, WalletError> {
        let bearer = self.assertion()?;
        let asked =
            self.network.call(Host::SpTsm, &CANCEL_MIGRATION, &[migration], Some(bearer), &Nothing {}).await;
        match asked {
            Ok(_) => {
                self.end_work().await?;
                return Ok(Cancellation::Cancelled);
            }
            Err(NetworkError::Refused(problem)) if problem.code == ProblemCode::StateForbids => {}
            Err(other) => return Err(other.into()),
        }
        let OutcomeDetail::MigrationIn { state, .. } =
            self.card_operation(Operation::GiveUpMigrationIn, aid, shown).await?
        else {
            return Err(WalletError::UnexpectedOutcome);
        };
        match state {
            MigrationState::Done => {
                self.end_work().await?;
                Ok(Cancellation::WasDone)
            }
            MigrationState::GivingUp => {
                // The platform tells the issuer that nothing is there; what is there it offers to delete.
                self.show_whether_gone(aid, shown).await?;
                self.delete_if_offered(aid, shown).await?;
                Ok(Cancellation::Cancelled)
            }
            MigrationState::Cancelled => {
                self.end_work().await?;
                Ok(Cancellation::Cancelled)
            }
            MigrationState::Claimed | MigrationState::InFlight => Err(WalletError::Unknown),
        }
    }
}
