//! The card's half of SCP03.

use tsm_iso7816::{Aid, CommandApdu, ResponseApdu, StatusWord};
use zeroize::Zeroizing;

use super::{
    CARD_CHALLENGE, CARD_CRYPTOGRAM, CHAINING_LENGTH, HOST_CRYPTOGRAM, Implementation,
    InitializeUpdateResponse, S_ENC, S_MAC, S_RMAC, StaticKeys,
};
use crate::{
    commands::{CommandError, ExternalAuthenticate},
    primitives::{AES_BLOCK, Aes, AesCmac, AesKey, equal, pad, unpadded_length},
    secure_messaging::{LengthField, SecuredClass, UnwrapError, is_protected, is_secured, unsecured},
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
    /// The implementation option. The mode must be that of the host challenge.
    pub implementation: Implementation,
    /// Key diversification data, which the card only repeats.
    pub diversification_data: [u8; 10],
    /// The sequence counter of these keys (24 bits), for the pseudo-random challenge. The card
    /// increments it for every INITIALIZE UPDATE, before it answers, so that no challenge returns.
    pub sequence_counter: u32,
    /// The selected application, for the pseudo-random challenge.
    pub application: Aid,
    /// Random bytes, for the random challenge; the S8 mode takes the first eight.
    pub random: [u8; 16],
}

/// The host challenge does not have the length of the mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the host challenge has {0} bytes, which the mode does not have")]
pub struct HostChallengeLength(pub usize);

impl HostChallengeLength {
    /// The status word a card answers.
    pub const fn status_word(self) -> StatusWord {
        StatusWord::WRONG_LENGTH
    }
}

/// A session that waits for EXTERNAL AUTHENTICATE.
#[derive(Debug)]
pub struct Handshake {
    enc: Aes,
    mac: AesCmac,
    r_mac: AesCmac,
    dek: Aes,
    implementation: Implementation,
    host_cryptogram: Vec<u8>,
}

impl Handshake {
    /// Answers INITIALIZE UPDATE: gives the handshake and the response data.
    pub fn begin(
        card: &CardParameters<'_>,
        host_challenge: &[u8],
    ) -> Result<(Self, InitializeUpdateResponse), HostChallengeLength> {
        let length = card.implementation.mode().length();
        if host_challenge.len() != length {
            return Err(HostChallengeLength(host_challenge.len()));
        }
        let pseudo_random = card.implementation.has_pseudo_random_challenge();
        let card_challenge =
            if pseudo_random { pseudo_random_challenge(card) } else { card.random[..length].to_vec() };
        let mut challenges = host_challenge.to_vec();
        challenges.extend(&card_challenge);
        let derived = |key: &AesKey, constant| {
            let bytes = derive(&mut AesCmac::new(key), constant, key.length(), &challenges);
            AesKey::from_slice(&bytes).expect("a session key is as long as its static key")
        };
        let mut mac = AesCmac::new(&derived(&card.keys.mac, S_MAC));
        let card_cryptogram = derive(&mut mac, CARD_CRYPTOGRAM, length, &challenges).to_vec();
        let host_cryptogram = derive(&mut mac, HOST_CRYPTOGRAM, length, &challenges).to_vec();
        let response = InitializeUpdateResponse {
            diversification_data: card.diversification_data,
            key_version: card.key_version,
            implementation: card.implementation,
            card_challenge,
            card_cryptogram,
            sequence_counter: pseudo_random.then_some(card.sequence_counter & 0x00FF_FFFF),
        };
        let handshake = Self {
            enc: Aes::new(&derived(&card.keys.enc, S_ENC)),
            mac,
            r_mac: AesCmac::new(&derived(&card.keys.mac, S_RMAC)),
            dek: Aes::new(&card.keys.dek),
            implementation: card.implementation,
            host_cryptogram,
        };
        Ok((handshake, response))
    }

