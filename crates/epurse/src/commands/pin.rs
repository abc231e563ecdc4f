//! The cardholder's PIN.

use core::fmt;

use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// A PIN of two to six bytes. Wiped when dropped, never printed.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Pin(Vec<u8>);

/// A PIN of another length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a PIN has 2 to 6 bytes, not {0}")]
pub struct PinLength(pub usize);

impl Pin {
    /// A PIN from its bytes.
    pub fn new(bytes: &[u8]) -> Result<Self, PinLength> {
        if !(2..=6).contains(&bytes.len()) {
            return Err(PinLength(bytes.len()));
        }
        Ok(Self(bytes.to_vec()))
    }

    /// The PIN's bytes.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl PartialEq for Pin {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for Pin {}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pin(redacted)")
    }
}
