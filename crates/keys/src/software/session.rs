//! Secure-channel sessions in software, over the host halves of SCP02 and SCP03.
//!
//! Static keys are derived when the card has answered (some schemes need its answer), used for the
//! session keys, and wiped. An open session holds session keys only; SCP03 keeps the static DEK, which
//! is the key that it encrypts with (GPC amendment D, 6.2.8).

use std::sync::Arc;

use tsm_globalplatform::commands::put_key::KeyField;
use tsm_globalplatform::commands::{InitializeUpdate, PutKey, load::BlockPosition};
use tsm_globalplatform::key::KeyType;
use tsm_globalplatform::primitives::{AesKey, DesKey};
use tsm_globalplatform::security_level::SecurityLevel;
use tsm_globalplatform::{scp02, scp03};
use tsm_iso7816::{CommandApdu, ResponseApdu};

use super::Inner;
use super::material::Material;
use crate::description::KeyAlgorithm;
use crate::handle::KeyHandle;
use crate::reference::KeyReference;
use crate::service::KeyError;
use crate::session::{
    CardSession, NewKeys, PendingSession, Protocol, PutKeyCommand, PutKeyRequest, PutSecretKey, SessionError,
    SessionRequest,
};
use crate::transfer::{KeyForCard, WrappedValue};

/// Begins a session with a fresh challenge.
pub(super) fn begin(inner: Arc<Inner>, request: SessionRequest) -> Result<Box<dyn PendingSession>, KeyError> {
    let challenge_length = match request.protocol {
        Protocol::Scp03(i) if i & 0x01 != 0 => 16,
        Protocol::Scp02(_) | Protocol::Scp03(_) => 8,
    };
    let mut host_challenge = vec![0; challenge_length];
    inner.entropy.fill(&mut host_challenge);
    Ok(Box::new(Pending { inner, request, host_challenge }))
}

struct Pending {
    inner: Arc<Inner>,
    request: SessionRequest,
    host_challenge: Vec<u8>,
}

impl PendingSession for Pending {
    fn initialize_update(&self) -> CommandApdu {
        InitializeUpdate {
            key_version: self.request.key_version,
            key_identifier: 0,
            host_challenge: self.host_challenge.clone(),
        }
        .to_apdu()
    }

    fn authenticate(
        self: Box<Self>,
        answer: &ResponseApdu,
    ) -> Result<(Box<dyn CardSession>, CommandApdu), SessionError> {
        if !answer.status.is_success() {
            return Err(SessionError::Malformed(format!("its status word is {}", answer.status)));
        }
        // The first ten bytes of either protocol's answer are the key diversification data.
        let card_data = answer.data.get(..10).ok_or_else(|| too_short(answer))?;
        let keys = self.inner.domain_keys(&self.request.keys, Some(card_data))?;
        let (channel, external_authenticate) = match self.request.protocol {
            Protocol::Scp02(i) => self.authenticate_scp02(i, &keys, &answer.data)?,
            Protocol::Scp03(i) => self.authenticate_scp03(i, &keys, &answer.data)?,
        };
        let session = Session { inner: self.inner, protocol: self.request.protocol, channel };
        Ok((Box::new(session), external_authenticate))
    }
}

impl Pending {
    fn authenticate_scp02(
        &self,
        i: u8,
        [enc, mac, dek]: &[Material; 3],
        answer: &[u8],
    ) -> Result<(Channel, CommandApdu), SessionError> {
        let implementation =
            scp02::Implementation::try_from(i).map_err(|error| SessionError::Misuse(error.to_string()))?;
        let challenge = self.host_challenge.as_slice().try_into().map_err(|_| SessionError::Ended)?;
        let keys = scp02::StaticKeys { enc: des_key(enc)?, mac: des_key(mac)?, dek: des_key(dek)? };
        let (handshake, _) =
            scp02::host::Handshake::begin(keys, implementation, self.request.key_version, challenge);
        let (session, command) = handshake
            .with_application(self.request.application)
            .finish(answer, self.request.level)
            .map_err(|error| self.scp02_error(error))?;
        Ok((Channel::Scp02(Box::new(session)), command))
    }

    fn authenticate_scp03(
        &self,
        i: u8,
        [enc, mac, dek]: &[Material; 3],
        answer: &[u8],
    ) -> Result<(Channel, CommandApdu), SessionError> {
        let implementation =
            scp03::Implementation::try_from(i).map_err(|error| SessionError::Misuse(error.to_string()))?;
        let keys = scp03::StaticKeys { enc: aes_key(enc)?, mac: aes_key(mac)?, dek: aes_key(dek)? };
        let (handshake, _) = scp03::host::Handshake::begin(
            keys,
            implementation,
            self.request.key_version,
            &self.host_challenge,
        )
        .map_err(|error| self.scp03_error(error))?;
        let (session, command) = handshake
            .with_application(self.request.application)
            .finish(answer, self.request.level)
            .map_err(|error| self.scp03_error(error))?;
        Ok((Channel::Scp03(Box::new(session)), command))
    }

