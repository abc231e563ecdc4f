//! The host's half of SCP03.

use std::collections::VecDeque;

use tsm_iso7816::{Aid, CommandApdu, ResponseApdu};

use super::{
    CARD_CHALLENGE, CARD_CRYPTOGRAM, CHAINING_LENGTH, HOST_CRYPTOGRAM, Implementation,
    InitializeUpdateResponse, InitializeUpdateResponseError, Mode, S_ENC, S_MAC, S_RMAC, StaticKeys,
};
use crate::{
    commands::{ExternalAuthenticate, InitializeUpdate},
    primitives::{AES_BLOCK, Aes, AesCmac, AesKey, equal, pad, unpadded_length},
    secure_messaging::{
        LengthField, ResponseError, SecuredClass, WrapError, check_length, is_protected, unsecured, widened,
    },
    security_level::{ResponseProtection, SecurityLevel},
};

/// A session that waits for the answer to INITIALIZE UPDATE.
#[derive(Debug)]
pub struct Handshake {
    keys: StaticKeys,
    mode: Mode,
    key_version: u8,
    host_challenge: Vec<u8>,
    application: Option<Aid>,
}

/// Why no session comes about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HandshakeError {
    /// The host challenge does not have the length of the mode.
    #[error("the host challenge has {found} bytes instead of {expected}")]
    HostChallenge {
        /// What the mode asks for.
        expected: usize,
        /// What was given.
        found: usize,
    },
    /// The card's answer is malformed.
    #[error("the answer to INITIALIZE UPDATE is malformed")]
    Response(#[from] InitializeUpdateResponseError),
    /// The card answers in another mode than the host asked in.
    #[error("the card answers with i={0:02X}, whose mode is not the one asked for")]
    Mode(u8),
    /// The card answers with other keys than those asked for.
    #[error("the card answers with key version {answered:02X} instead of {asked:02X}")]
    KeyVersion {
        /// The version asked for.
        asked: u8,
        /// The version answered.
        answered: u8,
    },
    /// The card challenge is not the pseudo-random one that `i` promises.
    #[error("the card challenge is not the one that the sequence counter and the AID give")]
    CardChallenge,
    /// The card cryptogram is wrong: other keys, or not the card.
    #[error("the card cryptogram is wrong: the card does not have these keys")]
    CardCryptogram,
    /// The card's implementation has no such level.
    #[error("SCP03 with i={implementation:02X} has no security level {level}")]
    Level {
        /// `i`.
        implementation: u8,
        /// The level wanted.
        level: SecurityLevel,
    },
}

impl Handshake {
    /// Begins a session: gives the INITIALIZE UPDATE to send. `key_version` 00 asks for the
    /// card's default keys.
    ///
    /// `implementation` is what the host expects; the card's answer says what it is, and only the
    /// mode must agree. Where the keys depend on the diversification data in the answer, send
    /// [`InitializeUpdate`] first, derive the keys, and then call this with the same challenge.
    pub fn begin(
        keys: StaticKeys,
        implementation: Implementation,
        key_version: u8,
        host_challenge: &[u8],
    ) -> Result<(Self, CommandApdu), HandshakeError> {
        let mode = implementation.mode();
        if host_challenge.len() != mode.length() {
            let (expected, found) = (mode.length(), host_challenge.len());
            return Err(HandshakeError::HostChallenge { expected, found });
        }
        let host_challenge = host_challenge.to_vec();
        let command =
            InitializeUpdate { key_version, key_identifier: 0, host_challenge: host_challenge.clone() }
                .to_apdu();
        Ok((Self { keys, mode, key_version, host_challenge, application: None }, command))
    }

    /// Checks also that a pseudo-random card challenge is the one of the selected `application`.
    #[must_use]
    pub fn with_application(self, application: Aid) -> Self {
        Self { application: Some(application), ..self }
    }

