//! Handles of derived keys.

use core::any::Any;
use core::fmt;
use std::sync::Arc;

use crate::description::{CheckValue, KeyAlgorithm};
use crate::reference::KeyPurpose;

/// A derived key inside the key service. It names the key and holds it there; dropping the last
/// copy destroys the key. The value is not readable from it.
///
/// A software service keeps the zeroised key behind the handle; a PKCS#11 service keeps the
/// handle of a non-extractable session object whose destruction goes with the last copy.
#[derive(Clone)]
pub struct KeyHandle {
    purpose: KeyPurpose,
    algorithm: KeyAlgorithm,
    check_value: CheckValue,
    inner: Arc<dyn Any + Send + Sync>,
}

impl KeyHandle {
    /// For implementations of the key service: a handle around the service's own object.
    pub fn new(
        purpose: KeyPurpose,
        algorithm: KeyAlgorithm,
        check_value: CheckValue,
        inner: Arc<dyn Any + Send + Sync>,
    ) -> Self {
        Self { purpose, algorithm, check_value, inner }
    }

    /// What the key is for: the purpose of the master it came from.
    pub const fn purpose(&self) -> KeyPurpose {
        self.purpose
    }

    /// The key's algorithm.
    pub const fn algorithm(&self) -> KeyAlgorithm {
        self.algorithm
    }

    /// The key's check value.
    pub const fn check_value(&self) -> CheckValue {
        self.check_value
    }

    /// For implementations of the key service: their own object, if it is theirs.
    pub fn inner<T: Any>(&self) -> Option<&T> {
        self.inner.downcast_ref()
    }
}

impl fmt::Debug for KeyHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyHandle({}, {}, {})", self.purpose, self.algorithm, self.check_value)
    }
}
