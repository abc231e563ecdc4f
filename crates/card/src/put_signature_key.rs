//! Putting the keys of signatures into a security domain (GPC 2.3.1, 11.8 and annex C): the key that
//! verifies tokens, the one that verifies load files (DAP), the one that makes receipts.

use tsm_globalplatform::commands::PutKey;
use tsm_globalplatform::commands::load::BlockPosition;
use tsm_globalplatform::commands::put_key::KeyField;
use tsm_globalplatform::key::{KeyComponent, KeyType};
use tsm_keys::{KeyHandle, PublicKey, PutSecretKey};

use crate::channel::CardChannel;
use crate::error::ProcedureError;
use crate::open_channel::SecureChannel;
use crate::script::{Answers, Command, Script, Ticket};

/// What the key is for; by convention each has a key version of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignatureKeyUse {
    /// Verifies tokens: version 70.
    Token,
    /// Makes receipts: version 71.
    Receipt,
    /// Verifies load files: version 73.
    Dap,
}

impl SignatureKeyUse {
    /// The key version.
    pub const fn version(self) -> u8 {
        match self {
            Self::Token => 0x70,
            Self::Receipt => 0x71,
            Self::Dap => 0x73,
        }
    }
}

/// The key itself.
#[derive(Debug, Clone)]
pub enum SignatureKey {
    /// A public key, which goes in the clear.
    Public(PublicKey),
    /// A secret key, which goes under the session's DEK.
    Secret(KeyHandle),
}

const IDENTIFIER: u8 = 0x01;
// GPC 2.3.1 amendment E, 4.2: reference 00 is P-256.
const P256_REFERENCE: u8 = 0x00;

/// A key whose command is in a script.
#[derive(Debug)]
pub struct PuttingSignatureKey {
    ticket: Ticket,
    confirmation: Vec<u8>,
}

impl PuttingSignatureKey {
    /// Adds PUT KEY to `script`. `replaces` is the version replaced, or none for a new key.
    pub fn add(
        channel: &mut SecureChannel,
        purpose: SignatureKeyUse,
        key: &SignatureKey,
        replaces: Option<u8>,
        script: &mut Script,
    ) -> Result<Self, ProcedureError> {
        let (replaces, version) = (replaces.unwrap_or(0), purpose.version());
        let (command, confirmation) = match key {
            SignatureKey::Secret(key) => {
                let request = PutSecretKey { replaces, version, identifier: IDENTIFIER, key };
                let put_key = channel.session().put_secret_key(&request)?;
                (put_key.command, put_key.confirmation)
            }
            SignatureKey::Public(key) => {
                let put_key = PutKey {
                    replaced_version: replaces,
                    new_version: version,
                    first_identifier: IDENTIFIER,
                    position: BlockPosition::Last,
                    keys: vec![KeyField { components: components(key)?, check_value: Vec::new() }],
                };
                (put_key.to_apdu(), put_key.response_data())
            }
        };
        Ok(Self { ticket: channel.add(script, vec![Command::new("PUT KEY", command)])?, confirmation })
    }

    /// Checks that the card took the key.
    pub fn take(self, channel: &mut SecureChannel, answers: &mut Answers) -> Result<(), ProcedureError> {
        let command = answers.name(&self.ticket, 0);
        let answer = channel.take_one(answers, &self.ticket)?;
        if answer.data == self.confirmation {
            Ok(())
        } else {
            Err(SecureChannel::unreadable(command, "it does not confirm the key that was sent"))
        }
    }
}

/// Puts a key in one exchange.
pub async fn put_signature_key(
    card: &mut impl CardChannel,
    channel: &mut SecureChannel,
    purpose: SignatureKeyUse,
    key: &SignatureKey,
    replaces: Option<u8>,
    mut script: Script,
) -> Result<(), ProcedureError> {
    let putting = PuttingSignatureKey::add(channel, purpose, key, replaces, &mut script)?;
    let mut answers = script.run(card).await?;
    putting.take(channel, &mut answers)
}

fn components(key: &PublicKey) -> Result<Vec<KeyComponent>, ProcedureError> {
    Ok(match key {
        PublicKey::EcdsaP256(point) => vec![
            KeyComponent { key_type: KeyType::EC_PUBLIC, value: point.to_vec() },
            KeyComponent { key_type: KeyType::EC_PARAMETER_REFERENCE, value: vec![P256_REFERENCE] },
        ],
        PublicKey::Rsa { modulus, exponent } => vec![
            KeyComponent { key_type: KeyType::RSA_MODULUS, value: modulus.clone() },
            KeyComponent { key_type: KeyType::RSA_PUBLIC_EXPONENT, value: exponent.clone() },
        ],
        // GPC 2.3.1 amendment E, 4.2 has no curve reference for SM2.
        PublicKey::Sm2(_) => {
            return Err(ProcedureError::Impossible("a security domain takes no SM2 key".into()));
        }
    })
}
