//! From a root key to a card's key: first the issuer's factor, then the card's (D-36).
//!
//! Each level enciphers F || not F under the key above it. A token can do the same with an ECB
//! encryption of [`derivation_block`], without letting its key out.

use crate::{CardFactor, IssuerFactor, Key, crypto};

/// What a derivation enciphers for an 8-byte factor.
pub fn derivation_block(factor: [u8; 8]) -> [u8; 16] {
    crypto::with_complement(factor)
}

/// The key of one issuer, from the root key.
pub fn issuer_key(root: &Key, issuer: IssuerFactor) -> Key {
    one_level(root, issuer.to_bytes())
}

/// The key of one card, from its issuer's key.
pub fn card_key(issuer_key: &Key, card: CardFactor) -> Key {
    one_level(issuer_key, card.to_bytes())
}

/// The key of one card, from the root key through both levels.
pub fn card_key_from_root(root: &Key, issuer: IssuerFactor, card: CardFactor) -> Key {
    card_key(&issuer_key(root, issuer), card)
}

fn one_level(key: &Key, factor: [u8; 8]) -> Key {
    let mut derived = derivation_block(factor);
    crypto::encipher(key, &mut derived);
    Key::new(key.algorithm(), derived)
}