    /// Judges the card's answer and gives the session, and the EXTERNAL AUTHENTICATE to send.
    pub fn finish(
        self,
        initialize_update_response: &[u8],
        level: SecurityLevel,
    ) -> Result<(Session, CommandApdu), HandshakeError> {
        let answer = InitializeUpdateResponse::parse(initialize_update_response)?;
        let implementation = answer.implementation;
        if implementation.mode() != self.mode {
            return Err(HandshakeError::Mode(implementation.value()));
        }
        if !implementation.allows(level) {
            return Err(HandshakeError::Level { implementation: implementation.value(), level });
        }
        if self.key_version != 0 && answer.key_version != self.key_version {
            let (asked, answered) = (self.key_version, answer.key_version);
            return Err(HandshakeError::KeyVersion { asked, answered });
        }
        self.check_card_challenge(&answer)?;
        let context = [&self.host_challenge[..], &answer.card_challenge].concat();
        let keys = &self.keys;
        let s_mac = session_key(&keys.mac, S_MAC, &context);
        let mut mac = AesCmac::new(&s_mac);
        let length = self.mode.length();
        let card_cryptogram = derive(&mut mac, CARD_CRYPTOGRAM, self.mode.bits(), &context);
        if !equal(&card_cryptogram[..length], &answer.card_cryptogram) {
            return Err(HandshakeError::CardCryptogram);
        }
        let host_cryptogram =
            derive(&mut mac, HOST_CRYPTOGRAM, self.mode.bits(), &context)[..length].to_vec();
        let ciphers = SessionCiphers {
            enc: Aes::new(&session_key(&keys.enc, S_ENC, &context)),
            mac,
            r_mac: AesCmac::new(&session_key(&keys.mac, S_RMAC, &context)),
            dek: Aes::new(&keys.dek),
        };
        Ok(Session::open(ciphers, answer, level, host_cryptogram))
    }

    // Amendment D 6.2.2.1.
    fn check_card_challenge(&self, answer: &InitializeUpdateResponse) -> Result<(), HandshakeError> {
        let (Some(application), Some(counter)) = (self.application, answer.sequence_counter) else {
            return Ok(());
        };
        let context = [&counter.to_be_bytes()[1..], application.as_bytes()].concat();
        let expected = derive(&mut AesCmac::new(&self.keys.enc), CARD_CHALLENGE, self.mode.bits(), &context);
        if equal(&expected[..self.mode.length()], &answer.card_challenge) {
            Ok(())
        } else {
            Err(HandshakeError::CardChallenge)
        }
    }
}

/// Derives up to 32 bytes; those past `bits` are not part of the result.
// Amendment D 4.1.5: SP 800-108 in counter mode with CMAC; label, separator, length, counter, context.
fn derive(prf: &mut AesCmac, constant: u8, bits: u16, context: &[u8]) -> [u8; 32] {
    let [bits_high, bits_low] = bits.to_be_bytes();
    let mut out = [0; 32];
    let needed = usize::from(bits).div_ceil(8);
    for (counter, block) in (1..).zip(out[..needed.next_multiple_of(AES_BLOCK)].chunks_exact_mut(AES_BLOCK)) {
        let fixed = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, constant, 0, bits_high, bits_low, counter];
        block.copy_from_slice(&prf.mac(&[&fixed, context]));
    }
    out
}

fn session_key(key: &AesKey, constant: u8, context: &[u8]) -> AesKey {
    let bits = (key.length() * 8) as u16;
    let derived = zeroize::Zeroizing::new(derive(&mut AesCmac::new(key), constant, bits, context));
    AesKey::from_slice(&derived[..key.length()]).expect("a session key is as long as its static key")
}

/// The ciphers of a session, with their key schedules.
#[derive(Debug)]
struct SessionCiphers {
    enc: Aes,
    mac: AesCmac,
    r_mac: AesCmac,
    dek: Aes,
}

