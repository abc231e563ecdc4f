//! Reporting a card lost (D-5): from its own phone or from another one of the same rider. Terminals refuse it from
//! then on, and only a hall lets it be unlocked.

use tsm_api::HexBytes;
use tsm_api::sp_tsm::desk::{LostCard, REPORT_OWN_LOST};

use super::{Wallet, WalletError};
use crate::network::Host;
use crate::se_operation::SecureElementAccess;
use crate::storage::WalletStorage;

impl<A: SecureElementAccess, S: WalletStorage> Wallet<A, S> {
    /// Reports a card of this rider lost: the one with this number, masked as it was shown, or the only one.
    /// Gives the number, masked. Reporting it again changes nothing.
    pub async fn report_lost(
        &self,
        aid: &HexBytes,
        card_number: Option<String>,
    ) -> Result<String, WalletError> {
        self.require_full_rights()?;
        let report = LostCard { request: self.request_id(), aid: aid.clone(), card_number };
        let bearer = self.assertion()?;
        let case = self.network.call(Host::SpTsm, &REPORT_OWN_LOST, &[], Some(bearer), &report).await?;
        Ok(case.card_number)
    }
}
