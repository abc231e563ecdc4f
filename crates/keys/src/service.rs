//! The key-service trait: every operation with a key, by handle.
//!
//! A token (PKCS#11) can do each operation without exporting a master or issuer-level key; the doc
//! of each method names the mechanism it needs. What tokens lack today (facts of 2026): the retail MAC
//! and single-DES CBC-MAC are composed from CKM_DES_CBC and CKM_DES3_ECB on session objects.

use tsm_iso7816::CommandApdu;
use zeroize::Zeroizing;

use tsm_domain::SeId;
use tsm_epurse::commands::{CreditForLoad, DebitForUnload};
use tsm_epurse::host::load::LoadFacts;
use tsm_epurse::host::purchase::PurchaseFacts;
use tsm_epurse::{Challenge, DateTime, Mac, Tac};

use crate::derivation::{Derivation, DomainKeySource};
use crate::description::{KeyAlgorithm, KeyDescription};
use crate::handle::KeyHandle;
use crate::purse::{LoadAttempt, PurchaseAttempt, UnloadAttempt};
use crate::reference::{KeyPurpose, KeyReference};
use crate::session::{PendingSession, SessionRequest};
use crate::signature::{PublicKey, SignatureScheme};
use crate::transfer::{SealedValue, TransportMessage, WrappedKey, WrappedKeySet, WrappedValue};

/// Why the key service refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// No key has this name.
    #[error("the key service has no key {0}")]
    Unknown(KeyReference),
    /// A key of this name exists already; versions are added, never overwritten.
    #[error("the key service has a key {0} already")]
    Exists(KeyReference),
    /// The key is for something else.
    #[error("a key for {found} cannot be used to {operation}")]
    Purpose {
        /// What it is for.
        found: KeyPurpose,
        /// What was asked.
        operation: &'static str,
    },
    /// The key's algorithm cannot do this.
    #[error("a key of {found} cannot be used to {operation}")]
    Algorithm {
        /// The key's algorithm.
        found: KeyAlgorithm,
        /// What was asked.
        operation: &'static str,
    },
    /// The handle comes from another key service.
    #[error("the key handle belongs to another key service")]
    ForeignHandle,
    /// A value under a KEK or TK, or a sealed value, was not made with this key, or was changed.
    #[error("the protected value was not made with key {0}, or it was changed")]
    NotAuthentic(KeyReference),
    /// The key that came does not have the check value that came with it.
    #[error("the key does not have the check value that came with it")]
    CheckValue,
    /// A value has a length that the operation does not take.
    #[error("{what} has a length that does not fit: {length}")]
    Length {
        /// Which value.
        what: &'static str,
        /// Its length.
        length: usize,
    },
    /// The TK and the KEK of a partner may not be the same key.
    #[error("the transport key and the key-encryption key may not be equal")]
    TransportEqualsKek,
    /// The MAC or TAC that the card sent is wrong.
    #[error("the card's {0} is wrong")]
    CardMac(&'static str),
    /// The stored key is not usable, which the service checks when keys come in.
    #[error("the stored key {0} is not usable")]
    Unusable(KeyReference),
    /// The store could not be written.
    #[error("the key store could not be written: {0}")]
    Store(String),
}

/// Everything that is done with keys, by name and by handle.
///
/// No method returns a master or issuer-level key in the clear, and none takes one. Methods block for
/// the time of a computation or of one call to a token; none waits for a card or a network.
pub trait KeyService: Send + Sync {
    // ---- the store

    /// Whether any key is one of the development profile; a production profile refuses to start then.
    fn is_development(&self) -> bool;

    /// The keys there are, without their values, sorted by name.
    fn list(&self) -> Vec<KeyDescription>;

    /// One key, without its value.
    fn describe(&self, key: &KeyReference) -> Result<KeyDescription, KeyError>;

    /// Draws a new key inside the service.
    ///
    /// Token: C_GenerateKey or C_GenerateKeyPair, sensitive, non-extractable except under a KEK.
    fn generate(&self, key: &KeyReference, algorithm: KeyAlgorithm) -> Result<KeyDescription, KeyError>;

