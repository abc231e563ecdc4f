//! Purse keys and the order that personalisation data gives them.

use core::fmt;

use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::{Algorithm, LayoutError, bytes::Fields, crypto};

/// A purse key of 16 bytes with the cipher it is for. Wiped when dropped.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Key {
    #[zeroize(skip)]
    algorithm: Algorithm,
    bytes: [u8; 16],
}

impl Key {
    /// How many bytes a key has, 3DES or SM4.
    pub const LENGTH: usize = 16;

    /// A key for `algorithm`.
    pub const fn new(algorithm: Algorithm, bytes: [u8; 16]) -> Self {
        Self { algorithm, bytes }
    }

    /// The cipher the key is for.
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The key itself, for ciphers and for wrapping.
    pub const fn expose(&self) -> &[u8; 16] {
        &self.bytes
    }

    /// The first three bytes of zeros enciphered under the key.
    pub fn check_value(&self) -> KeyCheckValue {
        crypto::check_value(self)
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.algorithm == other.algorithm && bool::from(self.bytes.ct_eq(&other.bytes))
    }
}

impl Eq for Key {}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({:?}, redacted)", self.algorithm)
    }
}

/// The key of one transaction: 8 bytes for 3DES purses (used with single DES), 16 for SM4.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub enum SessionKey {
    /// Single DES.
    Des([u8; 8]),
    /// SM4.
    Sm4([u8; 16]),
}

impl SessionKey {
    /// The key itself, for ciphers.
    pub const fn expose(&self) -> &[u8] {
        match self {
            Self::Des(bytes) => bytes,
            Self::Sm4(bytes) => bytes,
        }
    }
}

impl fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Des(_) => f.write_str("SessionKey(DES, redacted)"),
            Self::Sm4(_) => f.write_str("SessionKey(SM4, redacted)"),
        }
    }
}

/// The first three bytes of zeros enciphered under a key: tells keys apart, reveals none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyCheckValue(pub [u8; 3]);

/// What a purse key is for, in the order of the data groupings B0A0 (3DES) and B1A0 (SM4).
///
/// Unload and overdraft update have no key of their own in that list; ours are the two
/// reserves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum KeyRole {
    /// Card master key.
    CardMaster,
    /// Card maintenance key.
    CardMaintenance,
    /// Application master key: EXTERNAL AUTHENTICATE.
    ApplicationMaster,
    /// Application maintenance key: secure messaging of EF15 to EF17, CARD BLOCK.
    ApplicationMaintenance,
    /// Purchase, simple and composite.
    Purchase,
    /// Load.
    Load,
    /// Transaction authentication codes.
    Tac,
    /// APPLICATION BLOCK.
    ApplicationBlock,
    /// RELOAD PIN and PIN UNBLOCK.
    Pin,
    /// Secure messaging of the transit files through the electronic cash application.
    InteroperabilityCash,
    /// Secure messaging of the transit files EF1A and EF1E.
    InteroperabilityPurse,
    /// Spare.
    InteroperabilitySpare,
    /// APPLICATION UNBLOCK.
    ApplicationUnblock,
    /// First reserve; here the unload key.
    Unload,
    /// Second reserve; here the overdraft update key.
    Overdraft,
}

impl KeyRole {
    /// All roles in the order of the data groupings.
    pub const ALL: [Self; 15] = [
        Self::CardMaster,
        Self::CardMaintenance,
        Self::ApplicationMaster,
        Self::ApplicationMaintenance,
        Self::Purchase,
        Self::Load,
        Self::Tac,
        Self::ApplicationBlock,
        Self::Pin,
        Self::InteroperabilityCash,
        Self::InteroperabilityPurse,
        Self::InteroperabilitySpare,
        Self::ApplicationUnblock,
        Self::Unload,
        Self::Overdraft,
    ];

    /// The role's place in the data groupings.
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The role's name in manifests, logs and key stores.
    pub const fn name(self) -> &'static str {
        match self {
            Self::CardMaster => "card-master",
            Self::CardMaintenance => "card-maintenance",
            Self::ApplicationMaster => "application-master",
            Self::ApplicationMaintenance => "application-maintenance",
            Self::Purchase => "purchase",
            Self::Load => "load",
            Self::Tac => "tac",
            Self::ApplicationBlock => "application-block",
            Self::Pin => "pin",
            Self::InteroperabilityCash => "interoperability-cash",
            Self::InteroperabilityPurse => "interoperability-purse",
            Self::InteroperabilitySpare => "interoperability-spare",
            Self::ApplicationUnblock => "application-unblock",
            Self::Unload => "unload",
            Self::Overdraft => "overdraft",
        }
    }
}

/// A purse's 15 keys of one cipher, in the clear: on the card, or inside a key service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeySet {
    algorithm: Algorithm,
    keys: [Key; 15],
}

impl KeySet {
    /// How many bytes [`KeySet::expose`] gives.
    pub const LENGTH: usize = 15 * Key::LENGTH;

    /// A set whose keys `make` supplies, one for each role.
    pub fn from_fn(algorithm: Algorithm, mut make: impl FnMut(KeyRole) -> [u8; 16]) -> Self {
        Self { algorithm, keys: KeyRole::ALL.map(|role| Key::new(algorithm, make(role))) }
    }

    /// The set's cipher.
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The key for `role`.
    pub const fn key(&self, role: KeyRole) -> &Key {
        &self.keys[role.index()]
    }

    /// All keys one after another, for a card's memory. The caller keeps them secret.
    pub fn expose(&self) -> zeroize::Zeroizing<Vec<u8>> {
        zeroize::Zeroizing::new(self.keys.iter().flat_map(|key| key.bytes).collect())
    }

    /// Reads what [`KeySet::expose`] wrote.
    pub fn from_exposed(algorithm: Algorithm, bytes: &[u8]) -> Result<Self, LayoutError> {
        let mut fields = Fields::exact("a purse key set", bytes, Self::LENGTH)?;
        let mut keys = [(); 15].map(|()| Key::new(algorithm, [0; 16]));
        for key in &mut keys {
            key.bytes = fields.array()?;
        }
        Ok(Self { algorithm, keys })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_not_printed() {
        let key = Key::new(Algorithm::Sm4, [0xA5; 16]);
        assert_eq!(format!("{key:?}"), "Key(Sm4, redacted)");
        assert_eq!(format!("{:?}", SessionKey::Des([0xA5; 8])), "SessionKey(DES, redacted)");
    }

    #[test]
    fn key_sets_keep_their_order() {
        let set = KeySet::from_fn(Algorithm::TripleDes, |role| [role.index() as u8; 16]);
        assert_eq!(KeyRole::ALL.map(KeyRole::index), core::array::from_fn(|index| index));
        assert_eq!(set.key(KeyRole::Load).expose(), &[5; 16]);
        let read = KeySet::from_exposed(Algorithm::TripleDes, &set.expose()).unwrap();
        assert_eq!(read, set);
        assert!(KeySet::from_exposed(Algorithm::TripleDes, &[0; 239]).is_err());
    }
}
