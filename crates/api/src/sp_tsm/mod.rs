//! The SP-TSM: the card issuer's trusted service manager.

pub mod clerks;
pub mod desk;
pub mod evidence;
pub mod migration;
pub mod peer;
pub mod terminal;
pub mod wallet;

use crate::endpoint::EndpointInfo;

/// Every endpoint of the role.
pub fn endpoints() -> Vec<EndpointInfo> {
    [
        wallet::endpoints(),
        migration::endpoints(),
        peer::endpoints(),
        evidence::endpoints(),
        desk::endpoints(),
        clerks::endpoints(),
        terminal::endpoints(),
    ]
    .concat()
}