    /// Judges EXTERNAL AUTHENTICATE and opens the session. The card counts failures.
    pub fn finish(mut self, external_authenticate: &CommandApdu) -> Result<Session, AuthenticationError> {
        let command = ExternalAuthenticate::try_from(external_authenticate)?;
        if !is_secured(external_authenticate.cla) {
            return Err(AuthenticationError::NotSecured);
        }
        let length = self.implementation.mode().length();
        if command.host_cryptogram.len() != length {
            let found = external_authenticate.data.len();
            return Err(CommandError::Length { found }.into());
        }
        if !self.implementation.allows(command.level) {
            return Err(AuthenticationError::Level(command.level));
        }
        if !equal(&command.host_cryptogram, &self.host_cryptogram) {
            return Err(AuthenticationError::HostCryptogram);
        }
        let mut covered = vec![0; CHAINING_LENGTH];
        covered.extend([0x84, 0x82, command.level.value(), 0x00, 2 * length as u8]);
        covered.extend(&command.host_cryptogram);
        let chaining = self.mac.mac(&[&covered]);
        if !equal(&chaining[..length], &command.mac) {
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
            chaining,
            counter: [0; AES_BLOCK],
            answer_protection: ResponseProtection::None,
            closed: false,
        })
    }
}

// Amendment D 4.1.5, tables 4-1 and 4-2.
fn derive(prf: &mut AesCmac, constant: u8, length: usize, context: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut input = vec![0; 11];
    input.extend([constant, 0x00]);
    input.extend((length as u16 * 8).to_be_bytes());
    input.push(0x00);
    input.extend(context);
    let mut out = Zeroizing::new(Vec::with_capacity(length + AES_BLOCK));
    while out.len() < length {
        input[15] += 1;
        out.extend(prf.mac(&[&input]));
    }
    out.truncate(length);
    out
}

// Amendment D 6.2.2.1: from the static encryption key, the counter and the application's AID.
fn pseudo_random_challenge(card: &CardParameters<'_>) -> Vec<u8> {
    let mut context = card.sequence_counter.to_be_bytes()[1..].to_vec();
    context.extend(card.application.as_bytes());
    let length = card.implementation.mode().length();
    derive(&mut AesCmac::new(&card.keys.enc), CARD_CHALLENGE, length, &context).to_vec()
}

