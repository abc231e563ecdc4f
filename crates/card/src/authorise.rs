//! Tokens and DAP blocks: signatures that let a card accept somebody else's content (GPC 2.3.1,
//! chapter 9; P-5.8.9.3.e and f).

use tsm_globalplatform::commands::Install;
use tsm_globalplatform::commands::delete::DeleteContent;
use tsm_globalplatform::commands::install::InstallForExtradition;
use tsm_globalplatform::commands::load::DapBlock;
use tsm_globalplatform::dap::HashAlgorithm;
use tsm_globalplatform::receipt::Receipt;
use tsm_globalplatform::token::TokenData;
use tsm_iso7816::{Aid, ResponseApdu};
use tsm_keys::{KeyError, KeyReference, KeyService, SignatureScheme};

use crate::delete::Deletion;
use crate::download::Download;
use crate::error::{CommandName, ProcedureError};
use crate::extradite::Extradition;
use crate::install::NewInstance;
use crate::open_channel::SecureChannel;

/// A key of the key service with the scheme that it signs in.
#[derive(Clone, Copy)]
pub struct Signer<'a> {
    /// The key service.
    pub keys: &'a dyn KeyService,
    /// The key.
    pub key: &'a KeyReference,
    /// The scheme.
    pub scheme: SignatureScheme,
}

impl Signer<'_> {
    /// Puts the issuer's load token into a download for a domain with delegated management. The token
    /// covers the hash of the load file data block, which is put in too.
    pub fn authorise_download(&self, download: &mut Download, hash: HashAlgorithm) -> Result<(), KeyError> {
        download.hash = hash.hash(&download.data_block);
        download.token = self.install_token(&Install::ForLoad(download.install_for_load()))?;
        Ok(())
    }

    /// Puts the issuer's install token into a new instance.
    pub fn authorise_instance(&self, instance: &mut NewInstance) -> Result<(), KeyError> {
        instance.token = self.install_token(&Install::ForInstall(instance.install_for_install()))?;
        Ok(())
    }

    /// Puts the issuer's extradition token into an extradition.
    pub fn authorise_extradition(&self, extradition: &mut Extradition) -> Result<(), KeyError> {
        let install = InstallForExtradition::new(extradition.to, extradition.object);
        extradition.token = self.install_token(&Install::ForExtradition(install))?;
        Ok(())
    }

    /// Puts the issuer's delete token into a deletion; `token_data` is the value of B6.
    pub fn authorise_deletion(&self, deletion: &mut Deletion, token_data: Vec<u8>) -> Result<(), KeyError> {
        let content = DeleteContent {
            token_data: Some(token_data.clone()),
            ..DeleteContent::new(deletion.object, deletion.extent)
        };
        let token = self.keys.sign(self.key, self.scheme, TokenData::of_delete(&content).as_bytes())?;
        deletion.token = Some((token_data, token));
        Ok(())
    }

    /// Adds the signature of `domain`, which verifies load files, to a download.
    pub fn sign_download(
        &self,
        download: &mut Download,
        domain: Aid,
        hash: HashAlgorithm,
    ) -> Result<(), KeyError> {
        download.hash = hash.hash(&download.data_block);
        let signature = self.keys.sign(self.key, self.scheme, &download.hash)?;
        download.dap_blocks.push(DapBlock { security_domain: domain, signature });
        Ok(())
    }

    fn install_token(&self, install: &Install) -> Result<Vec<u8>, KeyError> {
        let data = TokenData::of_install(install).expect("only personalisation has no token");
        self.keys.sign(self.key, self.scheme, data.as_bytes())
    }
}

/// The receipt in the answer to a step of content management; none where the card makes none.
pub(crate) fn receipt(
    command: CommandName,
    answer: &ResponseApdu,
) -> Result<Option<Receipt>, ProcedureError> {
    Receipt::parse(&answer.data).map_err(|error| SecureChannel::unreadable(command, error))
}