    fn scp02_error(&self, error: scp02::host::HandshakeError) -> SessionError {
        use scp02::InitializeUpdateResponseError as Response;
        use scp02::host::HandshakeError as Error;
        match error {
            Error::Response(Response::Protocol(found)) => self.other_protocol(format!("{found:02X}")),
            Error::Response(error @ Response::Length(_)) => SessionError::Malformed(error.to_string()),
            Error::KeyVersion { asked, answered } => {
                SessionError::KeyVersion { expected: asked, found: answered }
            }
            Error::CardChallenge | Error::CardCryptogram => SessionError::CardCryptogram,
            Error::Level { .. } => SessionError::Misuse(error.to_string()),
        }
    }

    fn scp03_error(&self, error: scp03::host::HandshakeError) -> SessionError {
        use scp03::InitializeUpdateResponseError as Response;
        use scp03::host::HandshakeError as Error;
        match error {
            Error::Response(Response::Protocol(found)) => self.other_protocol(format!("{found:02X}")),
            Error::Response(error) => SessionError::Malformed(error.to_string()),
            Error::Mode(i) => self.other_protocol(format!("03 with i={i:02X}")),
            Error::KeyVersion { asked, answered } => {
                SessionError::KeyVersion { expected: asked, found: answered }
            }
            Error::CardChallenge | Error::CardCryptogram => SessionError::CardCryptogram,
            Error::HostChallenge { .. } | Error::Level { .. } => SessionError::Misuse(error.to_string()),
        }
    }

    fn other_protocol(&self, found: String) -> SessionError {
        SessionError::Protocol { expected: self.request.protocol, found }
    }
}

struct Session {
    inner: Arc<Inner>,
    protocol: Protocol,
    channel: Channel,
}

enum Channel {
    Scp02(Box<scp02::host::Session>),
    Scp03(Box<scp03::host::Session>),
}

impl Session {
    /// Encrypts under the DEK; data of whole blocks only, so that nothing is padded unseen.
    fn encrypt_under_dek(&self, data: &[u8]) -> Result<Vec<u8>, KeyError> {
        let block = match self.channel {
            Channel::Scp02(_) => 8,
            Channel::Scp03(_) => 16,
        };
        if data.is_empty() || !data.len().is_multiple_of(block) {
            return Err(KeyError::Length { what: "a sensitive value", length: data.len() });
        }
        Ok(self.encrypt_padded(data))
    }

    fn encrypt_padded(&self, data: &[u8]) -> Vec<u8> {
        match &self.channel {
            Channel::Scp02(session) => session.encrypt_sensitive(data),
            Channel::Scp03(session) => session.encrypt_sensitive(data),
        }
    }

    fn new_keys(&self, keys: &NewKeys) -> Result<[Material; 3], KeyError> {
        match keys {
            NewKeys::Own(source) => self.inner.domain_keys(source, None),
            NewKeys::Transferred { set, kek } => Ok([
                self.inner.unwrap_key(&set.enc, kek)?,
                self.inner.unwrap_key(&set.mac, kek)?,
                self.inner.unwrap_key(&set.dek, kek)?,
            ]),
        }
    }

    // GPC 2.3.1 11.8.2.3.1, amendment D 7.2: a key of 24 bytes is padded to whole blocks; the field
    // begins with the clear length.
    fn key_field(&self, key: &Material) -> Result<KeyField, KeyError> {
        let key_type = match key.algorithm {
            KeyAlgorithm::TripleDes => KeyType::DES,
            KeyAlgorithm::Aes128 | KeyAlgorithm::Aes192 | KeyAlgorithm::Aes256 => KeyType::AES,
            found @ (KeyAlgorithm::Sm4 | KeyAlgorithm::EcdsaP256 | KeyAlgorithm::Sm2 | KeyAlgorithm::Rsa) => {
                return Err(KeyError::Algorithm { found, operation: "be a domain key" });
            }
        };
        let check_value = key.check_value().ok_or(KeyError::CheckValue)?;
        let encrypted = self.encrypt_padded(&key.bytes);
        Ok(KeyField::symmetric(key_type, key.bytes.len(), &encrypted, &check_value.0))
    }
}

impl CardSession for Session {
    fn level(&self) -> SecurityLevel {
        match &self.channel {
            Channel::Scp02(session) => session.level(),
            Channel::Scp03(session) => session.level(),
        }
    }

