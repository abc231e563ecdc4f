//! Secure-channel sessions by handle (GPC 2.3.1, chapter 10, appendix E; GPC amendment D).
//!
//! A session object lives inside the key service: whoever holds it can have commands wrapped and
//! responses checked, and never sees a key. Dropping it ends the session and wipes its keys.
//!
//! ```text
//! KeyService::begin_session -> PendingSession --authenticate--> CardSession
//!    INITIALIZE UPDATE out      answer in, EXTERNAL AUTHENTICATE out     wrap*, unwrap*
//! ```

use tsm_globalplatform::security_level::SecurityLevel;
use tsm_iso7816::{Aid, CommandApdu, ResponseApdu};

use crate::derivation::DomainKeySource;
use crate::handle::KeyHandle;
use crate::reference::KeyReference;
use crate::service::KeyError;
use crate::transfer::{KeyForCard, WrappedKeySet, WrappedValue};

/// Secure-channel protocol and its implementation options `i`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// SCP02 with the options `i` (15, 55, and with R-MAC 35, 75).
    Scp02(u8),
    /// SCP03 with the options `i` (00, 10, 20, 30, 60, 70; bit 01 = S16).
    Scp03(u8),
}

/// Which session is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionRequest {
    /// The security domain, or the application that uses its domain's keys, which is selected for the
    /// session. A pseudo-random card challenge is checked against it.
    pub application: Aid,
    /// Where the domain's keys come from.
    pub keys: DomainKeySource,
    /// The protocol that this card's domain speaks; another answer is refused.
    pub protocol: Protocol,
    /// The key version asked for; 00 asks for the domain's default set.
    pub key_version: u8,
    /// The level that EXTERNAL AUTHENTICATE sets.
    pub level: SecurityLevel,
}

/// What PUT KEY should put into the domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PutKeyRequest {
    /// The version replaced; 00 adds a set.
    pub replaces: u8,
    /// The new version, 01 to 7F.
    pub version: u8,
    /// The new keys.
    pub keys: NewKeys,
}

/// Where the new keys of a domain come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NewKeys {
    /// Keys of this service (P-5.8.3.2.1.b).
    Own(DomainKeySource),
    /// Keys of another organisation, under the KEK agreed with it (P-5.8.3.2.1.c).
    Transferred {
        /// The keys.
        set: WrappedKeySet,
        /// The KEK.
        kek: KeyReference,
    },
}

/// One secret key to put into a domain.
#[derive(Debug, Clone, Copy)]
pub struct PutSecretKey<'a> {
    /// The version replaced; 00 adds a key.
    pub replaces: u8,
    /// The version.
    pub version: u8,
    /// The identifier.
    pub identifier: u8,
    /// The key.
    pub key: &'a KeyHandle,
}

/// A PUT KEY command, to be wrapped, and the response that proves that the card took the keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PutKeyCommand {
    /// The command, its key fields already under the session's DEK.
    pub command: CommandApdu,
    /// The response data: new version and check values.
    pub confirmation: Vec<u8>,
}

/// Why a session could not begin or go on. After any of these nothing that the card said in the
/// session is believed, and the session is over.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    /// The INITIALIZE UPDATE response is not one.
    #[error("the card's INITIALIZE UPDATE response is malformed: {0}")]
    Malformed(String),
    /// Another protocol, or other options, than the batch is known for.
    #[error("the card answered with secure-channel protocol {found}, and its batch has {expected:?}")]
    Protocol {
        /// What the batch has.
        expected: Protocol,
        /// What the card said.
        found: String,
    },
    /// Another key version than asked for.
    #[error("key version {expected:02X} was asked for and the card used {found:02X}")]
    KeyVersion {
        /// Asked for.
        expected: u8,
        /// Used by the card.
        found: u8,
    },
    /// The card does not hold the expected keys.
    #[error("the card cryptogram is wrong: the card does not hold the expected keys")]
    CardCryptogram,
    /// A response does not carry the card's MAC.
    #[error("response {index} of the list carries no valid MAC of the card")]
    ResponseMac {
        /// Which response of the list, from 0.
        index: usize,
    },
    /// The caller asked for what the session cannot do.
    #[error("the session cannot do this: {0}")]
    Misuse(String),
    /// An earlier error ended the session.
    #[error("the session has ended")]
    Ended,
    /// The key service refused.
    #[error("the key service refused")]
    Key(#[source] KeyError),
}

