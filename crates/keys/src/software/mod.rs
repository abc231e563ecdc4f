//! The key service in software: a sealed store, and keys in the clear only inside a call or behind a
//! handle.
//!
//! Master and issuer-level keys are opened for the time of one operation and wiped after it; what
//! stays in memory in the clear is leaf keys behind handles and session keys of open sessions. The
//! key that seals the store stays as long as the service lives.

mod material;
mod seal;
mod session;
mod signing;
mod store;

#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hmac::{Hmac, KeyInit, Mac as _};
use sha2::Sha256;
use tsm_domain::SeId;
use tsm_domain::environment::Entropy;
use tsm_epurse::commands::{CreditForLoad, DebitForUnload};
use tsm_epurse::host::load::{LoadFacts, LoadSession};
use tsm_epurse::host::purchase::{PurchaseFacts, PurchaseSession};
use tsm_epurse::host::unload::{UnloadFacts, UnloadSession, verify_mac3};
use tsm_epurse::{Challenge, DateTime, Key as PurseCipherKey, KeyRole, Mac, Tac, host};
use tsm_globalplatform::primitives::{AesCmac, AesKey, DesKey, TripleDes, equal};
use tsm_iso7816::CommandApdu;
use zeroize::Zeroizing;

use crate::derivation::{Derivation, DomainKeySource};
use crate::description::{KeyAlgorithm, KeyDescription, KeyOrigin};
use crate::handle::KeyHandle;
use crate::key_wrap;
use crate::purse::{LoadAttempt, PurchaseAttempt, UnloadAttempt};
use crate::reference::{DomainKey, KeyPurpose, KeyReference, KeySetReference};
use crate::service::{KeyError, KeyService};
use crate::session::{PendingSession, SessionRequest};
use crate::signature::{PublicKey, SignatureScheme};
use crate::transfer::{SealedValue, TransportMessage, WrappedKey, WrappedKeySet, WrappedValue};

use material::Material;
use store::Store;

pub use store::{OpenError, Passphrase, PassphraseCost};

/// The key service in software.
#[derive(Clone)]
pub struct SoftwareKeyService(Arc<Inner>);

struct Inner {
    entropy: Arc<dyn Entropy>,
    store: Mutex<Store>,
}

impl core::fmt::Debug for SoftwareKeyService {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("SoftwareKeyService(..)")
    }
}

impl SoftwareKeyService {
    /// A service whose keys live as long as it does.
    pub fn in_memory(entropy: Arc<dyn Entropy>) -> Self {
        let store = Store::in_memory(&*entropy);
        Self(Arc::new(Inner { entropy, store: Mutex::new(store) }))
    }

    /// A service over a new key file.
    pub fn create(
        path: &Path,
        passphrase: &Passphrase,
        cost: PassphraseCost,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, OpenError> {
        let store = Store::create(path, passphrase, cost, &*entropy)?;
        Ok(Self(Arc::new(Inner { entropy, store: Mutex::new(store) })))
    }

    /// A service over an existing key file.
    pub fn open(path: &Path, passphrase: &Passphrase, entropy: Arc<dyn Entropy>) -> Result<Self, OpenError> {
        let store = Store::open(path, passphrase)?;
        Ok(Self(Arc::new(Inner { entropy, store: Mutex::new(store) })))
    }

    /// Takes a key that a ceremony brought in the clear. Published test keys are marked as such
    /// whatever the caller thinks of them.
    pub fn import_clear(
        &self,
        key: &KeyReference,
        algorithm: KeyAlgorithm,
        value: Zeroizing<Vec<u8>>,
    ) -> Result<KeyDescription, KeyError> {
        let origin = if is_published(&value) { KeyOrigin::Development } else { KeyOrigin::Imported };
        self.0.add(key, Material::new(algorithm, value)?, origin)
    }

    /// Takes a key of the development profile, marked so that a production profile refuses to start.
    pub fn import_development(
        &self,
        key: &KeyReference,
        algorithm: KeyAlgorithm,
        value: &[u8],
    ) -> Result<KeyDescription, KeyError> {
        self.0.add(key, Material::new(algorithm, Zeroizing::new(value.to_vec()))?, KeyOrigin::Development)
    }

    /// The initial keys that development cards come with: 404142..4F three times, as triple DES
    /// (key version 20) or AES-128 (key version 30).
    pub fn import_development_card_keys(
        &self,
        set: &KeySetReference,
        algorithm: KeyAlgorithm,
    ) -> Result<(), KeyError> {
        DomainKey::ALL.into_iter().try_for_each(|key| {
            self.import_development(&set.member(key), algorithm, &DEVELOPMENT_CARD_KEY).map(drop)
        })
    }
}

/// The key that tools try first on a development card.
pub const DEVELOPMENT_CARD_KEY: [u8; 16] =
    [0x40, 0x41, 0x42, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48, 0x49, 0x4A, 0x4B, 0x4C, 0x4D, 0x4E, 0x4F];

// Values that stand in public documents and tools, and constant bytes: nobody's secret.
fn is_published(value: &[u8]) -> bool {
    let constant = value.windows(2).all(|pair| pair[0] == pair[1]);
    let counting = value
        .windows(2)
        .all(|pair| pair[1] == pair[0].wrapping_add(1) || pair[1] == pair[0].wrapping_add(0x11));
    constant || counting || value.chunks(16).all(|part| part == DEVELOPMENT_CARD_KEY)
}

impl Inner {
    fn store(&self) -> MutexGuard<'_, Store> {
        // The store changes only after the file did, so a panic elsewhere leaves it whole.
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The key in the clear, wiped when dropped. Only this crate's operations call it.
    fn material(&self, key: &KeyReference) -> Result<Material, KeyError> {
        let store = self.store();
        let (algorithm, bytes) = store.unseal(key).ok_or_else(|| KeyError::Unknown(key.clone()))?;
        Ok(Material { algorithm, bytes })
    }

