//! The keys of a security domain (GPC 2.3.1, 7.5).

use std::collections::BTreeMap;

use tsm_globalplatform::key::KeyComponent;

/// All keys of a domain, by version and identifier, and the secure channel counter of each version.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyRing {
    keys: BTreeMap<(u8, u8), Key>,
    counters: BTreeMap<u8, u32>,
    /// The version that answers to version 00; 00 stands for the one most recently put.
    pub default_version: u8,
}

/// One key: one component, or several as an RSA public key has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// The key version, 01 to 7F.
    pub version: u8,
    /// The key identifier.
    pub id: u8,
    /// Its components, in the clear.
    pub components: Vec<KeyComponent>,
}

impl KeyRing {
    /// The key of a version and identifier.
    pub fn key(&self, version: u8, id: u8) -> Option<&Key> {
        self.keys.get(&(version, id))
    }

    /// All keys, by version and identifier.
    pub fn iter(&self) -> impl Iterator<Item = &Key> {
        self.keys.values()
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Puts a key, in the place of the one with the same version and identifier if there is one.
    pub fn put(&mut self, key: Key) {
        self.keys.insert((key.version, key.id), key);
    }

    /// Removes a key.
    pub fn remove(&mut self, version: u8, id: u8) -> Option<Key> {
        let removed = self.keys.remove(&(version, id));
        if !self.keys.keys().any(|(other, _)| *other == version) {
            self.counters.remove(&version);
            if self.default_version == version {
                self.default_version = 0;
            }
        }
        removed
    }

    /// The secure channel counter of a key version.
    pub fn counter(&self, version: u8) -> u32 {
        self.counters.get(&version).copied().unwrap_or(0)
    }

    /// Sets the secure channel counter of a key version.
    pub fn set_counter(&mut self, version: u8, counter: u32) {
        self.counters.insert(version, counter);
    }

    /// The counters of all key versions that have one.
    pub fn counters(&self) -> impl Iterator<Item = (u8, u32)> {
        self.counters.iter().map(|(version, counter)| (*version, *counter))
    }
}