    /// Takes a key of another service, sent under a KEK (P-5.8.9.3.c); its check value must match.
    ///
    /// Token: C_UnwrapKey, CKM_AES_KEY_WRAP_KWP.
    fn import_key(
        &self,
        key: &KeyReference,
        wrapped: &WrappedKey,
        kek: &KeyReference,
    ) -> Result<KeyDescription, KeyError>;

    /// Gives a key to another service or to a PSAM, under a KEK.
    ///
    /// Token: C_WrapKey, CKM_AES_KEY_WRAP_KWP.
    fn export_key(&self, key: &KeyReference, kek: &KeyReference) -> Result<WrappedKey, KeyError>;

    // ---- derived keys

    /// Derives a leaf key.
    ///
    /// Token: CKM_DES3_ECB_ENCRYPT_DATA or CKM_AES_CBC_ENCRYPT_DATA, once per level.
    fn derive(&self, master: &KeyReference, derivation: &Derivation) -> Result<KeyHandle, KeyError>;

    /// Gives a leaf key to another organisation under a KEK.
    ///
    /// Token: C_WrapKey, CKM_AES_KEY_WRAP_KWP.
    fn export_leaf(&self, key: &KeyHandle, kek: &KeyReference) -> Result<WrappedKey, KeyError>;

    /// Gives the three keys of a domain on one SE to another organisation under a KEK: how an SP has
    /// its keys put into its domain (P-5.8.3.2.1.c). Keys that depend on what the card says in a
    /// session ([`DomainKeySource::Card`]) are not known beforehand and are refused.
    fn export_domain_keys(
        &self,
        keys: &DomainKeySource,
        kek: &KeyReference,
    ) -> Result<WrappedKeySet, KeyError>;

    // ---- card sessions

    /// Begins a secure-channel session with a fresh host challenge.
    fn begin_session(&self, request: SessionRequest) -> Result<Box<dyn PendingSession>, KeyError>;

    // ---- between organisations

    /// Wraps a sensitive value under a KEK (RFC 5649).
    fn wrap_value(&self, value: &[u8], kek: &KeyReference) -> Result<WrappedValue, KeyError>;

    /// Encrypts a script under a TK; `context` is authenticated with it.
    ///
    /// Token: CKM_AES_GCM.
    fn transport_encrypt(
        &self,
        tk: &KeyReference,
        context: &[u8],
        script: &[u8],
    ) -> Result<TransportMessage, KeyError>;

    /// Decrypts a script that came under a TK (P-5.8.4.6.2.c); what is under a KEK inside stays so.
    ///
    /// Token: CKM_AES_GCM.
    fn transport_decrypt(
        &self,
        tk: &KeyReference,
        context: &[u8],
        message: &TransportMessage,
    ) -> Result<Zeroizing<Vec<u8>>, KeyError>;

    /// Signs a message: tokens, DAP blocks, notifications, receipts.
    ///
    /// Token: CKM_ECDSA over a SHA-256 digest; CKM_SHA1_RSA_PKCS, CKM_SHA256_RSA_PKCS.
    fn sign(&self, key: &KeyReference, scheme: SignatureScheme, message: &[u8]) -> Result<Vec<u8>, KeyError>;

    /// The public half of a signing key.
    fn public_key(&self, key: &KeyReference) -> Result<PublicKey, KeyError>;

    /// Checks the MAC of a delegated-management receipt with the card's receipt key.
    ///
    /// Token: CKM_AES_CMAC; retail MAC composed of CKM_DES_CBC and CKM_DES3_ECB.
    fn verify_receipt(&self, key: &KeyHandle, covered: &[u8], receipt: &[u8]) -> Result<(), KeyError>;

    /// The MAC of a frame of the clearing transport: eight bytes.
    ///
    /// Token: CKM_AES_CMAC, the first half; retail MAC composed of CKM_DES_CBC and CKM_DES3_ECB.
    fn frame_mac(&self, key: &KeyReference, covered: &[u8]) -> Result<[u8; 8], KeyError>;

