//! Secure Channel Protocol 02 (GPC 2.3.1, annex E), explicit initiation with three keys.
//!
//! Deprecated by its authors in 2018 for its encryption without a random ICV: what is secret goes
//! under the data encryption key besides, and [`crate::scp03`] is to be preferred.
//!
//! ```text
//! host                                              card
//!  | INITIALIZE UPDATE: host challenge               |
//!  |------------------------------------------------>| session keys from the sequence counter
//!  |        counter, card challenge, card cryptogram |
//!  |<------------------------------------------------|
//!  | EXTERNAL AUTHENTICATE: host cryptogram, C-MAC   |
//!  |------------------------------------------------>| counter + 1
//!  | commands, each C-MAC chained to the one before  |
//!  |------------------------------------------------>|
//! ```

use zeroize::ZeroizeOnDrop;

use crate::{primitives::DesKey, security_level::SecurityLevel};

pub mod card;
pub mod host;

/// Bytes of challenges, cryptograms and MACs on the host's side.
pub const CHALLENGE_LENGTH: usize = 8;
/// Bytes of a MAC.
pub const MAC_LENGTH: usize = 8;
/// Bytes of a card challenge, which shares eight bytes with the sequence counter.
pub const CARD_CHALLENGE_LENGTH: usize = 6;

/// The implementation option `i` (GPC 2.3.1 table E-1).
///
/// All of them have three keys, explicit initiation, C-MAC on the modified APDU and ICV encryption.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Implementation {
    /// 15: random card challenge, no R-MAC.
    I15,
    /// 35: random card challenge, R-MAC.
    I35,
    /// 55: well-known pseudo-random card challenge, no R-MAC.
    I55,
    /// 75: well-known pseudo-random card challenge, R-MAC.
    I75,
}

/// An implementation option that is not supported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("SCP02 with i={0:02X} is not supported: 15, 35, 55 and 75 are")]
pub struct UnknownImplementation(pub u8);

impl Implementation {
    /// `i`.
    pub const fn value(self) -> u8 {
        match self {
            Self::I15 => 0x15,
            Self::I35 => 0x35,
            Self::I55 => 0x55,
            Self::I75 => 0x75,
        }
    }

    /// Whether the card challenge comes from the application's AID and the sequence counter.
    pub const fn has_pseudo_random_challenge(self) -> bool {
        matches!(self, Self::I55 | Self::I75)
    }

    /// Whether the card computes R-MACs.
    pub const fn has_r_mac(self) -> bool {
        matches!(self, Self::I35 | Self::I75)
    }

    /// Whether a session can have `level`.
    pub const fn allows(self, level: SecurityLevel) -> bool {
        !level.has_r_encryption() && (self.has_r_mac() || !level.has_r_mac())
    }
}

impl TryFrom<u8> for Implementation {
    type Error = UnknownImplementation;

    fn try_from(value: u8) -> Result<Self, UnknownImplementation> {
        match value {
            0x15 => Ok(Self::I15),
            0x35 => Ok(Self::I35),
            0x55 => Ok(Self::I55),
            0x75 => Ok(Self::I75),
            _ => Err(UnknownImplementation(value)),
        }
    }
}

/// The three keys of a security domain.
#[derive(Debug, Clone, ZeroizeOnDrop)]
pub struct StaticKeys {
    /// Encryption (identifier 01).
    pub enc: DesKey,
    /// MAC (identifier 02).
    pub mac: DesKey,
    /// Data encryption (identifier 03).
    pub dek: DesKey,
}

/// The response data of INITIALIZE UPDATE (GPC 2.3.1, E.5.1.4): 28 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InitializeUpdateResponse {
    /// Key diversification data.
    pub diversification_data: [u8; 10],
    /// The version of the keys in use.
    pub key_version: u8,
    /// The sequence counter of these keys.
    pub sequence_counter: u16,
    /// The card challenge.
    pub card_challenge: [u8; CARD_CHALLENGE_LENGTH],
    /// The card cryptogram.
    pub card_cryptogram: [u8; CHALLENGE_LENGTH],
}

/// Why bytes are not the response data of INITIALIZE UPDATE in SCP02.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InitializeUpdateResponseError {
    /// Not 28 bytes.
    #[error("INITIALIZE UPDATE answers 28 bytes in SCP02, and these are {0}")]
    Length(usize),
    /// Another protocol.
    #[error("the keys are for secure channel protocol {0:02X}, not 02")]
    Protocol(u8),
}

/// The protocol's number.
pub const PROTOCOL: u8 = 0x02;

const RESPONSE_LENGTH: usize = 28;

impl InitializeUpdateResponse {
    /// Reads the response data.
    pub fn parse(data: &[u8]) -> Result<Self, InitializeUpdateResponseError> {
        // The protocol is judged first, since the lengths differ between protocols.
        if let Some(&protocol) = data.get(11).filter(|protocol| **protocol != PROTOCOL) {
            return Err(InitializeUpdateResponseError::Protocol(protocol));
        }
        let data: &[u8; RESPONSE_LENGTH] =
            data.try_into().map_err(|_| InitializeUpdateResponseError::Length(data.len()))?;
        Ok(Self {
            diversification_data: take(data, 0),
            key_version: data[10],
            sequence_counter: u16::from_be_bytes(take(data, 12)),
            card_challenge: take(data, 14),
            card_cryptogram: take(data, 20),
        })
    }

    /// Writes the response data.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(RESPONSE_LENGTH);
        out.extend(self.diversification_data);
        out.extend([self.key_version, PROTOCOL]);
        out.extend(self.sequence_counter.to_be_bytes());
        out.extend(self.card_challenge);
        out.extend(self.card_cryptogram);
        out
    }
}

/// `N` bytes of `data` from `at`; the callers' constants lie within the 28 bytes.
fn take<const N: usize>(data: &[u8; RESPONSE_LENGTH], at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&data[at..at + N]);
    out
}

// GPC 2.3.1 E.4.1: constants of session keys.
const DERIVE_C_MAC: [u8; 2] = [0x01, 0x01];
const DERIVE_R_MAC: [u8; 2] = [0x01, 0x02];
const DERIVE_DEK: [u8; 2] = [0x01, 0x81];
const DERIVE_ENC: [u8; 2] = [0x01, 0x82];
