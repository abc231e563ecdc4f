//! The card's half of SCP02.

use tsm_iso7816::{Aid, CommandApdu, ResponseApdu};
use zeroize::Zeroizing;

use super::{
    CARD_CHALLENGE_LENGTH, CHALLENGE_LENGTH, DERIVE_C_MAC, DERIVE_DEK, DERIVE_ENC, DERIVE_R_MAC,
    Implementation, InitializeUpdateResponse, MAC_LENGTH, StaticKeys,
};
use crate::{
    commands::{CommandError, ExternalAuthenticate},
    primitives::{DES_BLOCK, DesKey, TripleDes, equal, unpadded_length},
    secure_messaging::{
        LengthField, SecuredClass, UnwrapError, is_protected, is_secured, stripped, unsecured,
    },
    security_level::{ResponseProtection, SecurityLevel},
};

pub use crate::secure_messaging::AuthenticationError;

/// What the card brings to a session.
#[derive(Debug)]
pub struct CardParameters<'a> {
    /// The keys that INITIALIZE UPDATE asks for.
    pub keys: &'a StaticKeys,
    /// Their version.
    pub key_version: u8,
    /// The implementation option.
    pub implementation: Implementation,
    /// Key diversification data, which the card only repeats.
    pub diversification_data: [u8; 10],
    /// The sequence counter of these keys. The card increments it when EXTERNAL AUTHENTICATE
    /// succeeds, before it answers.
    pub sequence_counter: u16,
    /// The selected application, for the pseudo-random card challenge of i = 55 and 75.
    pub application: Aid,
    /// Random bytes, for the card challenge of i = 15 and 35.
    pub random: [u8; CARD_CHALLENGE_LENGTH],
}

/// A session that waits for EXTERNAL AUTHENTICATE.
#[derive(Debug)]
pub struct Handshake {
    enc: TripleDes,
    mac: TripleDes,
    r_mac: TripleDes,
    dek: TripleDes,
    implementation: Implementation,
    host_cryptogram: [u8; CHALLENGE_LENGTH],
}

/// An eight-byte chaining value of zeros.
const START: [u8; DES_BLOCK] = [0; DES_BLOCK];

impl Handshake {
    /// Answers INITIALIZE UPDATE: gives the handshake and the response data.
    pub fn begin(
        card: &CardParameters<'_>,
        host_challenge: &[u8; CHALLENGE_LENGTH],
    ) -> (Self, InitializeUpdateResponse) {
        let counter = card.sequence_counter.to_be_bytes();
        let enc = session_cipher(&card.keys.enc, DERIVE_ENC, counter);
        let mac = session_cipher(&card.keys.mac, DERIVE_C_MAC, counter);
        let card_challenge = if card.implementation.has_pseudo_random_challenge() {
            pseudo_random_challenge(&mac, &card.application)
        } else {
            card.random
        };
        let mut message = [0; 16];
        message[..8].copy_from_slice(host_challenge);
        message[8..10].copy_from_slice(&counter);
        message[10..].copy_from_slice(&card_challenge);
        let card_cryptogram = enc.full_mac(&START, &[&message]);
        // The host's cryptogram is over the same 16 bytes with their halves exchanged.
        message.rotate_left(8);
        let host_cryptogram = enc.full_mac(&START, &[&message]);
        let handshake = Self {
            enc,
            mac,
            r_mac: session_cipher(&card.keys.mac, DERIVE_R_MAC, counter),
            dek: session_cipher(&card.keys.dek, DERIVE_DEK, counter),
            implementation: card.implementation,
            host_cryptogram,
        };
        let response = InitializeUpdateResponse {
            diversification_data: card.diversification_data,
            key_version: card.key_version,
            sequence_counter: card.sequence_counter,
            card_challenge,
            card_cryptogram,
        };
        (handshake, response)
    }