    // ---- values kept by the platform

    /// The TOKEN of a binding, from SE-ID and date `YYYYMMDD` (P-5.5.2.s): 16 bytes.
    ///
    /// Token: CKM_SHA256_HMAC.
    fn binding_token(
        &self,
        key: &KeyReference,
        se_id: &SeId,
        date: &str,
    ) -> Result<Zeroizing<[u8; 16]>, KeyError>;

    /// Seals a value for storage (P-5.5.2.t); `context` says whose it is and is authenticated with it.
    ///
    /// Token: CKM_AES_GCM.
    fn seal(&self, key: &KeyReference, context: &[u8], value: &[u8]) -> Result<SealedValue, KeyError>;

    /// Opens a sealed value.
    ///
    /// Token: CKM_AES_GCM.
    fn unseal(
        &self,
        key: &KeyReference,
        context: &[u8],
        sealed: &SealedValue,
    ) -> Result<Zeroizing<Vec<u8>>, KeyError>;

    // ---- the purse (keys are handles from `derive` with `Derivation::Purse`)

    /// Checks MAC1: balance, online counter and freshness are the card's own word.
    ///
    /// Token, for all of the purse's MACs: the session key is a session object made with
    /// CKM_DES3_ECB_ENCRYPT_DATA; CBC-MAC with CKM_DES_CBC. SM4 is vendor-defined.
    fn verify_load_mac1(&self, load: &KeyHandle, attempt: &LoadAttempt) -> Result<(), KeyError>;

    /// CREDIT FOR LOAD with its MAC2, which lets the card credit the amount of a verified attempt.
    ///
    /// Checks MAC1 again first, so that no MAC2 exists for an attempt that the card did not prove.
    fn credit_for_load(
        &self,
        load: &KeyHandle,
        attempt: &LoadAttempt,
        at: DateTime,
    ) -> Result<CreditForLoad, KeyError>;

    /// Checks the TAC of a load.
    fn verify_load_tac(&self, key: &KeyHandle, facts: &LoadFacts, tac: Tac) -> Result<(), KeyError>;

    /// Checks MAC1 of an online debit: balance, online counter and freshness are the card's own word.
    fn verify_unload_mac1(&self, unload: &KeyHandle, attempt: &UnloadAttempt) -> Result<(), KeyError>;

    /// DEBIT FOR UNLOAD with its MAC2, which lets the card debit the amount of a verified attempt.
    ///
    /// Checks MAC1 again first, so that no MAC2 exists for an attempt that the card did not prove.
    fn debit_for_unload(
        &self,
        unload: &KeyHandle,
        attempt: &UnloadAttempt,
        at: DateTime,
    ) -> Result<DebitForUnload, KeyError>;

    /// Checks MAC3 of an online debit: the card debited.
    fn verify_unload_mac3(
        &self,
        unload: &KeyHandle,
        attempt: &UnloadAttempt,
        at: DateTime,
        mac3: Mac,
    ) -> Result<(), KeyError>;

    /// MAC1 of a purchase, with which the host debits online.
    fn purchase_mac1(&self, purchase: &KeyHandle, attempt: &PurchaseAttempt) -> Result<Mac, KeyError>;

    /// Checks MAC2 of a purchase: the card debited.
    fn verify_purchase_mac2(
        &self,
        purchase: &KeyHandle,
        attempt: &PurchaseAttempt,
        mac2: Mac,
    ) -> Result<(), KeyError>;

    /// Checks the TAC of a purchase.
    fn verify_purchase_tac(&self, key: &KeyHandle, facts: &PurchaseFacts, tac: Tac) -> Result<(), KeyError>;

    /// A purse command under secure messaging: the MAC for the challenge that the card gave is
    /// appended; the class must say so already (04 or 84). The application's block and unblock keys
    /// make APPLICATION BLOCK and UNBLOCK, the maintenance keys the updates.
    fn secure_messaging(
        &self,
        key: &KeyHandle,
        challenge: Challenge,
        command: &CommandApdu,
    ) -> Result<CommandApdu, KeyError>;
}
