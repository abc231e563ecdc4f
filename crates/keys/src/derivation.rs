//! Which leaf key is meant: the path from a master key to the key of one card.
//!
//! Every step of every path encrypts given data with the key above it, which is what a token offers
//! as a derivation mechanism (CKM_DES3_ECB_ENCRYPT_DATA, CKM_AES_CBC_ENCRYPT_DATA with a zero
//! vector over one block), so that the intermediate keys never leave it.

use tsm_domain::SeId;
use tsm_epurse::{CardFactor, IssuerFactor};
use tsm_iso7816::Aid;

use crate::reference::{DomainKey, KeyReference, KeySetReference};

/// The path from a master key to one leaf key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Derivation {
    /// Root -> domain AID -> SE-ID, one key of the three (B-8.4.1.b, D-40). Also receipt keys.
    Domain {
        /// The domain whose key it is.
        path: DomainPath,
        /// Which of its keys.
        key: DomainKey,
    },
    /// Root -> issuer factor -> card factor (JT/T 978; D-36).
    Purse(PursePath),
}

/// The two factors of a domain's keys (D-40).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DomainPath {
    /// The security domain's AID, first level.
    pub domain: Aid,
    /// The secure element, second level.
    pub se_id: SeId,
}

/// The two factors of a purse's keys (D-36).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PursePath {
    /// EF15 bytes 0 to 7, first level.
    pub issuer: IssuerFactor,
    /// EF15 bytes 12 to 19, second level.
    pub card: CardFactor,
}

/// A diversification scheme that cards in the field come with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CardScheme {
    /// EMV CPS 1.1.
    Emv,
    /// VISA2.
    Visa2,
    /// KDF3 (NIST SP 800-108 in counter mode).
    Kdf3,
}

/// Where the three keys of one security domain on one secure element come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DomainKeySource {
    /// The cards hold the set as it is: development profiles, cards keyed one by one.
    Fixed(KeySetReference),
    /// A master set, diversified by what the card says in its INITIALIZE UPDATE response.
    Card {
        /// The three masters.
        masters: KeySetReference,
        /// How they are diversified.
        scheme: CardScheme,
    },
    /// One root, diversified in two levels (B-8.4.1.b, D-40).
    TwoLevel {
        /// The root.
        root: KeyReference,
        /// The factors.
        path: DomainPath,
    },
}