    /// The key in the clear, if its purpose is one of `purposes`.
    fn material_for(
        &self,
        key: &KeyReference,
        purposes: &[KeyPurpose],
        operation: &'static str,
    ) -> Result<Material, KeyError> {
        if !purposes.contains(&key.purpose()) {
            return Err(KeyError::Purpose { found: key.purpose(), operation });
        }
        self.material(key)
    }

    /// A KEK in the clear.
    fn kek(&self, kek: &KeyReference) -> Result<Material, KeyError> {
        let material = self.material_for(kek, &[KeyPurpose::KeyEncryption], "wrap or unwrap keys")?;
        match material.algorithm {
            KeyAlgorithm::Aes128 | KeyAlgorithm::Aes192 | KeyAlgorithm::Aes256 => Ok(material),
            found @ (KeyAlgorithm::TripleDes
            | KeyAlgorithm::Sm4
            | KeyAlgorithm::EcdsaP256
            | KeyAlgorithm::Sm2
            | KeyAlgorithm::Rsa) => Err(KeyError::Algorithm { found, operation: "wrap or unwrap keys" }),
        }
    }

    fn unwrap_value(&self, value: &WrappedValue, kek: &KeyReference) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        key_wrap::unwrap(&self.kek(kek)?.bytes, &value.0).map_err(|_| KeyError::NotAuthentic(kek.clone()))
    }

    fn unwrap_key(&self, wrapped: &WrappedKey, kek: &KeyReference) -> Result<Material, KeyError> {
        let material = Material::new(wrapped.algorithm, self.unwrap_value(&wrapped.value, kek)?)?;
        if material.check_value() != Some(wrapped.check_value) {
            return Err(KeyError::CheckValue);
        }
        Ok(material)
    }

    fn wrap_key(&self, material: &Material, kek: &KeyReference) -> Result<WrappedKey, KeyError> {
        let value = key_wrap::wrap(&self.kek(kek)?.bytes, &material.bytes)
            .ok_or(KeyError::Length { what: "the key to wrap", length: material.bytes.len() })?;
        let check_value = material.check_value().ok_or(KeyError::CheckValue)?;
        Ok(WrappedKey { algorithm: material.algorithm, check_value, value: WrappedValue(value) })
    }

    fn add(
        &self,
        key: &KeyReference,
        material: Material,
        origin: KeyOrigin,
    ) -> Result<KeyDescription, KeyError> {
        let check_value = material.check_value().ok_or_else(|| KeyError::Unusable(key.clone()))?;
        let mut store = self.store();
        if store.describe(key).is_some() {
            return Err(KeyError::Exists(key.clone()));
        }
        refuse_equal_transport_and_kek(&store, key, &material)?;
        let description =
            KeyDescription { reference: key.clone(), algorithm: material.algorithm, origin, check_value };
        store
            .insert(&description, &material.bytes, &*self.entropy)
            .map_err(|error| KeyError::Store(error.to_string()))?;
        Ok(description)
    }

