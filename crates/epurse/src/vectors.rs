//! Reads `tests/vectors/purse-worked.json` for the tests of both halves: values computed for this
//! project outside of it, for an invented card.

use std::collections::HashMap;

use crate::{Algorithm, Key};

/// The values of the vector `name`.
pub(crate) fn worked(name: &str) -> HashMap<String, String> {
    let vectors: Vec<HashMap<String, String>> =
        serde_json::from_str(include_str!("../tests/vectors/purse-worked.json")).unwrap();
    vectors.into_iter().find(|vector| vector["name"] == name).unwrap_or_else(|| panic!("no vector {name}"))
}

/// The invented card's key: P purchase, L load, T TAC, AM application maintenance (3DES only).
pub(crate) fn card_key(algorithm: Algorithm, letter: &str) -> Key {
    let cipher = match algorithm {
        Algorithm::TripleDes => "3DES",
        Algorithm::Sm4 => "SM4",
    };
    let vector = worked(&format!("{cipher} two-level derivation {letter}"));
    Key::new(algorithm, hex::decode(&vector["level2_card"]).unwrap().try_into().unwrap())
}
