//! Making the platform's records equal to the card (P-5.8.4.5).

use tsm_api::HexBytes;
use tsm_api::conversation::StartOptions;
use tsm_api::conversation::{OutcomeDetail, Party};
use tsm_api::se_tsm::wallet::{Operation, START, StartRequest};

use super::{ONLY_THIS_WALLET, Wallet, WalletError};
use crate::interaction::Interaction;
use crate::network::Host;
use crate::se_operation::SecureElementAccess;
use crate::storage::WalletStorage;

impl<A: SecureElementAccess, S: WalletStorage> Wallet<A, S> {
    /// Lets the platform look at the card. Returns how many records it corrected.
    pub async fn synchronise(&mut self, shown: &mut dyn Interaction) -> Result<u32, WalletError> {
        self.look(None, shown).await
    }

    /// The same; the issuer of this application waits to hear whether it is gone.
    pub(super) async fn show_whether_gone(
        &mut self,
        aid: &HexBytes,
        shown: &mut dyn Interaction,
    ) -> Result<(), WalletError> {
        self.look(Some(aid.clone()), shown).await.map(drop)
    }

    async fn look(&mut self, aid: Option<HexBytes>, shown: &mut dyn Interaction) -> Result<u32, WalletError> {
        let request = StartRequest {
            options: StartOptions { request: self.request_id(), if_busy: ONLY_THIS_WALLET },
            operation: Operation::Synchronise,
            aid,
            ticket: None,
            order: None,
        };
        let bearer = self.bearer()?;
        let reply = self.network.call(Host::SeTsm, &START, &[], Some(bearer), &request).await?;
        match self.converse(Party::SeTsm, reply, shown).await? {
            OutcomeDetail::Synchronised { corrected, .. } => Ok(corrected),
            _ => Err(WalletError::UnexpectedOutcome),
        }
    }
}
