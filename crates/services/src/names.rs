//! Identities that follow from what they name, so that a step which is run again names the same thing.

use sha2::{Digest as _, Sha256};
use uuid::Uuid;

/// The identity that these words name. Each word goes in with its length, so no two lists are the same.
pub fn derived(words: &[&str]) -> Uuid {
    let mut hash = Sha256::new();
    for word in words {
        hash.update((word.len() as u64).to_be_bytes());
        hash.update(word.as_bytes());
    }
    let digest = hash.finalize();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

/// An identity with its middle hidden: what people see of an SE.
pub fn masked(text: &str) -> String {
    let (head, tail) = (text.get(..4), text.get(text.len().saturating_sub(4)..));
    match (head, tail) {
        (Some(head), Some(tail)) if text.len() > 8 => format!("{head}…{tail}"),
        _ => "…".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_keep_their_bounds() {
        assert_eq!(derived(&["loaded", "7"]), derived(&["loaded", "7"]));
        assert_ne!(derived(&["loaded", "7"]), derived(&["loaded7", ""]));
        assert_ne!(derived(&["a", "b"]), derived(&["ab"]));
    }
}
