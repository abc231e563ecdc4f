//! RELOAD PIN, card side.

use super::Refusal;
use crate::{
    Key, Mac,
    commands::{Pin, ReloadPin},
    crypto,
};

/// The new PIN, when its MAC under the PIN key is right.
pub fn reloaded(pin_key: &Key, command: ReloadPin) -> Result<Pin, Refusal> {
    if Mac::new(crypto::folded_mac(pin_key, command.new.expose())) != command.mac {
        return Err(Refusal::Mac);
    }
    Ok(command.new)
}
