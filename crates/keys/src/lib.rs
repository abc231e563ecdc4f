//! The key service: every key behind a name or a handle.
//!
//! [`KeyService`] is what the roles and the card procedures use. Master and issuer-level keys never
//! leave it; leaf keys are handles, card sessions are objects that wrap and unwrap, and whatever goes
//! to another organisation goes under a key agreed with it. [`software::SoftwareKeyService`] keeps
//! the keys in a sealed file; a PKCS#11 token can offer the same trait.
//!
//! The crate reads no clock and no random generator: randomness is given to it.

pub mod derivation;
pub mod description;
pub mod handle;
mod key_wrap;
pub mod purse;
pub mod reference;
pub mod service;
pub mod session;
pub mod signature;
pub mod software;
pub mod transfer;

pub use derivation::{CardScheme, Derivation, DomainKeySource, DomainPath, PursePath};
pub use description::{CheckValue, KeyAlgorithm, KeyDescription, KeyOrigin};
pub use handle::KeyHandle;
pub use reference::{DomainKey, KeyPurpose, KeyReference, KeySetReference};
pub use service::{KeyError, KeyService};
pub use session::{
    CardSession, NewKeys, PendingSession, Protocol, PutKeyCommand, PutKeyRequest, PutSecretKey, SessionError,
    SessionRequest,
};
pub use signature::{PublicKey, SignatureScheme};
pub use software::SoftwareKeyService;