    /// The three keys of a domain. `card_data` is what a [`DomainKeySource::Card`] is diversified by.
    fn domain_keys(
        &self,
        source: &DomainKeySource,
        card_data: Option<&[u8]>,
    ) -> Result<[Material; 3], KeyError> {
        let each = |make: &dyn Fn(DomainKey) -> Result<Material, KeyError>| {
            let [enc, mac, dek] = DomainKey::ALL.map(make);
            Ok([enc?, mac?, dek?])
        };
        match source {
            DomainKeySource::Fixed(set) => each(&|key| self.material(&set.member(key))),
            DomainKeySource::Card { masters, scheme } => {
                let card_data = card_data
                    .ok_or(KeyError::Length { what: "the card's diversification data", length: 0 })?;
                each(&|key| self.material(&masters.member(key))?.derive_for_card(*scheme, card_data, key))
            }
            DomainKeySource::TwoLevel { root, path } => {
                let root = self.material_for(root, &[KeyPurpose::DomainRoot], "derive domain keys")?;
                each(&|key| root.derive_domain_key(path, key))
            }
        }
    }

    fn handle(&self, purpose: KeyPurpose, material: Material) -> Result<KeyHandle, KeyError> {
        let check_value = material.check_value().ok_or(KeyError::CheckValue)?;
        Ok(KeyHandle::new(purpose, material.algorithm, check_value, Arc::new(material)))
    }
}

// P-5.8.4.6.2.a: TK and KEK never equal.
fn refuse_equal_transport_and_kek(
    store: &Store,
    key: &KeyReference,
    material: &Material,
) -> Result<(), KeyError> {
    let other = match key.purpose() {
        KeyPurpose::Transport => KeyPurpose::KeyEncryption,
        KeyPurpose::KeyEncryption => KeyPurpose::Transport,
        _ => return Ok(()),
    };
    let equal_to_another = store
        .descriptions()
        .iter()
        .filter(|description| description.reference.purpose() == other)
        .filter_map(|description| store.unseal(&description.reference))
        .any(|(_, bytes)| equal(&bytes, &material.bytes));
    if equal_to_another { Err(KeyError::TransportEqualsKek) } else { Ok(()) }
}

/// The leaf key behind one of our handles.
fn leaf(handle: &KeyHandle) -> Result<&Material, KeyError> {
    handle.inner::<Material>().ok_or(KeyError::ForeignHandle)
}

fn purse_leaf(
    handle: &KeyHandle,
    allowed: &[KeyRole],
    operation: &'static str,
) -> Result<PurseCipherKey, KeyError> {
    let allowed = matches!(handle.purpose(), KeyPurpose::Purse(role) if allowed.contains(&role));
    if !allowed {
        return Err(KeyError::Purpose { found: handle.purpose(), operation });
    }
    leaf(handle)?.purse_key().ok_or(KeyError::Algorithm { found: handle.algorithm(), operation })
}

const SIGNING: [KeyPurpose; 3] = [KeyPurpose::Dap, KeyPurpose::DelegatedToken, KeyPurpose::Message];

impl KeyService for SoftwareKeyService {
    fn is_development(&self) -> bool {
        self.list().iter().any(|description| description.origin == KeyOrigin::Development)
    }

    fn list(&self) -> Vec<KeyDescription> {
        self.0.store().descriptions()
    }

    fn describe(&self, key: &KeyReference) -> Result<KeyDescription, KeyError> {
        self.0.store().describe(key).ok_or_else(|| KeyError::Unknown(key.clone()))
    }

    fn generate(&self, key: &KeyReference, algorithm: KeyAlgorithm) -> Result<KeyDescription, KeyError> {
        let entropy = &*self.0.entropy;
        let bytes = match algorithm.length().filter(|_| algorithm.is_symmetric()) {
            Some(length) => {
                let mut bytes = Zeroizing::new(vec![0; length]);
                entropy.fill(&mut bytes);
                bytes
            }
            None => signing::generate(algorithm, entropy).ok_or_else(|| KeyError::Unusable(key.clone()))?,
        };
        self.0.add(key, Material::new(algorithm, bytes)?, KeyOrigin::Generated)
    }

