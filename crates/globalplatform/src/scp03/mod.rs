//! Secure Channel Protocol 03 (GPC amendment D 1.1.2 and 1.2), with AES-128, AES-192 and AES-256.
//!
//! ```text
//! host                                                     card
//!  | INITIALIZE UPDATE: host challenge                      |
//!  |------------------------------------------------------->| session keys from both challenges
//!  | i, card challenge, card cryptogram, [sequence counter] |
//!  |<-------------------------------------------------------|
//!  | EXTERNAL AUTHENTICATE: host cryptogram, C-MAC          |
//!  |------------------------------------------------------->|
//!  | commands: counter-ICV encryption, chained C-MAC        |
//!  |------------------------------------------------------->|
//!  |        answers: counter-ICV encryption, chained R-MAC  |
//!  |<-------------------------------------------------------|
//! ```

use zeroize::ZeroizeOnDrop;

use crate::{
    primitives::{AES_BLOCK, AesKey},
    security_level::SecurityLevel,
};

pub mod card;
pub mod host;

/// The protocol's number.
pub const PROTOCOL: u8 = 0x03;

/// Bytes of a full MAC, which the next MAC is chained to.
pub const CHAINING_LENGTH: usize = AES_BLOCK;

/// The implementation option `i` (amendment D, table 5-1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Implementation(u8);

/// An implementation option that the amendment does not define.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("SCP03 with i={0:02X} is not defined")]
pub struct UnknownImplementation(pub u8);

/// How long challenges, cryptograms and MACs are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Eight bytes.
    S8,
    /// Sixteen bytes (amendment D 1.2).
    S16,
}

impl Mode {
    /// The number of bytes.
    pub const fn length(self) -> usize {
        match self {
            Self::S8 => 8,
            Self::S16 => 16,
        }
    }

    /// The number of bits, as key derivation wants it.
    const fn bits(self) -> u16 {
        match self {
            Self::S8 => 64,
            Self::S16 => 128,
        }
    }
}

impl Implementation {
    /// 00: random challenge; no response protection.
    pub const I00: Self = Self(0x00);
    /// 10: pseudo-random challenge; no response protection.
    pub const I10: Self = Self(0x10);
    /// 20: random challenge; R-MAC.
    pub const I20: Self = Self(0x20);
    /// 30: pseudo-random challenge; R-MAC.
    pub const I30: Self = Self(0x30);
    /// 60: random challenge; R-MAC and response encryption.
    pub const I60: Self = Self(0x60);
    /// 70: pseudo-random challenge; R-MAC and response encryption.
    pub const I70: Self = Self(0x70);

    /// The options, in the S8 mode.
    pub const ALL_S8: [Self; 6] = [Self::I00, Self::I10, Self::I20, Self::I30, Self::I60, Self::I70];

    /// `i`.
    pub const fn value(self) -> u8 {
        self.0
    }

    /// The same option in another mode.
    #[must_use]
    pub const fn with_mode(self, mode: Mode) -> Self {
        match mode {
            Mode::S8 => Self(self.0 & !0x01),
            Mode::S16 => Self(self.0 | 0x01),
        }
    }

    /// The mode (bit 1).
    pub const fn mode(self) -> Mode {
        if self.0 & 0x01 == 0 { Mode::S8 } else { Mode::S16 }
    }

    /// Whether the card challenge comes from the sequence counter and the application's AID.
    pub const fn has_pseudo_random_challenge(self) -> bool {
        self.0 & 0x10 != 0
    }

    /// Whether the card computes R-MACs.
    pub const fn has_r_mac(self) -> bool {
        self.0 & 0x20 != 0
    }

    /// Whether the card encrypts answers.
    pub const fn has_r_encryption(self) -> bool {
        self.0 & 0x40 != 0
    }

    /// Whether a session can have `level`.
    // Amendment D table 5-2: a level with R-MAC has C-MAC, one with R-ENCRYPTION has them all.
    pub const fn allows(self, level: SecurityLevel) -> bool {
        (level.has_c_mac() || !level.has_r_mac())
            && (self.has_r_mac() || !level.has_r_mac())
            && (self.has_r_encryption() || !level.has_r_encryption())
    }
}

