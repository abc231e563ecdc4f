//! Returning a card for its balance, and parking it for another phone (B-7.5, B-7.6.1). The card is closed by
//! its issuer; when the centre has it, the platform lets this wallet delete what is left of it.

use tsm_api::HexBytes;
use tsm_api::conversation::{OutcomeDetail, RefundStanding};
use tsm_api::sp_tsm::migration::{ParkedReturn, RETURN_PARKED};
use tsm_api::sp_tsm::wallet::Operation;

use super::{Wallet, WalletError};
use crate::interaction::Interaction;
use crate::network::Host;
use crate::se_operation::SecureElementAccess;
use crate::storage::WalletStorage;

/// What goes back for a returned card.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Returned {
    /// What was on the card.
    pub balance_fen: u32,
    /// What of it goes back to the payments that it came from.
    pub to_payments_fen: u32,
    /// What of it is paid out at a hall.
    pub at_hall_fen: u32,
    /// Whether it goes back by itself, or is held until people have looked at the card.
    pub standing: RefundStanding,
}

impl<A: SecureElementAccess, S: WalletStorage> Wallet<A, S> {
    /// Returns a card: it is closed, and its balance goes back. A return that broke off goes on from what the
    /// card proves: call this again.
    pub async fn return_card(
        &mut self,
        aid: &HexBytes,
        shown: &mut dyn Interaction,
    ) -> Result<Returned, WalletError> {
        match self.card_operation(Operation::Return, aid, shown).await {
            Ok(OutcomeDetail::Returned { balance_fen, to_payments_fen, at_hall_fen, standing }) => {
                Ok(Returned { balance_fen, to_payments_fen, at_hall_fen, standing })
            }
            Ok(_) => Err(WalletError::UnexpectedOutcome),
            // There is no such card here, and the rider may have one parked at the centre.
            Err(error) if error.is_unknown_id() => self.return_parked(aid, None).await,
            Err(error) => Err(error),
        }
    }

    /// Returns a card of this rider that is parked at the centre, wherever it was before: the one with this
    /// number, masked as it was listed, or the only one. Nothing is sent to this phone's secure element.
    pub async fn return_parked(
        &mut self,
        aid: &HexBytes,
        card_number: Option<String>,
    ) -> Result<Returned, WalletError> {
        self.require_full_rights()?;
        let order = ParkedReturn { request: self.request_id(), aid: aid.clone(), card_number };
        let bearer = self.assertion()?;
        let back = self.network.call(Host::SpTsm, &RETURN_PARKED, &[], Some(bearer), &order).await?;
        Ok(Returned {
            balance_fen: back.balance_fen,
            to_payments_fen: back.to_payments_fen,
            at_hall_fen: back.at_hall_fen,
            standing: back.standing,
        })
    }

    /// Parks a card at the centre, for another phone of the same rider. Returns its balance.
    pub async fn migrate_out(
        &mut self,
        aid: &HexBytes,
        shown: &mut dyn Interaction,
    ) -> Result<u32, WalletError> {
        match self.card_operation(Operation::MigrateOut, aid, shown).await? {
            OutcomeDetail::MigratedOut { balance_fen } => Ok(balance_fen),
            _ => Err(WalletError::UnexpectedOutcome),
        }
    }

    /// Deletes the applications that the platform wanted deleted at the login: what is left of closed cards
    /// and ended subscriptions. What cannot be deleted yet is left for the next login.
    pub async fn delete_closed(&mut self, shown: &mut dyn Interaction) -> Result<Vec<HexBytes>, WalletError> {
        let wanted = match &mut self.session {
            Some(session) => std::mem::take(&mut session.to_delete),
            None => return Err(WalletError::NoSession),
        };
        if wanted.is_empty() {
            return Ok(wanted);
        }
        let offered = self.lists().await?.delete;
        let mut deleted = Vec::new();
        for aid in wanted {
            let Some(listed) = offered.iter().find(|listed| listed.aid == aid) else { continue };
            match self.delete(&aid, &listed.ticket, shown).await {
                Ok(()) => deleted.push(aid),
                Err(WalletError::Refused(_)) => {}
                Err(other) => return Err(other),
            }
        }
        Ok(deleted)
    }
}
