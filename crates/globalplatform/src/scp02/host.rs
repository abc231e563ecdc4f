//! The host's half of SCP02.

use std::collections::VecDeque;

use tsm_iso7816::{Aid, CommandApdu, ResponseApdu};
use zeroize::Zeroize;

use super::{
    CARD_CHALLENGE_LENGTH, CHALLENGE_LENGTH, DERIVE_C_MAC, DERIVE_DEK, DERIVE_ENC, DERIVE_R_MAC,
    Implementation, InitializeUpdateResponse, InitializeUpdateResponseError, MAC_LENGTH, StaticKeys,
};
use crate::{
    commands::{ExternalAuthenticate, InitializeUpdate},
    primitives::{DES_BLOCK, DesKey, TripleDes, equal, pad},
    secure_messaging::{
        LengthField, ResponseError, SecuredClass, WrapError, check_length, is_protected, stripped, unsecured,
        widened,
    },
    security_level::{ResponseProtection, SecurityLevel},
};

const ZERO_ICV: [u8; DES_BLOCK] = [0; DES_BLOCK];

/// A session that waits for the answer to INITIALIZE UPDATE.
#[derive(Debug)]
pub struct Handshake {
    keys: StaticKeys,
    implementation: Implementation,
    key_version: u8,
    host_challenge: [u8; CHALLENGE_LENGTH],
    application: Option<Aid>,
}

/// Why no session comes about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HandshakeError {
    /// The card's answer is malformed.
    #[error("the answer to INITIALIZE UPDATE is malformed")]
    Response(#[from] InitializeUpdateResponseError),
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
    /// The protocol's implementation has no such level.
    #[error("SCP02 with i={implementation:02X} has no security level {level}")]
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
    /// Where the keys depend on the diversification data in the answer, send [`InitializeUpdate`]
    /// first, derive the keys, and then call this with the same challenge.
    pub fn begin(
        keys: StaticKeys,
        implementation: Implementation,
        key_version: u8,
        host_challenge: [u8; CHALLENGE_LENGTH],
    ) -> (Self, CommandApdu) {
        let command =
            InitializeUpdate { key_version, key_identifier: 0, host_challenge: host_challenge.to_vec() }
                .to_apdu();
        (Self { keys, implementation, key_version, host_challenge, application: None }, command)
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
        if !self.implementation.allows(level) {
            return Err(HandshakeError::Level { implementation: self.implementation.value(), level });
        }
        let answer = InitializeUpdateResponse::parse(initialize_update_response)?;
        if self.key_version != 0 && answer.key_version != self.key_version {
            let (asked, answered) = (self.key_version, answer.key_version);
            return Err(HandshakeError::KeyVersion { asked, answered });
        }
        let keys = SessionCiphers::derive(&self.keys, answer.sequence_counter);
        if let Some(application) =
            self.application.filter(|_| self.implementation.has_pseudo_random_challenge())
            && !equal(&keys.card_challenge(&application), &answer.card_challenge)
        {
            return Err(HandshakeError::CardChallenge);
        }
        let counter = answer.sequence_counter.to_be_bytes();
        let card_cryptogram =
            keys.enc.full_mac(&ZERO_ICV, &[&self.host_challenge, &counter, &answer.card_challenge]);
        if !equal(&card_cryptogram, &answer.card_cryptogram) {
            return Err(HandshakeError::CardCryptogram);
        }
        let host_cryptogram =
            keys.enc.full_mac(&ZERO_ICV, &[&counter, &answer.card_challenge, &self.host_challenge]);
        Ok(Session::open(keys, self.implementation, answer, level, host_cryptogram))
    }
}

/// The ciphers of a session, with their key schedules.
#[derive(Debug)]
struct SessionCiphers {
    enc: TripleDes,
    mac: TripleDes,
    r_mac: TripleDes,
    dek: TripleDes,
}

