//! PUT KEY (GPC 2.3.1, 11.8): all keys of one command, or none.

use tsm_globalplatform::commands::PutKey;
use tsm_globalplatform::commands::put_key::KeyField;
use tsm_globalplatform::key::{KeyComponent, KeyType, check_value_matches};
use tsm_globalplatform::primitives::{AesKey, DesKey};
use tsm_globalplatform::signature::VerifyingKey;
use tsm_iso7816::{CommandApdu, ResponseApdu, StatusWord};

use super::Open;
use super::channels::Place;
use super::registry::EntryId;
use super::secure_channel::has_key_set;
use crate::applet::Answer;
use crate::domain::{Key, KeyRing};

/// Keys of this version are those a domain was made with; the first that are added replace them.
const INITIAL_VERSION: u8 = 0xFF;

impl Open {
    pub(super) fn put_key(&mut self, domain: EntryId, place: Place, command: &CommandApdu) -> Answer {
        self.require_management(domain, place)?;
        let request = PutKey::try_from(command).map_err(|error| error.status_word())?;
        let mut keys = Vec::with_capacity(request.keys.len());
        for (id, field) in (request.first_identifier..).zip(&request.keys) {
            let components = self.clear_components(domain, place, field)?;
            keys.push(Key { version: request.new_version, id, components });
        }
        let before = self.domain_data(domain).size();
        let ring = &mut self.registry_mut().domain_mut(domain).keys;
        replace(ring, request.replaced_version, &keys)?;
        for key in keys {
            ring.put(key);
        }
        // A new secure channel key set starts its counter anew, and answers to version 00 where
        // the set it replaces did, or none did.
        let version = request.new_version;
        let is_default = [0, request.replaced_version, INITIAL_VERSION].contains(&ring.default_version);
        if is_default && (1..=3).all(|id| ring.key(version, id).is_some()) {
            ring.default_version = version;
        }
        ring.set_counter(version, 0);
        if domain == EntryId::ISSUER_DOMAIN && !has_key_set(ring) {
            return Err(StatusWord::CONDITIONS_NOT_SATISFIED);
        }
        self.require_grown(domain, before)?;
        Ok(ResponseApdu::success(request.response_data()))
    }

    /// The clear key of one field, checked against its check value.
    fn clear_components(
        &self,
        domain: EntryId,
        place: Place,
        field: &KeyField,
    ) -> Result<Vec<KeyComponent>, StatusWord> {
        let symmetric = field.components.iter().any(|component| is_symmetric(component.key_type));
        if !symmetric {
            let known = field.components.iter().all(is_usable);
            return if known {
                Ok(field.components.clone())
            } else {
                Err(StatusWord::ALGORITHM_NOT_SUPPORTED)
            };
        }
        let value = field.as_symmetric().ok_or(StatusWord::WRONG_DATA)?;
        let mut clear = self.decrypt_sensitive(domain, place, value.encrypted)?;
        clear.truncate(value.clear_length);
        let fits = match value.key_type {
            KeyType::AES => AesKey::from_slice(&clear).is_ok(),
            KeyType::SM4 => clear.len() == 16,
            _ => DesKey::from_slice(&clear).is_ok(),
        };
        if !fits {
            return Err(StatusWord::WRONG_DATA);
        }
        if !check_value_matches(value.key_type, &clear, &field.check_value) {
            return Err(StatusWord::INVALID_KEY_CHECK_VALUE);
        }
        Ok(vec![KeyComponent { key_type: value.key_type, value: clear.to_vec() }])
    }
}

/// Makes room for `keys`: takes away those they replace, and refuses those they would collide with.
// GPC 2.3.1 11.8.2.1: P1 00 adds keys; another value names the version whose keys are replaced.
fn replace(ring: &mut KeyRing, replaced_version: u8, keys: &[Key]) -> Result<(), StatusWord> {
    if replaced_version == 0 {
        for id in 1..=0x7F {
            ring.remove(INITIAL_VERSION, id);
        }
    } else if !has_key_set(ring) && !keys.iter().any(|key| ring.key(replaced_version, key.id).is_some()) {
        // The domain has opened its session with the keys of the domain above it: what is to be
        // replaced are those, and the domain gets its own from now on.
        return Ok(());
    } else {
        for key in keys {
            ring.remove(replaced_version, key.id).ok_or(StatusWord::REFERENCED_DATA_NOT_FOUND)?;
        }
    }
    if keys.iter().any(|key| ring.key(key.version, key.id).is_some()) {
        return Err(StatusWord::WRONG_DATA);
    }
    Ok(())
}

const fn is_symmetric(key_type: KeyType) -> bool {
    matches!(key_type, KeyType::DES | KeyType::TRIPLE_DES_CBC | KeyType::AES | KeyType::SM4)
}

/// Components that are public and come in the clear, of a kind that signatures are verified with.
fn is_usable(component: &KeyComponent) -> bool {
    match component.key_type {
        KeyType::RSA_PUBLIC_EXPONENT | KeyType::RSA_MODULUS | KeyType::EC_PARAMETER_REFERENCE => true,
        KeyType::EC_PUBLIC => VerifyingKey::ecdsa_p256(&component.value).is_ok(),
        _ => false,
    }
}
