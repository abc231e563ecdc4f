//! Where a PSAM's keys come from.

use tsm_epurse::{Algorithm, CardFactor, IssuerFactor, Key, KeyVersion, diversification};

/// Which card's key, and of which kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyAddress {
    /// The cipher that the card uses.
    pub algorithm: Algorithm,
    /// The version that the card states.
    pub version: KeyVersion,
    /// The issuer's factor.
    pub issuer: IssuerFactor,
    /// The card's factor.
    pub card: CardFactor,
}

/// Gives a PSAM the keys of single cards, and no others: a PSAM in a terminal derives them from
/// its own root key, a PSAM in a data centre asks the key service.
pub trait CardKeys {
    /// The card's purchase key; `None` when this PSAM does not have its version or cipher.
    fn purchase_key(&self, address: &KeyAddress) -> Option<Key>;

    /// The key that authorises APPLICATION BLOCK on the card; `None` when this PSAM may not lock cards.
    fn block_key(&self, issuer: IssuerFactor, card: CardFactor) -> Option<Key>;
}

impl<K: CardKeys + ?Sized> CardKeys for &K {
    fn purchase_key(&self, address: &KeyAddress) -> Option<Key> {
        (**self).purchase_key(address)
    }

    fn block_key(&self, issuer: IssuerFactor, card: CardFactor) -> Option<Key> {
        (**self).block_key(issuer, card)
    }
}

impl<K: CardKeys + ?Sized> CardKeys for Box<K> {
    fn purchase_key(&self, address: &KeyAddress) -> Option<Key> {
        (**self).purchase_key(address)
    }

    fn block_key(&self, issuer: IssuerFactor, card: CardFactor) -> Option<Key> {
        (**self).block_key(issuer, card)
    }
}

/// Root keys inside the PSAM, as a real one holds them.
#[derive(Debug, Clone)]
pub struct RootKeys {
    /// The purchase roots that the PSAM has, each with its version.
    pub purchase: Vec<(KeyVersion, Key)>,
    /// The root of the keys that lock cards.
    pub block: Option<Key>,
}

impl CardKeys for RootKeys {
    fn purchase_key(&self, address: &KeyAddress) -> Option<Key> {
        let root = self
            .purchase
            .iter()
            .find(|(version, key)| *version == address.version && key.algorithm() == address.algorithm);
        root.map(|(_, root)| diversification::card_key_from_root(root, address.issuer, address.card))
    }

    fn block_key(&self, issuer: IssuerFactor, card: CardFactor) -> Option<Key> {
        let root = self.block.as_ref()?;
        Some(diversification::card_key_from_root(root, issuer, card))
    }
}