impl SessionCiphers {
    // GPC 2.3.1 E.4.1.
    fn derive(keys: &StaticKeys, sequence_counter: u16) -> Self {
        let [high, low] = sequence_counter.to_be_bytes();
        let derive = |key: &DesKey, [first, second]: [u8; 2]| {
            let mut bytes = [first, second, high, low, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
            TripleDes::new(key).encrypt_cbc(&ZERO_ICV, &mut bytes);
            let session_cipher = TripleDes::new(&DesKey::new(bytes));
            bytes.zeroize();
            session_cipher
        };
        Self {
            enc: derive(&keys.enc, DERIVE_ENC),
            mac: derive(&keys.mac, DERIVE_C_MAC),
            r_mac: derive(&keys.mac, DERIVE_R_MAC),
            dek: derive(&keys.dek, DERIVE_DEK),
        }
    }

    // GPC 2.3.1 E.4.2.3: the six leftmost bytes of the MAC over the AID under the C-MAC key.
    fn card_challenge(&self, application: &Aid) -> [u8; CARD_CHALLENGE_LENGTH] {
        let [a, b, c, d, e, f, ..] = self.mac.retail_mac(&ZERO_ICV, &[application.as_bytes()]);
        [a, b, c, d, e, f]
    }
}

/// An open session: wraps commands and judges answers.
///
/// Commands may be wrapped ahead of their answers, as many as wished; the answers are unwrapped in
/// the same order.
#[derive(Debug)]
pub struct Session {
    keys: SessionCiphers,
    implementation: Implementation,
    answer: InitializeUpdateResponse,
    authenticated_level: SecurityLevel,
    level: SecurityLevel,
    c_mac: [u8; MAC_LENGTH],
    r_mac: [u8; MAC_LENGTH],
    /// The R-MAC chain that the next protected command begins, after BEGIN R-MAC SESSION.
    fresh_chain: Option<[u8; MAC_LENGTH]>,
    wrapped: u64,
    unwrapped: u64,
    pending: VecDeque<PendingRMac>,
    closed: bool,
}

/// A command whose answer will carry an R-MAC.
#[derive(Debug)]
struct PendingRMac {
    number: u64,
    covered: Vec<u8>,
    fresh_chain: Option<[u8; MAC_LENGTH]>,
}

impl Session {
    fn open(
        keys: SessionCiphers,
        implementation: Implementation,
        answer: InitializeUpdateResponse,
        level: SecurityLevel,
        host_cryptogram: [u8; CHALLENGE_LENGTH],
    ) -> (Self, CommandApdu) {
        let header = [ExternalAuthenticate::CLA, ExternalAuthenticate::INS, level.value(), 0x00, 0x10];
        let c_mac = keys.mac.retail_mac(&ZERO_ICV, &[&header, &host_cryptogram]);
        let command =
            ExternalAuthenticate { level, host_cryptogram: host_cryptogram.to_vec(), mac: c_mac.to_vec() };
        let session = Self {
            keys,
            implementation,
            answer,
            authenticated_level: level,
            level,
            c_mac,
            // GPC 2.3.1 E.4.5: the first R-MAC is chained to the C-MAC of the command that began it.
            r_mac: c_mac,
            fresh_chain: None,
            wrapped: 0,
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

    /// The implementation option.
    pub const fn implementation(&self) -> Implementation {
        self.implementation
    }

    /// The card's answer to INITIALIZE UPDATE.
    pub const fn initialize_update_response(&self) -> &InitializeUpdateResponse {
        &self.answer
    }

    /// Protects a command.
    // GPC 2.3.1 E.4.4 (C-MAC on the modified APDU) and E.4.6 (encryption).
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
        if self.level.has_r_mac() {
            let covered = covered_by_r_mac(command)?;
            let fresh_chain = self.fresh_chain.take();
            self.pending.push_back(PendingRMac { number: self.wrapped, covered, fresh_chain });
        }
        self.wrapped += 1;
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
        let protected = if encrypts { (plain + 1).next_multiple_of(DES_BLOCK) } else { plain };
        check_length(protected + MAC_LENGTH)?;
        // The MAC covers the length before padding and encryption.
        let length = LengthField::of_command(plain + MAC_LENGTH, protected + MAC_LENGTH, ne);
        let header = [class.covered, command.ins, command.p1, command.p2];
        let icv = self.keys.mac.encrypt_single(&self.c_mac);
        let c_mac = self.keys.mac.retail_mac(&icv, &[&header, length.as_bytes(), &command.data]);
        let mut data = Vec::with_capacity(protected + MAC_LENGTH);
        data.extend_from_slice(&command.data);
        if encrypts {
            pad(&mut data, DES_BLOCK);
            self.keys.enc.encrypt_cbc(&ZERO_ICV, &mut data);
        }
        data.extend_from_slice(&c_mac);
        self.c_mac = c_mac;
        Ok(CommandApdu { cla: class.sent, ins: command.ins, p1: command.p1, p2: command.p2, data, ne })
    }

    /// Judges the answer to the oldest command that has none yet, and takes its protection off.
    ///
    /// An error status word without data passes: cards answer errors without R-MAC.
    pub fn unwrap(&mut self, response: ResponseApdu) -> Result<ResponseApdu, ResponseError> {
        if self.closed {
            return Err(ResponseError::Closed);
        }
        if self.unwrapped == self.wrapped {
            return Err(ResponseError::NothingOutstanding);
        }
        let number = self.unwrapped;
        self.unwrapped += 1;
        let is_protected = self.pending.front().is_some_and(|pending| pending.number == number);
        let Some(pending) = is_protected.then(|| self.pending.pop_front()).flatten() else {
            return Ok(response);
        };
        let unwrapped = self.verify(pending, response);
        self.closed = unwrapped.is_err();
        unwrapped
    }

    // GPC 2.3.1 E.4.5.
    fn verify(
        &mut self,
        pending: PendingRMac,
        mut response: ResponseApdu,
    ) -> Result<ResponseApdu, ResponseError> {
        let status = response.status;
        self.r_mac = pending.fresh_chain.unwrap_or(self.r_mac);
        if !is_protected(status) && response.data.is_empty() {
            return Ok(response);
        }
        let length = response.data.len().checked_sub(MAC_LENGTH).ok_or(ResponseError::MissingMac(status))?;
        let (data, mac) = response.data.split_at(length);
        let length_field = LengthField::shortest(length);
        let parts = [&pending.covered, length_field.as_bytes(), data, &status.0.to_be_bytes()];
        let expected = self.keys.r_mac.retail_mac(&self.r_mac, &parts);
        if !equal(&expected, mac) {
            return Err(ResponseError::Mac(status));
        }
        self.r_mac = expected;
        response.data.truncate(length);
        Ok(response)
    }

    /// Encrypts data for the card under the session's data encryption key, in ECB mode. Data that
    /// does not fill its last block is padded with 80 00...
    // GPC 2.3.1 E.4.7.
    pub fn encrypt_sensitive(&self, data: &[u8]) -> Vec<u8> {
        let mut out = data.to_vec();
        if !out.len().is_multiple_of(DES_BLOCK) {
            pad(&mut out, DES_BLOCK);
        }
        self.keys.dek.encrypt_ecb(&mut out);
        out
    }

    /// To be called after BEGIN R-MAC SESSION was wrapped: the commands from here on get R-MACs.
    pub fn begin_r_mac(&mut self) -> Result<(), HandshakeError> {
        let level = self.level.with_response_protection(ResponseProtection::Mac);
        if !self.implementation.allows(level) {
            return Err(HandshakeError::Level { implementation: self.implementation.value(), level });
        }
        self.level = level;
        self.fresh_chain = Some(self.c_mac);
        Ok(())
    }

    /// To be called before END R-MAC SESSION is wrapped: it and what follows get what EXTERNAL
    /// AUTHENTICATE agreed on.
    pub const fn end_r_mac(&mut self) {
        self.level = self.authenticated_level;
    }
}

/// The stripped command that an R-MAC covers: no secure messaging, no channel, no Le.
fn covered_by_r_mac(command: &CommandApdu) -> Result<Vec<u8>, WrapError> {
    let length = LengthField::shortest(command.data.len());
    let mut covered = Vec::with_capacity(7 + command.data.len());
    covered.extend([stripped(command.cla)?, command.ins, command.p1, command.p2]);
    covered.extend_from_slice(length.as_bytes());
    covered.extend_from_slice(&command.data);
    Ok(covered)
}