impl From<KeyError> for SessionError {
    fn from(error: KeyError) -> Self {
        Self::Key(error)
    }
}

/// A session whose INITIALIZE UPDATE is on its way.
pub trait PendingSession: Send {
    /// The INITIALIZE UPDATE command, with the fresh host challenge.
    fn initialize_update(&self) -> CommandApdu;

    /// Checks the card cryptogram; gives the session and its EXTERNAL AUTHENTICATE command.
    ///
    /// Token: derives the static keys as non-extractable objects, from them the session keys
    /// (SCP02: CKM_DES3_CBC_ENCRYPT_DATA; SCP03: CKM_SP800_108_COUNTER_KDF, or AES-CMAC where the
    /// token lacks it), and verifies the cryptogram with a session key (CKM_DES3_CBC,
    /// CKM_AES_CMAC).
    fn authenticate(
        self: Box<Self>,
        answer: &ResponseApdu,
    ) -> Result<(Box<dyn CardSession>, CommandApdu), SessionError>;
}

/// An open session.
pub trait CardSession: Send {
    /// The security level in force.
    fn level(&self) -> SecurityLevel;

    /// The protocol.
    fn protocol(&self) -> Protocol;

    /// The version of the keys in use, as the card named it.
    fn key_version(&self) -> u8;

    /// The card's sequence counter, where the protocol shows it (P-5.8.9.6).
    fn sequence_counter(&self) -> Option<u32>;

    /// Wraps a list of commands in the order in which the card will get them. C-MAC chaining depends
    /// on commands only, so the whole list is sent ahead.
    ///
    /// Token: session keys are session objects; CKM_DES3_CBC and CKM_DES_CBC, or CKM_AES_CMAC and
    /// CKM_AES_CBC. A service may hold session keys itself: they are the one kind that may leave.
    fn wrap_commands(&mut self, commands: &[CommandApdu]) -> Result<Vec<CommandApdu>, SessionError>;

    /// Checks and opens the responses to commands wrapped before, in order; the list may be shorter
    /// than the commands when the client stopped at an unexpected status word.
    fn unwrap_responses(&mut self, responses: Vec<ResponseApdu>) -> Result<Vec<ResponseApdu>, SessionError>;

    /// PUT KEY for the domain that the session is with, its keys under the session's DEK.
    ///
    /// Token: C_WrapKey of the leaf keys under the DEK (CKM_DES3_ECB or CKM_AES_CBC), after
    /// C_UnwrapKey under the KEK for transferred keys.
    fn put_key(&mut self, request: &PutKeyRequest) -> Result<PutKeyCommand, SessionError>;

    /// PUT KEY for one secret key of the domain, under the session's DEK: a receipt or DAP key. It
    /// replaces the key of the same version and identifier, or adds one (`replaces` 00).
    ///
    /// Token: C_WrapKey under the DEK.
    fn put_secret_key(&mut self, request: &PutSecretKey<'_>) -> Result<PutKeyCommand, SessionError>;

    /// Translates a sensitive value from the KEK to the session's DEK inside the service
    /// (P-5.8.4.6.2.f). The value must be a multiple of the DEK's block: the application's
    /// format decides its padding.
    ///
    /// Token: C_UnwrapKey (CKM_AES_KEY_WRAP_KWP), C_WrapKey under the DEK.
    fn translate(&mut self, value: &WrappedValue, kek: &KeyReference) -> Result<Vec<u8>, SessionError>;

    /// A leaf key under the session's DEK, for a personalisation DGI.
    ///
    /// Token: C_WrapKey under the DEK.
    fn key_for_card(&mut self, key: &KeyHandle) -> Result<KeyForCard, SessionError>;
}
