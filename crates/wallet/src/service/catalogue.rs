//! The lists of applications (W-6.3.1, W-6.4.1, W-7.3).

use tsm_api::HexBytes;
use tsm_api::endpoint::Nothing;
use tsm_api::se_tsm::wallet::{
    APPLICATION, APPLICATIONS, ApplicationDetails, CatalogueEntry, CatalogueList, CatalogueQuery, LISTS,
    OperationLists,
};

use super::{Wallet, WalletError};
use crate::network::Host;
use crate::se_operation::SecureElementAccess;
use crate::storage::WalletStorage;

impl<A: SecureElementAccess, S: WalletStorage> Wallet<A, S> {
    /// Every entry of one list, page after page. The default list is the recommendation.
    pub async fn catalogue(&self, list: CatalogueList) -> Result<Vec<CatalogueEntry>, WalletError> {
        let bearer = self.bearer()?;
        let mut entries = Vec::new();
        let mut query = CatalogueQuery { list, class: None, page: 0 };
        loop {
            let page = self.network.call(Host::SeTsm, &APPLICATIONS, &[], Some(bearer), &query).await?;
            entries.extend(page.entries);
            query.page += 1;
            if query.page >= page.pages {
                return Ok(entries);
            }
        }
    }

    /// Everything about one application.
    pub async fn application(&self, aid: &HexBytes) -> Result<ApplicationDetails, WalletError> {
        let bearer = self.bearer()?;
        let aid = aid.to_string();
        let parameters = [aid.as_str()];
        Ok(self.network.call(Host::SeTsm, &APPLICATION, &parameters, Some(bearer), &Nothing {}).await?)
    }

    /// What can be downloaded, deleted, locked and unlocked here (table S.2).
    pub async fn lists(&self) -> Result<OperationLists, WalletError> {
        let bearer = self.bearer()?;
        Ok(self.network.call(Host::SeTsm, &LISTS, &[], Some(bearer), &Nothing {}).await?)
    }
}