    /// Judges EXTERNAL AUTHENTICATE and opens the session. The card counts failures, and increments
    /// the sequence counter on success.
    pub fn finish(self, external_authenticate: &CommandApdu) -> Result<Session, AuthenticationError> {
        let command = ExternalAuthenticate::try_from(external_authenticate)?;
        if !is_secured(external_authenticate.cla) {
            return Err(AuthenticationError::NotSecured);
        }
        if command.host_cryptogram.len() != CHALLENGE_LENGTH {
            let found = external_authenticate.data.len();
            return Err(CommandError::Length { found }.into());
        }
        if !self.implementation.allows(command.level) {
            return Err(AuthenticationError::Level(command.level));
        }
        if !equal(&command.host_cryptogram, &self.host_cryptogram) {
            return Err(AuthenticationError::HostCryptogram);
        }
        let mut covered = vec![0x84, 0x82, command.level.value(), 0x00, 0x10];
        covered.extend(&command.host_cryptogram);
        let c_mac = self.mac.retail_mac(&START, &[&covered]);
        if !equal(&c_mac, &command.mac) {
            return Err(AuthenticationError::Mac);
        }
        Ok(Session {
            enc: self.enc,
            mac: self.mac,
            r_mac: self.r_mac,
            dek: self.dek,
            implementation: self.implementation,
            authenticated_level: command.level,
            level: command.level,
            last_c_mac: c_mac,
            last_r_mac: c_mac,
            covered_command: None,
            closed: false,
        })
    }
}

// GPC 2.3.1 E.4.1: the constant, the counter and twelve zero bytes, in CBC mode.
fn session_cipher(key: &DesKey, constant: [u8; 2], counter: [u8; 2]) -> TripleDes {
    let mut derived = Zeroizing::new([0; 16]);
    derived[..2].copy_from_slice(&constant);
    derived[2..4].copy_from_slice(&counter);
    TripleDes::new(key).encrypt_cbc(&START, &mut derived[..]);
    TripleDes::new(&DesKey::new(*derived))
}

// GPC 2.3.1 E.4.2.3.
fn pseudo_random_challenge(mac: &TripleDes, application: &Aid) -> [u8; CARD_CHALLENGE_LENGTH] {
    let mut challenge = [0; CARD_CHALLENGE_LENGTH];
    let full = mac.retail_mac(&START, &[application.as_bytes()]);
    challenge.copy_from_slice(&full[..CARD_CHALLENGE_LENGTH]);
    challenge
}

/// An open session: takes the protection off commands and protects answers.
#[derive(Debug)]
pub struct Session {
    enc: TripleDes,
    mac: TripleDes,
    r_mac: TripleDes,
    dek: TripleDes,
    implementation: Implementation,
    authenticated_level: SecurityLevel,
    level: SecurityLevel,
    last_c_mac: [u8; MAC_LENGTH],
    last_r_mac: [u8; MAC_LENGTH],
    /// The stripped command that the next R-MAC covers; none where the answer gets no R-MAC.
    covered_command: Option<Vec<u8>>,
    closed: bool,
}

impl Session {
    /// The level of the session.
    pub const fn level(&self) -> SecurityLevel {
        self.level
    }

    /// Takes the protection off a command. After an error the session is over: the card forgets it.
    pub fn unwrap_command(&mut self, command: &CommandApdu) -> Result<CommandApdu, UnwrapError> {
        if self.closed {
            return Err(UnwrapError::Closed);
        }
        let plain = self.check_command(command);
        self.closed = plain.is_err();
        let plain = plain?;
        self.covered_command = if self.level.has_r_mac() { Some(covered_by_r_mac(&plain)?) } else { None };
        Ok(plain)
    }

