//! Load files shared between the cards of one process.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use sha2::{Digest, Sha256};

/// Holds each load file data block once, by its SHA-256, for as long as a card uses it.
///
/// Clones are the same library.
#[derive(Debug, Clone, Default)]
pub struct LoadFileLibrary {
    blocks: Arc<Mutex<Blocks>>,
}

/// Blocks by their SHA-256, as long as somebody holds them.
type Blocks = HashMap<[u8; 32], Weak<[u8]>>;

impl LoadFileLibrary {
    /// An empty library.
    pub fn new() -> Self {
        Self::default()
    }

    /// The one copy of `bytes` that all cards of this library share.
    pub fn share(&self, bytes: &[u8]) -> Arc<[u8]> {
        let digest: [u8; 32] = Sha256::digest(bytes).into();
        // A panic elsewhere leaves the map whole: every change below is a single insertion.
        let mut blocks = self.blocks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(shared) = blocks.get(&digest).and_then(Weak::upgrade) {
            return shared;
        }
        blocks.retain(|_, block| block.strong_count() > 0);
        let shared: Arc<[u8]> = bytes.into();
        blocks.insert(digest, Arc::downgrade(&shared));
        shared
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_blocks_are_one_and_unused_ones_go() {
        let library = LoadFileLibrary::new();
        let first = library.share(b"one");
        assert!(Arc::ptr_eq(&first, &library.clone().share(b"one")));
        drop(first);
        let _other = library.share(b"two");
        assert_eq!(library.blocks.lock().unwrap().len(), 1);
    }
}