impl TryFrom<u8> for Implementation {
    type Error = UnknownImplementation;

    fn try_from(value: u8) -> Result<Self, UnknownImplementation> {
        let known = Self::ALL_S8.contains(&Self(value & !0x01));
        known.then_some(Self(value)).ok_or(UnknownImplementation(value))
    }
}

/// The three keys of a security domain, all of one length.
#[derive(Debug, Clone, ZeroizeOnDrop)]
pub struct StaticKeys {
    /// Encryption (identifier 01).
    pub enc: AesKey,
    /// MAC (identifier 02).
    pub mac: AesKey,
    /// Data encryption (identifier 03).
    pub dek: AesKey,
}

/// The response data of INITIALIZE UPDATE (amendment D, 7.1.1.6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InitializeUpdateResponse {
    /// Key diversification data.
    pub diversification_data: [u8; 10],
    /// The version of the keys in use.
    pub key_version: u8,
    /// The implementation option.
    pub implementation: Implementation,
    /// The card challenge.
    pub card_challenge: Vec<u8>,
    /// The card cryptogram.
    pub card_cryptogram: Vec<u8>,
    /// The sequence counter, where the challenge is pseudo-random.
    pub sequence_counter: Option<u32>,
}

/// Why bytes are not the response data of INITIALIZE UPDATE in SCP03.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InitializeUpdateResponseError {
    /// The length does not fit the implementation option.
    #[error("the answer to INITIALIZE UPDATE has {0} bytes, which does not fit its i")]
    Length(usize),
    /// Another protocol.
    #[error("the keys are for secure channel protocol {0:02X}, not 03")]
    Protocol(u8),
    /// The option is not defined.
    #[error("the implementation option is not defined")]
    Implementation(#[from] UnknownImplementation),
}

impl InitializeUpdateResponse {
    /// Reads the response data.
    pub fn parse(data: &[u8]) -> Result<Self, InitializeUpdateResponseError> {
        const LENGTH: fn(&[u8]) -> InitializeUpdateResponseError =
            |data| InitializeUpdateResponseError::Length(data.len());
        let (diversification_data, rest) = data.split_first_chunk::<10>().ok_or_else(|| LENGTH(data))?;
        let ([key_version, protocol, i], rest) = rest.split_first_chunk::<3>().ok_or_else(|| LENGTH(data))?;
        if *protocol != PROTOCOL {
            return Err(InitializeUpdateResponseError::Protocol(*protocol));
        }
        let implementation = Implementation::try_from(*i)?;
        let length = implementation.mode().length();
        let (card_challenge, rest) = rest.split_at_checked(length).ok_or_else(|| LENGTH(data))?;
        let (card_cryptogram, rest) = rest.split_at_checked(length).ok_or_else(|| LENGTH(data))?;
        let sequence_counter = match (rest, implementation.has_pseudo_random_challenge()) {
            ([], false) => None,
            (&[high, middle, low], true) => Some(u32::from_be_bytes([0, high, middle, low])),
            _ => return Err(LENGTH(data)),
        };
        Ok(Self {
            diversification_data: *diversification_data,
            key_version: *key_version,
            implementation,
            card_challenge: card_challenge.to_vec(),
            card_cryptogram: card_cryptogram.to_vec(),
            sequence_counter,
        })
    }

    /// Writes the response data.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(48);
        out.extend(self.diversification_data);
        out.extend([self.key_version, PROTOCOL, self.implementation.value()]);
        out.extend(&self.card_challenge);
        out.extend(&self.card_cryptogram);
        if let Some(counter) = self.sequence_counter {
            out.extend(&counter.to_be_bytes()[1..]);
        }
        out
    }
}

// Amendment D table 4-1: data derivation constants.
const CARD_CRYPTOGRAM: u8 = 0x00;
const HOST_CRYPTOGRAM: u8 = 0x01;
const CARD_CHALLENGE: u8 = 0x02;
const S_ENC: u8 = 0x04;
const S_MAC: u8 = 0x06;
const S_RMAC: u8 = 0x07;