/// An open session: wraps commands and judges answers.
///
/// Commands may be wrapped ahead of their answers, as many as wished; the answers are unwrapped in
/// the same order.
#[derive(Debug)]
pub struct Session {
    keys: SessionCiphers,
    answer: InitializeUpdateResponse,
    authenticated_level: SecurityLevel,
    level: SecurityLevel,
    chaining: [u8; CHAINING_LENGTH],
    /// Counts commands; it is the plain text of their encryption's ICV.
    counter: u128,
    unwrapped: u128,
    pending: VecDeque<PendingResponse>,
    closed: bool,
}

/// A command whose answer will be protected.
#[derive(Debug)]
struct PendingResponse {
    number: u128,
    chaining: [u8; CHAINING_LENGTH],
    level: SecurityLevel,
}

/// Marks the ICV of an answer (amendment D 6.2.7).
const RESPONSE_ICV: u128 = 1 << 127;

impl Session {
    fn open(
        mut keys: SessionCiphers,
        answer: InitializeUpdateResponse,
        level: SecurityLevel,
        host_cryptogram: Vec<u8>,
    ) -> (Self, CommandApdu) {
        let length = answer.implementation.mode().length();
        let header = [0x84, ExternalAuthenticate::INS, level.value(), 0x00, (2 * length) as u8];
        let chaining = keys.mac.mac(&[&[0; CHAINING_LENGTH], &header, &host_cryptogram]);
        let command = ExternalAuthenticate { level, host_cryptogram, mac: chaining[..length].to_vec() };
        let session = Self {
            keys,
            answer,
            authenticated_level: level,
            level,
            chaining,
            counter: 0,
            unwrapped: 0,
            pending: VecDeque::new(),
            closed: false,
        };
        (session, command.to_apdu())
    }

    /// The level of the commands to come.
    pub const fn level(&self) -> SecurityLevel {
        self.level
    }

    /// The implementation option that the card answered.
    pub const fn implementation(&self) -> Implementation {
        self.answer.implementation
    }

    /// The card's answer to INITIALIZE UPDATE.
    pub const fn initialize_update_response(&self) -> &InitializeUpdateResponse {
        &self.answer
    }

    const fn mac_length(&self) -> usize {
        self.answer.implementation.mode().length()
    }

    /// Protects a command.
    // Amendment D 6.2.4 (C-MAC) and 6.2.6 (encryption).
    pub fn wrap(&mut self, command: &CommandApdu) -> Result<CommandApdu, WrapError> {
        if self.closed {
            return Err(WrapError::Closed);
        }
        let class = SecuredClass::new(command.cla)?;
        let ne = if self.level.has_r_mac() { widened(command.ne) } else { command.ne };
        let wrapped = if self.level.has_c_mac() {
            self.wrap_secured(class, command, ne)?
        } else {
            CommandApdu { cla: unsecured(command.cla)?, ne, ..command.clone() }
        };
        // The counter counts every command, those without data to encrypt included.
        self.counter += 1;
        if self.level.has_r_mac() {
            let number = self.counter;
            self.pending.push_back(PendingResponse { number, chaining: self.chaining, level: self.level });
        }
        Ok(wrapped)
    }

    fn wrap_secured(
        &mut self,
        class: SecuredClass,
        command: &CommandApdu,
        ne: Option<u32>,
    ) -> Result<CommandApdu, WrapError> {
        let plain = command.data.len();
        let encrypts = self.level.has_c_decryption() && plain > 0;
        let protected = if encrypts { (plain + 1).next_multiple_of(AES_BLOCK) } else { plain };
        let sent = protected + self.mac_length();
        check_length(sent)?;
        let mut data = Vec::with_capacity(sent);
        data.extend_from_slice(&command.data);
        if encrypts {
            pad(&mut data, AES_BLOCK);
            let icv = self.keys.enc.encrypt_block(&(self.counter + 1).to_be_bytes());
            self.keys.enc.encrypt_cbc(&icv, &mut data);
        }
        let header = [class.covered, command.ins, command.p1, command.p2];
        let length = LengthField::of_command(sent, sent, ne);
        self.chaining = self.keys.mac.mac(&[&self.chaining, &header, length.as_bytes(), &data]);
        data.extend_from_slice(&self.chaining[..self.answer.implementation.mode().length()]);
        Ok(CommandApdu { cla: class.sent, ins: command.ins, p1: command.p1, p2: command.p2, data, ne })
    }