    fn protocol(&self) -> Protocol {
        self.protocol
    }

    fn key_version(&self) -> u8 {
        match &self.channel {
            Channel::Scp02(session) => session.initialize_update_response().key_version,
            Channel::Scp03(session) => session.initialize_update_response().key_version,
        }
    }

    fn sequence_counter(&self) -> Option<u32> {
        match &self.channel {
            Channel::Scp02(session) => Some(session.initialize_update_response().sequence_counter.into()),
            Channel::Scp03(session) => session.initialize_update_response().sequence_counter,
        }
    }

    fn wrap_commands(&mut self, commands: &[CommandApdu]) -> Result<Vec<CommandApdu>, SessionError> {
        commands
            .iter()
            .map(|command| match &mut self.channel {
                Channel::Scp02(session) => session.wrap(command),
                Channel::Scp03(session) => session.wrap(command),
            })
            .collect::<Result<_, _>>()
            .map_err(|error| SessionError::Misuse(error.to_string()))
    }

    fn unwrap_responses(&mut self, responses: Vec<ResponseApdu>) -> Result<Vec<ResponseApdu>, SessionError> {
        responses
            .into_iter()
            .enumerate()
            .map(|(index, response)| {
                match &mut self.channel {
                    Channel::Scp02(session) => session.unwrap(response),
                    Channel::Scp03(session) => session.unwrap(response),
                }
                .map_err(|_| SessionError::ResponseMac { index })
            })
            .collect()
    }

    fn put_key(&mut self, request: &PutKeyRequest) -> Result<PutKeyCommand, SessionError> {
        if !(0x01..=0x7F).contains(&request.version) || request.replaces > 0x7F {
            return Err(SessionError::Misuse("a key version is 01 to 7F".to_owned()));
        }
        let keys = self.new_keys(&request.keys)?;
        let put_key = PutKey {
            replaced_version: request.replaces,
            new_version: request.version,
            first_identifier: 1,
            position: BlockPosition::Last,
            keys: keys.iter().map(|key| self.key_field(key)).collect::<Result<_, _>>()?,
        };
        Ok(PutKeyCommand { confirmation: put_key.response_data(), command: put_key.to_apdu() })
    }

    fn put_secret_key(&mut self, request: &PutSecretKey<'_>) -> Result<PutKeyCommand, SessionError> {
        let put_key = PutKey {
            replaced_version: request.replaces,
            new_version: request.version,
            first_identifier: request.identifier,
            position: BlockPosition::Last,
            keys: vec![self.key_field(super::leaf(request.key)?)?],
        };
        Ok(PutKeyCommand { confirmation: put_key.response_data(), command: put_key.to_apdu() })
    }

    fn translate(&mut self, value: &WrappedValue, kek: &KeyReference) -> Result<Vec<u8>, SessionError> {
        let clear = self.inner.unwrap_value(value, kek)?;
        Ok(self.encrypt_under_dek(&clear)?)
    }

    fn key_for_card(&mut self, key: &KeyHandle) -> Result<KeyForCard, SessionError> {
        let material = super::leaf(key)?;
        let ciphertext = self.encrypt_under_dek(&material.bytes)?;
        Ok(KeyForCard { algorithm: material.algorithm, ciphertext, check_value: key.check_value() })
    }
}

fn des_key(key: &Material) -> Result<DesKey, KeyError> {
    let refused = KeyError::Algorithm { found: key.algorithm, operation: "open an SCP02 session" };
    match key.algorithm {
        KeyAlgorithm::TripleDes => DesKey::from_slice(&key.bytes).map_err(|_| refused),
        KeyAlgorithm::Aes128
        | KeyAlgorithm::Aes192
        | KeyAlgorithm::Aes256
        | KeyAlgorithm::Sm4
        | KeyAlgorithm::EcdsaP256
        | KeyAlgorithm::Sm2
        | KeyAlgorithm::Rsa => Err(refused),
    }
}

fn aes_key(key: &Material) -> Result<AesKey, KeyError> {
    let refused = KeyError::Algorithm { found: key.algorithm, operation: "open an SCP03 session" };
    match key.algorithm {
        KeyAlgorithm::Aes128 | KeyAlgorithm::Aes192 | KeyAlgorithm::Aes256 => {
            AesKey::from_slice(&key.bytes).map_err(|_| refused)
        }
        KeyAlgorithm::TripleDes
        | KeyAlgorithm::Sm4
        | KeyAlgorithm::EcdsaP256
        | KeyAlgorithm::Sm2
        | KeyAlgorithm::Rsa => Err(refused),
    }
}

fn too_short(answer: &ResponseApdu) -> SessionError {
    SessionError::Malformed(format!("it has {} bytes", answer.data.len()))
}
