//! The purse's keys: a set of fifteen for each cipher, and a second load key.

use tsm_epurse::{Algorithm, Key, KeyIndex, KeyRole, KeySet, KeyVersion};
use tsm_iso7816::StatusWord;

use super::ledger::Ledger;
use super::objects;
use crate::applet::{AppletContext, ObjectId};

/// The second load key.
const SECOND: KeyIndex = KeyIndex(0x02);

const fn set_object(algorithm: Algorithm) -> ObjectId {
    match algorithm {
        Algorithm::TripleDes => objects::TRIPLE_DES_KEYS,
        Algorithm::Sm4 => objects::SM4_KEYS,
    }
}

const fn second_load_object(algorithm: Algorithm) -> ObjectId {
    match algorithm {
        Algorithm::TripleDes => objects::SECOND_LOAD_KEYS[0],
        Algorithm::Sm4 => objects::SECOND_LOAD_KEYS[1],
    }
}

/// The key of a role in the set that the purse uses; 6985 before personalisation.
pub(super) fn key(context: &AppletContext<'_>, ledger: &Ledger, role: KeyRole) -> Result<Key, StatusWord> {
    let bytes = context.read(set_object(ledger.algorithm)).ok_or(StatusWord::CONDITIONS_NOT_SATISFIED)?;
    let set = KeySet::from_exposed(ledger.algorithm, bytes).map_err(|_| StatusWord::MEMORY_FAILURE)?;
    Ok(set.key(role).clone())
}

/// The key of a role that has one key only; 9403 for any index but the first.
pub(super) fn indexed(
    context: &AppletContext<'_>,
    ledger: &Ledger,
    role: KeyRole,
    index: KeyIndex,
) -> Result<Key, StatusWord> {
    match (role, index) {
        (_, KeyIndex::FIRST) => key(context, ledger, role),
        (KeyRole::Load, SECOND) => {
            let bytes = context.read(second_load_object(ledger.algorithm));
            let bytes = bytes.and_then(|bytes| bytes.try_into().ok());
            let bytes = bytes.ok_or(StatusWord::KEY_INDEX_NOT_SUPPORTED)?;
            Ok(Key::new(ledger.algorithm, bytes))
        }
        _ => Err(StatusWord::KEY_INDEX_NOT_SUPPORTED),
    }
}

/// Stores a whole set.
pub(super) fn store(context: &mut AppletContext<'_>, set: &KeySet) -> Result<(), StatusWord> {
    context.write(set_object(set.algorithm()), &set.expose())
}

/// Stores a second load key.
pub(super) fn store_second_load(context: &mut AppletContext<'_>, key: &Key) -> Result<(), StatusWord> {
    context.write(second_load_object(key.algorithm()), key.expose())
}

/// Whether the set of a cipher is there.
pub(super) fn has(context: &AppletContext<'_>, algorithm: Algorithm) -> bool {
    context.read(set_object(algorithm)).is_some()
}

/// The version that INITIALIZE answers state.
pub(super) const fn version(ledger: &Ledger) -> KeyVersion {
    KeyVersion(ledger.key_version)
}
