//! The rider's receipts: what the clearing centre's journal says of the card, signed by the centre. None is
//! shown whose signature does not fit.

use tsm_api::HexBytes;
use tsm_api::receipt::SignedReceipt;
use tsm_api::signature::MessageVerifier;
use tsm_api::sp_tsm::evidence::{AfterEntry, RECEIPTS};

use super::{Wallet, WalletError};
use crate::network::Host;
use crate::se_operation::SecureElementAccess;
use crate::storage::WalletStorage;

/// Pages that are asked for at most; a server that goes on for ever is not believed.
const PAGES: usize = 1_000;

impl<A: SecureElementAccess, S: WalletStorage> Wallet<A, S> {
    /// The receipts of the own card after this entry of its journal, oldest first, each checked with the
    /// centre's published key.
    pub async fn receipts(
        &self,
        aid: &HexBytes,
        after: u64,
        centre: &MessageVerifier,
    ) -> Result<Vec<SignedReceipt>, WalletError> {
        let assertion = self.assertion()?;
        let aid = aid.to_string();
        let mut after = AfterEntry { after };
        let mut found = Vec::new();
        for _ in 0..PAGES {
            let page = self.network.call(Host::SpTsm, &RECEIPTS, &[&aid], Some(assertion), &after).await?;
            for signed in page.receipts {
                signed.verify(centre).map_err(WalletError::Receipt)?;
                found.push(signed);
            }
            match page.next {
                Some(next) if next > after.after => after = AfterEntry { after: next },
                Some(_) | None => break,
            }
        }
        Ok(found)
    }
}
