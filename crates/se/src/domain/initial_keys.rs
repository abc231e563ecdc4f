//! The first keys of a new security domain (decision D-40).
//!
//! ```text
//! level 1   E(root,    SHA-256(domain AID))          cut to the key's length
//! level 2   E(level 1, SHA-256(identifier, SE-ID))   for each of the keys 01, 02, 03
//! ```
//!
//! E is triple DES in ECB mode or AES in CBC mode with a zero vector. Card makers run this; a card
//! that does so itself was given the root, as only cards of a test system are.

use sha2::{Digest, Sha256};
use tsm_globalplatform::key::{KeyComponent, KeyType};
use tsm_globalplatform::primitives::{Aes, AesKey, DesKey, TripleDes};
use tsm_iso7816::{Aid, StatusWord};
use zeroize::Zeroizing;

use super::Key;
use crate::open::Open;
use crate::open::settings::InitialKeys;
use crate::profile::Protocol;

impl Open {
    /// The keys that a new security domain `aid` begins with; none where it uses those of the
    /// domain above it.
    pub(crate) fn initial_keys(&self, aid: &Aid) -> Result<Vec<Key>, StatusWord> {
        let InitialKeys::Derived { version, root } = &self.settings.initial_keys else {
            return Ok(Vec::new());
        };
        let protocol = self.default_protocol();
        let keys = (1..=3).map(|id| {
            let domain_key = one_level(protocol, root, &Sha256::digest(aid.as_bytes()))?;
            let factor = Sha256::new().chain_update([id]).chain_update(self.se_id()).finalize();
            let value = one_level(protocol, &domain_key, &factor)?.to_vec();
            let component = KeyComponent { key_type: protocol.key_type(), value };
            Some(Key { version: *version, id, components: vec![component] })
        });
        keys.collect::<Option<Vec<_>>>().ok_or(StatusWord::EXECUTION_ERROR)
    }
}

fn one_level(protocol: Protocol, key: &[u8], factor: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let mut out = Zeroizing::new(factor.get(..key.len().next_multiple_of(16))?.to_vec());
    match protocol.key_type() {
        KeyType::AES => Aes::new(&AesKey::from_slice(key).ok()?).encrypt_cbc(&[0; 16], &mut out),
        _ => TripleDes::new(&DesKey::from_slice(key).ok()?).encrypt_ecb(&mut out),
    }
    out.truncate(key.len());
    Some(out)
}