    fn check_command(&mut self, command: &CommandApdu) -> Result<CommandApdu, UnwrapError> {
        let cla = unsecured(command.cla).map_err(|_| UnwrapError::Incorrect)?;
        if !self.level.has_c_mac() {
            return Ok(CommandApdu { cla, ..command.clone() });
        }
        if !is_secured(command.cla) {
            return Err(UnwrapError::NotSecured);
        }
        let class = SecuredClass::new(command.cla).map_err(|_| UnwrapError::Incorrect)?;
        let length = command.data.len().checked_sub(MAC_LENGTH).ok_or(UnwrapError::Incorrect)?;
        let (protected, mac) = command.data.split_at(length);
        let data = self.decrypted(protected)?;
        let length = LengthField::of_command(data.len() + MAC_LENGTH, command.data.len(), command.ne);
        let mut covered = Vec::with_capacity(7 + data.len());
        covered.extend([class.covered, command.ins, command.p1, command.p2]);
        covered.extend(length.as_bytes());
        covered.extend(&data);
        let icv = self.mac.encrypt_single(&self.last_c_mac);
        let expected = self.mac.retail_mac(&icv, &[&covered]);
        if !equal(&expected, mac) {
            return Err(UnwrapError::Incorrect);
        }
        self.last_c_mac = expected;
        Ok(CommandApdu { cla, data, ..*command })
    }

    /// The data without its encryption. Empty data is not encrypted; hosts that encrypt its padding
    /// are understood.
    fn decrypted(&self, protected: &[u8]) -> Result<Vec<u8>, UnwrapError> {
        let mut data = protected.to_vec();
        if self.level.has_c_decryption() && !data.is_empty() {
            if !data.len().is_multiple_of(DES_BLOCK) {
                return Err(UnwrapError::Incorrect);
            }
            self.enc.decrypt_cbc(&START, &mut data);
            let length = unpadded_length(&data).ok_or(UnwrapError::Incorrect)?;
            data.truncate(length);
        }
        Ok(data)
    }

    /// Protects the answer to the command unwrapped last. Errors are answered as they are.
    pub fn wrap_response(&mut self, mut response: ResponseApdu) -> ResponseApdu {
        let Some(mut message) = self.covered_command.take().filter(|_| is_protected(response.status)) else {
            return response;
        };
        message.extend(LengthField::shortest(response.data.len()).as_bytes());
        message.extend(&response.data);
        message.extend(response.status.0.to_be_bytes());
        self.last_r_mac = self.r_mac.retail_mac(&self.last_r_mac, &[&message]);
        response.data.extend(self.last_r_mac);
        response
    }

    /// Decrypts data that the host encrypted under the session's data encryption key. Padding is
    /// left where it is, since keys have none. `None` when the data is not whole blocks.
    pub fn decrypt_sensitive(&self, data: &[u8]) -> Option<Vec<u8>> {
        if !data.len().is_multiple_of(DES_BLOCK) {
            return None;
        }
        let mut out = data.to_vec();
        self.dek.decrypt_ecb(&mut out);
        Some(out)
    }

    /// Begins an R-MAC session with the command unwrapped last, whose answer has no R-MAC yet.
    /// False where the implementation has none.
    pub fn begin_r_mac(&mut self) -> bool {
        let level = self.level.with_response_protection(ResponseProtection::Mac);
        if !self.implementation.allows(level) {
            return false;
        }
        self.level = level;
        self.last_r_mac = self.last_c_mac;
        true
    }

    /// Ends an R-MAC session: gives the last R-MAC, which END R-MAC SESSION answers.
    pub fn end_r_mac(&mut self) -> [u8; MAC_LENGTH] {
        self.level = self.authenticated_level;
        self.covered_command = None;
        self.last_r_mac
    }
}

/// The stripped command that an R-MAC covers: no secure messaging, no channel, no Le.
fn covered_by_r_mac(plain: &CommandApdu) -> Result<Vec<u8>, UnwrapError> {
    let cla = stripped(plain.cla).map_err(|_| UnwrapError::Incorrect)?;
    let mut covered = vec![cla, plain.ins, plain.p1, plain.p2];
    covered.extend(LengthField::shortest(plain.data.len()).as_bytes());
    covered.extend(&plain.data);
    Ok(covered)
}
