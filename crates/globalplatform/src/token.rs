//! Delegated-management tokens: the issuer's leave to load, install, extradite, update or delete
//! (GPC 2.3.1, 9.1.3.1 and C.4).

use crate::{
    commands::{Install, delete::DeleteContent},
    secure_messaging::LengthField,
    signature::{SignatureKeyError, SigningKey, VerifyingKey, WrongSignature},
};

/// What a token signs: P1, P2, the length of what follows, and the command's fields without the
/// token itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenData(Vec<u8>);

/// INSTALL [for personalization] needs no token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("INSTALL [for personalization] has no token")]
pub struct NoToken;

impl TokenData {
    // GPC 2.3.1 tables C-2 to C-6: load, install, make selectable, extradition, registry update.
    /// The data that a token for `install` signs. The token field of the command does not matter.
    pub fn of_install(install: &Install) -> Result<Self, NoToken> {
        let ((p1, p2), fields) = match install {
            Install::ForLoad(form) => (form.p1_p2(), form.signed_data()),
            Install::ForInstall(form) => (form.p1_p2(), form.signed_data()),
            Install::ForMakeSelectable(form) => (form.p1_p2(), form.signed_data()),
            Install::ForExtradition(form) => (form.p1_p2(), form.signed_data()),
            Install::ForRegistryUpdate(form) => (form.p1_p2(), form.signed_data()),
            Install::ForPersonalization(_) => return Err(NoToken),
        };
        Ok(Self::new(p1, p2, &fields))
    }

    // GPC 2.3.1 table C-7.
    /// The data that a token for a deletion signs.
    pub fn of_delete(delete: &DeleteContent) -> Self {
        Self::new(0x00, delete.extent.value(), &delete.signed_data())
    }

    fn new(p1: u8, p2: u8, fields: &[u8]) -> Self {
        let mut out = vec![p1, p2];
        out.extend(LengthField::shortest(fields.len()).as_bytes());
        out.extend(fields);
        Self(out)
    }

    /// The bytes that are signed.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The token.
    pub fn sign(&self, key: &SigningKey) -> Result<Vec<u8>, SignatureKeyError> {
        key.sign(&self.0)
    }

    /// Whether `token` is right.
    pub fn verify(&self, key: &VerifyingKey, token: &[u8]) -> Result<(), WrongSignature> {
        key.verify(&self.0, token)
    }
}
