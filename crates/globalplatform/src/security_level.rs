//! Security levels of a secure channel session (GPC 2.3.1, 10.6 and table 10-1).

use core::fmt;

/// What protects the messages of a session, as P1 of EXTERNAL AUTHENTICATE writes it.
///
/// Only the combinations that SCP02 or SCP03 define exist; each protocol narrows them further.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct SecurityLevel(u8);

/// A security level that no secure channel protocol in use defines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0:02X} is not a security level: 00, 01, 03, 10, 11, 13 and 33 are")]
pub struct UnknownSecurityLevel(pub u8);

const C_MAC: u8 = 0x01;
const C_DECRYPTION: u8 = 0x02;
const R_MAC: u8 = 0x10;
const R_ENCRYPTION: u8 = 0x20;

impl SecurityLevel {
    /// 00: entity authentication only.
    pub const AUTHENTICATED: Self = Self(0x00);
    /// 01: commands carry a MAC.
    pub const C_MAC: Self = Self(C_MAC);
    /// 03: commands are encrypted and carry a MAC.
    pub const C_DECRYPTION_C_MAC: Self = Self(C_MAC | C_DECRYPTION);
    /// 10: responses carry a MAC (SCP02 only).
    pub const R_MAC: Self = Self(R_MAC);
    /// 11: commands and responses carry a MAC.
    pub const C_MAC_R_MAC: Self = Self(C_MAC | R_MAC);
    /// 13: commands are encrypted; commands and responses carry a MAC.
    pub const C_DECRYPTION_C_MAC_R_MAC: Self = Self(C_MAC | C_DECRYPTION | R_MAC);
    /// 33: commands and responses are encrypted and carry a MAC (SCP03 only).
    pub const C_DECRYPTION_R_ENCRYPTION_C_MAC_R_MAC: Self = Self(C_MAC | C_DECRYPTION | R_MAC | R_ENCRYPTION);

    /// Every level of either protocol.
    pub const ALL: [Self; 7] = [
        Self::AUTHENTICATED,
        Self::C_MAC,
        Self::C_DECRYPTION_C_MAC,
        Self::R_MAC,
        Self::C_MAC_R_MAC,
        Self::C_DECRYPTION_C_MAC_R_MAC,
        Self::C_DECRYPTION_R_ENCRYPTION_C_MAC_R_MAC,
    ];

    /// The level that P1 of EXTERNAL AUTHENTICATE names.
    pub fn new(value: u8) -> Result<Self, UnknownSecurityLevel> {
        Self::ALL.into_iter().find(|level| level.0 == value).ok_or(UnknownSecurityLevel(value))
    }

    /// The level as P1 writes it.
    pub const fn value(self) -> u8 {
        self.0
    }

    /// Commands carry a MAC.
    pub const fn has_c_mac(self) -> bool {
        self.0 & C_MAC != 0
    }

    /// Command data is encrypted.
    pub const fn has_c_decryption(self) -> bool {
        self.0 & C_DECRYPTION != 0
    }

    /// Responses carry a MAC.
    pub const fn has_r_mac(self) -> bool {
        self.0 & R_MAC != 0
    }

    /// Response data is encrypted.
    pub const fn has_r_encryption(self) -> bool {
        self.0 & R_ENCRYPTION != 0
    }

    /// Whether this level gives at least every protection of `minimum` (GPC 2.3.1 10.2.3).
    pub const fn covers(self, minimum: Self) -> bool {
        self.0 & minimum.0 == minimum.0
    }

    /// The same level with responses protected as `response` says, as BEGIN R-MAC SESSION does.
    pub(crate) const fn with_response_protection(self, response: ResponseProtection) -> Self {
        Self(self.0 & (C_MAC | C_DECRYPTION) | response.bits())
    }
}

/// How an R-MAC session protects responses (P1 of BEGIN R-MAC SESSION).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ResponseProtection {
    /// 00: not at all.
    #[default]
    None,
    /// 10: each response carries a MAC.
    Mac,
    /// 30: each response is encrypted and carries a MAC (SCP03).
    EncryptionAndMac,
}

impl ResponseProtection {
    /// The bits that stand for it in a security level.
    pub const fn bits(self) -> u8 {
        match self {
            Self::None => 0,
            Self::Mac => R_MAC,
            Self::EncryptionAndMac => R_MAC | R_ENCRYPTION,
        }
    }
}

impl fmt::Display for SecurityLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02X}", self.0)
    }
}

impl fmt::Debug for SecurityLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecurityLevel({self})")
    }
}

impl TryFrom<u8> for SecurityLevel {
    type Error = UnknownSecurityLevel;

    fn try_from(value: u8) -> Result<Self, UnknownSecurityLevel> {
        Self::new(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_defined_levels_exist() {
        let defined: Vec<u8> =
            (0..=255).filter_map(|value| SecurityLevel::new(value).ok()).map(SecurityLevel::value).collect();
        assert_eq!(defined, [0x00, 0x01, 0x03, 0x10, 0x11, 0x13, 0x33]);
        assert_eq!(SecurityLevel::new(0x02), Err(UnknownSecurityLevel(0x02)));
    }

    #[test]
    fn a_level_covers_what_it_includes() {
        assert!(SecurityLevel::C_DECRYPTION_C_MAC.covers(SecurityLevel::C_MAC));
        assert!(!SecurityLevel::C_MAC.covers(SecurityLevel::C_DECRYPTION_C_MAC));
        assert!(!SecurityLevel::R_MAC.covers(SecurityLevel::C_MAC));
        assert!(SecurityLevel::ALL.iter().all(|level| level.covers(SecurityLevel::AUTHENTICATED)));
    }
}