    /// Judges the answer to the oldest command that has none yet, and takes its protection off.
    ///
    /// An error status word without data passes: cards answer errors without protection.
    pub fn unwrap(&mut self, response: ResponseApdu) -> Result<ResponseApdu, ResponseError> {
        if self.closed {
            return Err(ResponseError::Closed);
        }
        if self.unwrapped == self.counter {
            return Err(ResponseError::NothingOutstanding);
        }
        self.unwrapped += 1;
        let number = self.unwrapped;
        let is_protected = self.pending.front().is_some_and(|pending| pending.number == number);
        let Some(pending) = is_protected.then(|| self.pending.pop_front()).flatten() else {
            return Ok(response);
        };
        let unwrapped = self.verify(&pending, response);
        self.closed = unwrapped.is_err();
        unwrapped
    }

    // Amendment D 6.2.5 and 6.2.7.
    fn verify(
        &mut self,
        pending: &PendingResponse,
        mut response: ResponseApdu,
    ) -> Result<ResponseApdu, ResponseError> {
        let status = response.status;
        if !is_protected(status) {
            return if response.data.is_empty() {
                Ok(response)
            } else {
                Err(ResponseError::DataOnError(status))
            };
        }
        let length =
            response.data.len().checked_sub(self.mac_length()).ok_or(ResponseError::MissingMac(status))?;
        let (data, mac) = response.data.split_at(length);
        let expected = self.keys.r_mac.mac(&[&pending.chaining, data, &status.0.to_be_bytes()]);
        if !equal(&expected[..mac.len()], mac) {
            return Err(ResponseError::Mac(status));
        }
        response.data.truncate(length);
        if pending.level.has_r_encryption() && length > 0 {
            if !length.is_multiple_of(AES_BLOCK) {
                return Err(ResponseError::Padding(status));
            }
            let icv = self.keys.enc.encrypt_block(&(RESPONSE_ICV | pending.number).to_be_bytes());
            self.keys.enc.decrypt_cbc(&icv, &mut response.data);
            let plain = unpadded_length(&response.data).ok_or(ResponseError::Padding(status))?;
            response.data.truncate(plain);
        }
        Ok(response)
    }

    /// Encrypts data for the card under the static data encryption key, in CBC mode. Data that does
    /// not fill its last block is padded with 80 00...
    // Amendment D 6.2.8.
    pub fn encrypt_sensitive(&self, data: &[u8]) -> Vec<u8> {
        let mut out = data.to_vec();
        if !out.len().is_multiple_of(AES_BLOCK) {
            pad(&mut out, AES_BLOCK);
        }
        self.keys.dek.encrypt_cbc(&[0; AES_BLOCK], &mut out);
        out
    }

    /// To be called after BEGIN R-MAC SESSION was wrapped: answers to the commands from here on are
    /// protected as it asked.
    pub fn begin_r_mac(&mut self, protection: ResponseProtection) -> Result<(), HandshakeError> {
        let level = self.level.with_response_protection(protection);
        if !self.implementation().allows(level) {
            return Err(HandshakeError::Level { implementation: self.implementation().value(), level });
        }
        self.level = level;
        Ok(())
    }

    /// To be called before END R-MAC SESSION is wrapped: it and what follows get what EXTERNAL
    /// AUTHENTICATE agreed on.
    pub const fn end_r_mac(&mut self) {
        self.level = self.authenticated_level;
    }
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
            let derived = derive(&mut AesCmac::new(&key), constant, (result.len() * 8) as u16, &context)
                [..result.len()]
                .to_vec();
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
        let derived = derive(&mut AesCmac::new(&key), constant, (result.len() * 8) as u16, &context)
            [..result.len()]
            .to_vec();
        assert_eq!(derived, result);
    }
}