    fn import_key(
        &self,
        key: &KeyReference,
        wrapped: &WrappedKey,
        kek: &KeyReference,
    ) -> Result<KeyDescription, KeyError> {
        let material = self.0.unwrap_key(wrapped, kek)?;
        let origin = if is_published(&material.bytes) { KeyOrigin::Development } else { KeyOrigin::Imported };
        self.0.add(key, material, origin)
    }

    fn export_key(&self, key: &KeyReference, kek: &KeyReference) -> Result<WrappedKey, KeyError> {
        if matches!(key.purpose(), KeyPurpose::KeyEncryption | KeyPurpose::Transport) {
            return Err(KeyError::Purpose { found: key.purpose(), operation: "be given away" });
        }
        self.0.wrap_key(&self.0.material(key)?, kek)
    }

    fn derive(&self, master: &KeyReference, derivation: &Derivation) -> Result<KeyHandle, KeyError> {
        let leaf = self.0.material(master)?.derive(master.purpose(), derivation)?;
        self.0.handle(master.purpose(), leaf)
    }

    fn export_leaf(&self, key: &KeyHandle, kek: &KeyReference) -> Result<WrappedKey, KeyError> {
        self.0.wrap_key(leaf(key)?, kek)
    }

    fn export_domain_keys(
        &self,
        keys: &DomainKeySource,
        kek: &KeyReference,
    ) -> Result<WrappedKeySet, KeyError> {
        let [enc, mac, dek] = self.0.domain_keys(keys, None)?;
        Ok(WrappedKeySet {
            enc: self.0.wrap_key(&enc, kek)?,
            mac: self.0.wrap_key(&mac, kek)?,
            dek: self.0.wrap_key(&dek, kek)?,
        })
    }

    fn begin_session(&self, request: SessionRequest) -> Result<Box<dyn PendingSession>, KeyError> {
        session::begin(self.0.clone(), request)
    }

    fn wrap_value(&self, value: &[u8], kek: &KeyReference) -> Result<WrappedValue, KeyError> {
        key_wrap::wrap(&self.0.kek(kek)?.bytes, value)
            .map(WrappedValue)
            .ok_or(KeyError::Length { what: "the value to wrap", length: value.len() })
    }

    fn transport_encrypt(
        &self,
        tk: &KeyReference,
        context: &[u8],
        script: &[u8],
    ) -> Result<TransportMessage, KeyError> {
        let key = self.0.material_for(tk, &[KeyPurpose::Transport], "encrypt a script")?;
        seal::seal(&key.bytes, &*self.0.entropy, context, script)
            .map(TransportMessage)
            .ok_or(KeyError::Algorithm { found: key.algorithm, operation: "encrypt a script" })
    }

