//! Registration at the first start (W-6.1, W-7.1, P-5.5.2).

use tsm_api::HexBytes;
use tsm_api::conversation::{OutcomeDetail, Party};
use tsm_api::endpoint::Nothing;
use tsm_api::se_tsm::wallet::{AGREEMENT, Agreement, REGISTER, RegistrationRequest};
use tsm_iso7816::{Aid, CommandApdu, tlv};

use super::{Wallet, WalletError};
use crate::interaction::Interaction;
use crate::network::Host;
use crate::se_operation::SecureElementAccess;
use crate::storage::{Registration, WalletStorage};

/// The issuer security domain, which answers for the secure element.
pub(super) const ISSUER_SECURITY_DOMAIN: Aid =
    Aid::constant(&[0xA0, 0x00, 0x00, 0x01, 0x51, 0x00, 0x00, 0x00]);

/// The SE-ID's data object (P-5.8.4.5, GET DATA 0044) and the SE-ID inside its template.
const SE_IDENTIFICATION: u32 = 0x44;
const SE_ID: u32 = 0x92;

/// The rider has read and accepted the utilisation protocol. Made by nothing but
/// [`Wallet::accept`], so that no registration leaves without it (W-6.1.b).
#[derive(Debug, Clone)]
pub struct Accepted {
    version: String,
}

impl<A: SecureElementAccess, S: WalletStorage> Wallet<A, S> {
    /// The utilisation protocol, to be shown before registering.
    pub async fn agreement(&self) -> Result<Agreement, WalletError> {
        Ok(self.network.call(Host::SeTsm, &AGREEMENT, &[], None, &Nothing {}).await?)
    }

    /// The rider accepted this text.
    pub fn accept(&self, agreement: &Agreement) -> Accepted {
        Accepted { version: agreement.version.clone() }
    }

    /// Reads the SE-ID from the secure element. It is never typed (W-6.1.c).
    pub async fn se_id(&mut self) -> Result<HexBytes, WalletError> {
        let command = CommandApdu::new(0x80, 0xCA, 0x00, SE_IDENTIFICATION as u8).with_any_response();
        let (_, responses) = self.element.ask(&ISSUER_SECURITY_DOMAIN, &[command]).await?;
        let response = responses.first().filter(|response| response.status.is_success());
        let data = response.map(|response| response.data.as_slice()).unwrap_or_default();
        se_id_of(data).map(HexBytes::from).ok_or(WalletError::UnreadableCard("GET DATA 0044"))
    }

    /// Registers this secure element, writes the TOKEN to it and opens the first session.
    ///
    /// After a failure nothing is kept, so that the next start registers again (W-6.1.h).
    pub async fn register(
        &mut self,
        accepted: Accepted,
        msisdn: Option<String>,
        shown: &mut dyn Interaction,
    ) -> Result<(), WalletError> {
        let se_id = self.se_id().await?;
        let accepted_at = self.clock.now();
        let request = RegistrationRequest {
            request: self.request_id(),
            agreement_version: accepted.version.clone(),
            accepted_at,
            se_id: se_id.clone(),
            msisdn,
            imsi_digest: None,
        };
        let reply = self.network.call(Host::SeTsm, &REGISTER, &[], None, &request).await?;
        let OutcomeDetail::Registered { token, .. } = self.converse(Party::SeTsm, reply, shown).await? else {
            return Err(WalletError::UnexpectedOutcome);
        };
        self.record.registration = Some(Registration {
            se_id,
            token,
            accepted_terms: accepted.version,
            accepted_at_s: accepted_at.as_second(),
        });
        self.keep().await
    }
}

/// The SE-ID from the answer to GET DATA 0044: the object itself or its value, with or without the
/// template of an ICCID (91) and an SE-ID (92).
fn se_id_of(data: &[u8]) -> Option<&[u8]> {
    let value = tlv::find(data, SE_IDENTIFICATION).ok().flatten().unwrap_or(data);
    let se_id = tlv::find(value, SE_ID).ok().flatten().unwrap_or(value);
    (!se_id.is_empty() && se_id.len() <= 20).then_some(se_id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_se_id_is_found_in_each_form() {
        for text in ["440401020304", "01020304", "440692 0401020304", "44089101FF9203010203"] {
            let data = hex::decode(text.replace(' ', "")).unwrap();
            let se_id = se_id_of(&data).unwrap();
            assert!([&[1, 2, 3, 4][..], &[1, 2, 3]].contains(&se_id), "{text}: {se_id:?}");
        }
        assert_eq!(se_id_of(&[]), None);
        assert_eq!(se_id_of(&[1; 21]), None);
    }
}
