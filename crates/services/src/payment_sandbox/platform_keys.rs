//! The platform's own keys: for each way of signing a chain of versions in the key service. The newest signs
//! notifications and statements; a reply is signed with the key that the merchant has, while it is one of the
//! last two, so that a merchant learns of a new key under the old one.

use std::sync::{Arc, PoisonError, RwLock};

use tsm_api::payment::PaymentSignature;
use tsm_keys::{KeyPurpose, KeyReference, KeyService};

use crate::payment::message::{MessageKey, MessageKeyError, algorithm};

/// How many versions of a key are held.
const HELD: usize = 2;

/// Names the platform's keys.
const fn label(scheme: PaymentSignature) -> &'static str {
    match scheme {
        PaymentSignature::RsaSha256 => "platform-rsa",
        PaymentSignature::Sm2Sm3 => "platform-sm2",
    }
}

/// The name of one version of the platform's key.
pub fn platform_key(owner: &str, scheme: PaymentSignature, version: u16) -> Option<KeyReference> {
    KeyReference::new(KeyPurpose::Message, owner, label(scheme), version).ok()
}

/// The keys.
pub(super) struct OwnKeys {
    keys: Arc<dyn KeyService>,
    owner: String,
    held: RwLock<Vec<(u16, MessageKey)>>,
}

impl OwnKeys {
    /// The newest versions that the key service has.
    pub(super) fn open(keys: Arc<dyn KeyService>, owner: &str) -> Result<Self, MessageKeyError> {
        let mut held = Vec::new();
        for scheme in [PaymentSignature::RsaSha256, PaymentSignature::Sm2Sm3] {
            let named = keys.list().into_iter().map(|description| description.reference);
            let mut versions: Vec<_> = named
                .filter(|name| Some(name) == platform_key(owner, scheme, name.version()).as_ref())
                .collect();
            versions.sort_unstable_by_key(KeyReference::version);
            let newest = versions.split_off(versions.len().saturating_sub(HELD));
            for name in newest {
                let version = name.version();
                held.push((version, MessageKey::open(keys.clone(), name)?));
            }
        }
        Ok(Self { keys, owner: owner.to_owned(), held: RwLock::new(held) })
    }

    /// The newest key of a scheme.
    pub(super) fn newest(&self, scheme: PaymentSignature) -> Option<MessageKey> {
        let held = self.held.read().unwrap_or_else(PoisonError::into_inner);
        held.iter().rev().find(|(_, key)| key.scheme() == scheme).map(|(_, key)| key.clone())
    }

    /// The key of a serial, if it is still held.
    pub(super) fn of_serial(&self, serial: &str) -> Option<MessageKey> {
        let held = self.held.read().unwrap_or_else(PoisonError::into_inner);
        held.iter().find(|(_, key)| key.serial() == serial).map(|(_, key)| key.clone())
    }

    /// All that are held, oldest first for each scheme.
    pub(super) fn all(&self) -> Vec<MessageKey> {
        let held = self.held.read().unwrap_or_else(PoisonError::into_inner);
        held.iter().map(|(_, key)| key.clone()).collect()
    }

    /// Draws the next version of a key; from now on it signs.
    pub(super) fn rotate(&self, scheme: PaymentSignature) -> Result<String, MessageKeyError> {
        let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
        let of_scheme = held.iter().filter(|(_, key)| key.scheme() == scheme).map(|(version, _)| *version);
        let version = of_scheme.max().unwrap_or(0).saturating_add(1);
        let name = platform_key(&self.owner, scheme, version).ok_or(MessageKeyError::Unreadable)?;
        self.keys.generate(&name, algorithm(scheme))?;
        let key = MessageKey::open(self.keys.clone(), name)?;
        let serial = key.serial().to_owned();
        held.push((version, key));
        if held.iter().filter(|(_, key)| key.scheme() == scheme).count() > HELD {
            let oldest = held.iter().position(|(_, key)| key.scheme() == scheme);
            oldest.map(|index| held.remove(index));
        }
        Ok(serial)
    }
}