    fn transport_decrypt(
        &self,
        tk: &KeyReference,
        context: &[u8],
        message: &TransportMessage,
    ) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        let key = self.0.material_for(tk, &[KeyPurpose::Transport], "decrypt a script")?;
        seal::unseal(&key.bytes, context, &message.0).ok_or_else(|| KeyError::NotAuthentic(tk.clone()))
    }

    fn sign(&self, key: &KeyReference, scheme: SignatureScheme, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        signing::sign(&self.0.material_for(key, &SIGNING, "sign")?, scheme, message)
    }

    fn public_key(&self, key: &KeyReference) -> Result<PublicKey, KeyError> {
        let material = self.0.material_for(key, &SIGNING, "verify signatures")?;
        signing::public_key(&material)
            .ok_or(KeyError::Algorithm { found: material.algorithm, operation: "verify signatures" })
    }

    fn verify_receipt(&self, key: &KeyHandle, covered: &[u8], receipt: &[u8]) -> Result<(), KeyError> {
        if key.purpose() != KeyPurpose::Receipt {
            return Err(KeyError::Purpose { found: key.purpose(), operation: "verify a receipt" });
        }
        let material = leaf(key)?;
        let refused = |_| KeyError::Algorithm { found: material.algorithm, operation: "verify a receipt" };
        let expected = match material.algorithm {
            KeyAlgorithm::TripleDes => {
                let key = DesKey::from_slice(&material.bytes).map_err(refused)?;
                TripleDes::new(&key).retail_mac(&[0; 8], &[covered]).to_vec()
            }
            KeyAlgorithm::Aes128 | KeyAlgorithm::Aes192 | KeyAlgorithm::Aes256 => {
                let key = AesKey::from_slice(&material.bytes).map_err(refused)?;
                AesCmac::new(&key).mac(&[covered]).to_vec()
            }
            found @ (KeyAlgorithm::Sm4 | KeyAlgorithm::EcdsaP256 | KeyAlgorithm::Sm2 | KeyAlgorithm::Rsa) => {
                return Err(KeyError::Algorithm { found, operation: "verify a receipt" });
            }
        };
        if equal(&expected, receipt) { Ok(()) } else { Err(KeyError::CardMac("receipt")) }
    }

    fn frame_mac(&self, key: &KeyReference, covered: &[u8]) -> Result<[u8; 8], KeyError> {
        const OPERATION: &str = "protect a frame";
        let key = self.0.material_for(key, &[KeyPurpose::ClearingTransport], OPERATION)?;
        let refused = |_| KeyError::Algorithm { found: key.algorithm, operation: OPERATION };
        match key.algorithm {
            KeyAlgorithm::TripleDes => {
                let cipher = DesKey::from_slice(&key.bytes).map_err(refused)?;
                Ok(TripleDes::new(&cipher).retail_mac(&[0; 8], &[covered]))
            }
            KeyAlgorithm::Aes128 | KeyAlgorithm::Aes192 | KeyAlgorithm::Aes256 => {
                let cipher = AesKey::from_slice(&key.bytes).map_err(refused)?;
                let whole = AesCmac::new(&cipher).mac(&[covered]);
                let mut half = [0; 8];
                half.copy_from_slice(&whole[..8]);
                Ok(half)
            }
            found @ (KeyAlgorithm::Sm4 | KeyAlgorithm::EcdsaP256 | KeyAlgorithm::Sm2 | KeyAlgorithm::Rsa) => {
                Err(KeyError::Algorithm { found, operation: OPERATION })
            }
        }
    }

    fn binding_token(
        &self,
        key: &KeyReference,
        se_id: &SeId,
        date: &str,
    ) -> Result<Zeroizing<[u8; 16]>, KeyError> {
        let key = self.0.material_for(key, &[KeyPurpose::BindingToken], "derive a TOKEN")?;
        let mut mac = Hmac::<Sha256>::new_from_slice(&key.bytes)
            .map_err(|_| KeyError::Length { what: "the TOKEN key", length: key.bytes.len() })?;
        mac.update(&[se_id.as_bytes().len() as u8]);
        mac.update(se_id.as_bytes());
        mac.update(date.as_bytes());
        let digest = mac.finalize().into_bytes();
        let mut token = Zeroizing::new([0; 16]);
        token.copy_from_slice(&digest[..16]);
        Ok(token)
    }

    fn seal(&self, key: &KeyReference, context: &[u8], value: &[u8]) -> Result<SealedValue, KeyError> {
        let key = self.0.material_for(key, &[KeyPurpose::Sealing], "seal a value")?;
        seal::seal(&key.bytes, &*self.0.entropy, context, value)
            .map(SealedValue)
            .ok_or(KeyError::Algorithm { found: key.algorithm, operation: "seal a value" })
    }

    fn unseal(
        &self,
        key: &KeyReference,
        context: &[u8],
        sealed: &SealedValue,
    ) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        let material = self.0.material_for(key, &[KeyPurpose::Sealing], "unseal a value")?;
        seal::unseal(&material.bytes, context, &sealed.0).ok_or_else(|| KeyError::NotAuthentic(key.clone()))
    }

    fn verify_load_mac1(&self, load: &KeyHandle, attempt: &LoadAttempt) -> Result<(), KeyError> {
        begin_load(load, attempt).map(drop)
    }

    fn credit_for_load(
        &self,
        load: &KeyHandle,
        attempt: &LoadAttempt,
        at: DateTime,
    ) -> Result<CreditForLoad, KeyError> {
        Ok(begin_load(load, attempt)?.credit(at))
    }

    fn verify_load_tac(&self, key: &KeyHandle, facts: &LoadFacts, tac: Tac) -> Result<(), KeyError> {
        let key = purse_leaf(key, &[KeyRole::Tac], "verify a TAC")?;
        if host::load::verify_tac(&key, facts, tac) { Ok(()) } else { Err(KeyError::CardMac("TAC")) }
    }

    fn verify_unload_mac1(&self, unload: &KeyHandle, attempt: &UnloadAttempt) -> Result<(), KeyError> {
        begin_unload(unload, attempt).map(drop)
    }

    fn debit_for_unload(
        &self,
        unload: &KeyHandle,
        attempt: &UnloadAttempt,
        at: DateTime,
    ) -> Result<DebitForUnload, KeyError> {
        Ok(begin_unload(unload, attempt)?.debit(at))
    }

    fn verify_unload_mac3(
        &self,
        unload: &KeyHandle,
        attempt: &UnloadAttempt,
        at: DateTime,
        mac3: Mac,
    ) -> Result<(), KeyError> {
        let key = purse_leaf(unload, &[KeyRole::Unload], "verify a debit")?;
        let (command, answer) = (&attempt.command, &attempt.answer);
        // A card cannot debit more than it proved to hold.
        let balance_after = answer.balance.checked_sub(command.amount).ok_or(KeyError::CardMac("MAC3"))?;
        let facts = UnloadFacts {
            balance_after,
            counter_before: answer.counter,
            amount: command.amount,
            terminal: command.terminal,
            at,
        };
        if verify_mac3(&key, &facts, mac3) { Ok(()) } else { Err(KeyError::CardMac("MAC3")) }
    }

    fn purchase_mac1(&self, purchase: &KeyHandle, attempt: &PurchaseAttempt) -> Result<Mac, KeyError> {
        Ok(begin_purchase(purchase, attempt)?.mac1())
    }

    fn verify_purchase_mac2(
        &self,
        purchase: &KeyHandle,
        attempt: &PurchaseAttempt,
        mac2: Mac,
    ) -> Result<(), KeyError> {
        let verified = begin_purchase(purchase, attempt)?.verify_mac2(mac2);
        if verified { Ok(()) } else { Err(KeyError::CardMac("MAC2")) }
    }

    fn verify_purchase_tac(&self, key: &KeyHandle, facts: &PurchaseFacts, tac: Tac) -> Result<(), KeyError> {
        let key = purse_leaf(key, &[KeyRole::Tac], "verify a TAC")?;
        if host::purchase::verify_tac(&key, facts, tac) { Ok(()) } else { Err(KeyError::CardMac("TAC")) }
    }

    fn secure_messaging(
        &self,
        key: &KeyHandle,
        challenge: Challenge,
        command: &CommandApdu,
    ) -> Result<CommandApdu, KeyError> {
        let key = purse_leaf(key, &SECURE_MESSAGING, "make a secure-messaging MAC")?;
        host::secure_messaging::protect(&key, challenge, command)
            .map_err(|error| KeyError::Length { what: "a command with a MAC", length: error.0 })
    }
}