/// An open session: takes the protection off commands and protects answers.
#[derive(Debug)]
pub struct Session {
    enc: Aes,
    mac: AesCmac,
    r_mac: AesCmac,
    dek: Aes,
    implementation: Implementation,
    authenticated_level: SecurityLevel,
    level: SecurityLevel,
    chaining: [u8; CHAINING_LENGTH],
    /// The encryption counter block, which is one for the first command.
    counter: [u8; AES_BLOCK],
    /// How the answer to the command unwrapped last is protected.
    answer_protection: ResponseProtection,
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
        increment(&mut self.counter);
        let plain = self.check_command(command);
        self.closed = plain.is_err();
        self.answer_protection = match &plain {
            Ok(_) if self.level.has_r_encryption() => ResponseProtection::EncryptionAndMac,
            Ok(_) if self.level.has_r_mac() => ResponseProtection::Mac,
            _ => ResponseProtection::None,
        };
        plain
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
        let sent = command.data.len();
        let length = sent.checked_sub(self.implementation.mode().length()).ok_or(UnwrapError::Incorrect)?;
        let (protected, mac) = command.data.split_at(length);
        let mut covered = self.chaining.to_vec();
        covered.extend([class.covered, command.ins, command.p1, command.p2]);
        covered.extend(LengthField::of_command(sent, sent, command.ne).as_bytes());
        covered.extend(protected);
        let expected = self.mac.mac(&[&covered]);
        if !equal(&expected[..mac.len()], mac) {
            return Err(UnwrapError::Incorrect);
        }
        self.chaining = expected;
        Ok(CommandApdu { cla, data: self.decrypted(protected)?, ..*command })
    }

    /// The data without its encryption. Empty data is not encrypted; hosts that encrypt its padding
    /// are understood, since both count the command.
    fn decrypted(&self, protected: &[u8]) -> Result<Vec<u8>, UnwrapError> {
        let mut data = protected.to_vec();
        if self.level.has_c_decryption() && !data.is_empty() {
            if !data.len().is_multiple_of(AES_BLOCK) {
                return Err(UnwrapError::Incorrect);
            }
            let icv = self.enc.encrypt_block(&self.counter);
            self.enc.decrypt_cbc(&icv, &mut data);
            let length = unpadded_length(&data).ok_or(UnwrapError::Incorrect)?;
            data.truncate(length);
        }
        Ok(data)
    }

    /// Protects the answer to the command unwrapped last. Errors are answered alone and unprotected.
    pub fn wrap_response(&mut self, mut response: ResponseApdu) -> ResponseApdu {
        let protection = core::mem::take(&mut self.answer_protection);
        if protection == ResponseProtection::None {
            return response;
        }
        if !is_protected(response.status) {
            return response.status.into();
        }
        if protection == ResponseProtection::EncryptionAndMac && !response.data.is_empty() {
            let mut block = self.counter;
            block[0] |= 0x80;
            pad(&mut response.data, AES_BLOCK);
            self.enc.encrypt_cbc(&self.enc.encrypt_block(&block), &mut response.data);
        }
        let mac = self.r_mac.mac(&[&self.chaining, &response.data, &response.status.0.to_be_bytes()]);
        response.data.extend(&mac[..self.implementation.mode().length()]);
        response
    }

    /// Decrypts data that the host encrypted under the static data encryption key. Padding is left
    /// where it is, since keys say their length. `None` when the data is not whole blocks.
    pub fn decrypt_sensitive(&self, data: &[u8]) -> Option<Vec<u8>> {
        if !data.len().is_multiple_of(AES_BLOCK) {
            return None;
        }
        let mut out = data.to_vec();
        self.dek.decrypt_cbc(&[0; AES_BLOCK], &mut out);
        Some(out)
    }

    /// Begins an R-MAC session with the command unwrapped last, whose answer is not protected yet.
    /// False where the implementation has no such protection.
    pub fn begin_r_mac(&mut self, protection: ResponseProtection) -> bool {
        let level = self.level.with_response_protection(protection);
        if !self.implementation.allows(level) {
            return false;
        }
        self.level = level;
        true
    }

    /// Ends an R-MAC session: the answer to END R-MAC SESSION is as EXTERNAL AUTHENTICATE said.
    pub fn end_r_mac(&mut self) {
        self.level = self.authenticated_level;
        self.answer_protection = ResponseProtection::None;
    }
}

fn increment(block: &mut [u8; AES_BLOCK]) {
    let next = u128::from_be_bytes(*block).wrapping_add(1);
    *block = next.to_be_bytes();
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The key-derivation table of blaufish/scp03_kdf_testvectors: key, constant, context, result.
    #[test]
    fn derivation_follows_the_published_table() {
        let mut rows = 0;
        for line in include_str!("../../tests/vectors/scp03-kdf.txt").lines() {
            let [key, constant, context, result] = line.split(' ').collect::<Vec<_>>()[..] else {
                panic!("a row has four columns: {line}");
            };
            let key = AesKey::from_slice(&hex::decode(key).unwrap()).unwrap();
            let constant = u8::from_str_radix(constant, 16).unwrap();
            let (context, result) = (hex::decode(context).unwrap(), hex::decode(result).unwrap());
            let derived = derive(&mut AesCmac::new(&key), constant, result.len(), &context).to_vec();
            assert_eq!(derived, result, "{line}");
            rows += 1;
        }
        assert_eq!(rows, 40);
    }

    /// A host cryptogram of a YubiKey (Yubico.NET.SDK, DerivationTests.cs).
    #[test]
    fn derives_a_published_host_cryptogram() {
        let key = AesKey::from_slice(&hex::decode("FC90AA67CDC5DABFD5051663045DFA23").unwrap()).unwrap();
        let context = hex::decode("360CB43F4301B894CAAFA4DAC615236A").unwrap();
        let constant = HOST_CRYPTOGRAM;
        let result = hex::decode("45330AB30BB1A079").unwrap();
        let derived = derive(&mut AesCmac::new(&key), constant, result.len(), &context).to_vec();
        assert_eq!(derived, result);
    }
}
