//! RELOAD PIN: a MAC over the new PIN under the folded PIN key (PBOC 2.0 part 2).

use crate::{
    Key, Mac,
    commands::{Pin, ReloadPin},
    crypto,
};

/// RELOAD PIN with its MAC.
pub fn reload_pin(pin_key: &Key, new: Pin) -> ReloadPin {
    let mac = Mac::new(crypto::folded_mac(pin_key, new.expose()));
    ReloadPin { new, mac }
}