// Which keys of the purse make secure-messaging MACs; the transaction keys never do.
const SECURE_MESSAGING: [KeyRole; 8] = [
    KeyRole::CardMaintenance,
    KeyRole::ApplicationMaintenance,
    KeyRole::ApplicationBlock,
    KeyRole::ApplicationUnblock,
    KeyRole::Pin,
    KeyRole::InteroperabilityCash,
    KeyRole::InteroperabilityPurse,
    KeyRole::InteroperabilitySpare,
];

fn begin_load(load: &KeyHandle, attempt: &LoadAttempt) -> Result<LoadSession, KeyError> {
    let key = purse_leaf(load, &[KeyRole::Load], "authorise a load")?;
    LoadSession::begin(&key, &attempt.command, &attempt.answer).map_err(|_| KeyError::CardMac("MAC1"))
}

fn begin_unload(unload: &KeyHandle, attempt: &UnloadAttempt) -> Result<UnloadSession, KeyError> {
    let key = purse_leaf(unload, &[KeyRole::Unload], "authorise a debit")?;
    UnloadSession::begin(&key, &attempt.command, &attempt.answer).map_err(|_| KeyError::CardMac("MAC1"))
}

fn begin_purchase(purchase: &KeyHandle, attempt: &PurchaseAttempt) -> Result<PurchaseSession, KeyError> {
    let key = purse_leaf(purchase, &[KeyRole::Purchase], "debit a purse")?;
    Ok(PurchaseSession::begin(&key, attempt.random, attempt.counter, attempt.facts))
}
